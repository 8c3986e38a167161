"""Coarse bins: 8 neighbouring score bins each, for scores that wait in memory without labels.

A sixteenth of an octave is finer than any merged bin that a test or a fit uses, and a group of waiting predictions
takes some hundred bytes instead of some thousand.

Invariant: a coarse bin is a run of score bins, so that counts are only added up.

Source: METHODS, sections 0 and 3 (tests and fits merge the bins).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.evidence.bins import BINS, EDGES

_SHIFT: Final = 3

COARSE: Final = ((BINS - 1) >> _SHIFT) + 1
"""How many coarse bins there are."""

CENTRES: Final[npt.NDArray[np.float64]] = 0.5 * (
    EDGES[:-1][:: 1 << _SHIFT] + np.minimum(np.append(EDGES[:-1][:: 1 << _SHIFT][1:], 1.0), 1.0)
)
"""float64[COARSE]: the middle of each."""
CENTRES.setflags(write=False)


def coarse_of(bins: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """int64[n]: the coarse bin of each score bin.

    >>> coarse_of(np.array([0, 7, 8], np.int16)).tolist()
    [0, 0, 1]
    """
    coarse: npt.NDArray[np.int64] = bins.astype(np.int64) >> _SHIFT
    return coarse


def coarse_counts(bins: npt.NDArray[np.integer[Any]], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64[COARSE]: counts int64[k] of score bins, by coarse bin.

    >>> coarse_counts(np.array([0, 7, 8], np.int16), np.array([1, 2, 3]))[:3].tolist()
    [3, 3, 0]
    """
    return np.bincount(coarse_of(bins), weights=counts, minlength=COARSE).astype(np.int64)
