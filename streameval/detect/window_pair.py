"""Two windows of one cell side by side: the counts, the frozen curve and the merged bins that its tests are made on.

The curve is P(y | s) as the window before the change shows it: isotonic on merged bins, and between them linear in the
logit of the score. Residuals are taken from it score bin by score bin, so that a covariate shift inside a merged bin is
no change of P(y | s).

Invariant: a function of the two histograms and of the scores left out; merged bins are runs of neighbouring bins.
Source: METHODS, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit

from streameval.detect.family import merged_edges
from streameval.detect.label_counts import Histogram, LabelCounts
from streameval.evidence.bins import BINS, EDGES
from streameval.order import union

Floats = npt.NDArray[np.float64]
Band = tuple[int, int]
"""Score bins from the first up to (not including) the second."""

_PSEUDO: Final = 2.0
_MIDDLE: Final[Floats] = logit(np.clip((EDGES[:BINS] + np.minimum(EDGES[1:], 1.0)) / 2.0, 2.0**-31, 1.0 - 2.0**-31))


def without(histogram: Histogram, bands: Sequence[Band]) -> LabelCounts:
    """A histogram without the scores of some bands.

    >>> counts = LabelCounts(np.array([3, 5, 9], np.int16), np.ones((2, 3), np.int64))
    >>> without(counts, [(4, 9)]).bins.tolist()
    [3, 9]
    """
    kept = np.ones(histogram.bins.size, dtype=np.bool_)
    for low, high in bands:
        kept &= (histogram.bins < low) | (histogram.bins >= high)
    return LabelCounts(histogram.bins[kept], histogram.counts[:, kept])


def merge_until(parts: Floats, least: Floats) -> npt.NDArray[np.intp]:
    """Where merged bins begin: neighbours are joined until each of the rows holds its least; a rest joins the last.

    `parts` is float64[r, k], `least` float64[r]; the positions are ascending from 0.

    >>> merge_until(np.array([[3.0, 3.0, 3.0, 1.0]]), np.array([5.0])).tolist()
    [0]
    >>> merge_until(np.array([[3.0, 3.0, 3.0, 2.0, 1.0]]), np.array([5.0])).tolist()
    [0, 2]
    """
    cumulated = np.concatenate([np.zeros((parts.shape[0], 1)), np.cumsum(parts, axis=1)], axis=1)
    starts, at = [0], 0
    while True:
        # The first end at which every row has its least since the last start.
        wanted = cumulated[:, at] + least
        ends = [int(np.searchsorted(row, want - 1e-9)) for row, want in zip(cumulated, wanted, strict=True)]
        end = max(ends)
        if end > parts.shape[1]:
            break
        starts.append(end)
        at = end
    # The last start begins a rest that holds too little, or nothing.
    return np.array(starts[:-1] or [0], dtype=np.intp)


@dataclass(frozen=True, slots=True)
class WindowPair:
    """The windows before and after a change on the k score bins that either of them fills.

    `bins` is int16[k]; `before` and `after` are float64[2, k], events by label; `p` is float64[k], the curve of the
    window before.
    """

    bins: npt.NDArray[np.int16]
    before: Floats
    after: Floats
    p: Floats

    @classmethod
    def of(cls, before: Histogram, after: Histogram) -> WindowPair:
        """Both windows, with the curve of the one before; it must hold both labels."""
        bins = union(before.bins, after.bins)
        wide = np.zeros((2, 2, bins.size))
        for place, window in enumerate((before, after)):
            wide[place][:, np.searchsorted(bins, window.bins)] = window.counts
        return cls(bins, wide[0], wide[1], curve_of(before, bins))


def curve_of(before: Histogram, bins: npt.NDArray[np.int16]) -> Floats:
    """float64[k]: P(y | s) at score bins int16[k], as a histogram with both labels shows it; it never falls."""
    edges = merged_edges(before)
    cell = np.searchsorted(edges, before.bins, side="right") - 1
    size = edges.size - 1
    n = np.bincount(cell, weights=before.counts.sum(axis=0), minlength=size)
    k = np.bincount(cell, weights=before.counts[1], minlength=size)
    places = np.bincount(cell, weights=before.counts.sum(axis=0) * _MIDDLE[before.bins], minlength=size)
    held = n > 0.0
    n, k, place = n[held], k[held], places[held] / n[held]
    prevalence = k.sum() / n.sum()
    rate = isotonic_regression((k + _PSEUDO * prevalence) / (n + _PSEUDO), weights=n + _PSEUDO).x
    p: Floats = expit(np.interp(_MIDDLE[bins], place, logit(np.clip(rate, 1e-9, 1.0 - 1e-9))))
    return p
