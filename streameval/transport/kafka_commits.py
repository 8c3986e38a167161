"""Reading what was published, the commit records above all: to the end of the log, committed records only.

Invariant: "the end" is the high watermark at the moment of asking, not the last stable offset. A transaction is decided
before its markers are written, so a reader that stops at the last stable offset can miss a commit that has succeeded.

All commit records lie in partition 0 of their topic, whatever its number of partitions: a topic that is given more
partitions later would otherwise hide them.

Source: KIP-98; DESIGN, "State, recovery, exactly once".
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import kafka.errors as kafka_errors
import msgspec
from kafka import KafkaConsumer, TopicPartition

from streameval.errors import StateMismatchError, TransportError
from streameval.transport.kafka_admin import Cluster
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_core import assembled, key_prefix
from streameval.transport.kafka_faults import explained
from streameval.transport.kafka_reading import open_consumer
from streameval.transport.protocol import CommitRecord, Place

COMMITS_PARTITION: Final = 0
_TAIL = 2_000
_POLL = 2_000


class Follower:
    """Reads one partition of an output topic forward, each time to its end.

    Args:
        connection: the cluster and how to reach it.
        cluster: for the high watermark.
        place: topic and partition.
        patience_ms: how long an open transaction of someone else may hide the end.
    """

    def __init__(self, connection: Connection, cluster: Cluster, place: Place, patience_ms: int) -> None:
        self.connection = connection
        self.cluster = cluster
        self.place = place
        self.patience_ms = patience_ms
        self._tp = TopicPartition(*place)
        self._consumer: KafkaConsumer | None = None

    def seek(self, offset: int) -> None:
        """Go to an offset."""
        if self._consumer is None:
            self._consumer = open_consumer(self.connection, fetch_max_wait_ms=50, metrics_enabled=False)
            self._consumer.assign([self._tp])
        self._consumer.seek(self._tp, offset)

    def rest(self) -> Iterator[Any]:
        """Records from here to the end as it is when this is called (``ConsumerRecord``).

        Raises:
            TransportError: an open transaction hides the end for longer than the patience.
        """
        where = f"topic {self.place[0]}"
        if self._consumer is None:
            self.seek(self.cluster.bounds([self.place])[self.place][0])
        end = self.cluster.ends([self.place])[self.place]
        consumer = self._consumer
        assert consumer is not None  # noqa: S101 - seek opened it
        deadline = time.monotonic() + self.patience_ms / 1000
        while True:
            try:
                at = consumer.position(self._tp, timeout_ms=0)
                if at is not None and at >= end:
                    return
                fetched = consumer.poll(timeout_ms=100, max_records=_POLL)
            except kafka_errors.OffsetOutOfRangeError:
                # Compaction and retention remove the beginning of an output topic; what is left is what counts.
                consumer.seek(self._tp, self.cluster.bounds([self.place])[self.place][0])
                continue
            except (kafka_errors.KafkaError, OSError, NotImplementedError) as error:
                raise explained(error, self.connection, doing="reading back", where=where) from error
            for records in fetched.values():
                yield from records
            if fetched:
                deadline = time.monotonic() + self.patience_ms / 1000
            elif time.monotonic() > deadline:
                raise TransportError(
                    f"its end at offset {end} cannot be read: an open transaction before it does not end",
                    where=where,
                    cure="find it with kafka-transactions.sh find-hanging, or wait for its time-out",
                )

    def close(self) -> None:
        """Closes the connection."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=1_000)
            self._consumer = None


class Commits:
    """The last commit record of a worker, followed from one reading to the next.

    Args:
        connection: the cluster and how to reach it.
        cluster: for the high watermark.
        topic: of the commit records.
        patience_ms: see `Follower`.
    """

    def __init__(self, connection: Connection, cluster: Cluster, topic: str, patience_ms: int) -> None:
        self.place: Place = (topic, COMMITS_PARTITION)
        self.cluster = cluster
        self._follower = Follower(connection, cluster, self.place, patience_ms)
        self._other = Follower(connection, cluster, self.place, patience_ms)
        self._worker: str | None = None
        self._last: CommitRecord | None = None

    def last(self, worker: str) -> CommitRecord | None:
        """The last visible commit record of the worker; None if there is none.

        Raises:
            StateMismatchError: something that is no commit record lies under the worker's key.
        """
        if worker != self._worker:
            self._worker, self._last = worker, None
            begin, end = self.cluster.bounds([self.place])[self.place]
            # Of a worker that runs, a record is near the end; only one that slept needs all of the compacted log.
            if begin < end - _TAIL:
                self._follower.seek(end - _TAIL)
                self._read(worker)
            if self._last is None:
                self._follower.seek(begin)
        self._read(worker)
        return self._last

    def _read(self, worker: str) -> None:
        key = worker.encode()
        for record in self._follower.rest():
            if record.key != key:
                continue
            if record.value is None:
                self._last = None
                continue
            try:
                self._last = CommitRecord.decode(record.value)
            except msgspec.MsgspecError as error:
                raise StateMismatchError(
                    f"it is no commit record: {error}",
                    where=f"topic {self.place[0]}, partition {self.place[1]}, offset {record.offset}",
                    cure="nobody else may write there; if a newer release did, run that one",
                ) from error

    def core(self, worker: str) -> bytes | None:
        """The newest core of the worker's state that is whole (see `kafka_core`); reads all of the compacted log."""
        prefix = key_prefix(worker)
        found: dict[bytes, bytes | None] = {}
        begin, _ = self.cluster.bounds([self.place])[self.place]
        self._other.seek(begin)
        for record in self._other.rest():
            if record.key is not None and record.key.startswith(prefix):
                found[record.key] = record.value
        self._other.close()
        return assembled(value for value in found.values() if value is not None)

    def close(self) -> None:
        """Closes the connection."""
        self._follower.close()
        self._other.close()
