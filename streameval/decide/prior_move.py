"""Prior move: the threshold that a changed prevalence alone asks for, from the reference and without new labels.

Under a label shift the classes keep their score distributions and only their shares change. So the reference itself,
*thinned* to another prevalence (of the class that is too plentiful a share is left out, evenly over its scores), is a
window of the new world: every objective solves it and measures a gain on it as on any window. The thinned window holds
no more events than the reference did, so its errors are not understated.

For the cost the best threshold has a closed form: t* = fp / (fp + fn) on the probability at the new prevalence, which
on a score calibrated at the old one is logit t = logit t* - (logit new - logit old). The score is calibrated first, by
a logistic curve through the reference, and the closed form replaces the noisy optimum of the counts unless that is
better beyond doubt.

Invariant: a function of the reference, the prevalence with its interval, and the threshold in force. A move is asked
for only where the gate would ask for it at every prevalence of the interval, widened to the gate's z standard errors.
The caller answers for the assumption (that the classes score as they did) and for the cooldown.

Source: METHODS, sections 3 and 4; Elkan (2001, "The foundations of cost-sensitive learning").
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot, log
from typing import Final

import numpy as np
from scipy.special import expit, logit

from streameval.decide.gate import Gate, Move, Reason
from streameval.decide.objectives import NOTHING, Cost, Gain, Targeted, Value
from streameval.detect.label_counts import Histogram, LabelCounts
from streameval.evaluate.calibration.platt import fit_logistic
from streameval.evaluate.estimate import Estimate, Z, normal
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import EDGES, threshold_bin

_EDGE: Final = 1e-9
_FARTHEST: Final = 500.0


@dataclass(frozen=True, slots=True)
class PriorMoves:
    """A reference, ready to say what any prevalence asks for: made once for a reference, asked at every step.

    `intercept` and `slope` are those of the logistic curve from the score's logit to the probability.
    """

    reference: LabelCounts
    prevalence: float
    intercept: float
    slope: float

    @classmethod
    def of(cls, reference: Histogram) -> PriorMoves:
        """Fit the curve of a reference (which must hold both classes)."""
        counts = reference.counts.astype(np.float64)
        score = 0.5 * (EDGES[reference.bins] + np.minimum(EDGES[reference.bins.astype(np.int64) + 1], 1.0))
        z = logit(np.clip(score, _EDGE, 1.0 - _EDGE))
        intercept, slope = fit_logistic(z, counts.sum(axis=0), counts[1], (0.0, 1.0), free_slope=True)
        negatives, positives = counts.sum(axis=1).tolist()
        return cls(LabelCounts.of(reference), positives / (positives + negatives), intercept, slope)

    def thinned(self, prevalence: float) -> BinaryEvidence:
        """The reference at another prevalence; it keeps every event of the class that has become more frequent.

        >>> half = PriorMoves.of(LabelCounts(np.array([9, 99], np.int16), np.array([[80, 20], [20, 80]])))
        >>> half.thinned(0.2).counts.tolist()
        [[80, 20], [5, 20]]
        """
        odds = prevalence / (1.0 - prevalence) / (self.prevalence / (1.0 - self.prevalence))
        keep = np.array([[min(1.0, 1.0 / odds)], [min(1.0, odds)]])
        # The sums from below are rounded, not the bins: a bin of one event must not vanish in every bin.
        below = np.rint(np.cumsum(self.reference.counts, axis=1) * keep).astype(np.int64)
        counts = np.diff(below, axis=1, prepend=0)
        held = counts.any(axis=0)
        counts = counts[:, held]
        # Objectives of counts read no sums.
        return BinaryEvidence(self.reference.bins[held], counts, np.zeros_like(counts))

    def cost_threshold(self, cost: Cost, prevalence: float) -> float | None:
        """The best threshold for a cost at a prevalence, on the score; None where the score does not rise with risk.

        It is the lower edge of a bin.
        """
        if self.slope <= 0.0:
            return None
        best = prior_threshold(cost.fp, cost.fn, self.prevalence, prevalence)
        return float(EDGES[threshold_bin(float(expit((logit(best) - self.intercept) / self.slope)))])

    def moved(self, gate: Gate, prevalence: Estimate, in_force: float, reason: Reason = "prevalence") -> Move | None:
        """The move that this prevalence asks for, or None; see `prior_moved`."""
        objective = gate.objective
        if isinstance(objective, Value) or self.reference.positives < gate.positives:
            # What an event is worth is known for events, not for classes.
            return None
        low, value, high = widened(prevalence, gate.z)
        now = self.thinned(value)
        solution = objective.solve(now)
        if solution is None or not solution.feasible:
            return None
        proposed = solution.threshold
        if isinstance(objective, Cost):
            closed = self.cost_threshold(objective, value)
            if closed is not None and not gate.worth(objective.gain(now, closed, proposed)):
                proposed = closed
        proposed = gate.limited(in_force, min(proposed, NOTHING))
        if threshold_bin(proposed) == threshold_bin(in_force):
            return None
        expected = _gain(gate, now, in_force, proposed)
        if expected is None:
            return None
        ends = [_gain(gate, self.thinned(end), in_force, proposed) for end in (low, high)]
        if ends[0] is None or ends[1] is None:
            return None
        # What is not known of the prevalence is not known of the gain either: its ends are z standard errors away.
        of_prevalence = 0.5 * (ends[1].value - ends[0].value) / gate.z if gate.z > 0.0 else 0.0
        return Move(proposed, in_force, normal(expected.value, hypot(expected.error, of_prevalence)), reason)


def _gain(gate: Gate, evidence: BinaryEvidence, in_force: float, proposed: float) -> Gain | None:
    """What a move would win, where the gate would let it pass."""
    if isinstance(gate.objective, Targeted):
        standing = gate.objective.standing(evidence, in_force, gate.z)
        if standing == "missed":
            return gate.objective.repair(evidence, in_force, proposed)
        if standing == "held":
            return None
    gain = gate.objective.gain(evidence, in_force, proposed)
    return gain if gate.worth(gain) else None


def prior_moved(
    gate: Gate, reference: Histogram, prevalence: Estimate, in_force: float, reason: Reason = "prevalence"
) -> Move | None:
    """What a changed prior alone asks for.

    Args:
        gate: objective, bounds and largest step; its cooldown is the caller's to keep.
        reference: labelled scores whose distributions by class still hold.
        prevalence: of now, with its 95 % interval.
        in_force: the threshold in force.
        reason: the word for the record.

    Returns:
        The move, its gain that at the prevalence's value; None where nothing is to be won beyond doubt, where the
        reference has too few positives, or where the objective is a KPI's value.

    >>> rng = np.random.default_rng(0)
    >>> from streameval.evidence import BinaryEvidence
    >>> score = rng.beta(1, 19, 50_000)
    >>> reference = BinaryEvidence.of(score, (rng.random(50_000) < score).astype(np.int8))
    >>> gate = Gate(Cost(1.0, 10.0))
    >>> move = prior_moved(gate, reference, Estimate(0.15, 0.14, 0.16), 0.0909)
    >>> bool(0.025 < move.threshold < 0.033)
    True
    >>> prior_moved(gate, reference, Estimate(0.05, 0.045, 0.055), 0.0909) is None
    True
    """
    if not reference.counts[0].any() or not reference.counts[1].any():
        return None
    return PriorMoves.of(reference).moved(gate, prevalence, in_force, reason)


def prior_threshold(fp: float, fn: float, old: float, new: float) -> float:
    """The best threshold for a cost at the prevalence `new`, on a score that is calibrated at the prevalence `old`.

    >>> round(prior_threshold(1.0, 10.0, 0.05, 0.05), 4), round(prior_threshold(1.0, 10.0, 0.05, 0.15), 5)
    (0.0909, 0.02896)
    """
    return float(expit(logit(fp / (fp + fn)) - (logit(new) - logit(old))))


def widened(estimate: Estimate, z: float) -> tuple[float, float, float]:
    """`(low, value, high)`: a 95 % interval stretched on the logit to z standard errors a side.

    >>> [round(x, 4) for x in widened(Estimate(0.1, 0.08, 0.12), 1.959963984540054)]
    [0.08, 0.1, 0.12]
    """
    low, value, high = (min(max(x, _EDGE), 1.0 - _EDGE) for x in (estimate.low, estimate.value, estimate.high))
    x = _logit(value)
    return _expit(x - (x - _logit(low)) * z / Z), value, _expit(x + (_logit(high) - x) * z / Z)


# Of one number these take a twentieth of scipy's time.
def _logit(p: float) -> float:
    return log(p / (1.0 - p))


def _expit(x: float) -> float:
    return 1.0 / (1.0 + exp(-min(max(x, -_FARTHEST), _FARTHEST)))
