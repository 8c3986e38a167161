"""F-beta: the threshold of the greatest F = (1 + b2) TP / ((1 + b2) TP + b2 FN + FP), b2 = beta squared.

Invariant: on calibrated probabilities the optimum t satisfies t = F / (1 + b2).
Source: METHODS, section 4; Lipton, Elkan & Naryanaswamy 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from streameval.decide.objectives.curve import band, confusion_at, curve
from streameval.decide.objectives.objective import Gain, Solution
from streameval.detect.label_counts import Histogram


@dataclass(frozen=True, slots=True)
class FBeta:
    """Greatest F-beta score.

    >>> from streameval.evidence import BinaryEvidence
    >>> FBeta().solve(BinaryEvidence.of(np.array([0.25, 0.5, 0.75]), np.array([0, 1, 1]))).threshold
    0.5
    """

    beta: float = 1.0
    kind: ClassVar[str] = "f_beta"

    def solve(self, evidence: Histogram) -> Solution | None:
        """The highest of the thresholds of greatest F; None without positives."""
        c = curve(evidence)
        if c.positives == 0:
            return None
        weight = self.beta**2
        score = (1.0 + weight) * c.tp / (c.tp + c.fp + weight * c.positives)
        best = score.size - 1 - int(np.argmax(score[::-1]))
        return Solution(float(c.thresholds[best]), float(score[best]))

    def value_at(self, evidence: Histogram, threshold: float) -> float | None:
        """F at a threshold; None without positives."""
        c = confusion_at(evidence, threshold)
        if c.tp + c.fn == 0:
            return None
        weight = self.beta**2
        return (1.0 + weight) * c.tp / (c.tp + c.fp + weight * (c.tp + c.fn))

    def gain(self, evidence: Histogram, in_force: float, proposed: float) -> Gain:
        """The rise of F, its error by the delta method.

        Events are Poisson by label and by place (flagged by both thresholds, by one, by none), so what both thresholds
        share cancels as far as it really does. The band counts one more event of each class, as for cost.
        """
        present, after = self.value_at(evidence, in_force) or 0.0, self.value_at(evidence, proposed) or 0.0
        lower, higher = confusion_at(evidence, min(in_force, proposed)), confusion_at(evidence, max(in_force, proposed))
        negatives, positives = band(evidence, in_force, proposed)
        low, high = self._slopes(lower.tp, lower.fp, lower.fn), self._slopes(higher.tp, higher.fp, higher.fn)
        variance = (
            higher.tp * (low[0] - high[0]) ** 2
            + higher.fp * (low[1] - high[1]) ** 2
            + (positives + 1) * (low[0] - high[2]) ** 2
            + (negatives + 1) * low[1] ** 2
            + lower.fn * (low[2] - high[2]) ** 2
        )
        return Gain(after - present, sqrt(variance), present)

    def _slopes(self, tp: int, fp: int, fn: int) -> tuple[float, float, float]:
        """Derivatives of F by a flagged positive, a flagged negative and an unflagged positive."""
        weight = self.beta**2
        size = tp + fp + weight * (tp + fn)
        if size == 0.0:
            return 0.0, 0.0, 0.0
        score = (1.0 + weight) * tp / size
        return ((1.0 + weight) * (1.0 - score)) / size, -score / size, -weight * score / size
