"""What we lean on of kafka-python beyond its documented interface: all of it in one table, with a check for it.

Invariant: no other inside is touched (a test reads the Kafka rooms for it), and a kafka-python that lacks one of them
is refused before anything is read or written (`check`), with a sentence that says which. Whether they also *behave* as
they did is what the tests of the Kafka rooms show; they run against every release of the range that ``pyproject.toml``
allows.

Source: kafka-python 3.0.12, ``kafka/consumer/fetcher.py``, ``kafka/net/``, ``kafka/producer/``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

import kafka
from kafka import KafkaConsumer, KafkaProducer
from kafka.cluster import ClusterMetadata
from kafka.consumer.fetcher import Fetcher
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.transport import KafkaTCPTransport
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import TransactionManager
from kafka.record.default_records import DefaultRecordBatch

from streameval.errors import TransportError

__all__ = ["INSIDES", "Inside", "check", "give_out", "hold_back", "lacking", "make_no_topics"]


class Inside(NamedTuple):
    """One thing that we lean on: of which class, its name, what it is given (None: it is no function), and for what."""

    of: type
    name: str
    given: tuple[str, ...] | None
    why: str


_RECORDS_GIVEN = ("self", "tp", "records", "key_deserializer", "value_deserializer")
_RECORDS = Fetcher.PartitionRecords

INSIDES: Final = (
    # kafka_reading, by the functions below
    Inside(KafkaConsumer, "_cluster", None, "its config: the option that no topic is made is not handed down to it"),
    Inside(ClusterMetadata, "config", None, "as above"),
    Inside(KafkaConsumer, "_fetcher", None, "what fetches, and what it makes of what it fetched"),
    Inside(Fetcher, "PartitionRecords", None, "the class of what was fetched of a partition: ours is put in its place"),
    Inside(Fetcher, "_fetchable_partitions", ("self",), "which partitions the next requests ask for"),
    # kafka_records
    Inside(_RECORDS, "take", ("self", "n"), "gives the next records; counts what it gives, whatever that is"),
    Inside(_RECORDS, "drain", ("self",), "they are done with: the partition is fetched again"),
    Inside(_RECORDS, "_unpack_records", _RECORDS_GIVEN, "gives out records, at the first `take`"),
    Inside(_RECORDS, "_maybe_skip_record", ("self", "record"), "cuts off what lies before the position"),
    Inside(_RECORDS, "_consume_aborted_transactions_up_to", ("self", "offset"), "which transactions were aborted"),
    Inside(_RECORDS, "_contains_abort_marker", ("self", "batch"), "as above"),
    Inside(_RECORDS, "_is_batch_aborted", ("self", "batch"), "as above"),
    Inside(_RECORDS, "aborted_producer_ids", None, "as above"),
    Inside(_RECORDS, "next_fetch_offset", None, "becomes the partition's position when a `take` is over"),
    Inside(_RECORDS, "leader_epoch", None, "as above"),
    Inside(_RECORDS, "check_crcs", None, "whether checksums are to be checked"),
    Inside(_RECORDS, "records_read", None, "for its metrics"),
    Inside(_RECORDS, "bytes_read", None, "for its turns among partitions"),
    Inside(DefaultRecordBatch, "_buffer", None, "the bytes of a record batch"),
    Inside(DefaultRecordBatch, "_pos", None, "where its records begin in them"),
    Inside(DefaultRecordBatch, "HEADER_STRUCT", None, "how long its head is"),
    # kafka_connection.Client
    Inside(KafkaNetClient, "_manager", None, "keeps the connections"),
    Inside(KafkaNetClient, "await_ready", ("self", "node_id"), "raises where the producer expects a no"),
    Inside(KafkaConnectionManager, "get_connection", ("self", "node_id"), "ends where a login is refused"),
    Inside(KafkaConnectionManager, "_build_transport", ("self", "node"), "gives each connection its socket"),
    Inside(KafkaConnectionManager, "cluster", None, "knows which connections are the first"),
    Inside(ClusterMetadata, "is_bootstrap", ("self", "node_id"), "as above"),
    Inside(KafkaTCPTransport, "_sock_recv", ("self",), "drops what came with the end of a connection"),
    # kafka_producing
    Inside(KafkaProducer, "_metadata", None, "as a consumer's _cluster"),
    Inside(KafkaProducer, "_transaction_manager", None, "begins a commit that is waited for with an end"),
    Inside(TransactionManager, "begin_commit", ("self",), "as above"),
    Inside(KafkaProducer, "_sender", None, "the thread that sends, stopped by force"),
    Inside(Sender, "wakeup", ("self",), "as above"),
    Inside(Sender, "force_close", ("self",), "as above"),
)


def lacking(insides: Collection[Inside] = INSIDES) -> list[str]:
    """What this kafka-python does not have, or has with other arguments; one line each."""
    return [f"{inside.of.__qualname__}.{inside.name}" for inside in insides if not _has(inside)]


def _has(inside: Inside) -> bool:
    found = inspect.getattr_static(inside.of, inside.name, None)
    if inside.given is None:
        return found is not None or inside.name in _set_at_its_making(inside.of)
    if not callable(found):
        return False
    return tuple(inspect.signature(found).parameters)[: len(inside.given)] == inside.given


def _set_at_its_making(of: type) -> Iterator[str]:
    for kind in inspect.getmro(of):
        code = getattr(kind.__dict__.get("__init__"), "__code__", None)
        yield from () if code is None else code.co_names


@functools.cache
def check() -> None:
    """Refuse a kafka-python that is built otherwise than the one that this release was tested with.

    Raises:
        TransportError: it lacks what we lean on; it is named.
    """
    missing = lacking()
    if missing:
        raise TransportError(
            f"version {kafka.__version__} is built otherwise than this release knows it: no {', '.join(missing)}",
            where="kafka-python",
            cure="pip install 'kafka-python[crc32c,lz4,snappy,zstd]>=3.0.12,<3.1'",
        )


def make_no_topics(client: KafkaConsumer | KafkaProducer) -> None:
    """Asking for a missing topic must not make it.

    kafka-python 3.0.12 does not hand that option down to where the metadata request is made, so that a consumer of a
    missing topic would create it on a cluster with auto.create.topics.enable.
    """
    cluster = client._cluster if isinstance(client, KafkaConsumer) else client._metadata  # noqa: SLF001
    cluster.config["allow_auto_create_topics"] = False


def give_out(consumer: KafkaConsumer, records: type[Any]) -> None:
    """What a consumer's polls give is what this class of fetched records makes of it."""
    consumer._fetcher.PartitionRecords = records  # noqa: SLF001


def hold_back(consumer: KafkaConsumer, held: Collection[tuple[str, int]]) -> None:
    """Ask for no more of the partitions that are in ``held`` by then; what was fetched is given out still."""
    fetcher = consumer._fetcher  # noqa: SLF001
    fetchable = fetcher._fetchable_partitions  # noqa: SLF001
    fetcher._fetchable_partitions = lambda: [place for place in fetchable() if place not in held]  # noqa: SLF001
