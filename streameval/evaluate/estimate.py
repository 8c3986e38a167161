"""An estimate: a number with the interval in which the truth lies with 95 % confidence.

Invariant: `low <= value <= high`, all finite. A number that is not defined is absent, never nan.

Source: Brown, Cai and DasGupta (2001) for the Jeffreys interval of a proportion.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

Floats = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""The confidence of every published interval."""

Z: Final = 1.959963984540054
"""The normal quantile that belongs to it."""

TAIL: Final = (1.0 - CONFIDENCE) / 2.0


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def normal(value: float, se: float, floor: float = -math.inf, ceiling: float = math.inf) -> Estimate:
    """The normal interval of a mean with standard error `se`, cut at the range of what is estimated.

    >>> normal(0.5, 0.1, ceiling=0.6).high
    0.6
    """
    return Estimate(value, max(floor, value - Z * se), min(ceiling, value + Z * se))


def on_logit(value: float, se: float) -> Estimate:
    """The interval of a number in (0, 1) with standard error `se`, normal on the logit, so that it stays inside.

    >>> [round(x, 3) for x in on_logit(0.9, 0.05)]
    [0.9, 0.752, 0.964]
    """
    reach = math.exp(Z * se / (value * (1.0 - value)))
    odds = value / (1.0 - value)
    return Estimate(value, odds / reach / (1.0 + odds / reach), odds * reach / (1.0 + odds * reach))


def proportion(successes: float, failures: float) -> Estimate:
    """The Jeffreys interval of a proportion; its ends are 0 and 1 where nothing, or everything, succeeded.

    >>> [round(x, 4) for x in proportion(3, 7)]
    [0.3, 0.0927, 0.6058]
    """
    low, high = betaincinv(successes + 0.5, failures + 0.5, (TAIL, 1.0 - TAIL)).tolist()
    return Estimate(successes / (successes + failures), low if successes else 0.0, high if failures else 1.0)


def proportions(successes: Floats, failures: Floats) -> tuple[Floats, Floats, Floats]:
    """`proportion` of many: `(value, low, high)`, float64[n] each.

    >>> [round(x[0].item(), 4) for x in proportions(np.array([3.0]), np.array([7.0]))]
    [0.3, 0.0927, 0.6058]
    """
    a, b = successes + 0.5, failures + 0.5
    low = np.where(successes > 0.0, betaincinv(a, b, TAIL), 0.0)
    high = np.where(failures > 0.0, betaincinv(a, b, 1.0 - TAIL), 1.0)
    return successes / (successes + failures), low, high
