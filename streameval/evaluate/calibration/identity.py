"""The identity: the score as it is. The champion until something else has proved better.

Invariant: it never learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evidence.merge import Floats


class Identity(Calibrator):
    """The score is the probability.

    >>> Identity().predict_one(0.3)
    0.3
    """

    name: ClassVar[str] = "identity"

    def predict_many(self, score: Floats) -> Floats:
        """The scores themselves."""
        return score.copy()

    def knots(self) -> tuple[Floats, Floats]:
        """Two points; the interpolation is exact."""
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])

    def _fit(self) -> None:
        """Nothing to fit."""

    def _parameters(self) -> dict[str, Any]:
        return {}

    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Nothing to set."""
