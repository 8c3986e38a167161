"""Maturity: when a cohort's labels count as complete.

Cohort k with end e matures at the least t >= max(maturity of the cohort before, e) at which every row that is there by
t has its first label by t, or t >= its deadline (see `Join`).

Invariant: maturities ascend. All cohorts are computed at once, as the least fixed point of a monotone map: rows there
by e make a running maximum; only *strays* (rows with logical time > e) make it iterate. More rows never make a
cohort mature earlier; `Join` relies on this to decide which late predictions still join.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streameval.join.pauses import NEVER

I64 = NDArray[np.int64]


@dataclass(slots=True)
class Strays:
    """Rows of open cohorts that came after the cohort's end, by id hash: few, and kept one by one.

    `start` int64[s] their cohort; `lt` int64[s]; `id_hash` uint64[s]; `version` int16[s]; `label` int64[s] logical time
    of the first label or NEVER.
    """

    start: I64
    lt: I64
    id_hash: NDArray[np.uint64]
    version: NDArray[np.int16]
    label: I64

    @classmethod
    def none(cls) -> Strays:
        """No strays."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, np.zeros(0, np.uint64), np.zeros(0, np.int16), empty)

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: NDArray[np.bool_] | I64) -> Strays:
        """The strays at these rows."""
        return Strays(self.start[rows], self.lt[rows], self.id_hash[rows], self.version[rows], self.label[rows])

    def with_others(self, others: Strays) -> Strays:
        """Both, by id hash."""
        if not len(others):
            return self
        both = Strays(
            np.concatenate([self.start, others.start]),
            np.concatenate([self.lt, others.lt]),
            np.concatenate([self.id_hash, others.id_hash]),
            np.concatenate([self.version, others.version]),
            np.concatenate([self.label, others.label]),
        )
        return both.take(np.argsort(both.id_hash, kind="stable"))

    def find(self, id_hash: NDArray[np.uint64], version: NDArray[np.int16], start: I64) -> I64:
        """Position of the stray of each row, -1 where the row is none. All arguments [n]."""
        found = np.full(len(id_hash), -1, np.int64)
        if len(self):
            low = np.searchsorted(self.id_hash, id_hash, "left")
            high = np.searchsorted(self.id_hash, id_hash, "right")
            for row in np.flatnonzero(low < high):
                for at in range(low[row], high[row]):
                    if self.version[at] == version[row] and self.start[at] == start[row]:
                        found[row] = at
        return found


@dataclass(slots=True)
class Open:
    """Cohorts that have not matured, ascending, and their rows there by the end.

    `start` int64[c] ms; `rows` int64[c]; `labelled` int64[c]; `last` int64[c] largest logical time of a first label.
    """

    start: I64
    rows: I64
    labelled: I64
    last: I64

    @classmethod
    def none(cls) -> Open:
        """No cohorts."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, empty)

    def __len__(self) -> int:
        return len(self.start)

    def take(self, keep: NDArray[np.bool_] | slice) -> Open:
        """The cohorts at these positions."""
        return Open(self.start[keep], self.rows[keep], self.labelled[keep], self.last[keep])

    def extended(self, starts: I64) -> Open:
        """A copy that also has these cohorts (ascending, distinct), empty where they are new."""
        at = np.searchsorted(self.start, starts)
        known = np.zeros(len(starts), bool)
        inside = at < len(self.start)
        known[inside] = self.start[at[inside]] == starts[inside]
        new = ~known
        if not new.any():
            return Open(self.start, self.rows.copy(), self.labelled.copy(), self.last.copy())
        at = at[new]
        return Open(
            np.insert(self.start, at, starts[new]),
            np.insert(self.rows, at, 0),
            np.insert(self.labelled, at, 0),
            np.insert(self.last, at, -NEVER),
        )

    def complete(self) -> I64:
        """When the rows there by the end are all labelled: NEVER while one is not. int64[c]."""
        return np.where(self.labelled == self.rows, self.last, NEVER)


def maturities(
    end: I64, complete: I64, deadline: I64, prior: int, where: I64, lt: I64, label: I64
) -> tuple[I64, NDArray[np.bool_]]:
    """Maturity of each cohort, and whether it was complete by then.

    Args: `end`, `complete`, `deadline` int64[c] ms, cohorts ascending; `prior` the maturity before the first; of
    strays: `where` int64[s] the cohort's position, `lt` and `label` int64[s]. An empty cohort has `complete` = -NEVER.
    Returns int64[c], ascending, and bool[c].

    >>> i = lambda *x: np.array(x, np.int64)
    >>> maturities(i(10, 20), i(15, NEVER), i(110, 120), 0, i(), i(), i())[0].tolist()
    [15, 120]
    >>> maturities(i(10), i(15), i(110), 0, i(0), i(12), i(40))[0].tolist()  # a stray that came before 15 delays
    [40]
    >>> maturities(i(10), i(15), i(110), 0, i(0), i(16), i(40))[0].tolist()  # one that came after does not
    [15]
    """
    reached = np.maximum(end, prior)
    while True:
        needed = complete
        if len(where):
            needed = complete.copy()
            there = lt <= reached[where]
            np.maximum.at(needed, where[there], label[there])
        later = np.maximum.accumulate(np.maximum(np.maximum(end, prior), np.minimum(needed, deadline)))
        if not len(where) or np.array_equal(later, reached):
            return later, needed <= later
        reached = later
