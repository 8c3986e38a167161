"""Capacity: the lowest threshold that flags at most a share of the events: as much as a team can look at.

Invariant: the flagged share of the evidence is at most the capacity; the next lower candidate exceeds it.
Source: METHODS, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from streameval.decide.objectives.curve import band, confusion_at, curve
from streameval.decide.objectives.objective import Gain, Solution, Standing
from streameval.detect.label_counts import Histogram


@dataclass(frozen=True, slots=True)
class Capacity:
    """At most `share` of the events flagged; the value is the share."""

    share: float
    kind: ClassVar[str] = "capacity"

    def solve(self, evidence: Histogram) -> Solution | None:
        """The lowest threshold within the capacity; it may be the one that flags nothing. None without events."""
        c = curve(evidence)
        if c.events == 0:
            return None
        flagged = (c.tp + c.fp) / c.events
        best = int(np.argmax(flagged <= self.share))
        return Solution(float(c.thresholds[best]), float(flagged[best]))

    def value_at(self, evidence: Histogram, threshold: float) -> float | None:
        """The share that a threshold flags; None without events."""
        c = confusion_at(evidence, threshold)
        return (c.tp + c.fp) / c.events if c.events else None

    def standing(self, evidence: Histogram, threshold: float, z: float) -> Standing:
        """Whether the flagged share exceeds the capacity beyond chance ("missed") or falls short of it ("slack").

        The threshold in force was fitted on events like these, so the error of a difference is that of two windows.
        """
        events = int(evidence.counts.sum())
        allowed = z * sqrt(2.0 * self.share * (1.0 - self.share) / events)
        excess = (self.value_at(evidence, threshold) or 0.0) - self.share
        if excess > allowed:
            return "missed"
        return "slack" if excess < -allowed else "held"

    def gain(self, evidence: Histogram, in_force: float, proposed: float) -> Gain:
        """The rise of recall."""
        positives = int(evidence.counts[1].sum())
        _, between = band(evidence, in_force, proposed)
        now = confusion_at(evidence, in_force).tp / positives
        won = between / positives
        return Gain(won if proposed < in_force else -won, sqrt(between + 1) / positives, now)

    def repair(self, evidence: Histogram, in_force: float, proposed: float) -> Gain:
        """The fall of the flagged share."""
        events = int(evidence.counts.sum())
        between = sum(band(evidence, in_force, proposed)) / events
        now = self.value_at(evidence, in_force) or 0.0
        error = sqrt(between * (1.0 - between) / events + 1.0 / events**2)
        return Gain(between if proposed > in_force else -between, error, now)
