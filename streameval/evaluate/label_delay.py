"""How long labels take: counts of first labels by age, the age being counted from the prediction.

Ages are counted in buckets of a quarter of an octave, from a second to four years, so that seconds and months are told
equally well apart and a group's delays take some dozen numbers.

Invariant: counts are integers that add in any order.

Source: METHODS, section 8.
"""

from __future__ import annotations

from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

SECOND: Final = 1000
_OCTAVES: Final = 27

EDGES: Final[I64] = np.concatenate(([0], np.rint(SECOND * 2.0 ** (np.arange(4 * _OCTAVES + 1) / 4.0)))).astype(np.int64)
"""int64[AGES]: lower ends (ms) of the buckets of age; what is older than all is in the last."""
EDGES.setflags(write=False)

AGES: Final = len(EDGES)
"""How many buckets there are."""


def age_of(delay: I64) -> I64:
    """int64[n]: the bucket of each delay (ms); one below 0 is in the first.

    >>> age_of(np.array([-5, 999, 1000, 3_600_000])).tolist()
    [0, 0, 1, 48]
    """
    found: I64 = np.maximum(np.searchsorted(EDGES, delay, side="right") - 1, 0)
    return found


class Delays:
    """First labels by label and age.

    >>> delays = Delays()
    >>> delays.add(np.array([1, 1, 0]), np.array([2_000, 60_000, 2_000]))
    >>> delays.labels.tolist(), delays.share_by(1, 10_000)
    ([1, 2], 0.5)
    """

    __slots__ = ("counts",)

    def __init__(self, counts: I64 | None = None) -> None:
        self.counts: I64 = np.zeros((2, AGES), np.int64) if counts is None else counts
        """int64[2, AGES]."""

    def add(self, label: npt.NDArray[np.integer[Any]], delay: I64) -> None:
        """Count first labels (0 or 1), each with its delay (ms)."""
        code = label.astype(np.int64) * AGES + age_of(delay)
        self.counts += np.bincount(code, minlength=2 * AGES).reshape(2, AGES)

    def merge(self, other: Delays) -> None:
        """Add the counts of others."""
        self.counts += other.counts

    @property
    def labels(self) -> I64:
        """int64[2]: how many labels of each kind."""
        total: I64 = self.counts.sum(axis=1)
        return total

    def share_by(self, label: int, age: int) -> float:
        """Which share of the labels of one kind had come by an age (ms); 0 where there were none."""
        counts = self.counts[label]
        total = int(counts.sum())
        if not total:
            return 0.0
        at = int(age_of(np.array([age]))[0])
        upper = int(EDGES[at + 1]) if at + 1 < AGES else 2 * int(EDGES[at])
        # Within a bucket labels are taken to come evenly.
        part = min(max((age - int(EDGES[at])) / (upper - int(EDGES[at])), 0.0), 1.0)
        return (int(counts[:at].sum()) + part * int(counts[at])) / total

    def quantile(self, share: float, label: int | None = None) -> int | None:
        """The age (ms) by which a share of the labels (of one kind, or all) had come; None without labels.

        >>> delays = Delays()
        >>> delays.add(np.ones(100, int), np.full(100, 3_600_000))
        >>> 3_600_000 / 1.2 < delays.quantile(0.5) < 3_600_000 * 1.2
        True
        """
        counts = self.counts.sum(axis=0) if label is None else self.counts[label]
        total = int(counts.sum())
        if not total:
            return None
        summed = np.cumsum(counts)
        at = int(np.searchsorted(summed, share * total))
        before = int(summed[at - 1]) if at else 0
        low = int(EDGES[at])
        upper = int(EDGES[at + 1]) if at + 1 < AGES else 2 * low
        return round(low + (upper - low) * (share * total - before) / max(int(counts[at]), 1))

    def state(self) -> list[Any]:
        """Plain values from which ``restore`` continues exactly."""
        held = np.flatnonzero(self.counts.ravel())
        return [held.astype(np.int16), self.counts.ravel()[held]]

    @classmethod
    def restore(cls, state: list[Any]) -> Self:
        """The inverse of ``state``."""
        new = cls()
        new.counts.reshape(-1)[np.asarray(state[0], np.int64)] = state[1]
        return new
