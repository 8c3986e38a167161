"""From alarm to diagnosis to a request for a new model: what one cell knows of the change that it was last alarmed by.

The alarm's record says "pending"; when its case is decided a second record of the same monitor and change says what it
was, with the tests. `alarm_at` is the same in both. Only the whole of a version asks for a new model: a model is
trained whole, and a segment's own concept drift stands in its own drift record.

Invariant: one case at a time. A new alarm takes the place of an undecided case, which is closed as inconclusive; but an
alarm with too little before it to be told apart is closed itself, and the case goes on. A state found is acted upon
once.

Source: METHODS sections 5, 5b and 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from streameval import records
from streameval.decide.retraining import Retrain, RetrainingPolicy
from streameval.detect.alarm import Alarm
from streameval.detect.case import Case
from streameval.detect.diagnosis import Diagnosis, State, Test
from streameval.detect.family import merged_edges
from streameval.detect.label_counts import LabelCounts, total
from streameval.detect.life import Watch
from streameval.detect.own_move import OwnMove
from streameval.engine.identity import Identity
from streameval.engine.moving import Moving
from streameval.engine.rows import Output
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import BINS, EDGES

PENDING: Final = records.Diagnosis(state="pending")
_GROWTH: Final = 2
"""A window after a change may grow to so many times the events of the reference before it is given up: it needs as many
positives as the reference, and they may have become half as frequent."""


class Closed(NamedTuple):
    """A case with its diagnosis."""

    case: Case
    diagnosis: Diagnosis


class Diagnosing:
    """A cell's case and what it asks for.

    Args:
        identity: Whose they are.
        costs: The price of a false positive and of a false negative; None where the objective has none.
    """

    def __init__(self, identity: Identity, costs: tuple[float, float] | None) -> None:
        config = identity.config
        self.identity = identity
        self.retraining = RetrainingPolicy(costs, config.retraining.margin, config.retraining.cooldown)
        self.case: Case | None = None
        self.found: Diagnosis | None = None
        """The case's diagnosis, while a new model may still be asked for."""
        self.standing: State = "none"
        """What the last change was; pending while its case is open."""

    def step(
        self, at: int, evidence: BinaryEvidence, end: int, moves: Sequence[OwnMove]
    ) -> tuple[list[Output], Closed | None]:
        """Give a step's matured evidence to the open case: the record of its diagnosis, if it is decided."""
        if self.case is None:
            return [], None
        if self.found is not None:
            self.case.after = total([self.case.after, evidence])
            return [], None
        own = None if self.identity.config.drift.own_actions == "never" else moves
        found = self.case.step(evidence, end, own)
        if found is None:
            return [], None
        case = self.case
        return [self._close(at, case, found, end)], Closed(case, found)

    def alarmed(self, at: int, alarm: Alarm, end: int, watch: Watch, moves: Sequence[OwnMove]) -> list[Output]:
        """Open the case of a confirmed alarm that the step just raised."""
        before = watch.before or total([])
        case = Case.opened(alarm, at, self._deadline(alarm), before, watch.changed, moves)
        outputs: list[Output] = []
        if self.case is not None and self.found is None:
            if not case.may_be_told:
                return [self._record(at, case, Diagnosis("inconclusive"), end)]
            outputs = [self._record(at, self.case, Diagnosis("inconclusive"), end)]
        self.case, self.found, self.standing = case, None, "pending"
        return outputs

    def ask(self, at: int, until: int, threshold: float, moving: Moving) -> list[Output]:
        """Ask for a new model where the diagnosis calls for one; ``until`` is the end (ms) of what has matured."""
        case, found = self.case, self.found
        if case is None or found is None:
            return []
        change_at = case.alarm.change_at
        earlier = moving.before(change_at, threshold)
        asked = self.retraining.consider(found.state, change_at, case.before, case.after, threshold, at, earlier)
        if asked == "wait":
            return []
        self.case, self.found = None, None
        return [] if asked is None else [self._retrain_record(at, asked, found, case, until)]

    def _deadline(self, alarm: Alarm) -> int:
        config = self.identity.config
        if config.drift.diagnosis_events is not None:
            return config.drift.diagnosis_events
        reference = alarm.detail.get("reference", {"events": 0})
        return _GROWTH * max(config.reference.events, int(reference["events"]))

    def _close(self, at: int, case: Case, found: Diagnosis, end: int) -> Output:
        self.standing = found.state
        # Only the whole asks for a new model: see the module's head.
        if found.state == "concept_drift" and self.identity.whole:
            self.found = found
        else:
            self.case, self.found = None, None
        return self._record(at, case, found, end)

    def _record(self, at: int, case: Case, found: Diagnosis, end: int) -> Output:
        alarm = case.alarm
        data = records.Drift(
            **self.identity.named,
            monitor=alarm.monitor,
            tier=alarm.tier,
            statistic=alarm.statistic,
            direction=alarm.direction,
            change_at=records.rfc3339(alarm.change_at),
            diagnosis=told(found),
            bound=alarm.detail.get("threshold"),
            detector=alarm.detector,
            before=records.Interval(alarm.detail["mean_before"]),
            after=records.Interval(alarm.detail["mean_after"]),
            window=records.Window.of(alarm.change_at, max(end, alarm.change_at), case.after.events),
            evidence=_evidence(case, found),
            alarm_at=records.rfc3339(case.alarm_at),
            configuration=self.identity.configuration,
        )
        return self.identity.output(at, "drift", data)

    def _retrain_record(self, at: int, asked: Retrain, found: Diagnosis, case: Case, until: int) -> Output:
        data = records.Retrain(
            **self.identity.named,
            reason=asked.reason,
            diagnosis=told(found),
            window=records.Window.of(asked.change_at, max(until, case.alarm.at), case.after.events),
            priority=asked.priority,
            attainable=records.Interval(*asked.attainable),
            counterfactual=asked.counterfactual,
            in_force=records.Interval(*asked.in_force),
            alarm_at=records.rfc3339(case.alarm_at),
            configuration=self.identity.configuration,
        )
        return self.identity.output(at, "retrain", data)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        found = self.found
        return {
            "retraining": self.retraining.state(),
            "case": None if self.case is None else self.case.state(),
            "found": None if found is None else _found_state(found),
            "standing": self.standing,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.retraining.resume(state["retraining"])
        self.case = None if state["case"] is None else Case.restore(state["case"])
        self.found = None if state["found"] is None else _found(state["found"])
        self.standing = state["standing"]


def told(found: Diagnosis) -> records.Diagnosis:
    """A diagnosis as records say it."""
    tests = {
        test.name: records.Finding(
            statistic=test.statistic, p_value=min(max(test.p_value, 0.0), 1.0), effect=test.effect, holds=test.holds
        )
        for test in found.tests
    }
    return records.Diagnosis(state=found.state, tests=tests)


def _evidence(case: Case, found: Diagnosis) -> dict[str, Any]:
    """Both windows of a diagnosis by merged score bin, and what was left out: enough to repeat its tests."""
    edges = merged_edges(case.before) if case.before.events else np.array([0, BINS])
    names = ("negatives", "positives")
    counts = {
        f"{names[label]}_{when}": _merged(window, edges, label)
        for when, window in (("before", case.before), ("after", case.after), ("after_alarm", case.since))
        for label in (0, 1)
    }
    ends = np.minimum(EDGES, 1.0)
    return {
        "counts": {"score_from": EDGES[edges[:-1]].tolist(), **counts},
        "effect_interval": None if found.interval is None else list(found.interval),
        "left_out": [[float(ends[low]), float(ends[high])] for low, high in case.left_out],
    }


def _merged(window: LabelCounts, edges: np.ndarray, label: int) -> list[int]:
    place = np.searchsorted(edges, window.bins, side="right") - 1
    counts = np.zeros(edges.size - 1, dtype=np.int64)
    np.add.at(counts, place, window.counts[label])
    whole: list[int] = counts.tolist()
    return whole


def _found_state(found: Diagnosis) -> dict[str, Any]:
    tests = [[t.name, t.statistic, t.p_value, t.effect, t.holds] for t in found.tests]
    return {"state": found.state, "tests": tests, "interval": None if found.interval is None else list(found.interval)}


def _found(state: dict[str, Any]) -> Diagnosis:
    interval = state["interval"]
    return Diagnosis(
        state["state"], tuple(Test(*test) for test in state["tests"]), None if interval is None else tuple(interval)
    )
