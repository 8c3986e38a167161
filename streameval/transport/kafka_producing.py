"""Writing outputs: one Kafka transaction a delivery, by a producer that is closed at the first sign of trouble.

Invariants:

- Nothing is committed unless every single future of the transaction succeeded: kafka-python's ``flush`` returns though
  batches failed, and its ``commit_transaction`` can report success for a transaction that its own recovery (KIP-360,
  a bumped epoch) has emptied. What a commit did is therefore not this room's word, but what can be read back.
- A producer that failed never sends again: its sender thread is stopped by force. (``KafkaProducer.close(timeout)``
  raises while batches wait, and leaves the thread alive, which would go on to deliver them when the broker is back.)
- ``delivery_timeout_ms < transaction_timeout_ms``: a batch has failed here before the broker aborts its transaction.

Source: KIP-98 (transactions), KIP-360 (producer epochs); kafka-python 3.0.12, ``kafka/producer/``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import kafka.errors as kafka_errors
from kafka import KafkaProducer

from streameval.errors import FencedError
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_faults import explaining
from streameval.transport.kafka_insides import make_no_topics
from streameval.transport.stub import stub

CLOUD_EVENT: Final = ("content-type", b"application/cloudevents+json")
SEQUENCE: Final = "sequence"
"""Header of a tombstone, which has no value that could say its number."""
TRANSACTION_MS: Final = 30_000
"""A worker that dies in the middle of a commit hides later records of `commits`, other shards' too, for as long."""
BATCH_BYTES: Final = 128 << 10
"""Largest batch. It must not exceed any topic's ``max.message.bytes``: kafka-python would split the batch, and the
halves carry sequence numbers that the broker refuses, until the transaction times out."""
CAUTIOUS_BATCH_BYTES: Final = 16 << 10
"""Largest batch where the topics' limits cannot be read."""
_DELIVERY_MS = 15_000
"""How long a batch, or the commit, may take; a new producer often finds at once what an old one waits for."""
_BATCH_OVERHEAD = 160
"""Bytes of a batch of one record besides its key, value and headers, rounded up."""
_REFUSED_RECORD = (kafka_errors.MessageSizeTooLargeError, kafka_errors.InvalidRecordError)


