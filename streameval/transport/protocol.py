"""What a transport is: logs with offsets to read, and one atomic step that publishes outputs with their commit record.

Invariants that every transport keeps (``tests/transport/test_contract.py`` runs them over each):

- An event's place ``(topic, partition, offset)`` never changes, and reading from a place always gives the same events.
- `Transport.read` of one partition is a function of that log alone; only *how much* it returns at once may differ.
- `Transport.deliver` makes outputs and commit record visible together, or can be called again with the same arguments
  until it has; calling it again never publishes anything twice.
- The commit record, read back by `Transport.commit_record`, is the authority on what was published.

Source: DESIGN, "State, recovery, exactly once"; the shape is that of Kafka's assigned partitions and transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

from streameval.errors import InvariantError
from streameval.events.columns import Batch

__all__ = [
    "MAX_RECORD",
    "Bounds",
    "CommitRecord",
    "Hints",
    "Marks",
    "OnStep",
    "Outbox",
    "Place",
    "Record",
    "Transport",
    "no_step",
]

MAX_RECORD = 65_536
"""Largest value of one record in bytes: far below what any broker takes by default (1 MiB)."""

Place: TypeAlias = tuple[str, int]
"""One partition: (topic, partition)."""

Hints: TypeAlias = dict[str, Any]
"""What a transport wants to find again quickly; plain JSON-able values, opaque to everyone else."""

Marks: TypeAlias = dict[str, int]
"""Where the output logs end, keyed by the transport's own names; opaque to everyone else."""

OnStep: TypeAlias = Callable[[str], None]
"""Called with ``"commit.3"`` just before numbered step 3: the place where tests put their faults."""


def no_step(step: str) -> None:
    """Do nothing before a step."""


class Bounds(NamedTuple):
    """Offsets that can be read: ``begin <= offset < end``."""

    begin: int
    end: int


class Record(NamedTuple):
    """One output.

    ``value`` is one line of JSON, or None for a tombstone. ``sequence`` counts the records of one (topic, key) from 0
    without gaps, tombstones included, and never starts again within a lineage; None where a record is not counted
    (clock marks), which also means that it is never recognised as already published.
    """

    topic: str
    key: str
    value: bytes | None
    sequence: int | None


@dataclass(slots=True)
class Outbox:
    """The outputs decided since the last checkpoint, in order; ``size`` is the sum of the values' bytes.

    >>> box = Outbox()
    >>> box.add("drift", "fraud/1/*", b'{"subject":"fraud/1/*","sequence":0}', 0)
    >>> len(box), box.size
    (1, 36)
    """

    records: list[Record] = field(default_factory=list)
    size: int = 0

    def add(self, topic: str, key: str, value: bytes | None, sequence: int | None = None) -> None:
        """Append one output.

        Args:
            topic: name of the output topic.
            key: its key; for CloudEvents the ``subject``.
            value: one line of JSON without a newline, at most `MAX_RECORD` bytes; None for a tombstone.
            sequence: its number within (topic, key), the same as in the value.

        Raises:
            InvariantError: if the value is too large or holds a newline. Whoever makes records keeps them small.
        """
        if value is not None:
            if len(value) > MAX_RECORD:
                what = f"a record has {len(value)} bytes, more than {MAX_RECORD}"
                raise InvariantError(what, where=f"topic {topic}, key {key}", cure="report it")
            if b"\n" in value:
                raise InvariantError("a record holds a newline", where=f"topic {topic}, key {key}", cure="report it")
            self.size += len(value)
        self.records.append(Record(topic, key, value, sequence))

    def extend(self, records: Iterable[Record]) -> None:
        """Append several outputs, each checked as by `add`."""
        for record in records:
            self.add(*record)

    def topics(self) -> list[str]:
        """Topics that have records here, in order of their first one."""
        return list(dict.fromkeys(record.topic for record in self.records))

    def __len__(self) -> int:
        return len(self.records)

    def __bool__(self) -> bool:
        return bool(self.records)

    def encode(self) -> bytes:
        """Bytes to store (msgpack)."""
        return msgspec.msgpack.encode(self.records)

    @classmethod
    def decode(cls, data: bytes) -> Outbox:
        """Read what `encode` wrote; exact.

        >>> box = Outbox()
        >>> box.add("t", "k", None, 3)
        >>> Outbox.decode(box.encode()) == box
        True
        """
        records = msgspec.msgpack.decode(data, type=list[Record])
        return cls(records, sum(len(record.value) for record in records if record.value is not None))


class CommitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The authority on what one worker has published; the last one of a worker counts.

    Attributes:
        worker: name of the worker, key of the record.
        n: number of the checkpoint whose outbox was published with this record, from 1, without gaps.
        lineage: which line of state wrote it; part of every record's id, "1" at first, +1 by each ``--fresh``.
        incarnation: random name of the process that sealed the checkpoint.
        T: stream time of the checkpoint, epoch ms; None before the first event.
        positions: next offset to read by topic and partition.
        topic_ids: identity of each input topic, as far as known (see `Transport.topic_ids`).
        digest: xxh3-128 of the checkpoint's manifest, hex.
        shards: into how many workers the models were split when it was written.
    """

    worker: str
    n: int
    lineage: str
    incarnation: str
    T: int | None
    positions: dict[str, dict[int, int]]
    topic_ids: dict[str, str]
    digest: str
    shards: int = 1

    def encode(self) -> bytes:
        """One line of JSON, without the newline; the same record always gives the same bytes."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> CommitRecord:
        """Read what `encode` wrote.

        Raises:
            msgspec.ValidationError: if it is not a commit record.
        """
        return msgspec.json.decode(data, type=cls)


