"""Which transport a configuration means, opened.

Invariant: the only place where a configuration is turned into a connection; secrets are revealed here and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streameval.config import Config
from streameval.config.transport import Kafka as KafkaConfig
from streameval.transport.logdir import LogDir
from streameval.transport.protocol import Transport

if TYPE_CHECKING:
    from streameval.transport.kafka_connection import Connection

__all__ = ["kafka_connection", "open_transport", "output_topics"]

COMPACTED = ("thresholds", "calibration")
"""Keys of output topics of which the latest record a key counts."""


def output_topics(config: Config) -> list[str]:
    """The topics of numbered records: all that is published but clock marks and commits."""
    topics = config.topics
    return [
        topics.thresholds,
        topics.calibration,
        topics.drift,
        topics.retrain,
        topics.metrics,
        topics.alignment,
        topics.rejected,
    ]


def kafka_connection(chosen: KafkaConfig, *, client_id: str, patience_ms: int = 30_000) -> Connection:
    """The cluster that a configuration names, with its secrets as they are now.

    Args:
        chosen: The transport's configuration.
        client_id: Our name in the brokers' logs.
        patience_ms: How long a first connection may take.

    Raises:
        ConfigValueError: A secret cannot be read.
    """
    from streameval.transport.kafka_connection import Connection, Hidden, Security  # noqa: PLC0415

    said = chosen.security
    security = Security(
        protocol=said.protocol,
        ca_file=said.ca_file,
        certificate_file=said.cert_file,
        key_file=said.key_file,
        key_password=None if said.key_password is None else Hidden(said.key_password.reveal()),
        check_hostname=said.check_hostname,
        mechanism=said.mechanism,
        username=said.username,
        password=None if said.password is None else Hidden(said.password.reveal()),
    )
    return Connection(tuple(chosen.bootstrap), security, client_id=client_id, patience_ms=patience_ms)


def open_transport(config: Config) -> Transport:
    """The transport that the configuration names.

    Raises:
        TransportError: It cannot be reached, or a topic is missing and must not be made.
        ConfigValueError: A secret cannot be read.
    """
    chosen = config.transport
    if not isinstance(chosen, KafkaConfig):
        return LogDir(chosen.path, commits=config.topics.commits, clock=config.topics.clock)
    # kafka-python is imported only where it is used: the embedded default starts faster without it.
    from streameval.transport.kafka import Kafka, output_settings  # noqa: PLC0415

    compacted = [getattr(config.topics, name) for name in COMPACTED]
    settings = output_settings(
        compacted=compacted,
        kept=[topic for topic in output_topics(config) if topic not in compacted],
        commits=config.topics.commits,
        clock=config.topics.clock,
    )
    connection = kafka_connection(chosen, client_id=f"streameval-{config.worker}")
    return Kafka(
        connection, settings, commits=config.topics.commits, clock=config.topics.clock, create=chosen.create_topics
    )
