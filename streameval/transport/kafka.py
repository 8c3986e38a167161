"""Apache Kafka as a transport: assigned partitions in, one transaction a checkpoint out.

Satisfies `streameval.transport.protocol.Transport`. What happens when a step of a delivery fails:

==== ==================================================== =====================================================
step what is done                                         when it fails
==== ==================================================== =====================================================
1    a producer, if there is none: read the commit        nothing was sent; ``CommitError``, tried again later
     record, ``init_transactions`` (fences), read again   (another's record: ``FencedError``, for good)
2    send all outputs and the commit record, flush        the producer is stopped, step 4
3    check *every* future, then commit the transaction    the producer is stopped, step 4
4    read the commit record back to the topic's end       after a failure: a new producer first, which ends every
                                                          open transaction, so that what is read is final
==== ==================================================== =====================================================

The record read back decides, nobody's answer does: the delivered one is there: done, also when the answer was lost; the
one that was there before: nothing of the delivery is visible, ``CommitError``; any other: another incarnation of this
worker took over, ``FencedError``, and this object never opens a producer again. A commit record is looked at before
each ``init_transactions``, and every start puts its name into it (`Kafka.announce`), so that a worker that slept
through its successor's start does not fence it in turn.

A broker says the same to a worker whose place was taken and to one whose own transaction it has timed out, and between
a successor's ``init_transactions`` and its name in the commit record nothing tells them apart. Whoever is fenced
therefore looks on for a while (`Transactions.delivery_ms`, half of a transaction's time) before it fences in turn, a
start like any other; `CommitError` until then. A successor that is alive has put its name there long before; one that
died or was refused on the way has not, and the first goes on. Of two workers at most one holds the newest epoch, so one
of them publishes while the other looks, and the other, finding that, stays out: one survives, whichever it is.

Needs brokers from 2.8 on (topic ids); tried on 4.3.0. Source: DESIGN, "State, recovery, exactly once"; KIP-98, KIP-516.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import kafka.errors as kafka_errors
import msgspec
import structlog

from streameval.errors import (
    CommitError,
    ConnectionFailedError,
    FencedError,
    InvariantError,
    StateMismatchError,
    TopicError,
    TransportError,
)
from streameval.events.columns import Batch
from streameval.transport.kafka_admin import COMPACTED, KEPT, Cluster, Topic, compacted, same_topics
from streameval.transport.kafka_commits import COMMITS_PARTITION, Commits, Follower
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_core import PART, key, parts
from streameval.transport.kafka_faults import explained, is_fenced
from streameval.transport.kafka_producing import (
    BATCH_BYTES,
    CAUTIOUS_BATCH_BYTES,
    SEQUENCE,
    TRANSACTION_MS,
    Message,
    RefusedError,
    Transactions,
    culprits,
    fenced,
    output,
    stubbed,
)
from streameval.transport.kafka_reading import Reader, retention_gap
from streameval.transport.protocol import (
    MAX_RECORD,
    Bounds,
    CommitRecord,
    Hints,
    Marks,
    OnStep,
    Outbox,
    Place,
    Record,
    no_step,
)

_log = structlog.get_logger(__name__)

_FOREVER = {"retention.ms": "-1", "retention.bytes": "-1"}
# Small segments, because compaction leaves the newest one alone, and a commit a second makes 40 MB a day.
_COMPACTED_OFTEN = {
    **COMPACTED,
    "segment.bytes": str(16 << 20),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.1",
}
_GROUP_EVERY: Final = 5.0
_FRESH: Final = 1.0
_CLOCK_PARTITION: Final = 0
_QUICK_MS: Final = 2_000  # the loop stands still while it asks whether a partition is caught up
_UNKNOWN: Final = 1 << 63
PART_OVERHEAD: Final = 1024
"""More than a part of a core takes besides its payload, key and batch."""


def output_settings(
    *, compacted: Iterable[str], kept: Iterable[str], commits: str, clock: str
) -> dict[str, dict[str, str]]:
    """How the topics that we write are made when they are missing.

    Args:
        compacted: topics of which the latest record a key counts (thresholds, calibration).
        kept: topics whose every record counts for as long as the cluster keeps them (drift, metrics, ...).
        commits: topic of the commit records: one partition, compacted often.
        clock: topic of the clock marks: one partition, kept for ever, for replay reads them all.

    >>> output_settings(compacted=["thresholds"], kept=["drift"], commits="commits", clock="clock")["clock"]
    {'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1', 'partitions': '1'}
    """
    return {
        **{topic: dict(KEPT) for topic in kept},
        **{topic: dict(COMPACTED) for topic in compacted},
        commits: {**_COMPACTED_OFTEN, "partitions": "1"},
        clock: {**KEPT, **_FOREVER, "partitions": "1"},
    }


class Kafka:
    """The transport over one cluster.

    Args:
        connection: the cluster and how to reach it.
        outputs: every topic that is written, the two below included, with its settings (see `output_settings`).
        commits: topic of the commit records.
        clock: topic of the clock marks.
        create: whether missing output topics are made; else they are an error that lists them.
        transaction_ms: how long a transaction may stay open before the broker aborts it.
    """

    def __init__(
        self,
        connection: Connection,
        outputs: Mapping[str, Mapping[str, str]],
        *,
        commits: str = "commits",
        clock: str = "clock",
        create: bool = True,
        transaction_ms: int = TRANSACTION_MS,
    ) -> None:
        self.connection = connection
        self.outputs = outputs
        self.commits = commits
        self.clock = clock
        self.create = create
        self.transaction_ms = transaction_ms
        self.cluster = Cluster(connection)
        self._reader = Reader(connection, self.cluster.bounds)
        self._commits = Commits(connection, self.cluster, commits, 2 * transaction_ms)
        self._transactions: Transactions | None = None
        self._worker = ""
        self._fenced = False
        self._last: CommitRecord | None = None
        self._tried: CommitRecord | None = None
        self._looks_until: float | None = None
        self._ids: dict[str, str] = {}
        self._quick = Cluster(dataclasses.replace(connection, patience_ms=min(connection.patience_ms, _QUICK_MS)))
        self._asked = 0.0
        self._ends: dict[Place, int] = {}
        self._limits: dict[str, int] = {}
        self._parts = 0
        self._confirmed = 0.0

    # -- inputs ---------------------------------------------------------------------------------------------------

    def _look(self, topics: Iterable[str]) -> dict[str, Topic]:
        """Describes topics, and checks that each is the one seen before."""
        names = set(topics)
        found = self.cluster.describe(names)
        same_topics({name: was for name, was in self._ids.items() if name in names}, found)
        self._ids.update({name: topic.id for name, topic in found.items()})
        return found

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """See `Transport.partitions`.

        Raises:
            TopicError: a topic was deleted, or deleted and made again, since the last look.
        """
        wanted = list(topics)
        found = self._look(wanted)
        return {name: list(found[name].partitions) if name in found else [] for name in wanted}

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See `Transport.bounds`; the end is the high watermark, also where an open transaction hides what is there."""
        return Bounds(*self.cluster.bounds([(topic, partition)])[topic, partition])

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """See `Transport.topic_ids`; the cluster's own ids (KIP-516), by topic."""
        return {name: topic.id for name, topic in self._look(topics).items()}

    def assign(self, positions: Mapping[Place, int], hints: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """See `Transport.assign`; Kafka needs no hints.

        Raises:
            TopicError: a position is no longer in its log (retention), or not yet.
        """
        new = {place: offset for place, offset in positions.items() if place not in self._reader.places}
        self._look({topic for topic, _ in new})
        for place, (begin, end) in self.cluster.bounds(new).items():
            if not begin <= new[place] <= end:
                raise retention_gap(f"{place[0]}/{place[1]} at {new[place]} (it has {begin} to {end})")
        self._reader.assign(positions)

    def read(self, topic: str, partition: int, max_events: int) -> Batch | None:
        """See `Transport.read`."""
        return self._reader.read((topic, partition), max_events)

    def poll(self, max_events: int, timeout: float) -> list[Batch]:
        """See `Transport.poll`."""
        return self._reader.poll(max_events, timeout)

    def pause(self, places: Collection[Place]) -> None:
        """See `Transport.pause`."""
        self._reader.pause(places)

    def resume(self, places: Collection[Place]) -> None:
        """See `Transport.resume`."""
        self._reader.resume(places)

    def position(self, place: Place) -> int:
        """See `Transport.position`."""
        return self._reader.position(place)

    def caught_up(self, place: Place) -> bool:
        """See `Transport.caught_up`: asks the leaders, at most once a second; one that is away means no."""
        if not self._reader.drained(place):
            return False
        # What the last fetch said is not enough: while a leader is away it would pass for silence.
        if time.monotonic() - self._asked >= _FRESH or place not in self._ends:
            try:
                self._ends = self._quick.ends(self._reader.places)
            except TransportError as error:
                _log.warning("ends_unknown", reason=str(error))
                self._ends = dict.fromkeys(self._reader.places, _UNKNOWN)
            self._asked = time.monotonic()
        return self._reader.position(place) >= self._ends[place]

    def hidden(self, place: Place) -> str | None:
        """See `Transport.hidden`: asks the leader for the last stable offset, and for the end."""
        stable, end = self._quick.stable([place])[place], self._quick.ends([place])[place]
        if not stable <= self._reader.position(place) < end:
            return None
        return (
            f"a producer's open transaction hides all from offset {stable} on: "
            "find it with kafka-transactions.sh find-hanging"
        )

    def reopen(self) -> None:
        """See `Transport.reopen`: a new consumer."""
        self._reader.reopen()

    def hints(self) -> Hints:
        """See `Transport.hints`: Kafka finds any offset by itself."""
        return {}

    def wake(self) -> None:
        """See `Transport.wake`."""
        self._reader.wake()

    # -- outputs --------------------------------------------------------------------------------------------------

    def prepare(self) -> list[str]:
        """Makes the missing output topics, or refuses; returns the names that were made. `fence` calls it.

        Raises:
            TopicError: some are missing and may not be made; all are named.
        """
        if self.create:
            return self.cluster.create(self.outputs)
        self.cluster.require(self.outputs)
        return []

    def shortcomings(self) -> list[str]:
        """Wrong settings and limits of the output topics that exist, one line each, for ``check``."""
        return self.cluster.shortcomings(self.outputs, largest=MAX_RECORD + 512)

    def kept_for(self, topics: Iterable[str]) -> dict[str, int | None]:
        """How long existing topics keep their records, ms: -1 for ever, None where that may not be seen; ``check``."""
        found = self.cluster.settings(self.cluster.describe(topics))
        return {
            topic: None if not settings else -1 if compacted(settings) else int(settings["retention.ms"])
            for topic, settings in found.items()
        }

    def fence(self, worker: str) -> None:
        """See `Transport.fence`. Called again after a failure it first looks whether another took over meanwhile."""
        if self._fenced:
            raise fenced(worker)
        before, self._worker = self._worker, worker
        if self._transactions is not None:
            self._transactions.abandon()
            if before == worker:
                seen = self._commits.last(worker)
                if seen not in (self._last, self._tried):
                    raise self._ousted()
                self._regain(self._transactions)
                self._last = self._commits.last(worker)
                return
        self._transactions = self._tried = self._looks_until = None
        self.prepare()
        transactions = Transactions(self.connection, f"streameval-{worker}", self.transaction_ms)
        try:
            self._start_producer(transactions)
            self._last = self._commits.last(worker)
        except BaseException:
            transactions.abandon()
            raise
        self._transactions = transactions

    def _start_producer(self, transactions: Transactions) -> None:
        """Fences, with batches that every output topic takes as its limits are now."""
        settings = self.cluster.settings(self.outputs)
        self._limits = {topic: int(found["max.message.bytes"]) for topic, found in settings.items() if found}
        known = len(self._limits) == len(self.outputs)
        transactions.batch_bytes = min([BATCH_BYTES, *self._limits.values()]) if known else CAUTIOUS_BATCH_BYTES
        transactions.start()

    def _regain(self, transactions: Transactions) -> None:
        """A new producer after a failure; one that was fenced looks on for a while first, see the module.

        Raises:
            CommitError: that while has not passed.
        """
        if self._looks_until is not None and time.monotonic() < self._looks_until:
            raise CommitError(
                "the broker has fenced this process: its transaction outlasted its time, or another process of this "
                "name starts",
                where=f"worker {self._worker}",
                cure=f"none needed: without a successor it goes on by itself within {transactions.delivery_ms} ms",
            )
        try:
            self._start_producer(transactions)
        except TransportError as error:
            if not is_fenced(error):
                raise
            self._look_on(transactions)
            raise CommitError(
                f"fenced while fencing: {error.what}", where=error.where, cure="it is tried again"
            ) from error
        self._looks_until = None

    def _look_on(self, transactions: Transactions) -> None:
        self._looks_until = time.monotonic() + transactions.delivery_ms / 1000

    def _ousted(self) -> FencedError:
        """Never to publish again."""
        self._fenced = True
        if self._transactions is not None:
            self._transactions.abandon()
        return fenced(self._worker)

    def commit_record(self, worker: str) -> CommitRecord | None:
        """See `Transport.commit_record`."""
        if self.commits not in self.cluster.describe([self.commits]):
            return None
        return self._commits.last(worker)

    def ends(self, topics: Iterable[str]) -> Marks:
        """See `Transport.ends`; keyed ``topic/partition``."""
        found = self.cluster.describe([*topics, self.commits])
        places = [(name, partition) for name, topic in found.items() for partition in topic.partitions]
        return {f"{topic}/{partition}": end for (topic, partition), end in self.cluster.ends(places).items()}

    def announce(self, record: CommitRecord) -> None:
        """See `Transport.announce`: a transaction with nothing but the record."""
        self.deliver(Outbox(), record, {})

    def core(self, worker: str) -> bytes | None:
        """See `Transport.core`."""
        if self.commits not in self.cluster.describe([self.commits]):
            return None
        return self._commits.core(worker)

    def deliver(
        self,
        outbox: Outbox,
        record: CommitRecord,
        before: Marks,  # noqa: ARG002
        on_step: OnStep = no_step,
        core: bytes | None = None,
    ) -> None:
        """See `Transport.deliver` and the table above. ``before`` is not needed: a transaction leaves no halves."""
        if self._transactions is None:
            raise InvariantError("deliver before fence", where=f"worker {record.worker}", cure="report it")
        if self._fenced:
            raise fenced(self._worker)
        if self._last == record or (not self._transactions.open and self._settle(record)):
            return
        # The marks of the clock are one log, whatever its number of partitions.
        messages = [output(*r, partition=_CLOCK_PARTITION if r.topic == self.clock else None) for r in outbox.records]
        if core is not None:
            messages += self._core_messages(record, core)
        messages.append(Message(self.commits, record.worker.encode(), record.encode(), COMMITS_PARTITION))
        on_step("commit.5")
        self._tried = record
        failure = self._send(messages, on_step)
        if failure is None:
            self._seen(record, final=True)
            return
        if is_fenced(failure):
            self._look_on(self._transactions)
        if not self._settle(record):
            raise CommitError(
                f"checkpoint {record.n} was not published: {failure.what}", where=failure.where, cure=failure.cure
            ) from failure

    def _core_messages(self, record: CommitRecord, core: bytes) -> list[Message]:
        """The parts of a core, and tombstones for what the last one had more of them."""
        largest = min(PART, self._limits.get(self.commits, PART + PART_OVERHEAD) - PART_OVERHEAD)
        values: list[bytes | None] = [*parts(core, record.n, max(largest, PART_OVERHEAD))]
        before, self._parts = self._parts, len(values)
        values += [None] * (before - len(values))
        return [
            Message(self.commits, key(record.worker, index), value, COMMITS_PARTITION, part=True)
            for index, value in enumerate(values)
        ]

    def _send(self, messages: list[Message], on_step: OnStep) -> TransportError | None:
        """Sends and commits; returns what failed. Messages that the broker refuses become stubs."""
        assert self._transactions is not None  # noqa: S101 - deliver looked
        try:
            while True:
                if not self._transactions.open:
                    self._start_producer(self._transactions)
                try:
                    self._transactions.send(messages, lambda: on_step("commit.6"))
                    return None
                except RefusedError as refused:
                    to_blame = culprits(messages, refused.indices, self._limits)
                    if any(messages[index].part for index in to_blame):
                        _log.warning("core_refused", topic=self.commits, cure="raise max.message.bytes to 65536 bytes")
                        messages[:] = [message for message in messages if not message.part]
                        continue
                    named = sorted({(messages[i].topic, messages[i].key.decode()) for i in to_blame})
                    _log.error("outputs_refused", outputs=[f"{topic} {key}" for topic, key in named])
                    if not stubbed(messages, to_blame):
                        return TopicError(
                            "the broker refuses even the smallest records",
                            where=f"topics {', '.join(sorted({topic for topic, _ in named}))}",
                            cure="raise max.message.bytes, and remove what else restricts the topic's records",
                        )
        except (kafka_errors.KafkaError, OSError, ValueError) as error:
            failure = explained(error, self.connection, doing="publishing", where=f"worker {self._worker}")
            failure.__cause__ = error
            return failure if isinstance(failure, TransportError) else TransportError(str(failure))
        except TransportError as error:
            return error

    def _settle(self, record: CommitRecord) -> bool:
        """After a failure: a new producer, and whether the record is visible after all, which is then final.

        Raises:
            FencedError: another incarnation published.
            CommitError: the broker does not answer, or has fenced us, so that it is not known yet; a later call finds
                it out.
        """
        assert self._transactions is not None  # noqa: S101 - deliver looked
        try:
            if self._seen(record, final=False):
                return True
            self._regain(self._transactions)
            return self._seen(record, final=False)
        except ConnectionFailedError as error:
            self._transactions.abandon()
            raise CommitError(
                f"checkpoint {record.n} may or may not be published: {error.what}", where=error.where, cure=error.cure
            ) from error

    def _seen(self, record: CommitRecord, *, final: bool) -> bool:
        """Whether the last visible commit record is the given one, and not the one that was there before."""
        assert self._transactions is not None  # noqa: S101 - deliver looked
        seen = self._commits.last(self._worker)
        if seen == record:
            self._last = record
            return True
        if seen != self._last:
            raise self._ousted()
        if final:
            self._transactions.abandon()
            raise CommitError(
                f"checkpoint {record.n} was committed but its record cannot be read back",
                where=f"topic {self.commits}",
                cure="tried again by itself; if it stays, check the topic's cleanup.policy",
            )
        return False

    def confirm(self, record: CommitRecord) -> None:
        """See `Transport.confirm`: commits group offsets for lag tools, every few seconds at most.

        The group has no member: a group that only assigns would lose its offsets anyway, hence they are written anew
        for every partition each time. A failure is logged and harms nothing.
        """
        if time.monotonic() - self._confirmed < _GROUP_EVERY:
            return
        self._confirmed = time.monotonic()
        positions = {(t, p): offset for t, ps in record.positions.items() for p, offset in ps.items()}
        try:
            self.cluster.commit_group(f"streameval-{record.worker}", positions)
        except TransportError as error:
            _log.warning("group_offsets_failed", reason=str(error))

    def published(self, topics: Iterable[str], since: Marks | None = None) -> Iterator[Record]:
        """See `Transport.published`; of a compacted topic what compaction left."""
        for name, topic in self.cluster.describe(topics).items():
            for partition in topic.partitions:
                yield from self._published(
                    name, partition, None if since is None else since.get(f"{name}/{partition}", 0)
                )

    def _published(self, topic: str, partition: int, since: int | None) -> Iterator[Record]:
        follower = Follower(self.connection, self.cluster, (topic, partition), 2 * self.transaction_ms)
        try:
            if since is not None:
                follower.seek(since)
            for found in follower.rest():
                key = (found.key or b"").decode(errors="replace")
                yield Record(topic, key, found.value, _sequence(found))
        finally:
            follower.close()

    def clock_marks(self) -> list[bytes]:
        """See `Transport.clock_marks`."""
        return [record.value for record in self.published([self.clock]) if record.value is not None]

    def close(self) -> None:
        """See `Transport.close`."""
        self._reader.close()
        if self._transactions is not None:
            self._transactions.close()
        self._commits.close()
        self._quick.close()
        self.cluster.close()


class _Head(msgspec.Struct):
    sequence: int | None = None


_HEAD = msgspec.json.Decoder(_Head)


def _sequence(record: Any) -> int | None:
    """The number of a published record: of a tombstone from its header."""
    try:
        if record.value is not None:
            return _HEAD.decode(record.value).sequence
        return next((int(value) for name, value in record.headers if name == SEQUENCE), None)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StateMismatchError(
            f"it is no record of ours: {error}",
            where=f"topic {record.topic}, partition {record.partition}, offset {record.offset}",
            cure="nobody else may write to our output topics; choose other names in topics",
        ) from error
