"""Score bins: where a probability is counted.

The bins are log-linear near 0 and near 1: with m = min(s, 1 - s) a bin is one of 128 equal parts of an octave of m,
from 2^-30 to 2^-1, and one underflow bin at each end. The score .5, which many models say when they know nothing, has a
bin of its own in the middle. Fine bins where scores are rare keep the AUC of a histogram within 1e-4 of the exact one,
also at a prevalence of 0.1 %; uniform bins do not.

Invariant: bin b holds exactly the floats s with ``EDGES[b] <= s < EDGES[b + 1]``, and `bin_of` is monotone. So
"positive iff s >= t" with t a lower edge is a suffix of bins, without any rounding.

Source: METHODS, section 0.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np
import numpy.typing as npt

_MANTISSA_BITS: Final = 7
_SHIFT: Final = 52 - _MANTISSA_BITS
_OCTAVES: Final = 29
_LOWEST: Final = 2.0**-30

HALF: Final = _OCTAVES * 2**_MANTISSA_BITS + 1
"""The bin of the score .5: as many bins lie below it as above."""

BINS: Final = 2 * HALF + 1
"""How many bins there are."""

# The bits of a positive float, read as an integer, are monotone in its value: their upper part numbers the sub-octaves.
_BASE: Final = (int(np.float64(_LOWEST).view(np.int64)) >> _SHIFT) - 1


def _edges() -> npt.NDArray[np.float64]:
    codes = np.arange(_BASE + 1, _BASE + 1 + HALF, dtype=np.int64) << _SHIFT
    lower = np.concatenate(([0.0], codes.view(np.float64)))
    # 1 - m is exact here: an edge m has 8 significant bits and is at least 2^-30.
    upper = 1.0 - lower[1:HALF][::-1]
    return np.concatenate((lower, [np.nextafter(0.5, 1.0)], upper, [np.nextafter(1.0, 2.0)]))


EDGES: Final = _edges()
"""float64[BINS + 1]: the bins' lower edges, and the float after 1.0 at the end."""
EDGES.setflags(write=False)
_LIST: Final[list[float]] = EDGES.tolist()  # one look-up in a list takes a tenth of that in an array


def bin_of(score: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    """The bin of each score.

    `score` is float64[n] in [0, 1] (not checked: the contract has rejected all else); the answer is int16[n].

    >>> bin_of(np.array([0.0, 0.5, 1.0])).tolist() == [0, HALF, BINS - 1]
    True
    """
    upper = score > 0.5
    bits = np.minimum(score, 1.0 - score).view(np.int64)
    # Mirrored bins hold (low, high] of m = 1 - s: as intervals of s they are closed on the left like the others.
    bits = bits - upper
    index = np.maximum((bits >> _SHIFT) - _BASE, 0).astype(np.int16)
    bins: npt.NDArray[np.int16] = np.where(upper, np.int16(BINS - 1) - index, index)
    return bins


def threshold_bin(threshold: float) -> int:
    """The first bin that is positive at a threshold: s >= t, acting from the lower edge of the bin that holds t.

    A threshold of at most 0 gives 0 (all positive), one above 1 gives `BINS` (none positive).

    >>> threshold_bin(0.5) == HALF, threshold_bin(0.0), threshold_bin(1.5) == BINS
    (True, 0, True)
    """
    if not 0.0 <= threshold <= 1.0:
        return BINS if threshold > 1.0 else 0
    return bisect_right(_LIST, threshold) - 1
