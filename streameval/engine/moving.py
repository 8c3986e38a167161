"""The threshold of one cell: which one is in force, which were, and when it moves.

Invariant: ``own`` is what subscribers hold under the cell's key, None where the whole's threshold serves. Between two
moves lie at least so many matured events as the configuration asks for. Once an own move has shown that acting prevents
positives, labels alone raise the threshold no more: those above it say too little.

Source: METHODS section 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from streameval import records
from streameval.decide.gate import Gate, Move
from streameval.decide.objectives import objective_of
from streameval.decide.own_effect import own_effect
from streameval.decide.selective import selective_move
from streameval.decide.shrinkage import shrunk
from streameval.detect.label_counts import LabelCounts, total
from streameval.detect.own_move import OwnMove, map_move, threshold_move
from streameval.engine.clock import BEGINNING
from streameval.engine.identity import Identity
from streameval.engine.rows import Output
from streameval.engine.window import Block
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.evaluate.selective import Selection
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import threshold_bin

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
        self.prevents = False
        """Whether acting was seen to keep positives from happening."""
        self.trial: LabelCounts | None = None
        """Labels before the latest own move, until its cooldown is over: what those after it are compared with."""

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

    def propose_selective(self, selection: Selection, threshold: float) -> Move | None:
        """The move that holds whatever the labels are that are not seen."""
        return selective_move(self.gate, selection, threshold, self.since_move)

    def propose_shrunk(
        self, evidence: BinaryEvidence, threshold: float, whole: BinaryEvidence, worth: float
    ) -> Move | None:
        """The move of a segment, for which the whole's window counts as ``worth`` events more."""
        return shrunk(self.gate, evidence, whole, worth, threshold, self.since_move)

    def move(
        self,
        at: int,
        move: Move,
        reason: str,
        known: CalibrationMap | None,
        prevalence: records.Prevalence | None,
        window: records.Window | None,
        past: Iterable[Block] = (),
    ) -> Output:
        """Put a threshold in force and say so; ``past`` are the blocks of the window."""
        self._begin_trial(at, past)
        self.own, self.since_move = move.threshold, 0
        self._remember(threshold_move(at, move.previous, move.threshold))
        gain = records.Interval(move.expected_gain.value, move.expected_gain.low, move.expected_gain.high)
        return self.record(at, move.threshold, move.previous, reason, gain, known, prevalence, window)

    def judge(self, blocks: Iterable[Block]) -> None:
        """Look once, at the end of the cooldown, at what the latest own move did to the labels of its band."""
        if self.trial is None or self.own is None:
            return
        before, self.trial = self.trial, None
        trials = [move for move in self.own_moves if not move.by_map]
        if not trials:
            return
        move = trials[-1]
        effect = own_effect([before], [b.evidence for b in blocks if b.first >= move.at], move.low, move.high)
        if effect is not None:
            lowered = threshold_bin(self.own) == move.low
            self.prevents = effect.prevents(lowered=lowered) or (self.prevents and not effect.harmless(lowered=lowered))

    def _begin_trial(self, at: int, past: Iterable[Block]) -> None:
        """Keep the labels under the threshold that is being left; ``past`` are the blocks of the window."""
        if self.identity.config.drift.own_actions == "never":
            return
        moved = [move.at for move in self.own_moves if not move.by_map]
        since, interval = moved[-1] if moved else BEGINNING, self.identity.interval
        self.trial = total(b.evidence for b in past if b.first >= since and b.last + interval <= at)

    def vetoes(self, move: Move) -> bool:
        """Whether a move rests on labels that our own decisions have changed."""
        return self.prevents and move.threshold > move.previous

    def reopen(self) -> None:
        """Let the threshold move again without waiting for the cooldown's end: the scores are others than before."""
        self.since_move = max(self.since_move, self.identity.config.thresholds.cooldown)

    def mapped(self, at: int, threshold: float, old: CalibrationMap | None, new: CalibrationMap) -> None:
        """Another map was published while a threshold was in force."""
        move = map_move(at, threshold, old, new)
        if move is not None:
            self._remember(move)

    def _remember(self, move: OwnMove) -> None:
        # Each kind has its own room: maps move at every other step, and must not push a threshold's move out.
        same = [known for known in self.own_moves if known.by_map == move.by_map][-MOVES_KEPT:]
        others = [known for known in self.own_moves if known.by_map != move.by_map]
        self.own_moves = sorted([*same, *others, move])

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
            "prevents": self.prevents,
            "trial": None if self.trial is None else self.trial.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.own, self.since_move = state["own"], state["since_move"]
        self.in_force = [(since, threshold) for since, threshold in state["in_force"]]
        self.own_moves = [OwnMove(*move) for move in state.get("own_moves", [])]
        trial = state.get("trial")
        self.prevents, self.trial = state.get("prevents", False), None if trial is None else LabelCounts.restore(trial)
