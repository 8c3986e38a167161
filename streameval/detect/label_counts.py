"""Label counts: the part of the evidence that detectors and decisions keep.

A change is judged from how many events of each label fell into each score bin, so this is all that is stored of the
past: ten bytes a bin instead of the whole evidence. `Histogram` is the reading surface that `BinaryEvidence` and
`LabelCounts` share.

Invariant: bins are ascending, distinct and non-empty; adding is exact and order-free.
Source: METHODS, sections 0 and 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streameval.evidence.bins import BINS
from streameval.evidence.exact import narrow


class Histogram(Protocol):
    """Counts by score bin and label: what every detector and decision reads."""

    @property
    def bins(self) -> npt.NDArray[np.int16]:
        """int16[k]: ascending, distinct, non-empty bins."""
        ...

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64[2, k]: events by label (0, 1) and bin."""
        ...


@dataclass(slots=True)
class LabelCounts:
    """Events by score bin and label.

    `bins` is int16[k], `counts` int64[2, k].

    >>> a = LabelCounts(np.array([3], np.int16), np.array([[1], [2]]))
    >>> (total([a, a]).events, total([a, a]).positives)
    (6, 4)
    """

    bins: npt.NDArray[np.int16]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, histogram: Histogram) -> LabelCounts:
        """The counts of any histogram, without the rest of it."""
        return cls(histogram.bins, histogram.counts)

    @property
    def events(self) -> int:
        """How many events."""
        return int(self.counts.sum())

    @property
    def positives(self) -> int:
        """How many of them have label 1."""
        return int(self.counts[1].sum())

    def state(self) -> dict[str, Any]:
        """Plain values: the gaps between bins, and counts, in the narrowest types that hold them."""
        gaps = np.diff(self.bins, prepend=np.int16(0)).astype(np.int64)
        return {"gaps": narrow(gaps), "counts": narrow(self.counts).flatten()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> LabelCounts:
        """The counts that `state` described."""
        counts = np.asarray(state["counts"]).astype(np.int64).reshape(2, -1)
        return cls(np.cumsum(np.asarray(state["gaps"]), dtype=np.int64).astype(np.int16), counts)


def total(parts: Iterable[Histogram]) -> LabelCounts:
    """The sum of histograms (none: the empty one)."""
    parts = list(parts)
    if not parts:
        return LabelCounts(np.empty(0, np.int16), np.zeros((2, 0), np.int64))
    if len(parts) == 1:
        return LabelCounts.of(parts[0])
    dense = np.zeros((2, BINS), np.int64)
    for part in parts:
        dense[:, part.bins] += part.counts
    bins = np.flatnonzero(dense[0] | dense[1]).astype(np.int16)
    return LabelCounts(bins, dense[:, bins])