@runtime_checkable
class Transport(Protocol):
    """Event logs in, records out. Not thread-safe, but for `wake`."""

    # -- inputs ---------------------------------------------------------------------------------------------------

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """Partitions that each topic has now, ascending; empty for a topic that does not exist yet.

        Cheap enough to be called every few seconds: partitions appear while the daemon runs.
        """
        ...

    def bounds(self, topic: str, partition: int) -> Bounds:
        """Offsets that can be read now. May read the whole log the first time."""
        ...

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Identity of the topics, under keys of the transport's own; only what is known by now.

        Two answers belong to the same topics if and only if they agree on every key that both have: a topic that was
        deleted and made again differs, one that has only just got its first event does not.
        """
        ...

    def assign(self, positions: Mapping[Place, int], hints: Mapping[str, Any] | None = None) -> None:
        """Read exactly these partitions, from these offsets; ``hints`` came from `hints` of an earlier process.

        Called again with more partitions when new ones appear: one that keeps its position is not disturbed.

        Raises:
            TopicError: if a position lies outside of what the log has.
        """
        ...

    def read(self, topic: str, partition: int, max_events: int) -> Batch | None:
        """Next events of one assigned partition; None when there is none at the moment. Never waits.

        Consecutive calls return consecutive offsets. May return fewer than ``max_events`` though more are there.

        Raises:
            TopicError: if the log was cut, removed or made anew.
        """
        ...

    def poll(self, max_events: int, timeout: float) -> list[Batch]:
        """Next events of the assigned partitions that are not paused, all partitions in turn.

        Waits up to ``timeout`` seconds for the first event, or until `wake`; empty if none came.
        """
        ...

    def pause(self, places: Collection[Place]) -> None:
        """Let `poll` pass over these partitions; `read` still reads them."""
        ...

    def resume(self, places: Collection[Place]) -> None:
        """Undo `pause`."""
        ...

    def position(self, place: Place) -> int:
        """Offset of the next event that `read` will return."""
        ...

    def caught_up(self, place: Place) -> bool:
        """Whether the position is at the end of the log (Kafka: the high watermark) as it is now."""
        ...

    def hidden(self, place: Place) -> str | None:
        """What hides the next event of a partition from us, if that is known.

        A clause that says what it is and how to find it; None where nothing is known to hide it, or nothing is there.
        May ask the cluster.
        """
        ...

    def reopen(self) -> None:
        """Let go of all by which inputs are read, and go on reading at the same positions by something new.

        For what nobody foresaw: events are there, nothing hides them, and yet none comes.
        """
        ...

    def hints(self) -> Hints:
        """What lets a later `assign` at the present positions open quickly; kept in the checkpoint."""
        ...

    def wake(self) -> None:
        """Make a waiting `poll`, or the next one, return at once. Safe from any thread and from a signal handler."""
        ...

    # -- outputs --------------------------------------------------------------------------------------------------

    def fence(self, worker: str) -> None:
        """Become the only one that publishes as ``worker`` (Kafka: ``init_transactions``). Called once, first.

        Raises:
            FencedError: if another process holds it and cannot be fenced off.
        """
        ...

    def commit_record(self, worker: str) -> CommitRecord | None:
        """Last visible commit record of the worker, read from the log and from no cache; None if there is none."""
        ...

    def announce(self, record: CommitRecord) -> None:
        """Put the present process's name into the last commit record, where others could not know of it otherwise.

        A process that was fenced, and finds this, stays out for good. Nothing to do where `fence` keeps others out by
        a lock.

        Raises:
            CommitError, FencedError: as `deliver`.
        """
        ...

    def core(self, worker: str) -> bytes | None:
        """The newest published core of the worker's state; None if there is none. Never of a commit not yet visible."""
        ...

    def ends(self, topics: Iterable[str]) -> Marks:
        """Where these output topics and the commit log end now: what `deliver` and `published` are given later."""
        ...

    def deliver(
        self,
        outbox: Outbox,
        record: CommitRecord,
        before: Marks,
        on_step: OnStep = no_step,
        core: bytes | None = None,
    ) -> None:
        """Publish the outputs and the commit record, atomically.

        Args:
            outbox: what to publish, in order.
            record: published with it, last.
            before: `ends` from before the first attempt, so that a later attempt finds what is already there.
            on_step: called before ``commit.5`` (outputs) and ``commit.6`` (commit record).
            core: the core of the state as of this commit (see `streameval.transport.core`), in place of the last one.
                A transport that cannot take it leaves it out: it is needed only where the state is lost.

        Raises:
            CommitError: if nothing of it is visible; it may be tried again.
            FencedError: if another incarnation took over.
            StateMismatchError: if the logs hold something else after ``before``.
        """
        ...

    def confirm(self, record: CommitRecord) -> None:
        """Tell others (lag tools) how far the worker has read. Never needed for correctness."""
        ...

    def published(self, topics: Iterable[str], since: Marks | None = None) -> Iterator[Record]:
        """What was published on these topics after ``since`` (None: from the beginning), per topic in order.

        Gives the latest records at least; a compacted topic may lack older ones.
        """
        ...

    def clock_marks(self) -> list[bytes]:
        """Values of the ``clock`` topic, from the beginning, in order."""
        ...

    def close(self) -> None:
        """Release files, locks and connections. What was not delivered stays undelivered."""
        ...
