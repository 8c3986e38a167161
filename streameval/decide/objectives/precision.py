"""Precision: the lowest threshold whose precision is, with confidence, at least a target.

Invariant: at a feasible solution the 5 % quantile of Beta(TP + 1, FP + 1) is at least the target.
Source: METHODS, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from streameval.decide.objectives.curve import band, confusion_at, curve
from streameval.decide.objectives.objective import Gain, Solution, Standing
from streameval.decide.objectives.proportion import holds, lower_bound, standing
from streameval.detect.label_counts import Histogram


@dataclass(frozen=True, slots=True)
class Precision:
    """Precision of at least `target`; the value is the precision."""

    target: float
    kind: ClassVar[str] = "precision"

    def solve(self, evidence: Histogram) -> Solution | None:
        """The lowest threshold whose bound holds; else, infeasible, that of the greatest bound. None without events."""
        c = curve(evidence)
        if c.events == 0:
            return None
        tp, fp = c.tp[:-1], c.fp[:-1]
        held = np.flatnonzero(holds(tp, fp, self.target))
        best = int(held[0]) if held.size else int(np.argmax(lower_bound(tp, fp)))
        return Solution(float(c.thresholds[best]), float(tp[best] / (tp[best] + fp[best])), bool(held.size))

    def value_at(self, evidence: Histogram, threshold: float) -> float | None:
        """The precision at a threshold; None where it flags nothing."""
        c = confusion_at(evidence, threshold)
        return c.tp / (c.tp + c.fp) if c.tp + c.fp else None

    def standing(self, evidence: Histogram, threshold: float, z: float) -> Standing:
        """Whether the precision misses its target. A threshold that flags nothing keeps it idly: slack."""
        c = confusion_at(evidence, threshold)
        return standing(c.tp, c.fp, self.target, z) if c.tp + c.fp else "slack"

    def gain(self, evidence: Histogram, in_force: float, proposed: float) -> Gain:
        """The rise of recall."""
        positives = int(evidence.counts[1].sum())
        _, between = band(evidence, in_force, proposed)
        now = confusion_at(evidence, in_force).tp / positives
        won = between / positives
        return Gain(won if proposed < in_force else -won, sqrt(between + 1) / positives, now)

    def repair(self, evidence: Histogram, in_force: float, proposed: float) -> Gain:
        """The rise of precision."""
        before, after = confusion_at(evidence, in_force), confusion_at(evidence, proposed)
        negatives, positives = band(evidence, in_force, proposed)
        now, then = before.tp / max(before.tp + before.fp, 1), after.tp / max(after.tp + after.fp, 1)
        larger = max(before.tp + before.fp, after.tp + after.fp, 1)
        # What both thresholds flag is shared; the band alone makes the difference.
        return Gain(then - now, sqrt((negatives + 1) * then**2 + (positives + 1) * (1.0 - then) ** 2) / larger, now)
