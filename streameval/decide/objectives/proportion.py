"""A target proportion: whether k of n holds it, with confidence.

The posterior of a proportion under a flat prior is Beta(k + 1, n - k + 1). A target holds where the posterior's 5 %
quantile is at or above it. A threshold is moved only where the posterior leaves no doubt, at z standard errors: missed,
where almost none of it lies above the target; slack, where almost all does even beyond the margin that a solution keeps
by itself.

Source: METHODS, section 4.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv, ndtr

from streameval.decide.objectives.objective import Standing

MARGIN: Final = 0.05
_MARGIN_Z: Final = 1.6449

Floats = npt.NDArray[np.float64]


def holds(hits: npt.NDArray[Any], misses: npt.NDArray[Any], target: float) -> npt.NDArray[np.bool_]:
    """bool[n]: where the 5 % quantile of Beta(hits + 1, misses + 1) is at least the target.

    >>> holds(np.array([90, 99]), np.array([10, 1]), 0.9).tolist()
    [False, True]
    """
    # The share of the posterior below the target: the same question, without inverting the distribution.
    below: Floats = betainc(hits + 1.0, misses + 1.0, target)
    return below <= MARGIN


def lower_bound(hits: Any, misses: Any) -> Floats:
    """float64[n]: the 5 % quantile of Beta(hits + 1, misses + 1)."""
    bound: Floats = betaincinv(hits + 1.0, misses + 1.0, MARGIN)
    return bound


def standing(hits: int, misses: int, target: float, z: float) -> Standing:
    """Whether hits of hits + misses miss a target, hold it, or hold it with much to spare.

    >>> standing(700, 300, 0.9, 3.5), standing(905, 95, 0.9, 3.5), standing(990, 10, 0.9, 3.5)
    ('missed', 'held', 'slack')
    """
    below = float(betainc(hits + 1.0, misses + 1.0, target))
    if 1.0 - below < float(ndtr(-z)):
        return "missed"
    return "slack" if below < float(ndtr(-z - _MARGIN_Z)) else "held"
