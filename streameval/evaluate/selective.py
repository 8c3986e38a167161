"""Selective labels without known probabilities: what can be said where the label is seen only for some decisions.

A loan that is refused never defaults, a payment that is let through is never reviewed: labels come for a part of the
predictions, chosen by the decision itself. Where it is not known with what probability each label was to be seen,
nothing can make up for that. But the prevalence lies between its values with all missing labels 0 and with all 1; and
whatever counts right and wrong decisions lies between its values with every missing label as the decision would have it
and with every one against it. (All 0 and all 1 would not do for recall and cost: the worst has positives among the
unflagged and negatives among the flagged.)

Invariant: whatever the missing labels are, what they would give lies within the bounds. What they could change is not
*identified*: it has bounds and no value.

Source: METHODS, section 4 (selective labels); Manski (1989, "Anatomy of the selection problem").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streameval.evaluate.estimate import Estimate
from streameval.evaluate.metrics import confusion, decision_metrics
from streameval.evaluate.prevalence import windowed
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import EDGES

_STRAY: Final = 0.001
RANKED: Final = ("auc", "average_precision")
"""Metrics of the order of all predictions: not identified either, and not bounded here."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A window in which labels were seen for some predictions only."""

    labelled: BinaryEvidence
    unseen: BinaryEvidence
    """The predictions without a label, as if they were negatives."""

    @property
    def share(self) -> float:
        """The share of the predictions that are labelled; 1 of none."""
        events = self.labelled.events + self.unseen.events
        return self.labelled.events / events if events else 1.0

    @property
    def range(self) -> tuple[float, float] | None:
        """The scores between which labels are seen, but for one in a thousand at either end; None without labels.

        Lower edges of bins: a threshold may lie at either. A stray label far from the others says nothing about its
        neighbours.

        >>> e, u = (BinaryEvidence.of(np.array(s), np.zeros(2, np.int8)) for s in ([0.5, 0.875], [0.1, 0.2]))
        >>> found = Selection(e, u)
        >>> found.share, found.range[0]
        (0.5, 0.5)
        """
        below = np.cumsum(self.labelled.counts.sum(axis=0))
        if not len(below):
            return None
        stray = int(below[-1] * _STRAY)
        first = int(np.searchsorted(below, stray, side="right"))
        last = int(np.searchsorted(below, below[-1] - stray, side="left"))
        return float(EDGES[self.labelled.bins[first]]), float(EDGES[int(self.labelled.bins[last]) + 1])

    def filled(self, label: int) -> BinaryEvidence:
        """All predictions, those without a label as if it were 0 or 1. Their losses are left out: use counts only."""
        if not label:
            return self.labelled + self.unseen
        flipped = BinaryEvidence(self.unseen.bins, self.unseen.counts[::-1].copy(), self.unseen.sums[::-1].copy())
        return self.labelled + flipped

    def bounds(self, threshold: float, costs: tuple[float, float] | None) -> dict[str, Estimate]:
        """Precision, recall, F1, cost and prevalence, where the missing labels could change them.

        The value is halfway; the ends hold the intervals at both extremes. `costs` are those of a false positive and of
        a false negative.
        """
        known, missing = confusion(self.labelled, threshold), confusion(self.unseen, threshold)
        # Of the missing, as negatives: fp are the flagged ones, tn the others.
        flagged, left = missing.fp, missing.tn
        right = decision_metrics(known._replace(tp=known.tp + flagged, tn=known.tn + left), costs)
        wrong = decision_metrics(known._replace(fp=known.fp + flagged, fn=known.fn + left), costs)
        ends = [(name, right.get(name), wrong.get(name)) for name in sorted(right.keys() | wrong.keys())]
        ends.append(("prevalence", windowed(self.filled(0)), windowed(self.filled(1))))
        found = {}
        for name, one, other in ends:
            if one is None and other is None:
                continue
            if one is None or other is None:
                # Nothing to divide by at one extreme: between the two, anything.
                found[name] = Estimate(0.5, 0.0, 1.0)
            elif one.value != other.value:
                low, high = min(one.low, other.low), max(one.high, other.high)
                found[name] = Estimate(0.5 * (low + high), low, high)
        return found
