"""Writing events into input topics, as somebody else's service would: what the demo on Kafka plays with.

Invariant: only topics whose names begin with the given prefix are ever made or removed here. Not used by a worker,
which writes by `streameval.transport.kafka` alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Final

import kafka.errors as kafka_errors
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from streameval.errors import TopicError
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_faults import explaining

__all__ = ["Feeder"]

_GONE_AFTER: Final = 30.0  # seconds until a removed topic must be gone


class Feeder:
    """A producer of events, and the topics that it feeds.

    Args:
        connection: the cluster and how to reach it.
        prefix: how the names of all topics begin.
    """

    def __init__(self, connection: Connection, prefix: str) -> None:
        self.connection = connection
        self.prefix = prefix
        self._producer: KafkaProducer | None = None

    def renew(self, topics: Iterable[str]) -> None:
        """Remove every topic with the prefix, then make these, empty, of one partition.

        Raises:
            ConnectionFailedError: no broker answers.
            TopicError: the cluster does not let us.
        """
        wanted = sorted(topics)
        with explaining(self.connection, doing="making the demo's topics", where=f"topics {self.prefix}*"):
            admin = KafkaAdminClient(**self.connection.options())
            try:
                if old := self._there(admin):
                    admin.delete_topics(old)
                self._await_gone(admin)
                admin.create_topics({name: {"num_partitions": 1} for name in wanted})
                admin.wait_for_topics(wanted)
            finally:
                admin.close()

    def _there(self, admin: KafkaAdminClient) -> list[str]:
        return [name for name in admin.list_topics() if name.startswith(self.prefix)]

    def _await_gone(self, admin: KafkaAdminClient) -> None:
        deadline = time.monotonic() + _GONE_AFTER
        while left := self._there(admin):
            if time.monotonic() > deadline:
                raise TopicError(
                    "topics of an earlier demo cannot be removed",
                    where=", ".join(left),
                    cure="delete them by kafka-topics.sh; the cluster may forbid it (delete.topic.enable)",
                )
            time.sleep(0.2)

    def send(self, topic: str, value: bytes) -> None:
        """Write one event; on its way when this returns, there after `flush`.

        Raises:
            ConnectionFailedError: no broker answers.
        """
        with explaining(self.connection, doing="writing events", where=f"topic {topic}"):
            if self._producer is None:
                self._producer = KafkaProducer(**self.connection.options(), linger_ms=20, acks="all")
            self._producer.send(topic, value)

    def flush(self) -> None:
        """Wait until all is there.

        Raises:
            ConnectionFailedError: no broker answers.
        """
        if self._producer is not None:
            with explaining(self.connection, doing="writing events"):
                self._producer.flush()

    def close(self) -> None:
        """Close the connection; what is not there yet is given up after a second."""
        if self._producer is not None:
            # Events of a demo that is stopped while its broker is away are lost, which harms nobody.
            with contextlib.suppress(kafka_errors.KafkaError):
                self._producer.close(timeout=1)
            self._producer = None
