"""The monitors of one cell, what an alarm asks for, and the records of both.

Invariant: a confirmed alarm is answered once: when the window after its change can say whether a new model pays.

Source: METHODS sections 1, 5 and 5b.
"""

from __future__ import annotations

from typing import Any

from streameval import records
from streameval.decide.retraining import Retrain, RetrainingPolicy
from streameval.detect.alarm import Alarm
from streameval.detect.label_counts import LabelCounts
from streameval.detect.life import Watch
from streameval.engine.identity import Identity
from streameval.engine.kinds import VALUES
from streameval.engine.moving import Moving
from streameval.engine.offline import report_of, unpack
from streameval.engine.rows import Output, Rows
from streameval.evidence.binary import BinaryEvidence

UNDIAGNOSED = records.Diagnosis(state="undiagnosed")


class Watching:
    """A cell's monitors and what follows from their alarms.

    Args:
        identity: Whose they are.
        costs: The price of a false positive and of a false negative, (1, 1) where the objective has none.
    """

    def __init__(self, identity: Identity, costs: tuple[float, float]) -> None:
        config = identity.config
        self.identity = identity
        self.watch = Watch(
            config.reference.events,
            config.reference.positives,
            config.drift.promise,
            segments=_shares(identity),
            costs=costs,
            sign_weight_above=config.drift.sign_weight_above,
            # Advisory detectors cost more than all else in a segment's step, and decide nothing.
            advisory=tuple(config.drift.advisory) if identity.whole else (),
        )
        report = report_of(identity)
        if report is not None and report.examples:
            self.watch.given(unpack(report.examples), config.threshold)
        self.retraining = RetrainingPolicy(costs, config.retraining.margin, config.retraining.cooldown)
        self.harm: Alarm | None = None

    def step(
        self, at: int, rows: Rows, evidence: BinaryEvidence, start: int, end: int, threshold: float
    ) -> tuple[list[Alarm], list[Output]]:
        """Move the monitors by one step's rows and their labelled evidence; the alarms and their records."""
        alarms = self.watch.step(evidence, start, end, threshold, rows.examples)
        window = records.Window.of(start, end, evidence.events)
        for alarm in alarms:
            if alarm.tier == "confirmed":
                self.harm = alarm
        return alarms, [self._drift_record(at, alarm, window) for alarm in alarms]

    def follow_up(self, at: int, until: int, threshold: float, moving: Moving) -> list[Output]:
        """Ask for a new model where an alarm calls for one; ``until`` is the end (ms) of what has matured."""
        alarm, before, after = self.harm, self.watch.before, self.watch.after
        if alarm is None or before is None or after is None:
            return []
        earlier = moving.before(alarm.change_at, threshold)
        asked = self.retraining.consider(alarm, before, after, threshold, at, earlier)
        if asked == "wait":
            return []
        self.harm = None
        return [] if asked is None else [self._retrain_record(at, asked, max(alarm.at, until), after)]

    def _drift_record(self, at: int, alarm: Alarm, window: records.Window) -> Output:
        confirmed = alarm.tier == "confirmed"
        data = records.Drift(
            **self.identity.named,
            monitor=alarm.monitor,
            tier=alarm.tier,
            statistic=alarm.statistic,
            direction=alarm.direction,
            change_at=records.rfc3339(alarm.change_at),
            diagnosis=UNDIAGNOSED if confirmed else None,
            bound=alarm.detail.get("threshold"),
            detector=alarm.detector,
            before=records.Interval(alarm.detail["mean_before"]),
            after=records.Interval(alarm.detail["mean_after"]),
            window=window,
            evidence=alarm.detail if confirmed else None,
        )
        return self.identity.output(at, "drift", data)

    def _retrain_record(self, at: int, asked: Retrain, until: int, after: LabelCounts) -> Output:
        data = records.Retrain(
            **self.identity.named,
            reason=asked.reason,
            diagnosis=UNDIAGNOSED,
            window=records.Window.of(asked.change_at, until, after.events),
            priority=asked.priority,
        )
        return self.identity.output(at, "retrain", data)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        harm = self.harm
        return {
            "watch": self.watch.state(),
            "retraining": self.retraining.state(),
            "harm": None if harm is None else {name: getattr(harm, name) for name in Alarm.__slots__},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.watch = Watch.restore(state["watch"])
        self.retraining.resume(state["retraining"])
        self.harm = None if state["harm"] is None else Alarm(**state["harm"])


def _shares(identity: Identity) -> int:
    """In how many parts the promise is cut: half of it is the whole's, all possible segments share the rest."""
    segments = identity.config.segments
    if not segments:
        return 1
    return 2 if identity.whole else 2 * len(segments) * (VALUES + 1)
