"""Confidence bounds of a mean from counts: what a detector may believe of its reference.

0/1 values have the exact Clopper-Pearson bound. For values in [0, 1] a betting bound: for a candidate mean m the
capital K(m) = mean_j prod_i (1 + l_j (m - x_i)) has expectation at most 1 if the mean is at least m, so the m with K(m)
>= 1/alpha are refused. The bets are fixed beforehand, so the capital does not depend on the order of the values and is
a function of counts; it is monotone in m, so a root search finds the bound.

Invariant: each side holds with probability 1 - alpha at least.
Source: METHODS, section 1; Clopper & Pearson 1934; Waudby-Smith & Ramdas 2024 (arXiv 2010.09686, grid of bets).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaincinv

ALPHA: Final = 0.001
"""One side of a 99.9 % bound."""

_DEVIATIONS: Final = np.geomspace(0.5, 0.012, 8)
_LARGEST: Final = 0.95


def clopper_pearson(successes: float, events: float, alpha: float = ALPHA) -> tuple[float, float]:
    """The lower and the upper bound of a proportion, each at 1 - alpha.

    >>> [round(b, 4) for b in clopper_pearson(500, 10_000)]
    [0.0435, 0.0571]
    """
    failures = events - successes
    low = float(betaincinv(successes, failures + 1.0, alpha)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1.0, failures, 1.0 - alpha)) if failures > 0 else 1.0
    return low, high


def betting(
    values: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], alpha: float = ALPHA
) -> tuple[float, float]:
    """The lower and the upper bound of the mean of values in [0, 1], each at 1 - alpha.

    `values` and `counts` are float64[k]: each value, and how often it was seen.

    >>> low, high = betting(np.array([0.0, 1.0]), np.array([9500.0, 500.0]))
    >>> bool(0.041 < low < 0.05 < high < 0.06)
    True
    """
    seen = counts > 0
    values, counts = values[seen], counts[seen]
    return 1.0 - _upper(1.0 - values, counts, alpha), _upper(values, counts, alpha)


def _upper(values: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], alpha: float) -> float:
    if counts.size == 0:
        return 1.0
    values, inverse = np.unique(values, return_inverse=True)
    counts = np.bincount(inverse, weights=counts).astype(np.float64)
    # The best bet against n values of a known deviation; n is fixed beforehand, the deviation is a grid.
    best = np.sqrt(-2.0 * np.log(alpha) / counts.sum()) / _DEVIATIONS

    def log_capital(mean: float) -> float:
        bet = np.minimum(best, _LARGEST / (1.0 - mean))[:, None]
        terms = np.log1p(bet * (mean - values)) @ counts
        # scipy's logsumexp, without the tenfold cost of its generality: this is called some hundred times a reference.
        top = terms.max()
        return float(top + np.log(np.exp(terms - top).sum()) - np.log(_DEVIATIONS.size) + np.log(alpha))

    low, high = float(values @ counts / counts.sum()), 1.0 - 1e-9
    if low >= high or log_capital(high) <= 0.0:
        return 1.0
    return float(brentq(log_capital, low, high, xtol=1e-9))
