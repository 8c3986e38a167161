"""Pauses: stretches of time that do not count, as a stopped clock counts none.

Invariant: pauses are disjoint and ascending; all of it is exact integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]

NEVER = 2**61
"""Later than any time; its negative is earlier than any."""


class Pauses:
    """Disjoint pauses ``begin[p] < end[p]``, int64[p] ms, ascending. One that goes on ends at `NEVER`.

    >>> pauses = Pauses([(10, 15), (12, 20), (40, 50)])
    >>> pauses.begin.tolist(), pauses.end.tolist()
    ([10, 40], [20, 50])
    >>> pauses.after(np.array([0, 5, 12, 30]), 10).tolist()
    [10, 25, 30, 40]
    """

    __slots__ = ("_taken", "begin", "end")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[list[int]] = []
        for begin, end in sorted(pairs):
            if merged and begin <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            elif begin < end:
                merged.append([begin, end])
        table = np.array(merged, np.int64).reshape(-1, 2)
        self.begin: I64 = table[:, 0]
        self.end: I64 = table[:, 1]
        self._taken: I64 = np.concatenate([[0], np.cumsum(self.end - self.begin)])  # by all that begin before

    def after(self, start: I64, duration: int) -> I64:
        """When so much unpaused time has passed since each of int64[n] times; `NEVER` or later in one that goes on."""
        if not len(self.begin):
            return start + duration
        place = np.searchsorted(self.begin, start) - 1
        inside = np.maximum(place, 0)
        taken = self._taken[inside] + np.minimum(start, self.end[inside]) - self.begin[inside]
        # On a clock that stands still in every pause.
        reached = start - np.where(place >= 0, taken, 0) + duration
        passed = np.searchsorted(self.begin - self._taken[:-1], reached)
        after: I64 = np.maximum(start, reached + self._taken[passed])
        return after
