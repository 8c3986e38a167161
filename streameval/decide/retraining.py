"""Retraining: asked for only where recalibration and a threshold cannot win back what was lost.

"The cost rose" is no reason: under a mere label shift the best attainable cost rises by a third, under covariate shift
it doubles, and a perfect model suffers both. So the best that the model could still reach on the window after the
change is compared with what *the reference's own model* would pay there, C*: the larger of

1. the least cost under the reference's score distributions by class, at the new prevalence (a label shift), and
2. the cost at the threshold in force, under the reference's positive rate of each score (a covariate shift).

Recalibration keeps the order of scores, so "after recalibration and a new threshold" is the least cost over all
thresholds. An objective that names no costs (F-beta, a recall to hold) still weighs errors by the threshold that it
chose: one that flags from the probability t on is that of the costs t for a false and 1 - t for a missed positive.

Invariant: a function of the diagnosis, of the two windows and of the last request. It asks only in the state
concept_drift, and only where the lower bound of the best attainable cost exceeds (1 + margin) C*.
Source: METHODS, section 5b.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final, Literal

import numpy as np

from streameval.decide.objectives.cost import Cost
from streameval.decide.objectives.curve import confusion_at, curve
from streameval.detect.diagnosis import LEAST_POSITIVES, State
from streameval.detect.family import merged_edges
from streameval.detect.label_counts import Histogram
from streameval.detect.window_pair import curve_of
from streameval.evaluate.estimate import Estimate, normal
from streameval.evidence.binary import check_version
from streameval.evidence.bins import BINS, threshold_bin

_Z: Final = 3.09
_LONGEST: Final = 16
_SMALLEST_SHARE: Final = 1e-4
_STATE_VERSION: Final = 1

Waiting = Literal["wait"]


@dataclass(frozen=True, slots=True)
class Retrain:
    """A request for a new model, with what it was read from.

    `attainable` is the least cost per event that this model could still reach, `counterfactual` is C*, `in_force` the
    cost at the threshold in force; `priority` is the excess attainable / C* - 1. Times in ms of prediction time.
    """

    reason: str
    change_at: int
    at: int
    attainable: Estimate
    counterfactual: float
    in_force: Estimate
    priority: float


class RetrainingPolicy:
    """When to ask for a new model.

    Args:
        costs: the price of a false positive and of a false negative; None where the objective has none.
        margin: how far, as a share of C*, the attainable cost must lie above it.
        cooldown_ms: stream time between two requests.
    """

    def __init__(
        self, costs: tuple[float, float] | None = (1.0, 1.0), margin: float = 0.10, cooldown_ms: int = 0
    ) -> None:
        self.costs = costs
        self.margin = margin
        self.cooldown_ms = cooldown_ms
        self.last: int | None = None

    def consider(
        self,
        state: State,
        change_at: int,
        before: Histogram,
        after: Histogram,
        threshold: float,
        now: int,
        threshold_before: float | None = None,
    ) -> Retrain | Waiting | None:
        """Whether a diagnosed change calls for a new model.

        Args:
            state: the diagnosis.
            change_at: ms, when the change began.
            before: all since the reference began, up to the change.
            after: all since the change.
            threshold: the one in force now.
            now: ms of stream time.
            threshold_before: the one in force before the change, if another: what C* is computed at.

        Returns:
            The request; "wait" during the cooldown, and while the window after the change is too small to say; None
            where the answer is no.
        """
        if state != "concept_drift" or int(before.counts[1].sum()) < LEAST_POSITIVES:
            return None
        positives = int(after.counts[1].sum())
        if positives < LEAST_POSITIVES or (self.last is not None and now < self.last + self.cooldown_ms):
            return "wait"
        earlier = threshold if threshold_before is None else threshold_before
        cost = Cost(*(self.costs or implied_costs(before, earlier)))
        solution = cost.solve(after)
        if solution is None:
            return None
        best, error = _cost_at(after, solution.threshold, cost)
        star, star_error = counterfactual(before, after, earlier, cost)
        limit = 1.0 + self.margin
        excess, doubt = best - limit * star, _Z * sqrt(error**2 + (limit * star_error) ** 2)
        if excess <= doubt:
            # A first look at few positives must not close what a later one would decide.
            return "wait" if excess > -doubt and positives < _LONGEST * LEAST_POSITIVES else None
        self.last = now
        return Retrain(
            "cost_not_recoverable",
            change_at,
            now,
            normal(best, error, floor=0.0),
            star,
            normal(*_cost_at(after, threshold, cost), floor=0.0),
            best / star - 1.0 if star > 0.0 else 1.0,
        )

    def state(self) -> dict[str, Any]:
        """Plain values: when the last request was."""
        return {"version": _STATE_VERSION, "last": self.last}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take up the state that `state` described.

        Raises:
            StateVersionError: another release wrote the state.
        """
        check_version(state, _STATE_VERSION, "retraining policy")
        self.last = None if state["last"] is None else int(state["last"])


