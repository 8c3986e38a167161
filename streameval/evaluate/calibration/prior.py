"""Prior shift: the logit of the score, moved by one intercept. The right map when only the prevalence has changed.

Invariant: the order and the ratio of odds between scores stay as they are.

Source: METHODS, sections 2 and 3; Elkan (2001).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evaluate.calibration.cells import DecayedCells
from streameval.evaluate.calibration.platt import fit_logistic, logistic_curve
from streameval.evidence.merge import Floats


class PriorShift(Calibrator):
    """expit(a + logit(score)), with a fitted to the faded counts under the prior N(0, 1).

    >>> PriorShift().predict_one(0.3)
    0.3
    """

    name: ClassVar[str] = "prior"

    def __init__(self, half_life: float = 10_000.0, learnt: DecayedCells | None = None) -> None:
        super().__init__(half_life, learnt)
        self.intercept = 0.0

    def predict_many(self, score: Floats) -> Floats:
        """The shifted odds, exactly."""
        return logistic_curve(self.intercept, 1.0, score)

    def _fit(self) -> None:
        _, z, n, k = self._learnt.filled
        self.intercept, _ = fit_logistic(z, n, k, (self.intercept, 1.0), free_slope=False)

    def _parameters(self) -> dict[str, Any]:
        return {"intercept": self.intercept}

    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        self.intercept = parameters["intercept"]
