"""Gate: a move of the threshold is published only where its gain is beyond doubt.

The best threshold of a window is fitted to that window's noise, so publishing it each time would be noise published. A
move's gain is measured on the band between the two thresholds alone, less z standard errors, and must exceed a share of
what is paid or won now. An objective with a target moves where that is missed beyond doubt, or where it is held with so
much to spare that the gain is.

Invariant: a function of the window's evidence, the threshold in force and the events since the last move.
Source: METHODS, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Final, Literal, cast

from streameval.decide.objectives import NOTHING, Gain, Objective, Solution, Targeted
from streameval.evaluate.estimate import Estimate, normal
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import EDGES, threshold_bin

Reason = Literal["gain", "target_missed", "prevalence", "label_shift"]

_SMALLEST: Final = 2.0**-30


@dataclass(frozen=True, slots=True)
class Move:
    """A threshold to publish; `expected_gain` is per event for costs and values, else in the objective's measure."""

    threshold: float
    previous: float
    expected_gain: Estimate
    reason: Reason


@dataclass(frozen=True, slots=True)
class Gate:
    """When a better threshold is worth a move.

    Args:
        objective: what the threshold is for.
        z: standard errors that the gain is lessened by.
        min_gain: share of what is paid or won now that must be won at least.
        positives: how many the window must hold at least.
        cooldown: matured events between two moves; half a window at least, whatever is said here.
        max_step: the largest move at once, in units of logit(threshold).

    >>> import numpy as np
    >>> from streameval.decide.objectives import Cost
    >>> rng = np.random.default_rng(0)
    >>> score = rng.beta(1, 19, 20_000)
    >>> evidence = BinaryEvidence.of(score, (rng.random(20_000) < score).astype(np.int8))
    >>> move = Gate(Cost(1.0, 10.0)).propose(evidence, 0.5, 20_000)
    >>> bool(0.07 < move.threshold < 0.12), Gate(Cost(1.0, 10.0)).propose(evidence, move.threshold, 20_000)
    (True, None)
    """

    objective: Objective
    z: float = 3.5
    min_gain: float = 0.01
    positives: int = 100
    cooldown: int = 10_000
    max_step: float = 3.0

    def propose(self, evidence: BinaryEvidence, in_force: float, events_since_move: int) -> Move | None:
        """The move that the window's evidence asks for, or None.

        Args:
            evidence: the window.
            in_force: the threshold in force.
            events_since_move: matured events since it was put in force.
        """
        if not self.ready(evidence, events_since_move):
            return None
        solution = self.objective.solve(evidence)
        return None if solution is None else self.judge(evidence, in_force, solution)

    def ready(self, evidence: BinaryEvidence, events_since_move: int) -> bool:
        """Whether the window holds enough positives, and the last move lies far enough back."""
        return evidence.positives >= self.positives and events_since_move >= max(self.cooldown, evidence.events / 2.0)

    def judge(self, evidence: BinaryEvidence, in_force: float, solution: Solution) -> Move | None:
        """The move towards a solution, wherever that comes from, if this evidence says that it is worth it."""
        if not solution.feasible:
            return None
        proposed = self.limited(in_force, solution.threshold)
        if threshold_bin(proposed) == threshold_bin(in_force):
            return None
        targeted = _targeted(self.objective)
        if targeted is not None:
            standing = targeted.standing(evidence, in_force, self.z)
            if standing == "missed":
                return _move(in_force, proposed, targeted.repair(evidence, in_force, proposed), "target_missed")
            if standing == "held":
                return None
        gain = self.objective.gain(evidence, in_force, proposed)
        if not self.worth(gain):
            return None
        return _move(in_force, proposed, gain, "gain")

    def worth(self, gain: Gain) -> bool:
        """Whether a gain is beyond doubt and large enough."""
        return gain.value - self.z * gain.error > self.min_gain * abs(gain.present)

    def limited(self, in_force: float, proposed: float) -> float:
        """The proposed threshold, or the lower edge of the bin where the largest step ends."""
        goal, here = _logit(proposed), _logit(in_force)
        if abs(goal - here) <= self.max_step:
            return proposed
        reached = here + (self.max_step if goal > here else -self.max_step)
        return float(EDGES[threshold_bin(1.0 / (1.0 + exp(-reached)))])


def _targeted(objective: Objective) -> Targeted | None:
    """The objective, if it has a target. To ask the protocol itself would cost more than solving for a threshold."""
    return cast("Targeted", objective) if hasattr(objective, "standing") else None


def _logit(threshold: float) -> float:
    """The logit, of the ends as of the last bins before them."""
    inside = min(max(threshold, _SMALLEST), 1.0 - _SMALLEST)
    return log(inside / (1.0 - inside))


def _move(in_force: float, proposed: float, gain: Gain, reason: Reason) -> Move:
    return Move(min(proposed, NOTHING), in_force, normal(gain.value, gain.error), reason)