class Message(NamedTuple):
    """One record to send; ``partition`` None: by the key (murmur2, as every Kafka client does it)."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    event: bool = False  # an output, for which a stub may stand
    part: bool = False  # of a core of the state, which may be left out


class RefusedError(Exception):
    """The broker takes the transaction but not these of its messages, by index; there may be more of them."""

    def __init__(self, indices: list[int]) -> None:
        super().__init__("refused by the broker")
        self.indices = indices


class Transactions:
    """The transactional producer of one worker: opening it fences any other of the same id.

    Args:
        connection: the cluster and how to reach it.
        transactional_id: one a worker, the same at every start.
        timeout_ms: how long a transaction may stay open before the broker aborts it.
    """

    def __init__(self, connection: Connection, transactional_id: str, timeout_ms: int = TRANSACTION_MS) -> None:
        self.connection = connection
        self.transactional_id = transactional_id
        self.timeout_ms = timeout_ms
        self.delivery_ms = max(1_000, min(timeout_ms // 2, _DELIVERY_MS))
        self.batch_bytes = BATCH_BYTES
        self._producer: KafkaProducer | None = None

    @property
    def open(self) -> bool:
        """Whether there is a producer that has not failed."""
        return self._producer is not None

    def start(self) -> None:
        """Opens the producer and fences: every transaction that was open under this id is finished when this returns.

        Raises:
            ConnectionFailedError: no coordinator answered in time.
            TopicError: no permission on the transactional id.
            FencedError: yet another process fenced us in this very moment.
        """
        self.abandon()
        options = self.connection.options()
        options["request_timeout_ms"] = min(options["request_timeout_ms"], self.delivery_ms // 2)
        where = f"transactional id {self.transactional_id}"
        with explaining(self.connection, doing="opening the producer", where=where):
            producer = KafkaProducer(
                **options,
                transactional_id=self.transactional_id,
                transaction_timeout_ms=self.timeout_ms,
                delivery_timeout_ms=self.delivery_ms,
                max_block_ms=self.connection.patience_ms,
                acks="all",
                batch_size=self.batch_bytes,
                linger_ms=5,
                retry_backoff_ms=20,
                max_request_size=8 << 20,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        make_no_topics(producer)
        self._producer = producer
        try:
            with explaining(self.connection, doing="fencing", where=where):
                producer.init_transactions()
        except BaseException:
            self.abandon()
            raise

    def send(self, messages: Iterable[Message], before_commit: Callable[[], None]) -> None:
        """Sends all messages in one transaction and commits it; ``before_commit`` is called when all are acknowledged.

        After any exception the producer is gone and the outcome, but for `RefusedError`, is open: read it back.

        Raises:
            RefusedError: the broker refuses some messages for what they are; nothing was committed.
            kafka.errors.KafkaError: anything else.
        """
        producer = self._producer
        if producer is None:
            raise kafka_errors.IllegalStateError("the producer was not started")
        try:
            producer.begin_transaction()
            futures: dict[int, Any] = {}
            refused: list[int] = []
            stopped: Exception | None = None
            for index, message in enumerate(messages):
                headers = list(message.headers)
                try:
                    futures[index] = producer.send(
                        message.topic, message.value, message.key, headers, message.partition
                    )
                except _REFUSED_RECORD:
                    refused.append(index)
                except kafka_errors.KafkaError as error:
                    # An earlier record has failed meanwhile: its future says why, this refusal to go on does not.
                    stopped = error
                    break
            producer.flush(timeout=self.timeout_ms / 1000)
            self._check(futures, refused, stopped)
            before_commit()
            self._commit(producer)
        except BaseException:
            self.abandon()
            raise

    @staticmethod
    def _check(futures: dict[int, Any], refused: list[int], stopped: Exception | None) -> None:
        failed = {index: future.exception for index, future in futures.items() if not future.succeeded()}
        refused = refused + [index for index, error in failed.items() if isinstance(error, _REFUSED_RECORD)]
        if refused:
            raise RefusedError(refused)
        if failed:
            # A later batch fails because of the first one; fencing tells most, whichever batch it hit.
            first = next((e for e in failed.values() if isinstance(e, kafka_errors.ProducerFencedError)), None)
            error = first or next(iter(failed.values()))
            raise error if error is not None else kafka_errors.KafkaTimeoutError("a record was not acknowledged")
        if stopped is not None:
            raise stopped

    def _commit(self, producer: KafkaProducer) -> None:
        # As KafkaProducer.commit_transaction, which would wait for ever while the broker is away.
        result = producer._transaction_manager.begin_commit()  # noqa: SLF001
        producer._sender.wakeup()  # noqa: SLF001
        if not result.wait(self.delivery_ms):
            raise kafka_errors.KafkaTimeoutError("the commit was not answered")

    def abandon(self) -> None:
        """Stops the producer at once. A transaction that it left open is aborted by the next `start`, or by time."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer._sender.force_close()  # noqa: SLF001 - see the module's second invariant
        producer._sender.join(5)  # noqa: SLF001
        with contextlib.suppress(kafka_errors.KafkaError):  # of batches that were given up just now
            producer.close(timeout=1)

    def close(self) -> None:
        """Ends the producer; nothing waits in it between deliveries."""
        self.abandon()


def output(topic: str, key: str, value: bytes | None, sequence: int | None, partition: int | None = None) -> Message:
    """The message of one output: a CloudEvent in structured mode, or a tombstone."""
    headers = (CLOUD_EVENT,) if value is not None else () if sequence is None else ((SEQUENCE, b"%d" % sequence),)
    return Message(topic, key.encode(), value, partition, headers, event=True)


def culprits(messages: list[Message], refused: list[int], limits: Mapping[str, int]) -> list[int]:
    """Which of the refused messages are to blame: kafka-python fails all that wait with the error of the first.

    Args:
        messages: all of the transaction.
        refused: those that failed, by index.
        limits: ``max.message.bytes`` by topic, as far as known.
    """
    large = [index for index in refused if _size(messages[index]) > limits.get(messages[index].topic, 1 << 62)]
    return large or refused


def _size(message: Message) -> int:
    headers = sum(len(name) + len(value) for name, value in message.headers)
    return _BATCH_OVERHEAD + len(message.key) + len(message.value or b"") + headers


def stubbed(messages: list[Message], refused: list[int]) -> bool:
    """Puts stubs, in place, where the broker refused messages, and where others of the topic are as large.

    Returns whether that changed anything: not where a stub, a tombstone or a commit record is what was refused.
    """
    limits: dict[str, int] = {}
    for index in refused:
        message = messages[index]
        if message.value is not None and message.event:
            limits[message.topic] = min(len(message.value), limits.get(message.topic, len(message.value)))
    changed = False
    for index, message in enumerate(messages):
        if message.event and message.value is not None and len(message.value) >= limits.get(message.topic, 1 << 62):
            small = stub(message.value)
            if len(small) < len(message.value):
                messages[index] = message._replace(value=small)
                changed = True
    return changed


def fenced(worker: str) -> FencedError:
    """The error of a worker whose place another process has taken."""
    return FencedError(
        "another process with the same worker name took over; nothing of this process was published since",
        where=f"worker {worker}",
        cure="let that one run, and give every further process its own worker name",
    )
