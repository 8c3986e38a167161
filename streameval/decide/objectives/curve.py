"""Curve: what every threshold of a histogram flags, by suffix sums.

A threshold t flags the scores s >= t. Candidates are the lower edges of the non-empty bins, ascending, and `NOTHING`,
the edge above 1.0, which flags none. A threshold inside a bin acts from that bin's lower edge.

Invariant: O(bins), exact counts; `flagged` at a candidate equals the curve there.
Source: METHODS, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streameval.detect.label_counts import Histogram
from streameval.evidence.bins import BINS, EDGES, threshold_bin

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

NOTHING: Final = float(EDGES[BINS])
"""The threshold that flags nothing: the float after 1.0."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Per candidate, k + 1 of them: `thresholds` float64, `tp` and `fp`; and all `positives` and `negatives`.

    The counts are whole numbers, but for evidence in which events have weights.
    """

    thresholds: Floats
    tp: Counts
    fp: Counts
    positives: float
    negatives: float

    @property
    def events(self) -> float:
        """How many events."""
        return self.positives + self.negatives


def curve(evidence: Histogram) -> Curve:
    """The curve of a histogram.

    >>> from streameval.evidence import BinaryEvidence
    >>> c = curve(BinaryEvidence.of(np.array([0.25, 0.5, 0.75]), np.array([0, 1, 1])))
    >>> c.thresholds[1].item(), c.tp.tolist(), c.fp.tolist()
    (0.5, [2, 2, 1, 0], [1, 0, 0, 0])
    """
    thresholds = np.append(EDGES[evidence.bins], NOTHING)
    fp, tp = suffix_sums(evidence.counts)
    return Curve(thresholds, tp, fp, tp[0].item(), fp[0].item())


def suffix_sums(values: Counts) -> Counts:
    """[..., k + 1]: entry j is the sum of values[..., j:], the last is 0. Exact for int64 and for Python integers."""
    whole: Counts = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype=values.dtype)
    whole[..., :-1] = np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]
    return whole


def first_flagged(evidence: Histogram, threshold: float) -> int:
    """The candidate that a threshold acts as: the number of the first non-empty bin that it flags."""
    return int(np.searchsorted(evidence.bins, threshold_bin(threshold)))


@dataclass(frozen=True, slots=True)
class Confusion:
    """Events by decision and label."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def events(self) -> int:
        """How many events."""
        return self.tp + self.fp + self.fn + self.tn


def confusion_at(evidence: Histogram, threshold: float) -> Confusion:
    """The confusion at a threshold."""
    at = first_flagged(evidence, threshold)
    (tn, fn), (fp, tp) = evidence.counts[:, :at].sum(axis=1).tolist(), evidence.counts[:, at:].sum(axis=1).tolist()
    return Confusion(tp, fp, fn, tn)


def band(evidence: Histogram, one: float, other: float) -> tuple[int, int]:
    """`(negatives, positives)` whose decision differs between two thresholds."""
    low, high = sorted((first_flagged(evidence, one), first_flagged(evidence, other)))
    negatives, positives = evidence.counts[:, low:high].sum(axis=1).tolist()
    return negatives, positives
