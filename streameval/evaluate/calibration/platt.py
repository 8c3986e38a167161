"""Platt scaling on cells: a logistic curve of the score's logit, fitted to faded counts.

The fit is the posterior mode under the prior N((0, 1), I) on (intercept, slope): without data the map is the identity.
Newton's method on at most 235 cells costs some tens of microseconds.

Invariant: the slope is at least 0, so the map is monotone; where the data ask for less, the mode on that edge is taken.

Source: METHODS, section 2; Platt (1999).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from scipy.special import expit

from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evaluate.calibration.cells import DecayedCells, logit_of
from streameval.evidence.merge import Floats

_STEPS: Final = 50
# Newton's error squares with each step: after one of 1e-5, about 1e-10 is left.
_TOLERANCE: Final = 1e-5


def fit_logistic(z: Floats, n: Floats, k: Floats, start: tuple[float, float], free_slope: bool) -> tuple[float, float]:
    """The posterior mode (a, b) of expit(a + b z) for k positives among n at each z, under the prior N((0, 1), I).

    With `free_slope` false the slope stays that of `start` (which only the intercept's prior then judges).
    """
    a, b = start
    value = math.inf
    step_a = step_b = 0.0
    for _ in range(_STEPS):
        eta = a + b * z
        new = float(n @ np.logaddexp(0.0, eta) - k @ eta) + 0.5 * (a * a + (b - 1.0) ** 2)
        if new > value + 1e-12 * abs(value):
            # Newton overshot: half the step still descends, for the objective is convex.
            step_a, step_b = 0.5 * step_a, 0.5 * step_b
            a, b = a - step_a, b - step_b
            continue
        value = new
        p = expit(eta)
        expected = n * p
        residual = expected - k
        weight = expected * (1.0 - p)
        g_a = float(residual.sum()) + a
        h_aa = float(weight.sum()) + 1.0
        if free_slope:
            wz = weight * z
            g_b, h_ab, h_bb = float(residual @ z) + b - 1.0, float(wz.sum()), float(wz @ z) + 1.0
            determinant = h_aa * h_bb - h_ab * h_ab
            step_a = -(h_bb * g_a - h_ab * g_b) / determinant
            step_b = -(h_aa * g_b - h_ab * g_a) / determinant
        else:
            step_a, step_b = -g_a / h_aa, 0.0
        a, b = a + step_a, b + step_b
        if abs(step_a) + abs(step_b) < _TOLERANCE:
            break
    return a, b


def logistic_of(learnt: DecayedCells) -> tuple[float, float]:
    """The logistic curve (intercept, slope) of faded cells; fitted once, however many ask."""
    if not learnt.logistic_made:
        _, z, n, k = learnt.filled
        a, b = fit_logistic(z, n, k, learnt.logistic, free_slope=True)
        if b < 0.0:
            a, b = fit_logistic(z, n, k, (0.0, 0.0), free_slope=False)
        learnt.logistic, learnt.logistic_made = (a, b), True
    return learnt.logistic


def logistic_curve(intercept: float, slope: float, score: Floats) -> Floats:
    """expit(intercept + slope logit(score)); the scores themselves, to the bit, where that is the identity."""
    if intercept == 0.0 and slope == 1.0:
        return score.copy()
    p: Floats = expit(intercept + slope * logit_of(score))
    return p


class Platt(Calibrator):
    """expit(a + b logit(score)), with a and b fitted to the faded counts.

    >>> Platt().predict_one(0.3)
    0.3
    """

    name: ClassVar[str] = "platt"

    def __init__(self, half_life: float = 10_000.0, learnt: DecayedCells | None = None) -> None:
        super().__init__(half_life, learnt)
        self.intercept = 0.0
        self.slope = 1.0

    def predict_many(self, score: Floats) -> Floats:
        """The logistic curve, exactly."""
        return logistic_curve(self.intercept, self.slope, score)

    def _fit(self) -> None:
        self.intercept, self.slope = logistic_of(self._learnt)

    def _parameters(self) -> dict[str, Any]:
        return {"intercept": self.intercept, "slope": self.slope}

    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        self.intercept, self.slope = parameters["intercept"], parameters["slope"]
