"""Admission: which predictions of a stretch of time become rows.

A prediction is a *duplicate* if a row of the same identity (version, id hash) is retained as of its logical time,
*late* if its cohort has matured by then, else a row. Both questions ask for maturities that the rows themselves move,
so each gets one of five verdicts first, from what is certain as the stretch begins; `Join` settles the last two.

Invariant: verdicts are certain. ROW, DUPLICATE and LATE would be the same whatever else the stretch holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]
I64 = NDArray[np.int64]

ROW, DUPLICATE, LATE = 0, 1, 2
DOUBT = 3
"""Came after its cohort's end: a row unless the cohort matures before it comes."""
FOLLOWER = 4
"""A duplicate unless the row before it does not exist or has left by then."""


@dataclass(slots=True)
class Followers:
    """Predictions behind a row of the same identity whose end is not known yet.

    `which`: positions of the predictions; `start`: cohort of the row before; `before`: position of that row among the
    predictions, -1 where it was retained already; `differs`: whether time, score or kind differ.
    `outliving`: positions of predictions, followers or not, that lie in a later cohort than the row before them.
    """

    which: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    differs: list[bool] = field(default_factory=list)
    outliving: list[int] = field(default_factory=list)

    def add(self, which: int, start: int, before: int, differs: bool) -> None:
        """Note one."""
        self.which.append(which)
        self.start.append(start)
        self.before.append(before)
        self.differs.append(differs)


@dataclass(slots=True)
class Span:
    """What is certain as a stretch begins: it starts at `now`, rows stay `amend` ms, cohorts are `interval` ms long."""

    now: int
    interval: int
    amend: int

    def surely_retained(self, start: Any, lt: Any) -> Any:
        """Whether a row of a cohort that has not matured is retained at `lt` for sure."""
        return lt <= np.maximum(start + self.interval, self.now) + self.amend


def within(
    p: dict[str, Column], verdict: NDArray[np.int8], gone: NDArray[np.bool_], span: Span
) -> tuple[Followers, int]:
    """Judge predictions against earlier ones of the same identity in the same stretch.

    Args: `p` columns by (hash, version, lt, part, order read); `verdict` int8[n], changed in place where it is ROW;
    `gone` bool[n]: the cohort had matured before the stretch. Returns the followers and how many of the new duplicates
    differ.
    """
    followers = Followers()
    differing = 0
    left = np.flatnonzero(verdict == ROW)
    start = p["ts"] // span.interval * span.interval
    doubt = p["lt"] > start + span.interval
    same = (p["hash"][left[1:]] == p["hash"][left[:-1]]) & (p["version"][left[1:]] == p["version"][left[:-1]])
    if not same.any():
        verdict[left[gone[left]]] = LATE
        verdict[left[doubt[left] & ~gone[left]]] = DOUBT
        return followers, 0
    grouped = np.zeros(len(left), bool)
    grouped[1:] = same
    grouped[:-1] |= same
    single = left[~grouped]
    verdict[single[gone[single]]] = LATE
    verdict[single[doubt[single] & ~gone[single]]] = DOUBT
    head = -1
    continues = np.concatenate([[False], same])
    for i in np.flatnonzero(grouped):
        at = int(left[i])
        if not continues[i]:
            head = -1
        if head < 0:
            if gone[at]:
                verdict[at] = LATE
                continue
            verdict[at] = DOUBT if doubt[at] else ROW
            head = at
            continue
        differs = any(p[name][at] != p[name][head] for name in ("ts", "score", "kind"))
        if start[at] > start[head]:
            followers.outliving.append(at)
        if not doubt[head] and span.surely_retained(int(start[head]), int(p["lt"][at])):
            verdict[at] = DUPLICATE
            differing += differs
        else:
            verdict[at] = FOLLOWER
            followers.add(at, int(start[head]), head, differs)
    return followers, differing
