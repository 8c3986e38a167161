"""Stream time: one clock a partition, and T, the time that everything published follows.

A clock that runs ahead cannot be turned back, so an event that jumps is *held* until others of its partition follow it
there: one that lies further beyond the clock than any real pause explains (by its own past: more than a day, and eight
times its longest pause), or one that was ahead of the clock on the wall when it was read. The latter is an act of the
wall clock, hence a mark.

A partition's clock is its largest event time so far less the topic's lateness, and at least its *floor* (set by a mark
when the wall clock had to decide: an idle partition, or one that entered late). An event's *logical time* is the later
of its ``ts`` and its partition's clock before it was read. T is the smallest clock over all partitions that take part.

Invariant: logical times depend on one partition's log and its marks alone, never on how partitions interleave; every
event that is still unread has a logical time >= T, so acts with a logical time < T see all the events they depend on.

Source: DESIGN "Time"; the idea of a watermark per input from Akidau et al., "The Dataflow Model" (VLDB 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

import numpy as np

from streameval.events.columns import Outcomes, Predictions, Texts
from streameval.join.pauses import NEVER, Pauses

DAY = 86_400_000
"""No jump beyond a partition's clock that is smaller than this is absurd (ms)."""
PAUSES = 8
"""Nor one that is smaller than so many of the partition's longest pauses."""
YOUNG = 3
"""Of a partition that has so few events nothing is known."""
CONFIRMED = 3
"""So many events in a row beyond an absurd jump confirm it, the first of them included;"""
BUSY = 1000
"""in a partition that has had so many events"""
CONFIRMED_BUSY = 10
"""so many: they come soon."""
LEAP = 3_600_000
"""What a clock passes in one step, when it is longer than this, is no time in which labels were waited for (ms)."""
AHEAD = "ahead"
"""The reason of a mark that says that the event at its offset was ahead of the wall clock: beyond its floor."""
BEGINNING = -NEVER
"""A time before any event's (ms)."""

Columns = TypeVar("Columns", Predictions, Outcomes)
Key = tuple[str, int]


@dataclass(slots=True)
class Admitted(Generic[Columns]):
    """What a partition's clock made of a batch: runs of events with their logical times, and the events refused."""

    runs: list[tuple[Columns, np.ndarray]] = field(default_factory=list)
    """(columns, logical time i64[n]) in log order."""
    moved: list[np.ndarray] = field(default_factory=list)
    """For each run i64[n]: the offsets at which its events moved the clock (a held one: where it was confirmed)."""
    future: list[tuple[int, int, str]] = field(default_factory=list)
    """(offset, ts, detail) of events whose time was absurd, in the order in which that was found."""
    ahead: list[int] = field(default_factory=list)
    """Offsets of events that are held for the wall clock's sake alone."""


@dataclass(slots=True)
class Mark:
    """An act of the wall clock, for the topic ``clock``: from ``offset`` on a partition's clock is >= ``floor``.

    With the reason `AHEAD`: the event at ``offset`` lay beyond ``floor``, which is as far as the wall clock allowed.
    """

    topic: str
    partition: int
    offset: int
    floor: int
    reason: str


