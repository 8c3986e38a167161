"""Recall: the highest threshold whose recall is, with confidence, at least a target.

Invariant: at a feasible solution the 5 % quantile of Beta(TP + 1, FN + 1) is at least the target.
Source: METHODS, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from streameval.decide.objectives.curve import band, confusion_at, curve
from streameval.decide.objectives.objective import Gain, Solution, Standing
from streameval.decide.objectives.proportion import holds, standing
from streameval.detect.label_counts import Histogram


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall of at least `target`; the value is the recall."""

    target: float
    kind: ClassVar[str] = "recall"

    def solve(self, evidence: Histogram) -> Solution | None:
        """The highest threshold whose bound holds; else, infeasible, the one that flags all. None without positives."""
        c = curve(evidence)
        if c.positives == 0:
            return None
        held = np.flatnonzero(holds(c.tp, c.positives - c.tp, self.target))
        best = int(held[-1]) if held.size else 0
        return Solution(float(c.thresholds[best]), float(c.tp[best] / c.positives), bool(held.size))

    def value_at(self, evidence: Histogram, threshold: float) -> float | None:
        """The recall at a threshold; None without positives."""
        c = confusion_at(evidence, threshold)
        return c.tp / (c.tp + c.fn) if c.tp + c.fn else None

    def standing(self, evidence: Histogram, threshold: float, z: float) -> Standing:
        """Whether the recall misses its target."""
        c = confusion_at(evidence, threshold)
        return standing(c.tp, c.fn, self.target, z)

    def gain(self, evidence: Histogram, in_force: float, proposed: float) -> Gain:
        """The fall of the share that is flagged in vain."""
        events = int(evidence.counts.sum())
        between, _ = band(evidence, in_force, proposed)
        saved = between / events
        now = confusion_at(evidence, in_force).fp / events
        return Gain(saved if proposed > in_force else -saved, sqrt(between + 1) / events, now)

    def repair(self, evidence: Histogram, in_force: float, proposed: float) -> Gain:
        """The rise of recall."""
        positives = int(evidence.counts[1].sum())
        _, between = band(evidence, in_force, proposed)
        now = confusion_at(evidence, in_force).tp / positives
        won = between / positives
        return Gain(won if proposed < in_force else -won, sqrt(between + 1) / positives, now)
