"""A transport in memory: logs that outlive the process that reads them, without a disk or a broker.

It keeps the contract of `streameval.transport.protocol.Transport` (the same tests run over it and over the real ones),
cuts its reads at random from a seed, publishes atomically, fences like Kafka (the newest one wins), and can be told to
fail. Source: httpx's mock transport, which is part of that package as well.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from streameval.errors import CommitError, FencedError, TopicError
from streameval.events.columns import Batch
from streameval.transport.protocol import Bounds, CommitRecord, Hints, Marks, OnStep, Outbox, Place, Record, no_step

__all__ = ["MemoryBroker", "MemoryTransport"]

Fault = Literal["refused", "unanswered"]


@dataclass(slots=True)
class MemoryBroker:
    """The logs themselves. Fill it by `append`, read it by one or more `MemoryTransport`.

    Attributes:
        values: messages by place; None is a tombstone.
        begins: first offset that is still there, where retention took some.
        ids: identity of each topic; change it to make the topic anew.
        published: outputs by topic, in order.
        records: commit records, in order.
        cores: newest core of each worker's state.
        owners: transport that may publish, by worker.
        faults: one for each of the next deliveries: ``refused`` leaves nothing visible, ``unanswered`` publishes all
            and fails nevertheless.
    """

    values: dict[Place, list[bytes | None]] = field(default_factory=dict)
    begins: dict[Place, int] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    published: dict[str, list[Record]] = field(default_factory=dict)
    records: list[CommitRecord] = field(default_factory=list)
    cores: dict[str, bytes] = field(default_factory=dict)
    owners: dict[str, MemoryTransport] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def append(self, topic: str, partition: int, values: Iterable[bytes | None] = ()) -> None:
        """Add messages; makes the topic and the partition."""
        self.ids.setdefault(topic, f"id-{topic}")
        self.values.setdefault((topic, partition), []).extend(values)

    def text(self, topic: str) -> bytes:
        """Everything published on an output topic, one record a line, tombstones as ``KEY null``."""
        records = self.published.get(topic, [])
        return b"".join((f"{r.key} null".encode() if r.value is None else r.value) + b"\n" for r in records)


class MemoryTransport:
    """One reader and writer of a broker.

    Args:
        broker: the logs.
        seed: cuts reads at random; None: as large as asked for.
        clock: topic of the clock marks.

    >>> broker = MemoryBroker()
    >>> broker.append("predictions", 0, [b"a", b"b"])
    >>> transport = MemoryTransport(broker)
    >>> transport.assign({("predictions", 0): 1})
    >>> transport.read("predictions", 0, 10).values
    [b'b']
    """

    def __init__(self, broker: MemoryBroker, *, seed: int | None = None, clock: str = "clock") -> None:
        self.broker = broker
        self.clock = clock
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 - cuts, no secrets
        self._positions: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._wake = threading.Event()

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """See `Transport.partitions`."""
        return {topic: sorted(p for t, p in self.broker.values if t == topic) for topic in topics}

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See `Transport.bounds`."""
        place = (topic, partition)
        return Bounds(self.broker.begins.get(place, 0), len(self.broker.values.get(place, ())))

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """See `Transport.topic_ids`."""
        return {topic: self.broker.ids[topic] for topic in topics if topic in self.broker.ids}

    def assign(self, positions: Mapping[Place, int], hints: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """See `Transport.assign`."""
        for place, position in positions.items():
            bounds = self.bounds(*place)
            if not bounds.begin <= position <= bounds.end:
                what = f"position {position} lies outside of {bounds.begin} to {bounds.end}"
                where = f"topic {place[0]}, partition {place[1]}"
                raise TopicError(what, where=where, cure="bring the events back, or start with --fresh")
        self._positions = dict(sorted(positions.items()))
        self._paused &= positions.keys()

    def read(self, topic: str, partition: int, max_events: int) -> Batch | None:
        """See `Transport.read`."""
        place = (topic, partition)
        first = self._positions[place]
        count = max_events if self._random is None else self._random.randint(1, max_events)
        values = self.broker.values.get(place, [])[first : first + count]
        if not values:
            return None
        self._positions[place] = first + len(values)
        return Batch(topic, partition, np.arange(first, first + len(values), dtype=np.int64), values)

    def poll(self, max_events: int, timeout: float) -> list[Batch]:
        """See `Transport.poll`; nothing can come while it waits but a `wake`."""
        places = [place for place in self._positions if place not in self._paused]
        if self._random is not None:
            self._random.shuffle(places)
        batches: list[Batch] = []
        for index, place in enumerate(places):
            share = -(-max_events // (len(places) - index))
            batch = self.read(*place, share) if share > 0 else None
            if batch is not None:
                batches.append(batch)
                max_events -= len(batch)
        if not batches:
            self._wake.wait(timeout)
        self._wake.clear()
        return batches

    def pause(self, places: Collection[Place]) -> None:
        """See `Transport.pause`."""
        self._paused |= set(places) & self._positions.keys()

    def resume(self, places: Collection[Place]) -> None:
        """See `Transport.resume`."""
        self._paused -= set(places)

    def position(self, place: Place) -> int:
        """See `Transport.position`."""
        return self._positions[place]

    def caught_up(self, place: Place) -> bool:
        """See `Transport.caught_up`."""
        return self._positions[place] == self.bounds(*place).end

    def hidden(self, place: Place) -> str | None:  # noqa: ARG002
        """See `Transport.hidden`: nothing is."""
        return None

    def reopen(self) -> None:
        """See `Transport.reopen`: nothing is open."""

    def hints(self) -> Hints:
        """See `Transport.hints`."""
        return {}

    def wake(self) -> None:
        """See `Transport.wake`."""
        self._wake.set()

    def fence(self, worker: str) -> None:
        """See `Transport.fence`."""
        self.broker.owners[worker] = self

    def commit_record(self, worker: str) -> CommitRecord | None:
        """See `Transport.commit_record`."""
        return next((record for record in reversed(self.broker.records) if record.worker == worker), None)

    def ends(self, topics: Iterable[str]) -> Marks:
        """See `Transport.ends`."""
        return {topic: len(self.broker.published.get(topic, ())) for topic in topics}

    def announce(self, record: CommitRecord) -> None:
        """See `Transport.announce`: the newest one publishes, and the others know it at once."""

    def core(self, worker: str) -> bytes | None:
        """See `Transport.core`."""
        return self.broker.cores.get(worker)

    def deliver(
        self,
        outbox: Outbox,
        record: CommitRecord,
        before: Marks,  # noqa: ARG002
        on_step: OnStep = no_step,
        core: bytes | None = None,
    ) -> None:
        """See `Transport.deliver`."""
        if self.broker.owners.get(record.worker) is not self:
            what = "another process publishes as this worker"
            raise FencedError(what, where=f"worker {record.worker}", cure="stop one of them")
        if self.commit_record(record.worker) == record:
            return
        on_step("commit.5")
        fault = self.broker.faults.pop(0) if self.broker.faults else None
        if fault == "refused":
            raise CommitError("the delivery was refused", where=f"worker {record.worker}", cure="it is tried again")
        on_step("commit.6")
        for output in outbox.records:
            self.broker.published.setdefault(output.topic, []).append(output)
        self.broker.records.append(record)
        if core is not None:
            self.broker.cores[record.worker] = core
        if fault == "unanswered":
            raise CommitError("the delivery got no answer", where=f"worker {record.worker}", cure="it is tried again")

    def confirm(self, record: CommitRecord) -> None:
        """See `Transport.confirm`: nobody looks at the lag."""

    def published(self, topics: Iterable[str], since: Marks | None = None) -> Iterator[Record]:
        """See `Transport.published`."""
        for topic in topics:
            yield from self.broker.published.get(topic, [])[0 if since is None else since.get(topic, 0) :]

    def clock_marks(self) -> list[bytes]:
        """See `Transport.clock_marks`."""
        return [record.value for record in self.published([self.clock]) if record.value is not None]

    def close(self) -> None:
        """See `Transport.close`."""
        self._positions = {}
