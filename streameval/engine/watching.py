"""The monitors of one cell, and the records of their alarms.

Invariant: every alarm has one record; what a confirmed one was is found out by its case (see `diagnosing`).

Source: METHODS sections 1 and 10.
"""

from __future__ import annotations

from typing import Any

from streameval import records
from streameval.detect.alarm import Alarm
from streameval.detect.life import Watch
from streameval.engine.diagnosing import PENDING
from streameval.engine.identity import Identity
from streameval.engine.offline import report_of, unpack
from streameval.engine.places import VALUES
from streameval.engine.rows import Output, Rows
from streameval.evidence.binary import BinaryEvidence


class Watching:
    """A cell's monitors.

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

    def step(
        self, at: int, rows: Rows, evidence: BinaryEvidence, start: int, end: int, threshold: float
    ) -> tuple[list[Alarm], list[Output]]:
        """Move the monitors by one step's rows and their labelled evidence; the alarms and their records."""
        alarms = self.watch.step(evidence, start, end, threshold, rows.examples)
        if not alarms:
            return [], []
        window = records.Window.of(start, end, evidence.events)
        return alarms, [self._drift_record(at, alarm, window) for alarm in alarms]

    def _drift_record(self, at: int, alarm: Alarm, window: records.Window) -> Output:
        confirmed = alarm.tier == "confirmed"
        data = records.Drift(
            **self.identity.named,
            monitor=alarm.monitor,
            tier=alarm.tier,
            statistic=alarm.statistic,
            direction=alarm.direction,
            change_at=records.rfc3339(alarm.change_at),
            diagnosis=PENDING if confirmed else None,
            bound=alarm.detail.get("threshold"),
            detector=alarm.detector,
            before=records.Interval(alarm.detail["mean_before"]),
            after=records.Interval(alarm.detail["mean_after"]),
            window=window,
            evidence=alarm.detail if confirmed else None,
            alarm_at=records.rfc3339(at),
            configuration=self.identity.configuration,
        )
        return self.identity.output(at, "drift", data)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {"watch": self.watch.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.watch = Watch.restore(state["watch"])


def _shares(identity: Identity) -> int:
    """In how many parts the promise is cut: half of it is the whole's, all possible segments share the rest."""
    segments = identity.config.segments
    if not segments:
        return 1
    return 2 if identity.whole else 2 * len(segments) * (VALUES + 1)
