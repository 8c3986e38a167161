"""The life of one cell's monitors: learning, watching, alarm, and learning again from the change point on.

While learning, steps are collected until the reference has both its events and its positives. Then the monitors are
frozen, and each step moves them; the first to reach its threshold raises one alarm for all of them, and what came after
the change point is what the next reference is learnt from.

Invariant: a function of the steps (evidence, times, threshold) in their order. Advisory signals change nothing but are
returned.
Source: METHODS, sections 1, 5 (windows) and 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

from streameval.detect.advisory import Advisory
from streameval.detect.alarm import Alarm
from streameval.detect.esr import DIRECTIONS, Crossing, Esr
from streameval.detect.family import MONITORS, Family
from streameval.detect.history import History
from streameval.detect.label_counts import LabelCounts, total
from streameval.detect.reference import Reference, reference_of
from streameval.evidence.binary import BinaryEvidence, check_version
from streameval.evidence.bins import EDGES
from streameval.evidence.exact import UNIT

Phase = Literal["learning", "watching"]

_STATE_VERSION: Final = 1
_PATH: Final = 64


class Watch:
    """The monitors of one cell (model, version, segment).

    Args:
        reference_events: how many events a reference needs at least.
        reference_positives: and how many of them positive.
        promise_ms: at most one false alarm is expected in this time, over all segments.
        segments: how many cells share that promise.
        costs: the price of a false positive and of a false negative; (1, 1) watches the error rate.
        sign_weight_above: probability from which the weighted residual changes its sign.
        advisory: names of River detectors.
    """

    def __init__(
        self,
        reference_events: int,
        reference_positives: int,
        promise_ms: int,
        *,
        segments: int = 1,
        costs: tuple[float, float] = (1.0, 1.0),
        sign_weight_above: float = 0.2,
        advisory: tuple[str, ...] = ("ADWIN",),
    ) -> None:
        self.reference_events = reference_events
        self.reference_positives = reference_positives
        self.promise_ms = promise_ms
        self.segments = segments
        self.costs = costs
        self.sign_weight_above = sign_weight_above
        self.advisory = [Advisory(name) for name in advisory]
        self.history = History()
        """Blocks since learning began, or, while watching, since the reference ended."""
        self.reference: Reference | None = None
        self.before: LabelCounts | None = None
        """The last alarm's window before its change: all since its reference began."""
        self.alarm: Alarm | None = None
        """The last confirmed alarm."""
        self._esr: Esr | None = None
        self._path: list[tuple[int, list[float]]] = []

    @property
    def phase(self) -> Phase:
        """What the monitors do now."""
        return "learning" if self.reference is None else "watching"

    @property
    def smallest_detectable_ratio(self) -> float | None:
        """The smallest factor of the prevalence that can raise an alarm; None while learning."""
        return None if self.reference is None else self.reference.smallest_detectable_ratio()

    @property
    def after(self) -> LabelCounts | None:
        """The last alarm's window after its change: all since then; None before an alarm."""
        if self.before is None:
            return None
        learnt = [] if self.reference is None else [self.reference.counts]
        return total([*learnt, *(block.counts for block in self.history.blocks)])

    def step(self, evidence: BinaryEvidence, start: int, end: int, threshold: float) -> list[Alarm]:
        """Take in the matured, labelled evidence of one step.

        Args:
            evidence: the step's evidence; its size must not depend on labels.
            start: ms, first prediction time.
            end: ms, first prediction time that is beyond it.
            threshold: the one in force, for the cost; another one than before is a new epoch.

        Returns:
            Advisory signals, and at most one confirmed alarm.
        """
        events = evidence.events
        if events == 0:
            return []
        alarms = self._advised(evidence, events, start, end)
        if self.reference is None or self._esr is None:
            self.history.append(start, end, evidence, recent=False)
            if self.history.events >= self.reference_events and self.history.positives >= self.reference_positives:
                self._watch(threshold)
            return alarms
        self.reference.move(threshold, self._esr, start)
        self.history.append(start, end, evidence, recent=True)
        crossings = self._esr.step(self.reference.family.cells(evidence), end)
        self._path.append((end, self._esr.log_statistic.ravel().tolist()))
        del self._path[:-_PATH]
        if crossings:
            alarms.append(self._alarmed(crossings, self.reference, end, threshold))
        return alarms

    def epoch(self, threshold: float, at: int) -> None:
        """Our own threshold moved at `at` (ms): the cost monitor begins anew with bounds for it."""
        if self.reference is not None and self._esr is not None:
            self.reference.move(threshold, self._esr, at)

    def _watch(self, threshold: float) -> None:
        self.reference = reference_of(
            self.history,
            threshold,
            costs=self.costs,
            sign_weight_above=self.sign_weight_above,
            promise_ms=self.promise_ms,
            segments=self.segments,
        )
        self._esr = self.reference.detector()
        self.history = History()
        self._path = []

    def _advised(self, evidence: BinaryEvidence, events: int, start: int, end: int) -> list[Alarm]:
        loss = (evidence.losses["brier_0"] + evidence.losses["brier_1"]) / UNIT
        found: list[Alarm] = []
        for detector in self.advisory:
            usual = detector.mean
            if detector.step(events, loss):
                mean = loss / events
                detail = {"phase": self.phase, "input": "brier", "mean_before": usual, "mean_after": mean}
                direction: Literal["up", "down"] = "up" if mean >= usual else "down"
                found.append(Alarm(detector.name, "advisory", mean, direction, start, end, detail))
        return found

    def _alarmed(self, crossings: list[Crossing], reference: Reference, end: int, threshold: float) -> Alarm:
        first = crossings[0]
        after = self.history.since(first.change_at)
        until = self.history.until(first.change_at)
        before = total([reference.counts, *(block.counts for block in until.blocks)])
        detail = self._detail(crossings, reference, before, after.total())
        statistic = float(np.exp(min(first.log_statistic, 700.0)))
        direction: Literal["up", "down"] = "up" if first.direction == "up" else "down"
        alarm = Alarm(MONITORS[first.monitor], "confirmed", statistic, direction, first.change_at, end, detail)
        self.before, self.alarm = before, alarm
        self.reference, self._esr, self.history, self._path = None, None, after, []
        if after.events >= self.reference_events and after.positives >= self.reference_positives:
            self._watch(threshold)
        return alarm

    def _detail(
        self, crossings: list[Crossing], reference: Reference, before: LabelCounts, after: LabelCounts
    ) -> dict[str, Any]:
        first = crossings[0]
        family = reference.family
        row = first.monitor * len(DIRECTIONS) + DIRECTIONS.index(first.direction)
        up, down = reference.bounds(first.monitor)
        cells_before, cells_after = family.cells(before), family.cells(after)
        seen = max(after.events, 1)
        phi = 1.0 if reference.phi is None else float(reference.phi[first.monitor])
        return {
            "phase": "watching",
            "threshold": float(np.exp(reference.log_threshold)),
            "log_statistic": first.log_statistic,
            "bound": up if first.direction == "up" else down,
            "mean_before": float(family.values[first.monitor] @ cells_before / before.events),
            "mean_after": float(family.values[first.monitor] @ cells_after / seen),
            "events_before": before.events,
            "events_after": after.events,
            "positives_before": before.positives,
            "positives_after": after.positives,
            "overdispersion": phi,
            "tempering": 1.0 / phi,
            "smallest_detectable_ratio": reference.smallest_detectable_ratio(),
            "reference": {"from": reference.start, "to": reference.end, "events": reference.counts.events},
            "crossed": [{"monitor": MONITORS[c.monitor], "direction": c.direction} for c in crossings],
            "path": [[at, statistics[row]] for at, statistics in self._path],
            "counts": _counted(family, cells_before, cells_after),
        }

    def state(self) -> dict[str, Any]:
        """Plain values, the arguments of this watch included."""
        alarm = self.alarm
        return {
            "version": _STATE_VERSION,
            "reference_events": self.reference_events,
            "reference_positives": self.reference_positives,
            "promise_ms": self.promise_ms,
            "segments": self.segments,
            "costs": list(self.costs),
            "sign_weight_above": self.sign_weight_above,
            "advisory": [detector.state() for detector in self.advisory],
            "history": self.history.state(),
            "reference": None if self.reference is None else self.reference.state(),
            "before": None if self.before is None else self.before.state(),
            "alarm": None if alarm is None else _alarm_state(alarm),
            "esr": None if self._esr is None else self._esr.state(),
            "path_at": [at for at, _ in self._path],
            "path": np.array([statistics for _, statistics in self._path], dtype=np.float64).flatten(),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Watch:
        """The watch that `state` described; it continues bit for bit.

        Raises:
            StateVersionError: another release wrote the state.
        """
        check_version(state, _STATE_VERSION, "monitors")
        fp, fn = state["costs"]
        out = cls(
            int(state["reference_events"]),
            int(state["reference_positives"]),
            int(state["promise_ms"]),
            segments=int(state["segments"]),
            costs=(float(fp), float(fn)),
            sign_weight_above=float(state["sign_weight_above"]),
            advisory=(),
        )
        out.advisory = [Advisory.restore(detector) for detector in state["advisory"]]
        out.history = History.restore(state["history"])
        out.reference = None if state["reference"] is None else Reference.restore(state["reference"])
        out.before = None if state["before"] is None else LabelCounts.restore(state["before"])
        out.alarm = None if state["alarm"] is None else Alarm(**state["alarm"])
        out._esr = None if state["esr"] is None else Esr.restore(state["esr"])
        rows = np.asarray(state["path"], dtype=np.float64).reshape(-1, len(MONITORS) * len(DIRECTIONS)).tolist()
        out._path = list(zip(map(int, state["path_at"]), rows, strict=True))
        return out


def _alarm_state(alarm: Alarm) -> dict[str, Any]:
    return {name: getattr(alarm, name) for name in Alarm.__slots__}


def _counted(family: Family, before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> dict[str, list[Any]]:
    """Both windows by merged score bin: what a person needs to repeat the tests."""
    size = family.edges.size - 1

    def whole(counts: np.ndarray[Any, Any]) -> list[int]:
        return [int(c) for c in counts]

    return {
        "score_from": EDGES[family.edges[:-1]].tolist(),
        "negatives_before": whole(before[:size]),
        "positives_before": whole(before[size:]),
        "negatives_after": whole(after[:size]),
        "positives_after": whole(after[size:]),
    }
