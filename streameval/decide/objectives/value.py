"""Value: the threshold of the greatest sum of a KPI over the flagged events.

Invariant: sums are exact integers in units of the KPI's scale.
Source: METHODS, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from streameval.decide.objectives.curve import band, curve, first_flagged, suffix_sums
from streameval.decide.objectives.objective import Evidence, Gain, Solution


@dataclass(frozen=True, slots=True)
class Value:
    """Greatest mean per event of the KPI's sum over what is flagged; `scale` is the KPI's unit."""

    kpi: str
    scale: float = 1.0
    kind: ClassVar[str] = "value"

    def solve(self, evidence: Evidence) -> Solution | None:
        """The highest of the thresholds of greatest value; None where no event has the KPI."""
        events = evidence.events
        if events == 0 or self.kpi not in evidence.kpis:
            return None
        sums = suffix_sums(evidence.value_sums(self.kpi))
        best = sums.size - 1 - int(np.argmax(sums[::-1]))
        return Solution(float(curve(evidence).thresholds[best]), float(sums[best]) * self.scale / events)

    def value_at(self, evidence: Evidence, threshold: float) -> float | None:
        """The mean per event at a threshold; None where no event has the KPI."""
        if self.kpi not in evidence.kpis:
            return None
        at = first_flagged(evidence, threshold)
        return float(evidence.value_sums(self.kpi)[at:].sum()) * self.scale / evidence.events

    def gain(self, evidence: Evidence, in_force: float, proposed: float) -> Gain:
        """The value won per event, from the band alone.

        Squares are kept of all events, not by bin, so a band event's mean square is taken to be that of all.
        """
        low, high = sorted((first_flagged(evidence, in_force), first_flagged(evidence, proposed)))
        between = float(evidence.value_sums(self.kpi)[low:high].sum()) * self.scale / evidence.events
        count, _, squares = evidence.kpis[self.kpi]
        size = sum(band(evidence, in_force, proposed)) + 1
        error = sqrt(size * squares / max(count, 1)) * self.scale / evidence.events
        present = self.value_at(evidence, in_force) or 0.0
        return Gain(between if proposed < in_force else -between, error, present)
