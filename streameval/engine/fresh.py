"""Predictions of a version that wait for their labels: their scores and what labels came so far, in groups of cohorts.

A *group* is a run of whole cohorts that have closed: at least so many events and so much time that the wait for labels
holds at most some sixty of them, where events are few at least eight. It is what all that looks ahead of the labels
works on: the filter of the prevalence, the estimate of performance without labels, the provisional view, the delays of
labels. A group leaves when all its cohorts have matured, with its labels; how long these took is kept for twice the
wait.

The *ticks* are the moments at which something is decided on fresh scores: enough of them have closed since the last, or
a group is full. They follow from the closed cohorts alone.

Invariant: groups and ticks are a function of the closings, first labels and matured rows by logical time, however these
are batched: closings and labels up to a time are taken in by ``absorb``, and a group is full only at a tick. Each
cohort is in one group. At most ``GROUPS`` wait.

Source: DESIGN "Time" (fresh evidence); METHODS sections 3, 7 and 8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from streameval.engine.rows import Rows
from streameval.evaluate.label_delay import Delays
from streameval.evidence.bins import BINS, bin_of
from streameval.evidence.coarse import COARSE, coarse_counts
from streameval.evidence.exact import narrow
from streameval.order import distinct

GROUPS: Final = 128
"""Groups that wait at most; older ones are forgotten, as those of a version that gets no labels."""
PARTS: Final = 64
"""A group lasts this part of the wait for labels, at least."""
STEPS: Final = 2
"""And holds the events of so many steps, at least,"""
LONGEST: Final = 8
"""unless it has lasted this part of the wait."""
TICKS: Final = 4
"""Ticks of a group that lasts long, at most."""

_ALL: Final = np.arange(BINS)


class Tick(NamedTuple):
    """A moment to look at fresh scores: its logical time (ms), and whether the open group is full."""

    at: int
    full: bool


@dataclass(slots=True)
class Group:
    """Cohorts ``first`` to ``last`` (their starts, ms) that have closed."""

    first: int
    last: int
    events: int = 0
    coarse: np.ndarray = field(default_factory=lambda: np.zeros(COARSE, np.int64))
    """int64[COARSE]: scores by coarse bin."""
    delays: Delays = field(default_factory=Delays)
    """First labels by the time that they took."""
    estimated: dict[str, float] | None = None
    """Metrics as they were expected when the group was full."""
    threshold: float = 0.0
    """The threshold that was in force then."""

    def state(self) -> list[Any]:
        """Plain values for ``restore``."""
        held = np.flatnonzero(self.coarse)
        scores = [held.astype(np.int16), narrow(self.coarse[held])]
        return [self.first, self.last, self.events, scores, self.delays.state(), self.estimated, self.threshold]

    @classmethod
    def restore(cls, state: list[Any]) -> Group:
        """The inverse of ``state``."""
        first, last, events, (held, counts), delays, estimated, threshold = state
        group = cls(first, last, events, delays=Delays.restore(delays), estimated=estimated, threshold=threshold)
        group.coarse[held.astype(np.int64)] = counts
        return group


@dataclass(slots=True)
class Matured:
    """A group that has matured: the group, and its labelled rows by score bin."""

    group: Group
    bins: np.ndarray
    """int64[k]: the bins that hold any, ascending."""
    counts: np.ndarray
    """int64[2, k]: rows by label and bin."""
    past: Past
    """How its labels came."""

    @property
    def events(self) -> int:
        """Its labelled rows."""
        return int(self.counts.sum())

    @property
    def positives(self) -> int:
        """The positive ones."""
        return int(self.counts[1].sum())


@dataclass(slots=True)
class Past:
    """How long the labels of a matured group took, and how many positives came after its maturity."""

    first: int
    last: int
    at: int
    """When it matured (ms)."""
    delays: Delays
    events: int
    labelled: int
    positives: int
    late: int = 0


class Fresh:
    """The groups of one version.

    Args:
        events: Events of a step.
        window: Scores that the label-free estimates read at most.
        wait: How long labels are waited for (ms).
        amend: How long after maturity labels may still come (ms).
        interval: Length of a cohort (ms).
    """

    def __init__(self, events: int, window: int, wait: int, amend: int, interval: int) -> None:
        self.least = events
        self.window = window
        self.wait = wait
        self.amend = amend
        self.interval = interval
        self.span = wait // PARTS
        self.full: deque[Group] = deque()
        """Groups that are full and have not matured wholly, oldest first."""
        self.open: Group | None = None
        self.scores = np.zeros(BINS, np.int64)
        """int64[BINS]: the open group's scores by bin."""
        self.latest: tuple[np.ndarray, np.ndarray] | None = None
        """The scores of the latest full group: bins int64[k] and counts int64[k]."""
        self.past: deque[Past] = deque()
        """Matured groups, oldest first."""
        self.unproven: deque[tuple[int, int]] = deque()
        """When predictions left unproven (ms), and how many."""
        self.closed = 0
        """Predictions that were taken in, in all."""
        self.matured_to: int | None = None
        """Start (ms) of the last cohort that has matured."""
        self._over = 0
        self._labelled = np.zeros((2, BINS), np.int64)
        # What has closed or been labelled and was not taken in yet.
        self._closings: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._labels: list[tuple[np.ndarray, ...]] = []
        # The plan of groups and ticks is ahead of what has been taken in.
        self._planned_first: int | None = None
        self._planned = 0
        self._since_tick = 0
        self._ticked = 0

    # -- predictions and labels in -------------------------------------------------------------------------------------

    def push(self, at: np.ndarray, score: np.ndarray) -> list[Tick]:
        """Scores f64[n] of cohorts that closed at i64[n], ascending and not before any pushed earlier; the ticks."""
        start = at - self.interval
        self._closings.append((at, start, score))
        first = np.flatnonzero(np.append(True, at[1:] != at[:-1]))
        sizes = np.diff(np.append(first, len(at)))
        ends, starts, summed = at[first], start[first], np.cumsum(sizes)
        ticks: list[Tick] = []
        done, n = 0, len(ends)
        while done < n:
            before = int(summed[done - 1]) if done else 0
            if self._planned_first is None:
                self._planned_first, self._planned = int(starts[done]), 0
            enough = max(
                int(np.searchsorted(summed, before + STEPS * self.least - self._planned)),
                int(np.searchsorted(ends, self._planned_first + self.span)),
            )
            due = max(min(enough, int(np.searchsorted(ends, self._planned_first + self.wait // LONGEST))), done)
            tick = max(
                int(np.searchsorted(summed, before + self.least - self._since_tick)),
                int(np.searchsorted(ends, self._ticked + self.span // TICKS)),
                done,
            )
            at_next = min(due, tick)
            taken = int(summed[min(at_next, n - 1)]) - before
            self._planned += taken
            self._since_tick += taken
            if at_next >= n:
                break
            ticks.append(Tick(int(ends[at_next]), due == at_next))
            self._ticked, self._since_tick = int(ends[at_next]), 0
            if due == at_next:
                self._planned_first = None
            done = at_next + 1
        return ticks

    def label(self, at: np.ndarray, start: np.ndarray, delay: np.ndarray, label: np.ndarray) -> None:
        """First labels i8[n] (0 or 1) of rows of the cohorts i64[n], known from i64[n] on, that took i64[n] (ms)."""
        self._labels.append((at, start, delay, label))

    def absorb(self, until: int) -> None:
        """Take in what closed and what was labelled by a logical time."""
        while self._closings:
            at, start, score = self._closings[0]
            due = int(np.searchsorted(at, until, side="right"))
            if due:
                self._add(start[:due], score[:due])
            if due < len(at):
                self._closings[0] = (at[due:], start[due:], score[due:])
                break
            del self._closings[0]
        while self._labels:
            columns = self._labels[0]
            due = int(np.searchsorted(columns[0], until, side="right"))
            if due:
                self._count(*(column[:due] for column in columns[1:]))
            if due < len(columns[0]):
                self._labels[0] = tuple(column[due:] for column in columns)
                break
            del self._labels[0]

    def _add(self, start: np.ndarray, score: np.ndarray) -> None:
        if self.open is None:
            self.open = Group(int(start[0]), int(start[0]))
            self.scores[:] = 0
        bins = bin_of(score)
        self.scores += np.bincount(bins, minlength=BINS)
        self.open.last = int(start[-1])
        self.open.events += len(score)
        self.closed += len(score)

    def _count(self, start: np.ndarray, delay: np.ndarray, label: np.ndarray) -> None:
        groups = self.waiting
        if not groups:
            return
        firsts = np.array([group.first for group in groups], np.int64)
        place = np.searchsorted(firsts, start, side="right") - 1
        for at in distinct(place[place >= 0]).tolist():
            mine = place == at
            groups[at].delays.add(label[mine], delay[mine])

    # -- groups --------------------------------------------------------------------------------------------------------

    def fill(self) -> Group | None:
        """The open group is full: it waits for maturity, and the next cohort begins another one."""
        group = self.open
        if group is None:
            return None
        held = np.flatnonzero(self.scores)
        self.latest = held, self.scores[held]
        group.coarse = coarse_counts(_ALL, self.scores)
        self.full.append(group)
        self.open = None
        if len(self.full) > GROUPS:
            self.full.popleft()
            self._labelled[:] = 0
        return group

    @property
    def open_coarse(self) -> np.ndarray:
        """int64[COARSE]: the open group's scores by coarse bin."""
        if self.open is None:
            return np.zeros(COARSE, np.int64)
        return coarse_counts(_ALL, self.scores)

    @property
    def waiting(self) -> list[Group]:
        """All groups that wait, oldest first, the open one last."""
        return [*self.full, *([] if self.open is None else [self.open])]

    def recent(self, part: int = 1) -> np.ndarray:
        """int64[COARSE]: the scores of the latest groups, as many whole ones as the window (or a part of it) holds."""
        total = self.open_coarse
        events = 0 if self.open is None else self.open.events
        for group in reversed(self.full):
            if events and events + group.events > self.window // part:
                break
            total = total + group.coarse
            events += group.events
        return total

    def mature(self, at: int, rows: Rows) -> list[Matured]:
        """Rows of a step have matured; the groups that are through."""
        found: list[Matured] = []
        begin = 0
        while True:
            last = self.full[0].last if self.full else None
            end = len(rows) if last is None else int(np.searchsorted(rows.cohort, last, side="right"))
            if end > begin:
                self._learn(rows.score[begin:end], rows.label[begin:end])
            if last is None or int(rows.cohort[-1]) < last:
                break
            found.append(self._through(at))
            begin = end
        self.matured_to = int(rows.cohort[-1])
        oldest = at - 3 * self.wait - self.amend
        while self.past and (self.past[0].at < oldest or len(self.past) > 2 * GROUPS):
            self.past.popleft()
            self._over = max(self._over - 1, 0)
        return found

    def settle(self, at: int) -> Matured | None:
        """A group that had matured before it was full."""
        if self.full and self.matured_to is not None and self.full[0].last <= self.matured_to:
            return self._through(at)
        return None

    def _learn(self, score: np.ndarray, label: np.ndarray) -> None:
        known = label >= 0
        code = bin_of(score[known]).astype(np.int64) + BINS * label[known].astype(np.int64)
        self._labelled += np.bincount(code, minlength=2 * BINS).reshape(2, BINS)

    def _through(self, at: int) -> Matured:
        group = self.full.popleft()
        bins = np.flatnonzero(self._labelled[0] + self._labelled[1])
        counts = self._labelled[:, bins]
        self._labelled[:] = 0
        labelled = int(group.delays.labels.sum())
        past = Past(group.first, group.last, at, group.delays, group.events, labelled, int(counts[1].sum()))
        self.past.append(past)
        return Matured(group, bins, counts, past)

    def left(self, at: int, predictions: int) -> None:
        """So many predictions left without labels, whole cohorts of them, for want of proof that these had come."""
        self.unproven.append((at, predictions))

    def unproven_lately(self, at: int) -> int:
        """How many did so in the last two waits; what is older is forgotten."""
        while self.unproven and self.unproven[0][0] < at - 2 * self.wait - self.interval:
            self.unproven.popleft()
        return sum(count for left, count in self.unproven if left <= at)

    def late(self, start: np.ndarray) -> None:
        """Positives of the cohorts i64[n] that came after maturity."""
        if not self.past or not len(start):
            return
        firsts = np.array([past.first for past in self.past], np.int64)
        place = np.searchsorted(firsts, start[start <= self.past[-1].last], side="right") - 1
        for at, count in zip(*np.unique(place[place >= 0], return_counts=True), strict=True):
            self.past[int(at)].late += int(count)

    def over(self, at: int) -> list[Past]:
        """The matured groups for which the time of amendments is over since this was asked last."""
        found: list[Past] = []
        while self._over < len(self.past) and self.past[self._over].at + self.amend <= at:
            found.append(self.past[self._over])
            self._over += 1
        return found

    def known(self, at: int) -> Delays:
        """The delays of the labels of what matured within the last two waits."""
        total = Delays()
        for past in self._since(at - 2 * self.wait - self.interval):
            total.merge(past.delays)
        return total

    def _since(self, time: int) -> Iterable[Past]:
        return (past for past in self.past if past.at >= time)

    # -- state ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        held, labelled = np.flatnonzero(self.scores), np.flatnonzero(self._labelled)
        return {
            "full": [group.state() for group in self.full],
            "open": None if self.open is None else self.open.state(),
            "scores": [held.astype(np.int16), narrow(self.scores[held])],
            "latest": None if self.latest is None else [self.latest[0].astype(np.int16), narrow(self.latest[1])],
            "past": [
                [p.first, p.last, p.at, p.delays.state(), p.events, p.labelled, p.positives, p.late] for p in self.past
            ],
            "over": self._over,
            "unproven": [list(entry) for entry in self.unproven],
            "closed": self.closed,
            "matured_to": self.matured_to,
            "labelled": [labelled.astype(np.int16), narrow(self._labelled.ravel()[labelled])],
            "closings": [list(columns) for columns in self._closings],
            "labels": [list(columns) for columns in self._labels],
            "plan": [self._planned_first, self._planned, self._since_tick, self._ticked],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.full = deque(Group.restore(group) for group in state["full"])
        self.open = None if state["open"] is None else Group.restore(state["open"])
        self.scores[state["scores"][0].astype(np.int64)] = state["scores"][1]
        if state["latest"] is not None:
            self.latest = state["latest"][0].astype(np.int64), state["latest"][1].astype(np.int64)
        self.past = deque(
            Past(first, last, at, Delays.restore(delays), *counts) for first, last, at, delays, *counts in state["past"]
        )
        self.closed, self.matured_to, self._over = state["closed"], state["matured_to"], state["over"]
        self.unproven = deque((at, predictions) for at, predictions in state["unproven"])
        self._labelled.reshape(-1)[state["labelled"][0].astype(np.int64)] = state["labelled"][1]
        self._closings = [(at, start, score) for at, start, score in state["closings"]]
        self._labels = [tuple(columns) for columns in state["labels"]]
        self._planned_first, self._planned, self._since_tick, self._ticked = state["plan"]
