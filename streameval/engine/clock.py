"""Stream time: one clock a partition, and T, the time that everything published follows.

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

DAY = 86_400_000
"""A jump of more than this beyond a partition's clock waits for the next events to confirm it (ms)."""
CONFIRMED = 3
"""So many events in a row beyond such a jump confirm it, the first of them included."""
NEVER = 1 << 61
"""A time later than any event's (ms)."""
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


@dataclass(slots=True)
class Mark:
    """An act of the wall clock, for the topic ``clock``: from ``offset`` on a partition's clock is >= ``floor``."""

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

    __slots__ = ("entered", "floor", "gaps", "held", "lateness", "max_ahead", "max_ts")

    def __init__(self, lateness: int, max_ahead: int) -> None:
        self.lateness = lateness
        self.max_ahead = max_ahead
        self.max_ts = BEGINNING
        self.floor = BEGINNING
        self.entered = True
        self.held: list[Any] = []
        """Events of one row each, in log order, that wait to be confirmed."""
        self.gaps: list[tuple[int, int, int]] = []

    @property
    def now(self) -> int:
        """The clock (ms)."""
        return max(self.max_ts - self.lateness, self.floor, BEGINNING)

    def admit(self, columns: Columns) -> Admitted[Columns]:
        """Give every event of a batch its logical time and move the clock.

        Events beyond ``max_ahead`` of their record's timestamp are refused as ``future``. Where the log has no
        timestamps an event more than a day beyond the clock is held: the partition's next events confirm it
        (``CONFIRMED`` that go that far) or refute it (one that does not). One alone would let two absurd neighbours
        confirm each other, and all that follows them would be late.
        """
        admitted: Admitted[Columns] = Admitted()
        if len(columns.ts) == 0:
            return admitted
        stamped = columns.record_ts >= 0
        if stamped.any():
            ahead = stamped & (columns.ts > columns.record_ts + self.max_ahead)
            if ahead.any():
                for i in np.flatnonzero(ahead):
                    seconds = (int(columns.ts[i]) - int(columns.record_ts[i])) / 1000
                    allowed = f"max_ahead is {self.max_ahead / 1000:.0f} s"
                    detail = f"ts is {seconds:.0f} s ahead of the record's timestamp ({allowed})"
                    admitted.future.append((int(columns.offset[i]), int(columns.ts[i]), detail))
                columns = columns.take(~ahead)
                stamped = stamped[~ahead]
                if len(columns.ts) == 0:
                    return admitted
        if not self.held and (stamped.all() or not self._jumps(columns.ts)):
            self._run(columns, admitted)
        else:
            self._one_by_one(columns, stamped, admitted)
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

    def _jumps(self, ts: np.ndarray) -> bool:
        if self.max_ts == BEGINNING and self.floor == BEGINNING:
            peaks, ts = np.maximum.accumulate(ts[:-1]), ts[1:]
        else:
            peaks = np.maximum.accumulate(np.concatenate(([max(self.max_ts, BEGINNING)], ts[:-1])))
        return bool((ts > np.maximum(peaks - self.lateness, self.floor) + DAY).any())

    def _one_by_one(self, columns: Columns, stamped: np.ndarray, admitted: Admitted[Columns]) -> None:
        n = len(columns.ts)
        start = 0
        clock, peak = self.now, self.max_ts
        for i in range(n):
            ts = int(columns.ts[i])
            if clock > BEGINNING and ts > clock + DAY and not stamped[i]:
                if start < i:
                    self._run(columns.take(np.arange(start, i)), admitted)
                self.held.append(columns.take(np.arange(i, i + 1)))
                start = i + 1
                if len(self.held) == CONFIRMED:
                    self._confirm(admitted, columns.offset[i : i + 1])
                    clock, peak = self.now, self.max_ts
            else:
                for held in self.held:
                    detail = "ts is more than a day beyond the partition's clock and the next events did not confirm it"
                    admitted.future.append((int(held.offset[0]), int(held.ts[0]), detail))
                self.held = []
                peak = max(peak, ts)
                clock = max(clock, peak - self.lateness)
        if start < n:
            self._run(columns.take(np.arange(start, n)), admitted)

    def _run(self, columns: Columns, admitted: Admitted[Columns], moved: np.ndarray | None = None) -> None:
        ts = columns.ts
        peaks = np.maximum.accumulate(np.concatenate(([self.max_ts], ts)))
        logical = np.maximum(ts, np.maximum(peaks[:-1] - self.lateness, self.floor))
        if self.max_ts < self.floor:
            self._note_gaps(ts)
        self.max_ts = int(peaks[-1])
        admitted.runs.append((columns, logical))
        admitted.moved.append(columns.offset if moved is None else moved)

    def _note_gaps(self, ts: np.ndarray) -> None:
        """Times that the floor passed before any real event did: the event that reached them later proves them."""
        peak = self.max_ts
        for value in ts.tolist():
            if value > peak:
                end, at = min(self.floor, value), max(value, self.floor)
                if self.gaps and self.gaps[-1][1] == peak and self.gaps[-1][2] == at:
                    self.gaps[-1] = (self.gaps[-1][0], end, at)
                else:
                    self.gaps.append((peak, end, at))
                peak = value
            if peak >= self.floor:
                break

    def proof_times(self, x: np.ndarray) -> np.ndarray:
        """When this partition proved that labels flow beyond each time ``x``.

        Returns i64[n]: 0 where a real event lay beyond ``x`` before the clock passed it, the logical time of the first
        such event where the clock had passed by a mark, ``NEVER`` where there is none yet.
        """
        times = np.where(x < self.max_ts, np.int64(0), np.int64(NEVER))
        for start, end, at in self.gaps:
            times[(x >= start) & (x < end)] = at
        return times

    def forget_gaps(self, before: int) -> None:
        """Drop the gaps that no cohort will ask about again (all of them end at or before ``before``)."""
        if self.gaps:
            self.gaps = [gap for gap in self.gaps if gap[1] > before]

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "max_ts": self.max_ts,
            "floor": self.floor,
            "entered": self.entered,
            "held": held_to(self.held),
            "gaps": [list(gap) for gap in self.gaps],
        }

    def restore(self, state: dict[str, Any], columns: type[Predictions | Outcomes]) -> None:
        """Continue from ``state``; ``columns`` is the kind of events that this partition holds."""
        self.max_ts, self.floor, self.entered = state["max_ts"], state["floor"], state["entered"]
        self.gaps = [(a, b, c) for a, b, c in state["gaps"]]
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
    """The clocks of all partitions, T over them, and the proof that labels flow.

    Args:
        lateness: Topic -> how far its clocks stay behind (ms).
        outcomes: The topics of outcomes: only their events prove that labels flow.
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

    def times(self, x: np.ndarray) -> np.ndarray:
        """``PartitionClock.proof_times`` over all outcome partitions: the earliest proof wins. Shape i64[n]."""
        best = np.full(len(x), NEVER, dtype=np.int64)
        for (topic, _), clock in self.partitions.items():
            if topic in self.outcomes:
                np.minimum(best, clock.proof_times(x), out=best)
        return best

    def forget(self, before: int) -> None:
        """Drop what no cohort will ask about again: gaps that end at or before ``before``."""
        for clock in self.partitions.values():
            clock.forget_gaps(before)

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
