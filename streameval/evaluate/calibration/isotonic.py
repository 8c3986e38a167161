"""Isotonic regression on cells, leaning on Platt where there is little data.

Each cell's share of positives is (k + 2 p)/(n + 2), p being the Platt map's value there: two pseudo-examples. The
pool-adjacent-violators algorithm with weights n + 2 makes the shares monotone; between cells the map is linear.

Invariant: the knots are the map: interpolating them is exact.

Source: METHODS, section 2; Zadrozny and Elkan (2002).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from scipy.optimize import isotonic_regression

from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evaluate.calibration.cells import DecayedCells
from streameval.evaluate.calibration.platt import logistic_curve, logistic_of
from streameval.evidence.merge import Floats

_PSEUDO: Final = 2.0


class Isotonic(Calibrator):
    """The monotone step curve of the faded counts, linear between cells.

    >>> Isotonic().predict_one(0.3)
    0.3
    """

    name: ClassVar[str] = "isotonic"

    def __init__(self, half_life: float = 10_000.0, learnt: DecayedCells | None = None) -> None:
        super().__init__(half_life, learnt)
        self._x: Floats = np.array([0.0, 1.0])
        self._y: Floats = np.array([0.0, 1.0])

    def predict_many(self, score: Floats) -> Floats:
        """The curve's values, by linear interpolation."""
        return np.interp(score, self._x, self._y)

    def knots(self) -> tuple[Floats, Floats]:
        """The curve's own points, at most 235; the interpolation is exact."""
        return self._x.copy(), self._y.copy()

    def _fit(self) -> None:
        cells = self._learnt.cells
        n = cells.counts[0] + cells.counts[1]
        x = cells.means
        weight = n + _PSEUDO
        share = (cells.counts[1] + _PSEUDO * logistic_curve(*logistic_of(self._learnt), x)) / weight
        y = np.clip(isotonic_regression(share, weights=weight).x, 0.0, 1.0)
        # Inside a level stretch only its two ends matter.
        bent = np.ones(len(y), np.bool_)
        bent[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
        self._x, self._y = x[bent], y[bent]

    def _parameters(self) -> dict[str, Any]:
        return {"x": self._x, "y": self._y}

    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        self._x, self._y = parameters["x"], parameters["y"]
