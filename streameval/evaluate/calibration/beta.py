"""Beta calibration on cells: the odds as a power of the score times a power of its complement.

logit p = c + a ln s - b ln(1 - s). Unlike a logistic curve (a = b) it can bend the two ends of the scores apart, as is
needed where the scores of each class are Beta distributed. The fit is the posterior mode under the prior
N((0, 1, 1), I) on (c, a, b): without data the map is the identity.

Invariant: a and b are at least 0, so the map is monotone; where the data ask for less, the mode on that edge is taken.

Source: Kull, Silva Filho and Flach (2017, "Beta calibration"); METHODS, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from scipy.special import expit

from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evaluate.calibration.cells import SCORE_CLIP, DecayedCells
from streameval.evidence.merge import Floats

_STEPS: Final = 50
_TOLERANCE: Final = 1e-5
_IDENTITY: Final[Floats] = np.array([0.0, 1.0, 1.0])
_EYE: Final[Floats] = np.eye(3)
_EDGES: Final = ([0, 1, 2], [0, 2], [0, 1], [0])
"""Which of c, a, b are free: all of them, then, where the mode asks for a negative power, on an edge."""


def _features(score: Floats) -> Floats:
    """float64[3, n]: 1, ln s, -ln(1 - s)."""
    inside = np.clip(score, SCORE_CLIP, 1.0 - SCORE_CLIP)
    return np.stack((np.ones_like(inside), np.log(inside), -np.log1p(-inside)))


def _mode(x: Floats, n: Floats, k: Floats, start: Floats, free: list[int]) -> Floats:
    """The posterior mode with the powers that are not free held at 0."""
    held = [i for i in range(3) if i not in free]
    at = start.copy()
    at[held] = 0.0
    value = math.inf
    step = np.zeros(3)
    for _ in range(_STEPS):
        eta = at @ x
        off = at - _IDENTITY
        new = float(n @ np.logaddexp(0.0, eta) - k @ eta) + 0.5 * float(off @ off)
        if new > value + 1e-12 * abs(value):
            # Newton overshot: half the step still descends, for the objective is convex.
            step = 0.5 * step
            at = at - step
            continue
        value = new
        p = expit(eta)
        expected = n * p
        gradient = x @ (expected - k) + off
        curvature = (x * (expected * (1.0 - p))) @ x.T + _EYE
        gradient[held] = 0.0
        curvature[held, :] = curvature[:, held] = 0.0
        curvature[held, held] = 1.0
        step = np.linalg.solve(curvature, -gradient)
        at = at + step
        if float(np.abs(step).sum()) < _TOLERANCE:
            break
    return at


class Beta(Calibrator):
    """expit(c + a ln(score) - b ln(1 - score)), fitted to the faded counts.

    >>> Beta().predict_one(0.3)
    0.3
    """

    name: ClassVar[str] = "beta"

    def __init__(self, half_life: float = 10_000.0, learnt: DecayedCells | None = None) -> None:
        super().__init__(half_life, learnt)
        self._at: Floats = _IDENTITY.copy()

    @property
    def intercept(self) -> float:
        """The parameter c."""
        return float(self._at[0])

    @property
    def powers(self) -> tuple[float, float]:
        """The powers (a, b) of the score and of its complement."""
        return float(self._at[1]), float(self._at[2])

    def predict_many(self, score: Floats) -> Floats:
        """The curve, exactly."""
        if np.array_equal(self._at, _IDENTITY):
            return score.copy()
        p: Floats = expit(self._at @ _features(score))
        return p

    def _fit(self) -> None:
        scores, _, n, k = self._learnt.filled
        x = _features(scores)
        start = self._at
        for free in _EDGES:
            at = _mode(x, n, k, start, free)
            if at[1] >= 0.0 and at[2] >= 0.0:
                self._at = at
                return
            start = _IDENTITY

    def _parameters(self) -> dict[str, Any]:
        return {"at": self._at}

    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        self._at = parameters["at"]
