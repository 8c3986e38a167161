"""Cost: the threshold of least cost per event, fp for a false positive and fn for a false negative.

Invariant: on calibrated probabilities the optimum is fp / (fp + fn).
Source: METHODS, section 4; Elkan 2001.
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
class Cost:
    """Least mean cost per event.

    >>> from streameval.evidence import BinaryEvidence
    >>> evidence = BinaryEvidence.of(np.array([0.25, 0.5, 0.75]), np.array([0, 1, 1]))
    >>> Cost(1.0, 10.0).solve(evidence)
    Solution(threshold=0.5, value=0.0, feasible=True)
    """

    fp: float
    fn: float
    kind: ClassVar[str] = "cost"

    def solve(self, evidence: Histogram) -> Solution | None:
        """The highest of the thresholds of least cost."""
        c = curve(evidence)
        if c.events == 0:
            return None
        paid = self.fp * c.fp + self.fn * (c.positives - c.tp)
        best = paid.size - 1 - int(np.argmin(paid[::-1]))
        return Solution(float(c.thresholds[best]), float(paid[best]) / c.events)

    def value_at(self, evidence: Histogram, threshold: float) -> float | None:
        """The mean cost per event at a threshold."""
        c = confusion_at(evidence, threshold)
        return (self.fp * c.fp + self.fn * c.fn) / c.events if c.events else None

    def gain(self, evidence: Histogram, in_force: float, proposed: float) -> Gain:
        """The cost saved per event, from the band between the thresholds alone.

        The error counts one more event of each class, because an empty class is not a certain one.
        """
        negatives, positives = band(evidence, in_force, proposed)
        events = int(evidence.counts.sum())
        saved = (self.fp * negatives - self.fn * positives) / events
        error = sqrt(self.fp**2 * (negatives + 1) + self.fn**2 * (positives + 1)) / events
        present = self.value_at(evidence, in_force) or 0.0
        return Gain(saved if proposed > in_force else -saved, error, present)
