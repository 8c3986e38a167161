"""One cell (model, version, segment): what a step does with the rows that have matured.

A step takes its rows as evidence and in this order: window, calibration, monitors, threshold, retraining, metrics.

Invariant: a function of the cell's earlier steps, of the step's rows, of the corrections before it and, for a segment,
of the whole's threshold and map; all times are logical.

Source: DESIGN "The way of an event" and "Time"; METHODS sections 1 to 5b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from streameval import records
from streameval.decide.gate import Gate, Move
from streameval.decide.objectives import objective_of
from streameval.decide.retraining import Retrain, RetrainingPolicy
from streameval.detect.alarm import Alarm
from streameval.detect.label_counts import LabelCounts
from streameval.detect.life import Watch
from streameval.detect.reference import Reference
from streameval.engine.clock import BEGINNING
from streameval.engine.fresh import FreshScores
from streameval.engine.kinds import VALUES
from streameval.engine.rows import Output, Rows
from streameval.engine.steps import Steps
from streameval.engine.window import Block, Window
from streameval.evaluate.calibration.champion import CalibrationMap, Champion, Measures
from streameval.evaluate.calibration_error import calibration_error, reliability
from streameval.evaluate.estimate import Estimate
from streameval.evaluate.metrics import binary_metrics, confusion
from streameval.evaluate.mixture import MixtureReference
from streameval.evaluate.prevalence import windowed
from streameval.evaluate.river_metrics import river_metrics
from streameval.evidence.binary import BinaryEvidence

if TYPE_CHECKING:
    from streameval.config import Model

WHOLE = "*"
"""The segment of all predictions."""
MOVES_KEPT = 15
"""Earlier thresholds that a cell remembers, beside the latest."""
MAP_MOVED = 0.02
"""A map is published again when it has moved by more than this somewhere (probability)."""


class Cell:
    """The state of one cell.

    Args:
        config: The model's configuration.
        version, segment: Whose cell it is.
        interval: Length of a cohort (ms).
    """

    def __init__(self, config: Model, version: str, segment: str, interval: int) -> None:
        self.config = config
        self.version = version
        self.segment = segment
        self.interval = interval
        self.scales = {name: kpi.scale for name, kpi in config.kpis.items()}
        objective = config.objective
        self.costs = (objective.fp, objective.fn) if objective.kind == "cost" else None
        self.steps = Steps(config.evaluate.events, config.evaluate.every)
        self.window = Window(config.evaluate.window, config.thresholds.positives)
        gate = config.thresholds
        self.gate = Gate(
            objective_of(objective, self.scales), gate.z, gate.min_gain, gate.positives, gate.cooldown, gate.max_step
        )
        self.own_threshold = config.threshold if segment == WHOLE else None
        self.since_move = 0
        self.watch = Watch(
            config.reference.events,
            config.reference.positives,
            config.drift.promise,
            segments=_shares(config, segment),
            costs=self.costs or (1.0, 1.0),
            sign_weight_above=config.drift.sign_weight_above,
            # Advisory detectors cost more than all else in a segment's step, and decide nothing.
            advisory=tuple(config.drift.advisory) if segment == WHOLE else (),
        )
        self.champion = Champion(config.calibration.half_life) if segment == WHOLE else None
        self.published_map: CalibrationMap | None = None
        self.published_at = BEGINNING
        self.map_inherited = False
        self.retraining = RetrainingPolicy(
            self.costs or (1.0, 1.0), config.retraining.margin, config.retraining.cooldown
        )
        self.harm: Alarm | None = None
        self.in_force: list[tuple[int, float]] = []
        """(prediction time ms, threshold) of the latest changes of the threshold in force, whoever's it was."""
        self.mixture: tuple[Reference, MixtureReference | None] | None = None

    # -- the life of a cell --------------------------------------------------------------------------------------------

    def begin(self, at: int) -> Output:
        """The first record of a version: the threshold in force from the start."""
        threshold = self.threshold(self)
        reason = "initial" if threshold == self.config.threshold else "inherited"
        return self._threshold_record(at, threshold, None, reason, None, None)

    def take_up(self, threshold: float | None, calibration: CalibrationMap | None) -> None:
        """Hold to what subscribers have from an earlier lineage: the map stays until another one proves better."""
        if threshold is not None:
            self.own_threshold = threshold
        if calibration is not None and self.champion is not None:
            self.published_map, self.map_inherited = calibration, True

    def end(self, at: int) -> list[Output]:
        """Tombstones for what was published under the cell's key in compacted topics."""
        outputs = []
        if self.own_threshold is not None:
            outputs.append(Output(at, "thresholds", self.version, self.segment, None))
        if self.published_map is not None:
            outputs.append(Output(at, "calibration", self.version, self.segment, None))
        return outputs

    def inherit(self, old: Cell) -> None:
        """Keep what is in force with subscribers; all that was learnt is left behind."""
        self.own_threshold, self.published_map = old.own_threshold, old.published_map
        self.published_at = old.published_at
        self.steps = old.steps

    def threshold(self, whole: Cell) -> float:
        """The threshold in force: the cell's own, else the whole's."""
        if self.own_threshold is not None:
            return self.own_threshold
        return self.config.threshold if whole.own_threshold is None else whole.own_threshold

    def plan(self, rows: Rows | None, now: int) -> list[tuple[int, Rows]]:
        """The steps before ``now`` that these rows, or the cell's deadline, bring."""
        return self.steps.plan(rows, now)

    # -- a step --------------------------------------------------------------------------------------------------------

    def step(self, at: int, block: Block, whole: Cell, fresh: FreshScores | None) -> list[Output]:
        """Evaluate, detect, decide on the rows of one step; the outputs in order."""
        start, end = block.first, block.last + self.interval
        evidence = self.window.push(block).evidence
        if evidence.events == 0:
            return []
        self.since_move += evidence.events
        threshold = self.threshold(whole)
        if not self.in_force or self.in_force[-1][1] != threshold:
            self.in_force = [*self.in_force[-MOVES_KEPT:], (start, threshold)]
        outputs = self._calibrate(at, evidence)
        alarms = self.watch.step(evidence, start, end, threshold)
        outputs += [self._drift_record(at, alarm, start, end, evidence.events) for alarm in alarms]
        for alarm in alarms:
            if alarm.tier == "confirmed":
                self.harm = alarm
                self.window.cut(alarm.change_at)
        window: BinaryEvidence | None = None
        if self.since_move >= self.config.thresholds.cooldown:
            window = self.window.evidence()
            move = self.gate.propose(window, threshold, self.since_move)
            if move is not None:
                outputs.append(self._move(at, move, whole, fresh))
        if self.harm is not None:
            outputs += self._consider_retraining(at, self.harm, whole)
        due = at - self.published_at >= self.config.evaluate.publish_every
        if due or any(alarm.tier == "confirmed" for alarm in alarms):
            self.published_at = at
            window = window if window is not None else self.window.evidence()
            outputs.append(self._metrics_record(at, window, whole, fresh))
        return outputs

    def _calibrate(self, at: int, evidence: BinaryEvidence) -> list[Output]:
        if self.champion is None:
            return []
        switch = self.champion.step(evidence)
        current = self.champion.map
        known = self.published_map
        if switch is None and self.map_inherited:
            return []
        self.map_inherited = False
        if switch is None and known is not None and (known.method == current.method and not _moved(known, current)):
            return []
        own = self.champion.measures().get(current.method)
        before, after = (own, own) if switch is None else (switch.before, switch.after)
        self.published_map = current
        data = records.Calibration(
            model=self.config.name,
            version=self.version,
            segment=self.segment,
            method=current.method,
            knots=records.Knots(current.x.tolist(), current.y.tolist()),
            before=_losses(before),
            after=_losses(after),
            window=self._window(),
        )
        return [Output(at, "calibration", self.version, self.segment, data)]

    def _move(self, at: int, move: Move, whole: Cell, fresh: FreshScores | None) -> Output:
        self.own_threshold = move.threshold
        self.since_move = 0
        gain = records.Interval(move.expected_gain.value, move.expected_gain.low, move.expected_gain.high)
        prevalence = self._prevalence(at, self.window.evidence(), fresh)
        self.watch.epoch(move.threshold, at)
        return self._threshold_record(at, move.threshold, move.previous, move.reason, gain, prevalence, whole)

    def _consider_retraining(self, at: int, alarm: Alarm, whole: Cell) -> list[Output]:
        before, after = self.watch.before, self.watch.after
        if before is None or after is None:
            return []
        earlier = [threshold for since, threshold in self.in_force if since < alarm.change_at]
        threshold = self.threshold(whole)
        asked = self.retraining.consider(alarm, before, after, threshold, at, earlier[-1] if earlier else threshold)
        if asked == "wait":
            return []
        self.harm = None
        if asked is None:
            return []
        return [self._retrain_record(at, asked, alarm, after)]

    # -- records -------------------------------------------------------------------------------------------------------

    def _window(self) -> records.Window:
        blocks = self.window.blocks
        return records.Window.of(blocks[0].first, blocks[-1].last + self.interval, self.window.total.events)

    def _threshold_record(
        self,
        at: int,
        threshold: float,
        previous: float | None,
        reason: str,
        gain: records.Interval | None,
        prevalence: records.Prevalence | None,
        whole: Cell | None = None,
    ) -> Output:
        map_in_force = (whole or self).published_map
        calibrated = None if map_in_force is None else float(map_in_force.predict_many(np.array([threshold]))[0])
        data = records.Threshold(
            model=self.config.name,
            version=self.version,
            segment=self.segment,
            threshold=min(threshold, 1.0),
            threshold_calibrated=calibrated,
            previous=None if previous is None else min(previous, 1.0),
            objective=self.config.objective.model_dump(mode="json"),
            expected_gain=gain,
            reason=reason,
            prevalence=prevalence,
            calibration=None if map_in_force is None else map_in_force.method,
            window=self._window() if self.window.blocks else None,
        )
        return Output(at, "thresholds", self.version, self.segment, data)

    def _drift_record(self, at: int, alarm: Alarm, start: int, end: int, events: int) -> Output:
        confirmed = alarm.tier == "confirmed"
        data = records.Drift(
            model=self.config.name,
            version=self.version,
            segment=self.segment,
            monitor=alarm.monitor,
            tier=alarm.tier,
            statistic=alarm.statistic,
            direction=alarm.direction,
            change_at=records.rfc3339(alarm.change_at),
            diagnosis=records.Diagnosis(state="undiagnosed") if confirmed else None,
            bound=alarm.detail.get("threshold"),
            detector="e_sr" if confirmed else alarm.monitor,
            before=records.Interval(alarm.detail["mean_before"]),
            after=records.Interval(alarm.detail["mean_after"]),
            window=records.Window.of(start, end, events),
            evidence=alarm.detail if confirmed else None,
        )
        return Output(at, "drift", self.version, self.segment, data)

    def _retrain_record(self, at: int, asked: Retrain, alarm: Alarm, after: LabelCounts) -> Output:
        until = max(alarm.at, self.window.blocks[-1].last + self.interval)
        data = records.Retrain(
            model=self.config.name,
            version=self.version,
            segment=self.segment,
            reason=asked.reason,
            diagnosis=records.Diagnosis(state="undiagnosed"),
            window=records.Window.of(asked.change_at, until, after.events),
            priority=asked.priority,
        )
        return Output(at, "retrain", self.version, self.segment, data)

    def _metrics_record(self, at: int, window: BinaryEvidence, whole: Cell, fresh: FreshScores | None) -> Output:
        threshold = self.threshold(whole)
        estimates: dict[str, Estimate] = binary_metrics(window, threshold, self.costs, self.scales)
        error = calibration_error(window)
        if error is not None:
            estimates["calibration_error"] = error
        metrics = {name: records.Interval(e.value, e.low, e.high) for name, e in estimates.items()}
        for name, value in river_metrics(window, threshold, self.config.evaluate.river).items():
            metrics[name] = records.Interval(value)
        at_threshold = confusion(window, threshold)
        data = records.Metrics(
            model=self.config.name,
            version=self.version,
            segment=self.segment,
            window=self._window(),
            metrics=metrics,
            prevalence=self._prevalence(at, window, fresh),
            threshold=min(threshold, 1.0),
            confusion=records.Confusion(*at_threshold),
            reliability=[msgspec.convert(point, records.ReliabilityPoint) for point in reliability(window)],
            phase=self.watch.phase,
            detectable=self.watch.smallest_detectable_ratio,
        )
        return Output(at, "metrics", self.version, self.segment, data)

    def _prevalence(self, at: int, window: BinaryEvidence, fresh: FreshScores | None) -> records.Prevalence:
        labelled = windowed(window)
        free = None
        reference = self.watch.reference
        if self.segment == WHOLE and fresh is not None and reference is not None:
            if self.mixture is None or self.mixture[0] is not reference:
                self.mixture = (reference, _mixture(reference.counts))
            mixture = self.mixture[1]
            if mixture is not None and mixture.holds(window):
                free = mixture.prevalence(fresh.histogram(at))
        return records.Prevalence(_interval(labelled), _interval(free))

    # -- state ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        harm, known = self.harm, self.published_map
        return {
            "steps": self.steps.state(),
            "window": self.window.state(),
            "own_threshold": self.own_threshold,
            "since_move": self.since_move,
            "watch": self.watch.state(),
            "champion": None if self.champion is None else self.champion.state(),
            "published_map": None if known is None else [known.method, known.x, known.y],
            "published_at": self.published_at,
            "map_inherited": self.map_inherited,
            "retraining": self.retraining.state(),
            "in_force": [list(entry) for entry in self.in_force],
            "harm": None if harm is None else {name: getattr(harm, name) for name in Alarm.__slots__},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.steps.restore(state["steps"])
        self.window.restore(state["window"])
        self.own_threshold, self.since_move = state["own_threshold"], state["since_move"]
        self.watch = Watch.restore(state["watch"])
        if self.champion is not None:
            self.champion = Champion.restore(state["champion"])
        known = state["published_map"]
        self.published_map = None if known is None else CalibrationMap(*known)
        self.published_at, self.map_inherited = state["published_at"], state["map_inherited"]
        self.retraining.resume(state["retraining"])
        self.in_force = [(since, threshold) for since, threshold in state["in_force"]]
        self.harm = None if state["harm"] is None else Alarm(**state["harm"])


def _shares(config: Model, segment: str) -> int:
    """In how many parts the promise is cut: half of it is the whole's, all possible segments share the rest."""
    if not config.segments:
        return 1
    return 2 if segment == WHOLE else 2 * len(config.segments) * (VALUES + 1)


def _moved(old: CalibrationMap, new: CalibrationMap) -> bool:
    x = np.union1d(old.x, new.x)
    return bool(np.abs(old.predict_many(x) - new.predict_many(x)).max() > MAP_MOVED)


def _losses(measures: Measures | None) -> records.Losses | None:
    return None if measures is None else records.Losses(measures.log_loss, measures.brier)


def _interval(estimate: Estimate | None) -> records.Interval | None:
    return None if estimate is None else records.Interval(*estimate)


def _mixture(counts: LabelCounts) -> MixtureReference | None:
    reference = BinaryEvidence(counts.bins, counts.counts, np.zeros_like(counts.counts))
    return MixtureReference(reference) if reference.positives and reference.negatives else None
