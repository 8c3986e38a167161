"""Merged bins: some dozens of groups of score bins, for tests and fits that need many examples in each.

Invariant: merged bins are runs of neighbouring bins that cover all scores, so counts and sums are only added up. Half
of the edges are quantiles of all scores and half are quantiles of the positives' scores: at a low prevalence the first
alone would leave most positives in one bin.

Source: METHODS, sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from streameval.evidence.binary import BinaryEvidence
from streameval.order import distinct

Floats = npt.NDArray[np.float64]


def merge_starts(
    evidence: BinaryEvidence, bins: int, positive_share: float = 0.5, at: int | None = None
) -> npt.NDArray[np.intp]:
    """Where merged bins begin: ascending positions in ``evidence.bins``, the first 0, at most `bins` of them.

    `positive_share` is the share of edges that are quantiles of the positives. With `at` (a bin number) one merged bin
    begins there, so that none straddles a threshold. Equal quantiles fall together: one heavy bin is one merged bin.
    """
    if not len(evidence.bins):
        return np.empty(0, np.intp)
    # The first edge is given, and so is that of the threshold.
    free = bins - 1 - (at is not None)
    of_positives = round(free * positive_share)
    everything = np.cumsum(evidence.counts[0] + evidence.counts[1])
    positives = np.cumsum(evidence.counts[1])
    edges = [np.zeros(1, np.intp), _quantiles(everything, free - of_positives), _quantiles(positives, of_positives)]
    if at is not None:
        edges.append(np.searchsorted(evidence.bins, [at]))
    starts: npt.NDArray[np.intp] = distinct(np.concatenate(edges))
    return starts[starts < len(evidence.bins)]


def _quantiles(cumulated: npt.NDArray[np.int64], edges: int) -> npt.NDArray[np.intp]:
    """The positions that follow the quantiles 1/(edges + 1), 2/(edges + 1), ..."""
    if edges <= 0 or cumulated[-1] == 0:
        return np.empty(0, np.intp)
    levels = np.arange(1, edges + 1) * (cumulated[-1] / (edges + 1))
    following: npt.NDArray[np.intp] = np.searchsorted(cumulated, levels, side="left") + 1
    return following


@dataclass(slots=True, frozen=True)
class MergedBins:
    """Evidence in m merged bins, as floats to compute with.

    >>> e = BinaryEvidence.of(np.array([0.1, 0.2, 0.8]), np.array([0, 1, 1]))
    >>> MergedBins.of(e, 2).counts.sum()
    np.float64(3.0)
    """

    first: npt.NDArray[np.int16]
    """int16[m]: the lowest filled bin of each; merged bin j holds the bins from first[j] up to first[j + 1]."""
    counts: Floats
    """float64[2, m]: examples by label."""
    probability: Floats
    """float64[2, m]: sums of the probabilities by label."""
    squares: Floats
    """float64[2, m]: sums of the squared probabilities by label."""

    @classmethod
    def of(
        cls,
        evidence: BinaryEvidence,
        bins: int,
        probability: Floats | None = None,
        positive_share: float = 0.5,
        at: int | None = None,
        starts: npt.NDArray[np.intp] | None = None,
    ) -> Self:
        """Merge to at most `bins` bins.

        `probability` is float64[k], one for each of the evidence's bins; by default the bins' mean scores. For the
        other arguments see `merge_starts`; where its answer is at hand, it can be given as `starts`.
        """
        starts = merge_starts(evidence, bins, positive_share, at) if starts is None else starts
        p = evidence.mean_scores if probability is None else probability
        stacked = np.empty((6, len(p)))
        stacked[:2] = evidence.counts
        np.multiply(stacked[:2], p, out=stacked[2:4])
        np.multiply(stacked[2:4], p, out=stacked[4:])
        merged: npt.NDArray[Any] = np.add.reduceat(stacked, starts, axis=1) if len(starts) else np.zeros((6, 0))
        return cls(evidence.bins[starts], merged[:2], merged[2:4], merged[4:])

    @property
    def events(self) -> Floats:
        """float64[m]: examples."""
        total: Floats = self.counts[0] + self.counts[1]
        return total

    @property
    def mean_probability(self) -> Floats:
        """float64[m]: the mean probability."""
        mean: Floats = (self.probability[0] + self.probability[1]) / self.events
        return mean
