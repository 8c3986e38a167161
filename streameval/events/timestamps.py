"""Event times: RFC 3339 with offset, or epoch milliseconds, become int64 milliseconds.

Invariant: a time that could mean two things is never guessed. One without offset, in seconds or in microseconds is
refused and the text says how to mend it; the four units cannot be mixed up, because from 1990 to 2100 their ranges
do not overlap. Fractions below a millisecond are cut off (msgspec has rounded them to microseconds before).

Source: RFC 3339; design, "Time" and "Events in".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np

from streameval.events.columns import I64
from streameval.events.rejected import MICROSECONDS_TIME, OUT_OF_RANGE, SECONDS_TIME

EARLIEST: Final = 631_152_000_000
"""1990-01-01T00:00:00Z in ms: the first time that is accepted."""

LATEST: Final = 4_102_444_800_000
"""2100-01-01T00:00:00Z in ms: the first time that is not accepted any more."""

_ONLY_DATETIME: Final = frozenset({datetime})
_ONLY_INT: Final = frozenset({int})
_ONLY_FLOAT: Final = frozenset({float})


def epoch_ms(times: Sequence[datetime | float]) -> I64:
    """Times as msgspec decoded them (aware datetimes, or whole numbers that are ms already) -> int64[n] ms.

    >>> from datetime import timezone
    >>> epoch_ms([datetime(2024, 5, 1, 12, tzinfo=timezone.utc), 1714564800000]).tolist()
    [1714564800000, 1714564800000]
    """
    types = set(map(type, times))
    if types <= _ONLY_INT or types == _ONLY_FLOAT:
        return np.array(times).astype(np.int64)
    if types <= _ONLY_DATETIME:
        seconds = np.fromiter(map(datetime.timestamp, times), np.float64, len(times))  # type: ignore[arg-type]
        # A double holds microseconds of these years exactly only after rounding; then the cut to ms is exact.
        return np.asarray(np.rint(seconds * 1e6).astype(np.int64) // 1000, dtype=np.int64)
    found = np.empty(len(times), dtype=np.int64)
    for kind in (int, float, datetime):
        places = [place for place, time in enumerate(times) if type(time) is kind]
        found[places] = epoch_ms([times[place] for place in places])
    return found


def time_fault(time: float) -> tuple[str, str] | None:
    """Why a number is no epoch-milliseconds time: (reason, detail with the cure), or None when it is one.

    >>> time_fault(1714564800)
    ('seconds_time', '$.ts is 1714564800, which looks like seconds: send milliseconds (multiply by 1000)')
    >>> time_fault(1714564800000) is None
    True
    """
    if EARLIEST <= time < LATEST:
        return None
    if EARLIEST <= time * 1000 < LATEST:
        return SECONDS_TIME, f"$.ts is {time}, which looks like seconds: send milliseconds (multiply by 1000)"
    if EARLIEST <= time / 1000 < LATEST:
        return MICROSECONDS_TIME, f"$.ts is {time}, which looks like microseconds: send milliseconds (divide by 1000)"
    if EARLIEST <= time / 1_000_000 < LATEST:
        return MICROSECONDS_TIME, f"$.ts is {time}, which looks like nanoseconds: send milliseconds (divide by 1e6)"
    return OUT_OF_RANGE, f"$.ts is {time} ms, outside 1990-01-01 to 2100-01-01: check the producer's clock and unit"
