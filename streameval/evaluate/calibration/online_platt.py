"""Online Platt scaling: the logistic curve of the score's logit, moved by online Newton steps and never refitted.

With u = (logit(s), 1) and g = (p - y) u, an example moves A <- A + g g' and θ <- Proj(θ - A⁻¹ g / γ); θ = (slope,
intercept) begins at (1, 0), A at 100 I, γ = .1. It needs no half-life: a step is ten times Newton's, so that it keeps
up with drift, and shrinks as A grows.

In the batch form g and g g' are sums over a step's examples. One such move for a whole step would overshoot ninefold
while A holds little more than the step itself, so a step is taken in parts, each adding at most the share γ to A (the
first steps in some tens of parts, later ones in one or two). A step of one example is always one move, that of the
paper.

Invariant: the slope is at least 0 and the norm of θ at most 100; projections are in the norm of A, as the paper's
regret bound needs. Both sets are convex, so projecting on their intersection by turns keeps to both.

Source: Gupta and Ramdas (2023, "Online Platt Scaling with Calibeating", arXiv 2305.00070), algorithm 1; METHODS,
section 2: scores are clipped at 1e-4, for the published .01 does harm at a low prevalence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from streameval.evaluate.calibration.calibrator import KNOTS, Calibrator
from streameval.evaluate.calibration.cells import DecayedCells
from streameval.evidence.merge import Floats

_GAMMA: Final = 0.1
_START: Final = 100.0
_RADIUS: Final = 100.0
_CLIP: Final = 1e-4


class OnlinePlatt(Calibrator):
    """expit(b + a logit(score)), with a and b moved by online Newton steps.

    `clip` keeps scores away from 0 and 1.

    >>> c = OnlinePlatt()
    >>> c.predict_one(0.8), round(c.learn_one(0.8, 0).predict_one(0.8), 3)
    (0.8, 0.761)
    """

    name: ClassVar[str] = "online_platt"

    def __init__(self, half_life: float = 10_000.0, learnt: DecayedCells | None = None, clip: float = _CLIP) -> None:
        super().__init__(half_life, learnt)
        self.clip = clip
        self._theta: Floats = np.array([1.0, 0.0])
        self._a: Floats = _START * np.eye(2)

    @property
    def slope(self) -> float:
        """The slope on the logit."""
        return float(self._theta[0])

    @property
    def intercept(self) -> float:
        """The intercept on the logit."""
        return float(self._theta[1])

    def predict_many(self, score: Floats) -> Floats:
        """The logistic curve of the clipped scores, exactly; before anything is learnt the scores themselves."""
        if self.slope == 1.0 and self.intercept == 0.0:
            return score.copy()
        p: Floats = expit(self.slope * self._logit(score) + self.intercept)
        return p

    def knots(self) -> tuple[Floats, Floats]:
        """The cells' edges, as for all smooth maps, and the two scores beyond which this one is level."""
        x = np.union1d(KNOTS, [self.clip, 1.0 - self.clip])
        return x, self.predict_many(x)

    def _logit(self, score: Floats) -> Floats:
        z: Floats = logit(np.clip(score, self.clip, 1.0 - self.clip))
        return z

    def _fit(self) -> None:
        new = self._learnt.latest
        held = np.flatnonzero(new.counts[0] + new.counts[1])
        if not len(held):
            return
        z = self._logit(new.means[held])
        n0, n1 = new.counts[:, held]
        events = float(n0.sum() + n1.sum())
        left = 1.0
        while left > 0.0:
            p = expit(self.slope * z + self.intercept)
            residual = n0 * p - n1 * (1.0 - p)
            weight = n0 * p * p + n1 * (1.0 - p) ** 2
            wz = weight * z
            g = np.array([residual @ z, residual.sum()])
            cross = float(wz.sum())
            added = np.array([[float(wz @ z), cross], [cross, float(weight.sum())]])
            growth = float(np.trace(np.linalg.solve(self._a, added)))
            part = min(left, max(_GAMMA / growth, 1.0 / events)) if growth > 0.0 else left
            self._a = self._a + part * added
            self._theta = _projected(self._theta - np.linalg.solve(self._a, part * g) / _GAMMA, self._a)
            # What is left of the last part is rounding.
            left = left - part if left - part > 1e-9 else 0.0

    def _parameters(self) -> dict[str, Any]:
        return {"theta": self._theta, "a": self._a, "clip": self.clip}

    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        self._theta, self._a, self.clip = parameters["theta"], parameters["a"], parameters["clip"]


def _projected(theta: Floats, a: Floats) -> Floats:
    """The nearest point in the norm of a with slope >= 0 and norm <= 100."""
    if theta[0] < 0.0:
        theta = np.array([0.0, theta[1] + theta[0] * a[0, 1] / a[1, 1]])
    if theta @ theta > _RADIUS**2:
        values, vectors = np.linalg.eigh(a)
        along = vectors.T @ theta

        def excess(multiplier: float) -> float:
            return float((((values / (values + multiplier)) * along) ** 2).sum()) - _RADIUS**2

        highest = float(values.max()) * float(np.sqrt(theta @ theta)) / _RADIUS
        theta = vectors @ ((values / (values + brentq(excess, 0.0, highest))) * along)
        theta[0] = max(theta[0], 0.0)
    return theta
