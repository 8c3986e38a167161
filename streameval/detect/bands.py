"""Bands: a coarse, fixed grid of scores, for what must be counted before a reference can say which bins matter.

While a reference is learnt there are no merged bins yet, and the hours of three weeks are too many to keep as score
histograms. Both count by band and label instead: the residual y - s is ranked, and its seasons are fitted, closely
enough.

Invariant: the grid is a constant, so counts of any two steps add up. A cell is `label * BANDS + band`.
Source: METHODS, section 1 (season, short reference).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.detect.label_counts import Histogram
from streameval.evidence.bins import BINS, EDGES, threshold_bin

_STARTS: Final = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)

BANDS: Final = len(_STARTS)
"""How many bands of scores there are."""

_EDGES: Final = np.array([*(threshold_bin(start) for start in _STARTS), BINS], dtype=np.int64)

BAND_OF: Final = np.repeat(np.arange(BANDS, dtype=np.int64), np.diff(_EDGES))
"""int64[BINS]: the band of each score bin."""

MIDDLE: Final = (EDGES[_EDGES[:-1]] + np.minimum(EDGES[_EDGES[1:]], 1.0)) / 2.0
"""float64[BANDS]: the score in the middle of each band."""


def band_counts(histogram: Histogram) -> npt.NDArray[np.int64]:
    """int64[2 * BANDS]: a histogram's events by label and band.

    >>> from streameval.detect.label_counts import LabelCounts
    >>> counts = band_counts(LabelCounts(np.array([0, 3], np.int16), np.array([[2, 1], [0, 4]])))
    >>> (int(counts[0]), int(counts[BANDS]))
    (3, 4)
    """
    band = BAND_OF[histogram.bins]
    found: list[npt.NDArray[Any]] = [
        np.bincount(band, weights=histogram.counts[label], minlength=BANDS) for label in (0, 1)
    ]
    return np.concatenate(found).astype(np.int64)
