"""Decisions counted since the process began: what Prometheus adds up over restarts.

Invariant: each published record counts once; a count exists from the moment on that its series is known, at 0, so that
the first alarm is an increase. A case's later record (its diagnosis) is no second alarm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ELSEWHERE", "TIERS", "Place", "Tally"]

ELSEWHERE: Final = "other"
"""Segment under which decisions are counted of those that are not named; no segment's name is without "="."""
TIERS: Final = ("advisory", "confirmed")
_PENDING: Final = (None, "undiagnosed", "pending")

Place = tuple[str, str, str]
"""(model, version, segment)"""


class Tally:
    """Counts by place, and rejected messages by reason.

    >>> tally = Tally()
    >>> tally.see(("fraud", "7", "*"))
    >>> tally.drift(("fraud", "7", "*"), {"tier": "confirmed", "diagnosis": {"state": "pending"}})
    >>> tally.drift(("fraud", "7", "*"), {"tier": "confirmed", "diagnosis": {"state": "label_shift"}, "alarm_at": "-"}, later=True)
    >>> tally.alarms["fraud", "7", "*", "confirmed"], tally.diagnoses["fraud", "7", "*", "label_shift"]
    (1, 1)
    """  # noqa: E501 - a doctest's line

    def __init__(self) -> None:
        self.alarms: Counter[tuple[str, str, str, str]] = Counter()
        self.diagnoses: Counter[tuple[str, str, str, str]] = Counter()
        self.moves: Counter[Place] = Counter()
        self.requests: Counter[Place] = Counter()
        self.rejected: Counter[str] = Counter()

    def see(self, place: Place) -> None:
        """Begin to count for a place."""
        for tier in TIERS:
            self.alarms.setdefault((*place, tier), 0)
        self.moves.setdefault(place, 0)
        self.requests.setdefault(place, 0)

    def drift(self, place: Place, data: Mapping[str, Any], *, later: bool = False) -> None:
        """Count a drift record; `later` says that it brings the diagnosis of an alarm that is counted already."""
        state = (data.get("diagnosis") or {}).get("state")
        if not later:
            self.alarms[*place, str(data["tier"])] += 1
        if state not in _PENDING:
            self.diagnoses[*place, str(state)] += 1

    def threshold(self, place: Place, data: Mapping[str, Any]) -> None:
        """Count a threshold record; the first of a key moves nothing."""
        if data.get("previous") is not None:
            self.moves[place] += 1

    def retrain(self, place: Place) -> None:
        """Count a request for retraining."""
        self.requests[place] += 1

    def reject(self, data: Mapping[str, Any]) -> None:
        """Count rejected messages; one record may stand for many."""
        self.rejected[str(data["reason"])] += int(data.get("count") or 1)

    def forget(self, model: str, version: str) -> None:
        """A version has ended: its counts leave with it."""
        for counts in (self.alarms, self.diagnoses, self.moves, self.requests):
            for place in [place for place in counts if place[:2] == (model, version)]:
                del counts[place]
