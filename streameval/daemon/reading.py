"""Which partition is read next: always the one whose clock is furthest behind, so that little has to wait.

Marks that were recorded in the topic ``clock`` are set where they stood: before the event at their offset is read.

Invariant: with all events at hand the order of reading is a function of the logs and marks, not of time or batch sizes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple, Protocol

import numpy as np

from streameval import records
from streameval.engine.clock import AHEAD, Clocks, Key, Mark
from streameval.engine.publisher import Published
from streameval.events.columns import Batch
from streameval.transport.protocol import Transport

__all__ = ["BATCH", "Reading"]

BATCH = 32_768
"""Events read from one partition at once."""


class Reader(Protocol):
    """What is read for: an engine, or one that grows its rows anew."""

    @property
    def clocks(self) -> Clocks:
        """The clocks of the partitions that are read."""
        ...

    def receive(self, batch: Batch, wall: int | None = None) -> list[Published]:
        """Take a batch of one partition in; ``wall`` (ms): what is ahead of this time is to be held."""
        ...

    def mark(self, mark: Mark) -> Published:
        """The record of an act of the wall clock."""
        ...


class _Marks(NamedTuple):
    """The recorded marks of one partition: offsets, ascending, and the floor that is reached at each (ms)."""

    offsets: list[int]
    floors: list[int]

    @classmethod
    def of(cls, pairs: list[tuple[int, int]]) -> _Marks:
        """From (offset, floor) in any order."""
        pairs = sorted(pairs)
        return cls([offset for offset, _ in pairs], list(accumulate((floor for _, floor in pairs), max)))


class Reading:
    """Feeds an engine from a transport.

    Args:
        transport, engine: Where events come from and where they go.
        marks: Values of the topic ``clock``; configuration marks among them are passed over.
        worker: Take the marks of this worker only: shards share the topic, and each has its own clock. None: all.
        lineage: Take the marks of this line of state only: what an earlier one knew may be wrong. None: all.
        wall: Tells the time (epoch ms) that no event should be ahead of; None where that is not asked.
    """

    def __init__(
        self,
        transport: Transport,
        engine: Reader,
        marks: Iterable[bytes] = (),
        worker: str | None = None,
        lineage: str | None = None,
        wall: Callable[[], int] | None = None,
    ) -> None:
        self.transport = transport
        self.engine = engine
        self.wall = wall
        self.ends: dict[Key, int] | None = None
        self.read: Counter[str] = Counter()
        """Events read, by topic."""
        self.dry: Counter[Key] = Counter()
        """How often a partition was asked for events and had none, and had none."""
        found: dict[Key, list[tuple[int, int]]] = {}
        self._ahead: dict[Key, list[int]] = {}
        for value in marks:
            event = records.read(value)
            mark = event.data
            own = worker is None or event.source == records.source_of(worker)
            if not own or not isinstance(mark, records.Mark) or mark.reason == "configuration":
                continue
            if lineage not in (None, mark.lineage):
                continue
            place = mark.topic, mark.partition
            if mark.reason == AHEAD:
                self._ahead.setdefault(place, []).append(mark.offset)
            else:
                found.setdefault(place, []).append((mark.offset, records.epoch_ms(mark.floor)))
        self.marks = {place: _Marks.of(pairs) for place, pairs in found.items()}

    def places(self, *, predictions: bool = True, outcomes: bool = True) -> list[Key]:
        """The partitions that may have events to read, furthest behind first."""
        clocks = self.engine.clocks.partitions
        places = [
            place
            for place in clocks
            if (self.ends is None or self.transport.position(place) < self.ends[place])
            and (outcomes if place[0] in self.engine.clocks.outcomes else predictions)
        ]
        places.sort(key=lambda place: (clocks[place].now, place))
        return places

    def next(self, *, predictions: bool = True, outcomes: bool = True) -> list[Published] | None:
        """Read one batch of the furthest partition that has events; None where none has any now."""
        for place in self.places(predictions=predictions, outcomes=outcomes):
            most = BATCH if self.ends is None else min(BATCH, self.ends[place] - self.transport.position(place))
            batch = self.transport.read(*place, most)
            if batch is not None:
                return self.take(batch)
            self.dry[place] += 1
        return None

    def take(self, batch: Batch) -> list[Published]:
        """Give a batch to the engine, with the recorded marks that stand in it."""
        place = (batch.topic, batch.partition)
        self.read[batch.topic] += len(batch.offsets)
        wall = None if self.wall is None else self.wall()
        if place in self._ahead:
            self.engine.clocks.partitions[place].suspects.update(self._ahead.pop(place))
        published: list[Published] = []
        for part in self._cut(batch, self.marks.get(place, _Marks([], []))):
            published += self._enter(place, int(part.offsets[0]))
            published += self.engine.receive(part, wall)
        self.set_floors(place)
        return published

    def set_floors(self, place: Key) -> None:
        """Set the recorded marks that stand up to the present position."""
        marks = self.marks.get(place)
        if marks is None:
            return
        position = self.transport.position(place)
        if not self.engine.clocks.partitions[place].entered:
            # It did enter, at its first mark: from now on T waits for it, as it did when the mark was made.
            position = max(position, marks.offsets[0])
        self._raise(place, position)

    def _raise(self, place: Key, offset: int) -> None:
        marks = self.marks.get(place)
        # A mark may stand where no event does: logs have holes, as aborted transactions leave them.
        index = 0 if marks is None else bisect_right(marks.offsets, offset)
        if marks is not None and index:
            self.engine.clocks.raise_floor(*place, offset, marks.floors[index - 1], "recorded")

    def _enter(self, place: Key, offset: int) -> list[Published]:
        self._raise(place, offset)
        mark = self.engine.clocks.enter(*place, offset)
        return [] if mark is None else [self.engine.mark(mark)]

    @staticmethod
    def _cut(batch: Batch, marks: _Marks) -> Iterator[Batch]:
        first, last = int(batch.offsets[0]), int(batch.offsets[-1])
        cuts = marks.offsets[bisect_right(marks.offsets, first) : bisect_right(marks.offsets, last)]
        if not cuts:
            yield batch
            return
        edges = [0, *np.searchsorted(batch.offsets, cuts).tolist(), len(batch.offsets)]
        for a, b in pairwise(edges):
            if a < b:
                yield batch.part(a, b)