class PartitionClock:
    """The clock of one partition.

    Args:
        lateness: How far behind its largest event time the clock stays (ms).
        max_ahead: How far a ``ts`` may lie beyond the log's record timestamp (ms).
    """

    __slots__ = ("entered", "floor", "held", "lateness", "leaps", "longest", "max_ahead", "max_ts", "seen", "suspects")

    def __init__(self, lateness: int, max_ahead: int) -> None:
        self.lateness = lateness
        self.max_ahead = max_ahead
        self.max_ts = BEGINNING
        self.floor = BEGINNING
        self.entered = True
        self.held: list[Any] = []
        """Events of one row each, in log order, that wait to be confirmed."""
        self.seen = 0
        """Events taken in."""
        self.longest = 0
        """The longest pause between the newest event and a newer one (ms)."""
        self.suspects: set[int] = set()
        """Offsets of events to come that were ahead of the wall clock when they were first read."""
        self.leaps: list[tuple[int, int]] = []
        """Times that the clock passed in one step, because of an event."""

    @property
    def now(self) -> int:
        """The clock (ms)."""
        return max(self.max_ts - self.lateness, self.floor, BEGINNING)

    def admit(self, columns: Columns, limit: int = NEVER) -> Admitted[Columns]:
        """Give every event of a batch its logical time and move the clock.

        What lies beyond ``limit`` (ms) is ahead of the clock on the wall, and jumps if it is ahead of this one too.

        Events beyond ``max_ahead`` of their record's timestamp are refused as ``future``. Those that jump are held: the
        partition's next events confirm them (all that go as far as that, in a row) or refute them (one that does not).
        One alone would let two absurd neighbours confirm each other, and all that follows them would be late.
        """
        admitted: Admitted[Columns] = Admitted()
        if len(columns.ts) == 0:
            return admitted
        ahead = (columns.record_ts >= 0) & (columns.ts > columns.record_ts + self.max_ahead)
        if ahead.any():
            for i in np.flatnonzero(ahead):
                seconds = (int(columns.ts[i]) - int(columns.record_ts[i])) / 1000
                allowed = f"max_ahead is {self.max_ahead / 1000:.0f} s"
                detail = f"ts is {seconds:.0f} s ahead of the record's timestamp ({allowed})"
                admitted.future.append((int(columns.offset[i]), int(columns.ts[i]), detail))
            columns = columns.take(~ahead)
            if len(columns.ts) == 0:
                return admitted
        if self.held or self.suspects or self._jumps(columns.ts, limit):
            self._one_by_one(columns, limit, admitted)
        else:
            self._run(columns, admitted)
        return admitted

    def release(self) -> Admitted[Any]:
        """Take held events for confirmed: no more events will come (``--complete``)."""
        admitted: Admitted[Any] = Admitted()
        self._confirm(admitted, None)
        return admitted

    def _confirm(self, admitted: Admitted[Any], moved: np.ndarray | None) -> None:
        held, self.held = self.held, []
        for columns in held:
            self._run(columns, admitted, moved)

    @property
    def _allowed(self) -> int:
        """How far beyond the clock an event may lie and not be absurd (ms)."""
        return NEVER if self.seen < YOUNG else max(DAY, PAUSES * self.longest)

    def _jumps(self, ts: np.ndarray, limit: int) -> bool:
        """Whether there may be an absurd jump among the events; sure where there is none."""
        peaks = np.maximum.accumulate(np.concatenate(([self.max_ts], ts[:-1])))
        if ((ts > limit) & (ts > peaks + self.max_ahead)).any():
            return True
        steps = ts - np.maximum(peaks - self.lateness, self.floor)
        return bool((steps[max(0, YOUNG - self.seen) :] > max(DAY, PAUSES * self.longest)).any())

    def _one_by_one(self, columns: Columns, limit: int, admitted: Admitted[Columns]) -> None:
        begin = 0
        for i in range(len(columns.ts)):
            offset, ts = int(columns.offset[i]), int(columns.ts[i])
            # Those before it, if the clock or what is usual hangs on them.
            if begin < i and (offset in self.suspects or ts > limit or ts > self.now + DAY):
                self._run(columns.take(np.arange(begin, i)), admitted)
                begin = i
            jumps = offset in self.suspects or (self.now > BEGINNING and ts > self.now + self._allowed)
            if not jumps and ts > max(limit, self.max_ts + self.max_ahead):
                jumps = True
                admitted.ahead.append(offset)
            if jumps:
                self.suspects.discard(offset)
                self.held.append(columns.take(np.arange(i, i + 1)))
                begin = i + 1
                if len(self.held) == (CONFIRMED_BUSY if self.seen >= BUSY else CONFIRMED):
                    self._confirm(admitted, columns.offset[i : i + 1])
            elif self.held:
                for held in self.held:
                    detail = "ts lies far beyond the partition's clock and the next events did not confirm it"
                    admitted.future.append((int(held.offset[0]), int(held.ts[0]), detail))
                self.held = []
        if begin < len(columns.ts):
            self._run(columns.take(np.arange(begin, len(columns.ts))), admitted)

    def _run(self, columns: Columns, admitted: Admitted[Columns], moved: np.ndarray | None = None) -> None:
        ts = columns.ts
        peaks = np.maximum.accumulate(np.concatenate(([self.max_ts], ts)))
        before = np.maximum(peaks[:-1] - self.lateness, self.floor)
        self._note_steps(peaks, before)
        self.max_ts = int(peaks[-1])
        self.seen += len(ts)
        admitted.runs.append((columns, np.maximum(ts, before)))
        admitted.moved.append(columns.offset if moved is None else moved)

    def _note_steps(self, peaks: np.ndarray, before: np.ndarray) -> None:
        """Remember the longest pause, and what the clock leaps over."""
        if self.max_ts == BEGINNING:
            peaks, before = peaks[1:], before[1:]
        if len(before) == 0:
            return
        self.longest = max(self.longest, int((peaks[1:] - peaks[:-1]).max()))
        after = peaks[1:] - self.lateness
        for i in np.flatnonzero(after - before > LEAP):
            self.leaps.append((int(before[i]), int(after[i])))

    def forget(self, before: int) -> None:
        """Drop the leaps that end by a time."""
        if self.leaps:
            self.leaps = [leap for leap in self.leaps if leap[1] > before]

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "max_ts": self.max_ts,
            "floor": self.floor,
            "entered": self.entered,
            "held": held_to(self.held),
            "seen": [self.seen, self.longest],
            "leaps": [list(leap) for leap in self.leaps],
        }

    def restore(self, state: dict[str, Any], columns: type[Predictions | Outcomes]) -> None:
        """Continue from ``state``; ``columns`` is the kind of events that this partition holds."""
        self.max_ts, self.floor, self.entered = state["max_ts"], state["floor"], state["entered"]
        self.seen, self.longest = state["seen"]
        self.leaps = [(begin, end) for begin, end in state["leaps"]]
        self.held = held_from(state["held"], columns)


