"""Levels of a window that do not move with its prevalence: the loss, the KPIs and the decisions, class-standardised.

Log loss and revenue both rise with prevalence, so a model that never changes shows a sign disagreement of .93 to 1.
L* = pi_ref l_1 + (1 - pi_ref) l_0, the means within each class at one fixed prevalence, moves only with the model.

Invariant: a function of the within-class means; multiplying the number of positives changes no level.

Source: METHODS, section 6.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal, NamedTuple

import numpy as np

from streameval.evaluate.alignment.halves import Floats, Halves

Decision = Literal["cost", "f_beta"]
"""How decisions are priced: by the costs of their errors, or by F-beta."""


class Level(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


class Prices(NamedTuple):
    """What decisions are judged by: `kind`, and `(fp, fn)` costs or `(beta, 0)`."""

    kind: Decision
    first: float
    second: float


def level(sums: Halves, half: int, prevalence: float, prices: Prices) -> tuple[Level, dict[str, Level]]:
    """The loss and the KPIs of one half of a window, at a fixed prevalence.

    KPIs computed from decisions come under the name of their kind; a KPI that one of the classes lacks is left out.

    >>> h = Halves(np.full((2, 2), 4.0), np.full((2, 2), 1.0), np.full((2, 2), 2.0), np.full((2, 2), 1.5))
    >>> loss, kpis = level(h, 0, 0.1, Prices("cost", 1.0, 10.0))
    >>> loss.value, kpis["cost"].value
    (0.5, 0.975)
    """
    weights = np.array([1.0 - prevalence, prevalence])
    n = sums.events[half]
    loss = _mean(weights, n, sums.loss[half], sums.loss_sq[half])
    rates = sums.flagged[half] / n
    # One more of each, as for the gate: a mistake that was not seen is not one that cannot happen.
    spread = (sums.flagged[half] + 1.0) * (n - sums.flagged[half] + 1.0) / (n + 2.0) ** 2 / n
    kpis: dict[str, Level] = {prices.kind: _decisions(prices, rates, spread, prevalence)}
    for name, (count, total, square) in ((name, x[:, half]) for name, x in sums.kpis.items()):
        if (count >= 2.0).all():
            kpis[name] = _mean(weights, count, total, square)
    return loss, kpis


def difference(earlier: Level, later: Level) -> Level:
    """How far a level moved, of independent windows."""
    return Level(later.value - earlier.value, sqrt(earlier.error**2 + later.error**2))


def _mean(weights: Floats, n: Floats, total: Floats, square: Floats) -> Level:
    mean = total / n
    variance = np.maximum(square / n - mean * mean, 0.0) / np.maximum(n - 1.0, 1.0)
    return Level(float(weights @ mean), sqrt(float(weights**2 @ variance)))


def _decisions(prices: Prices, rates: Floats, spread: Floats, prevalence: float) -> Level:
    false, true = rates.tolist()
    if prices.kind == "cost":
        per_negative, per_positive = prices.first * (1.0 - prevalence), prices.second * prevalence
        value = per_negative * false + per_positive * (1.0 - true)
        slopes = np.array([per_negative, per_positive])
    else:
        weight = prices.first**2
        denominator = weight * prevalence + prevalence * true + (1.0 - prevalence) * false
        value = (1.0 + weight) * prevalence * true / denominator
        slopes = np.array(
            [
                -value * (1.0 - prevalence) / denominator,
                ((1.0 + weight) * prevalence - value * prevalence) / denominator,
            ]
        )
    return Level(value, sqrt(float(slopes**2 @ spread)))
