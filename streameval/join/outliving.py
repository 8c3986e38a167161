"""Duplicates that outlive the row that made them so: predictions of a later cohort than the row of their identity.

When that row has expired, nothing in the log before them tells any more that they are no rows themselves. Whoever
reads the retained part of a log anew (`streameval.join.regrowth`) has to be told. They are few: a producer that sends
an event again sends it with its time.

Invariant: holds every duplicate whose cohort is retained and lies behind that of the row before it, and no other
event; whether that row is retained still does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streameval.join.admission import DUPLICATE, FOLLOWER

Column = NDArray[Any]


@dataclass(slots=True)
class Outliving:
    """Where they stand in the logs: `part` uint16[n] and `offset` int64[n], and their cohorts, `start` int64[n] ms."""

    part: NDArray[np.uint16]
    offset: NDArray[np.int64]
    start: NDArray[np.int64]

    @classmethod
    def none(cls) -> Outliving:
        """None of them."""
        return cls(np.zeros(0, np.uint16), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.part)

    def noted(self, p: dict[str, Column], which: Sequence[int], verdict: NDArray[np.int8], interval: int) -> Outliving:
        """These and those of the predictions `p` at `which` that were found to be duplicates."""
        if not which:
            return self
        rows = np.unique(np.array(which, np.int64))
        rows = rows[(verdict[rows] == DUPLICATE) | (verdict[rows] == FOLLOWER)]
        return Outliving(
            np.concatenate([self.part, p["part"][rows].astype(np.uint16)]),
            np.concatenate([self.offset, p["offset"][rows]]),
            np.concatenate([self.start, p["ts"][rows] // interval * interval]),
        )

    def after(self, floor: int) -> Outliving:
        """Those of cohorts that start after `floor`."""
        if not len(self):
            return self
        keep = self.start > floor
        return Outliving(self.part[keep], self.offset[keep], self.start[keep])

    def among(self, part: NDArray[np.uint16], offset: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the events at these places they are. All bool[n].

        >>> it = Outliving(np.array([1], np.uint16), np.array([7]), np.array([0]))
        >>> it.among(np.array([1, 1, 0], np.uint16), np.array([7, 8, 7])).tolist()
        [True, False, False]
        """
        if not len(self):
            return np.zeros(len(part), bool)
        return np.isin(_place(part, offset), _place(self.part, self.offset))


def _place(part: NDArray[np.uint16], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    # An offset stays below 2^47 for 4,000 years at a thousand events a second.
    return (part.astype(np.int64) << 47) | offset