def held_to(held: Sequence[Any]) -> list[dict[str, Any]]:
    """Plain values of held events."""
    states = [{f.name: getattr(columns, f.name) for f in fields(columns)} for columns in held]
    for event in states:
        if "version" in event:
            event["version"] = event["version"].state()
            event["segments"] = [column.state() for column in event["segments"]]
    return states


def held_from(state: list[dict[str, Any]], columns: type[Predictions | Outcomes]) -> list[Any]:
    """The inverse of `held_to`; ``columns`` is the kind of events that the partition holds."""
    held = []
    for saved in state:
        event = dict(saved)
        if "version" in event:
            event["version"] = Texts.restore(event["version"])
            event["segments"] = [Texts.restore(column) for column in event["segments"]]
        held.append(columns(**event))
    return held


class Clocks:
    """The clocks of all partitions, and T over them.

    Args:
        lateness: Topic -> how far its clocks stay behind (ms).
        outcomes: The topics of outcomes.
    """

    def __init__(self, lateness: dict[str, int], outcomes: set[str], max_ahead: int) -> None:
        self.lateness = lateness
        self.outcomes = outcomes
        self.max_ahead = max_ahead
        self.partitions: dict[Key, PartitionClock] = {}
        self.now = BEGINNING

    def add(self, topic: str, partition: int, *, empty: bool) -> PartitionClock:
        """Take a partition in; an empty one holds nothing back until its first event enters it at T."""
        clock = self.partitions.get((topic, partition))
        if clock is None:
            clock = PartitionClock(self.lateness[topic], self.max_ahead)
            clock.entered = not empty
            self.partitions[topic, partition] = clock
        return clock

    def enter(self, topic: str, partition: int, offset: int) -> Mark | None:
        """A partition that was empty has events: it enters at T. Returns the mark to publish, if T had moved."""
        clock = self.partitions[topic, partition]
        if clock.entered:
            return None
        clock.entered = True
        return self.raise_floor(topic, partition, offset, self.now, "entered")

    def raise_floor(self, topic: str, partition: int, offset: int, floor: int, reason: str) -> Mark | None:
        """Set a floor under a partition's clock; the mark to publish, or None where the clock is there already."""
        clock = self.partitions[topic, partition]
        clock.entered = True
        if floor <= clock.now:
            return None
        clock.floor = floor
        return Mark(topic, partition, offset, floor, reason)

    def time(self, *, without: frozenset[Key] = frozenset()) -> int:
        """The smallest clock of the partitions that take part (``BEGINNING`` where one has no event yet)."""
        clocks = [c.now for key, c in self.partitions.items() if c.entered and key not in without]
        return min(clocks, default=BEGINNING)

    def advance(self) -> int:
        """Move T to the smallest clock; T never goes back."""
        self.now = max(self.now, self.time())
        return self.now

    def leaps(self) -> Pauses:
        """What the clocks of outcomes passed in one step, of late."""
        return Pauses(
            leap for (topic, _), clock in self.partitions.items() if topic in self.outcomes for leap in clock.leaps
        )

    def forget(self, before: int) -> None:
        """Drop what no cohort will ask about again: leaps that end at or before ``before``."""
        for clock in self.partitions.values():
            clock.forget(before)

    def end(self) -> None:
        """No more events will come: T goes beyond every time."""
        self.now = NEVER

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        clocks = sorted(self.partitions.items())
        partitions = [[topic, partition, clock.state()] for (topic, partition), clock in clocks]
        return {"now": self.now, "partitions": partitions}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.now = state["now"]
        for topic, partition, clock in state["partitions"]:
            if topic not in self.lateness:
                continue  # no longer read
            columns = Outcomes if topic in self.outcomes else Predictions
            self.add(topic, partition, empty=False).restore(clock, columns)