def implied_costs(before: Histogram, threshold: float) -> tuple[float, float]:
    """The costs of a false positive and of a false negative for which a threshold is the best.

    >>> from streameval.evidence import BinaryEvidence
    >>> rng = np.random.default_rng(0)
    >>> score = rng.random(50_000)
    >>> fp, fn = implied_costs(BinaryEvidence.of(score, (rng.random(50_000) < score).astype(np.int8)), 0.2)
    >>> round(fp, 1), round(fn, 1)
    (0.2, 0.8)
    """
    at = np.array([min(threshold_bin(threshold), BINS - 1)], dtype=np.int16)
    p = min(max(float(curve_of(before, at)[0]), _SMALLEST_SHARE), 1.0 - _SMALLEST_SHARE)
    return p, 1.0 - p


def counterfactual(before: Histogram, after: Histogram, threshold: float, cost: Cost) -> tuple[float, float]:
    """`(C*, standard error)`: what the reference's model would pay per event of the window after the change."""
    return max(_label_shifted(before, after, cost), _covariate_shifted(before, after, threshold, cost))


def _label_shifted(before: Histogram, after: Histogram, cost: Cost) -> tuple[float, float]:
    c = curve(before)
    prevalence = float(after.counts[1].sum() / after.counts.sum())
    per_positive, per_negative = cost.fn * prevalence, cost.fp * (1.0 - prevalence)
    missed, false = 1.0 - c.tp / max(c.positives, 1), c.fp / max(c.negatives, 1)
    paid = per_positive * missed + per_negative * false
    best = int(np.argmin(paid))
    variance = per_positive**2 * missed[best] * (1.0 - missed[best]) / max(c.positives, 1)
    variance += per_negative**2 * false[best] * (1.0 - false[best]) / max(c.negatives, 1)
    return float(paid[best]), sqrt(variance)


def _covariate_shifted(before: Histogram, after: Histogram, threshold: float, cost: Cost) -> tuple[float, float]:
    start = threshold_bin(threshold)
    edges = np.union1d(merged_edges(before), [start])
    size = edges.size - 1
    n, k, seen = np.zeros(size), np.zeros(size), np.zeros(size)
    cell = np.searchsorted(edges, before.bins, side="right") - 1
    np.add.at(n, cell, before.counts.sum(axis=0))
    np.add.at(k, cell, before.counts[1])
    np.add.at(seen, np.searchsorted(edges, after.bins, side="right") - 1, after.counts.sum(axis=0))
    rate = (k + k.sum() / n.sum()) / (n + 1.0)
    price = np.where(edges[:-1] >= start, cost.fp * (1.0 - rate), cost.fn * rate)
    per_error = np.where(edges[:-1] >= start, cost.fp, cost.fn)
    share = seen / seen.sum()
    variance = (share**2 * per_error**2 * rate * (1.0 - rate) / (n + 1.0)).sum()
    return float(share @ price), sqrt(float(variance))


def _cost_at(evidence: Histogram, threshold: float, cost: Cost) -> tuple[float, float]:
    """`(mean, standard error)` of the cost per event at a threshold."""
    c = confusion_at(evidence, threshold)
    events = max(c.events, 1)
    mean = (cost.fp * c.fp + cost.fn * c.fn) / events
    variance = (cost.fp**2 * c.fp + cost.fn**2 * c.fn) / events - mean**2
    return mean, sqrt(max(variance, 0.0) / events)
