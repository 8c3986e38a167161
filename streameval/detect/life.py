"""The life of one cell's monitors: learning, watching, alarm, and learning again from the change point on.

While learning, steps are collected until the reference has both its events and its positives, and a guard that needs no
reference speaks of changes meanwhile. Then the monitors are frozen, and each step moves them; the first to reach its
threshold raises one alarm for all of them. What came after the change point is what the next reference is learnt from.

A busy stream gives a reference in minutes, and its days and weeks are still to come. So a reference grows by all that
was watched since, when two days and when three weeks have passed without alarm or suspicion: then seasons can be seen.

A stream that changes again and again while it is learnt is not one with a change but one with bursts or a season. So
after two alarms the guard stands down until a reference was learnt, whose bounds then know of the unrest.

Invariant: a function of the steps (evidence, times, threshold, examples) in their order. Advisory signals change
nothing but are returned.
Source: METHODS, sections 1, 5 (windows) and 10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from streameval.detect import account
from streameval.detect.advisory import Advisory
from streameval.detect.alarm import Alarm, Direction
from streameval.detect.conformal import FUNCTIONS
from streameval.detect.esr import Crossing, Esr
from streameval.detect.examples import HOUR, Examples
from streameval.detect.family import MONITORS
from streameval.detect.guard import Guard
from streameval.detect.history import History
from streameval.detect.hours import Hours
from streameval.detect.label_counts import Histogram, LabelCounts, total
from streameval.detect.reference import Reference, reference_of
from streameval.detect.season import Known
from streameval.evidence.binary import BinaryEvidence, check_version
from streameval.evidence.exact import UNIT

Phase = Literal["learning", "watching"]

_STATE_VERSION: Final = 1
_PATH: Final = 48
_INTERRUPTIONS: Final = 2
_GROWN: Final = (2 * 86_400_000, 21 * 86_400_000)


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
        self.hours = Hours()
        self.reference: Reference | None = None
        self.before: LabelCounts | None = None
        """The last alarm's window before its change: all since its reference began."""
        self.alarm: Alarm | None = None
        """The last confirmed alarm."""
        self.changed = History()
        """What lay between the last alarm's change and the alarm, just after the step that raised it (not kept)."""
        self.interruptions = 0
        """Alarms since a reference was last learnt."""
        self._given: LabelCounts | None = None
        self._esr: Esr | None = None
        self._guard: Guard | None = None
        self._path: list[tuple[int, npt.NDArray[np.float32]]] = []

    @property
    def phase(self) -> Phase:
        """What the monitors do now."""
        return "learning" if self.reference is None else "watching"

    @property
    def season(self) -> Known | None:
        """What is known of the stream's season: unknown, none, day or week; None while learning."""
        return None if self.reference is None else self.reference.season.known

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

    def given(self, counts: Histogram, threshold: float = 0.5, *, matured_over: tuple[int, int] | None = None) -> None:
        """Take a reference that was not learnt here: scored and labelled examples of a validation set.

        They set the score bins and the map of the monitors, and what is normal is still learnt from live data. For
        complete labels beside live ones that come late would be a false alarm in every stream. Only examples that
        passed through the same wait and censoring as live data may say what is normal; give their time
        `[from, to)` (ms) in `matured_over`, and if they suffice the watch begins at once, at the threshold in force.
        """
        if not counts.counts.any():
            return
        self._given = LabelCounts.of(counts)
        if matured_over is None or self.reference is not None:
            return
        enough = self._given.events >= self.reference_events and self._given.positives >= self.reference_positives
        if enough:
            start, end = matured_over
            self.history = History()
            self.history.append(start, end, counts, recent=False)
            self._watch(threshold)

    def step(
        self,
        evidence: BinaryEvidence,
        start: int,
        end: int,
        threshold: float,
        examples: Callable[[], Examples] | None = None,
    ) -> list[Alarm]:
        """Take in the matured, labelled evidence of one step.

        Args:
            evidence: the step's evidence; its size must not depend on labels.
            start: ms, first prediction time.
            end: ms, first prediction time that is beyond it.
            threshold: the one in force, for the cost; another one than before is a new epoch.
            examples: gives the same events one by one: the guard needs them, and a step of several hours where there
                may be a season. Without them there is no guard, and the bounds of such a step are the widest of its
                hours.

        Returns:
            Advisory signals, and at most one confirmed alarm.
        """
        events = evidence.events
        if events == 0:
            return []
        alarms = self._advised(evidence, events, start, end)
        first, last = start // HOUR, (end - 1) // HOUR
        known: Examples | None = None
        if examples is not None and (first != last or self._on_guard):
            known = examples().ordered()
        if first == last:
            self.hours.add(first, evidence)
        elif known is not None:
            self.hours.add_examples(known)
        if self.reference is None or self._esr is None:
            self.history.append(start, end, evidence, recent=False)
            if known is not None and self._on_guard:
                alarms += self._guarded(known, start, end, threshold)
            if self.history.events >= self.reference_events and self.history.positives >= self.reference_positives:
                self._watch(threshold)
            return alarms
        self.reference.move(threshold, self._esr, start)
        settled = int(self._esr.recursion.minimum_at.min())
        self.history.append(start, end, evidence, recent=True, settled=settled)
        crossings = self._watched(self.reference, self._esr, evidence, known, first, last, end)
        self._keep(end, self._esr.log_statistic)
        if crossings:
            alarms.append(self._alarmed(crossings, self.reference, end, threshold))
        elif self._may_grow(self.reference, self._esr, end):
            self._watch(threshold)
        return alarms

    def epoch(self, threshold: float, at: int) -> None:
        """Our own threshold moved at `at` (ms): the cost monitor begins anew with bounds for it."""
        if self.reference is not None and self._esr is not None:
            self.reference.move(threshold, self._esr, at)

    @property
    def _on_guard(self) -> bool:
        return self.reference is None and self.interruptions < _INTERRUPTIONS

    def _keep(self, end: int, statistic: npt.NDArray[np.float64]) -> None:
        self._path.append((end, statistic.ravel().astype(np.float32)))
        del self._path[:-_PATH]

    def _may_grow(self, reference: Reference, esr: Esr, end: int) -> bool:
        covered = reference.end - reference.start
        due = any(covered < span <= end - reference.start for span in _GROWN)
        # M is worth the events seen without change, seldom a hundred times as much.
        calm = float(esr.log_statistic.max()) < np.log(100.0 * max(self.history.events, 1))
        return due and calm

    def _watch(self, threshold: float) -> None:
        """Freeze what was learnt: the history, and, where a reference grows, that before it."""
        learnt = self.history if self.reference is None else self.history.after(self.reference.block())
        self.reference = reference_of(
            learnt,
            threshold,
            costs=self.costs,
            sign_weight_above=self.sign_weight_above,
            promise_ms=self.promise_ms,
            segments=self.segments,
            hours=self.hours,
            given=self._given,
        )
        self._esr = self.reference.detector()
        self.history = History()
        self.interruptions = 0
        self._guard, self._path = None, []

    @staticmethod
    def _watched(
        reference: Reference,
        esr: Esr,
        evidence: Histogram,
        examples: Examples | None,
        first: int,
        last: int,
        end: int,
    ) -> list[Crossing]:
        family = reference.family
        if not reference.seasonal:
            return esr.step(family.cells(evidence), end)
        if first == last or examples is None:
            esr.bound(*reference.bounds_over(first, last))
            return esr.step(family.cells(evidence), end)
        hours, part = np.unique(examples.hour, return_inverse=True)
        up, down = np.swapaxes([reference.bounds_at(hour) for hour in hours.tolist()], 0, 1)
        log_l = esr.log_ratio_under(up, down, family.cells_of(examples.bins, examples.label, part, len(hours)))
        return esr.take(log_l, float(len(examples)), end)

    def _guarded(self, examples: Examples, start: int, end: int, threshold: float) -> list[Alarm]:
        if self._guard is None:
            self._guard = Guard(start, self.sign_weight_above)
            self._path = []
        history = self.history
        caught = self._guard.step(examples, history, end, self.promise_ms, self.segments)
        self._keep(end, self._guard.log_statistic)
        if caught is None:
            return []
        first = caught.crossings[0]
        # Nothing lies before a change in the first step that it could be told from.
        change_at = max(first.change_at, history.blocks[0].end)
        before, after = history.until(change_at).total(), history.since(change_at)
        maps = (threshold, self.costs, self.sign_weight_above)
        detail = account.guarded(caught, before, after.total(), self._path, maps, history.start)
        first = replace(first, log_statistic=first.log_statistic / caught.phi)
        alarm = _alarm(first, FUNCTIONS, "conformal_sr", change_at, end, detail)
        self._learn_again(alarm, before, after)
        return [alarm]

    def _advised(self, evidence: BinaryEvidence, events: int, start: int, end: int) -> list[Alarm]:
        if not self.advisory:
            return []
        loss = (evidence.losses["brier_0"] + evidence.losses["brier_1"]) / UNIT
        found: list[Alarm] = []
        for detector in self.advisory:
            usual = detector.mean
            if detector.step(evidence, loss):
                mean = loss / events
                detail = {"phase": self.phase, "input": "brier", "mean_before": usual, "mean_after": mean}
                direction: Direction = "up" if mean >= usual else "down"
                name = detector.name
                found.append(Alarm(name, "advisory", mean, direction, start, end, detail, name))
        return found

    def _alarmed(self, crossings: list[Crossing], reference: Reference, end: int, threshold: float) -> Alarm:
        change_at = crossings[0].change_at
        after = self.history.since(change_at)
        until = self.history.until(change_at)
        before = total([reference.counts, *(block.counts for block in until.blocks)])
        detail = account.watched(crossings, reference, before, after.total(), self._path, end)
        alarm = _alarm(crossings[0], MONITORS, "e_sr", change_at, end, detail)
        self.reference, self._esr = None, None
        self._learn_again(alarm, before, after)
        if after.events >= self.reference_events and after.positives >= self.reference_positives:
            self._watch(threshold)
        return alarm

    def _learn_again(self, alarm: Alarm, before: LabelCounts, after: History) -> None:
        """From the change point on; a given map was that of the stream before it."""
        self.before, self.alarm, self.changed = before, alarm, after
        self.interruptions += 1
        self.history, self._given = after, None
        self._guard, self._path = None, []

    def state(self) -> dict[str, Any]:
        """Plain values, the arguments of this watch included."""
        alarm = self.alarm
        # The values of the cells are the family's, which the reference holds.
        esr = None if self._esr is None else {k: v for k, v in self._esr.state().items() if k != "values"}
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
            "hours": self.hours.state(),
            "reference": None if self.reference is None else self.reference.state(),
            "before": None if self.before is None else self.before.state(),
            "alarm": None if alarm is None else _alarm_state(alarm),
            "interruptions": self.interruptions,
            "given": None if self._given is None else self._given.state(),
            "esr": esr,
            "guard": None if self._guard is None else self._guard.state(),
            "path_at": [at for at, _ in self._path],
            "path": np.concatenate([statistics for _, statistics in self._path] or [np.empty(0, np.float32)]),
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
        out.before = None if state["before"] is None else LabelCounts.restore(state["before"])
        out.alarm = None if state["alarm"] is None else Alarm(**state["alarm"])
        out.hours = Hours.restore(state["hours"])
        out.interruptions = int(state["interruptions"])
        if state["given"] is not None:
            out._given = LabelCounts.restore(state["given"])
        if state["guard"] is not None:
            out._guard = Guard.restore(state["guard"])
        if state["reference"] is not None:
            out.reference = Reference.restore(state["reference"])
            out._esr = Esr.restore({"values": out.reference.family.values, **state["esr"]})
        ends = [int(at) for at in state["path_at"]]
        rows = np.asarray(state["path"]).astype(np.float32).reshape(max(len(ends), 1), -1)
        out._path = list(zip(ends, rows, strict=False))
        return out


def _alarm(
    first: Crossing, names: tuple[str, ...], detector: str, change_at: int, end: int, detail: dict[str, Any]
) -> Alarm:
    statistic = float(np.exp(min(first.log_statistic, 700.0)))
    direction: Direction = "up" if first.direction == "up" else "down"
    return Alarm(names[first.monitor], "confirmed", statistic, direction, change_at, end, detail, detector)


def _alarm_state(alarm: Alarm) -> dict[str, Any]:
    return {name: getattr(alarm, name) for name in Alarm.__slots__}
