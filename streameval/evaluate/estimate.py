"""An estimate: a number with the interval in which the truth lies with 95 % confidence.

Invariant: `low <= value <= high`, never nan. An end is infinite where the data bound nothing on that side; a number
that is not defined is absent.

Sources: Brown, Cai and DasGupta (2001) for the Jeffreys interval of a proportion; Fay and Feuer (1997, "Confidence
intervals for directly standardized rates") for sums of few amounts; Donner and Zou (2002, 2012, "MOVER") for sums of
estimates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaincinv, gammaincinv

Floats = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""The confidence of every published interval."""

Z: Final = 1.959963984540054
"""The normal quantile that belongs to it."""

_PRECISION: Final = 1e-7

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


def summed(total: float, variance: float, further: float) -> Estimate:
    """The interval of a sum of amounts above 0, of which few may have come: a quantile of gamma laws at each end.

    A normal interval is symmetric, and so too low where the sum stands on a handful of amounts.

    Args:
        total: The amounts' sum.
        variance: Its variance; the sum of their squares, where they come as they please.
        further: What one more might amount to.

    >>> [round(x, 3) for x in summed(0.0, 0.0, 1.0)], [round(x, 2) for x in summed(10.0, 10.0, 1.0)]
    ([0.0, 0.0, 3.689], [10.0, 4.8, 18.39])
    """
    reached, spread = total + further, variance + further * further
    if not (total >= 0.0 and spread > 0.0 and reached > 0.0):
        return Estimate(total, total, total)
    high = float(gammaincinv(reached * reached / spread, 1.0 - TAIL)) * spread / reached
    low = 0.0
    if total > 0.0 and variance > 0.0:
        low = float(gammaincinv(total * total / variance, TAIL)) * variance / total
    return Estimate(total, min(low, total), max(high, total))


def together(parts: Iterable[Estimate]) -> Estimate:
    """The sum of independent estimates, each side's distances added as squares.

    >>> together([Estimate(1.0, 0.7, 2.0), Estimate(2.0, 1.6, 2.0)])
    Estimate(value=3.0, low=2.5, high=4.0)
    """
    parts = list(parts)
    value = sum(p.value for p in parts)
    low, high = (math.hypot(*(p.value - p[end] for p in parts)) for end in (1, 2))
    return Estimate(value, value - low, value + high)


def wilson(value: float, n: float) -> Estimate:
    """Wilson's interval of a number in [0, 1] whose variance at a truth t is t (1 - t) / n.

    >>> [round(x, 4) for x in wilson(0.0, 10.0)]
    [0.0, 0.0, 0.2775]
    """
    square = Z * Z / n
    centre = (value + 0.5 * square) / (1.0 + square)
    reach = math.sqrt(square * value * (1.0 - value) + 0.25 * square * square) / (1.0 + square)
    return Estimate(value, min(value, max(0.0, centre - reach)), max(value, min(1.0, centre + reach)))


def score_interval(value: float, variance: Callable[[float], float]) -> Estimate:
    """Of a number in [0, 1] whose variance depends on the truth: all truths from which `value` is less than z away.

    `variance` is 0 at 0 and at 1. With that of a proportion this is Wilson's interval, to six digits.

    >>> [round(x, 4) for x in score_interval(0.1, lambda p: p * (1.0 - p) / 10)], round(wilson(0.1, 10).high, 4)
    ([0.1, 0.0179, 0.4042], 0.4042)
    """

    def beyond(truth: float) -> float:
        return (truth - value) ** 2 - Z * Z * variance(truth)

    low = brentq(beyond, 0.0, value, xtol=_PRECISION) if beyond(0.0) > 0.0 > beyond(value) else 0.0
    high = brentq(beyond, value, 1.0, xtol=_PRECISION) if beyond(1.0) > 0.0 > beyond(value) else 1.0
    return Estimate(value, min(low, value), max(high, value))


def proportion(successes: float, failures: float) -> Estimate:
    """The Jeffreys interval of a proportion; its ends are 0 and 1 where nothing, or everything, succeeded.

    >>> [round(x, 4) for x in proportion(3, 7)]
    [0.3, 0.0927, 0.6058]
    """
    low, high = betaincinv(successes + 0.5, failures + 0.5, (TAIL, 1.0 - TAIL)).tolist()
    return Estimate(successes / (successes + failures), low if successes else 0.0, high if failures else 1.0)


def wilsons(values: Floats, n: Floats) -> tuple[Floats, Floats]:
    """The ends of `wilson` of many, float64[m] each; of a plot's dozen points at a thirtieth of Jeffreys' time.

    >>> [round(x.item(), 4) for x in wilsons(np.array([0.0]), np.array([10.0]))]
    [0.0, 0.2775]
    """
    square = Z * Z / n
    centre = values + 0.5 * square
    reach = np.sqrt(square * values * (1.0 - values) + 0.25 * square * square)
    low, high = (centre - reach) / (1.0 + square), (centre + reach) / (1.0 + square)
    return np.clip(low, 0.0, values), np.clip(high, values, 1.0)
