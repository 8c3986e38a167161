"""The threshold of one cell: which one is in force, which were, and when it moves.

Invariant: ``own`` is what subscribers hold under the cell's key, None where the whole's threshold serves. Between two
moves lie at least so many matured events as the configuration asks for.

Source: METHODS section 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streameval import records
from streameval.decide.gate import Gate, Move
from streameval.decide.objectives import objective_of
from streameval.detect.own_move import OwnMove, map_move, threshold_move
from streameval.engine.identity import Identity
from streameval.engine.rows import Output
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.evidence.binary import BinaryEvidence

MOVES_KEPT = 15
"""Earlier thresholds that a cell remembers, beside the latest."""


class Moving:
    """A cell's threshold.

    Args:
        identity: Whose it is.
    """

    def __init__(self, identity: Identity) -> None:
        config = identity.config
        self.identity = identity
        gate = config.thresholds
        scales = {name: kpi.scale for name, kpi in config.kpis.items()}
        self.gate = Gate(
            objective_of(config.objective, scales),
            gate.z,
            gate.min_gain,
            gate.positives,
            gate.cooldown,
            gate.max_step,
        )
        self.own: float | None = config.threshold if identity.whole else None
        self.since_move = 0
        """Matured events since the cell's own threshold moved."""
        self.in_force: list[tuple[int, float]] = []
        """(prediction time ms, threshold) of the latest changes of the threshold in force, whoever's it was."""
        self.own_moves: list[OwnMove] = []
        """What was published under the cell's key that changed decisions."""

    def matured(self, start: int, events: int, threshold: float) -> None:
        """A step's events, from prediction time ``start`` (ms) on, matured under a threshold."""
        self.since_move += events
        if not self.in_force or self.in_force[-1][1] != threshold:
            self.in_force = [*self.in_force[-MOVES_KEPT:], (start, threshold)]

    def before(self, time: int, otherwise: float) -> float:
        """The threshold that was in force before a prediction time (ms); another one where none is known."""
        earlier = [threshold for since, threshold in self.in_force if since < time]
        return earlier[-1] if earlier else otherwise

    @property
    def may_move(self) -> bool:
        """Whether the cooldown has passed."""
        return self.since_move >= self.identity.config.thresholds.cooldown

    def propose(self, evidence: BinaryEvidence, threshold: float) -> Move | None:
        """The move that a window's evidence asks for, away from the threshold in force."""
        return self.gate.propose(evidence, threshold, self.since_move)

    def move(
        self,
        at: int,
        move: Move,
        reason: str,
        known: CalibrationMap | None,
        prevalence: records.Prevalence | None,
        window: records.Window | None,
    ) -> Output:
        """Put a threshold in force and say so."""
        self.own, self.since_move = move.threshold, 0
        self._remember(threshold_move(at, move.previous, move.threshold))
        gain = records.Interval(move.expected_gain.value, move.expected_gain.low, move.expected_gain.high)
        return self.record(at, move.threshold, move.previous, reason, gain, known, prevalence, window)

    def reopen(self) -> None:
        """Let the threshold move again without waiting for the cooldown's end: the scores are others than before."""
        self.since_move = max(self.since_move, self.identity.config.thresholds.cooldown)

    def mapped(self, at: int, threshold: float, old: CalibrationMap | None, new: CalibrationMap) -> None:
        """Another map was published while a threshold was in force."""
        move = map_move(at, threshold, old, new)
        if move is not None:
            self._remember(move)

    def _remember(self, move: OwnMove) -> None:
        self.own_moves = [*self.own_moves[-MOVES_KEPT:], move]

    def record(
        self,
        at: int,
        threshold: float,
        previous: float | None,
        reason: str,
        gain: records.Interval | None = None,
        known: CalibrationMap | None = None,
        prevalence: records.Prevalence | None = None,
        window: records.Window | None = None,
    ) -> Output:
        """The record of a threshold in force; ``known`` is the map in force."""
        calibrated = None if known is None else float(known.predict_many(np.array([threshold]))[0])
        data = records.Threshold(
            **self.identity.named,
            threshold=min(threshold, 1.0),
            threshold_calibrated=calibrated,
            previous=None if previous is None else min(previous, 1.0),
            objective=self.identity.config.objective.model_dump(mode="json"),
            expected_gain=gain,
            reason=reason,
            prevalence=prevalence,
            calibration=None if known is None else known.method,
            window=window,
            configuration=self.identity.configuration,
        )
        return self.identity.output(at, "thresholds", data)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "own": self.own,
            "since_move": self.since_move,
            "in_force": [list(entry) for entry in self.in_force],
            "own_moves": [list(move) for move in self.own_moves],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.own, self.since_move = state["own"], state["since_move"]
        self.in_force = [(since, threshold) for since, threshold in state["in_force"]]
        self.own_moves = [OwnMove(*move) for move in state.get("own_moves", [])]
