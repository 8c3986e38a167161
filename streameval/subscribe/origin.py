"""Where to subscribe: an address, a configuration file, or a section of one, becomes the logs to read.

Invariant: nothing is opened here; what is wrong with an address or a file is said at once, before any waiting.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from streameval import config
from streameval.errors import ConfigValueError
from streameval.subscribe.in_force import Calibration, Threshold
from streameval.subscribe.log import OutputLog
from streameval.subscribe.logdir_log import LogDirLog
from streameval.subscribe.view import Kind
from streameval.transport.opening import kafka_connection

__all__ = ["PATIENCE_MS", "Origin", "log_of"]

Origin: TypeAlias = str | os.PathLike[str] | config.Config | config.LogDir | config.Kafka
"""``kafka://host:9092,host2:9092``, ``logdir:PATH``, the path of a configuration file, or a configuration."""

PATIENCE_MS = 5_000
"""How long the cluster may take for an answer before the subscription says that it is cut off."""

_KINDS: Mapping[str, Kind] = {"thresholds": Threshold, "calibration": Calibration}


def log_of(origin: Origin, *, security: config.Security | None, topics: Mapping[str, str]) -> OutputLog:
    """The logs of an origin, not yet opened.

    Args:
        origin: see `Origin`.
        security: how to speak to the brokers, with ``kafka://``; a configuration has its own.
        topics: other names of the topics ``thresholds`` and ``calibration`` than the configuration's, or the default.

    Raises:
        ConfigError: the address, the file or a topic's name is wrong.

    >>> type(log_of("logdir:./events", security=None, topics={})).__name__
    'LogDirLog'
    """
    transport, names = _resolved(origin)
    if unknown := sorted(topics.keys() - _KINDS):
        cure = f"topics are {' and '.join(_KINDS)}"
        raise ConfigValueError(f"no topic {unknown[0]!r} is subscribed to", where="topics", cure=cure)
    by_kind = {kind: topics.get(name, names[name]) for name, kind in _KINDS.items()}
    if isinstance(transport, config.LogDir):
        if security is not None:
            raise ConfigValueError("a directory needs no security", where="security", cure="leave it out")
        return LogDirLog(transport.path, by_kind)
    # Only here, so that a service that reads a directory does not load kafka-python.
    from streameval.subscribe.kafka_log import KafkaLog  # noqa: PLC0415

    if security is not None:
        transport = transport.model_copy(update={"security": security})
    connect = functools.partial(kafka_connection, transport, client_id="streameval-subscribe", patience_ms=PATIENCE_MS)
    return KafkaLog(connect, by_kind)


def _resolved(origin: Origin) -> tuple[config.LogDir | config.Kafka, Mapping[str, str]]:
    default = {"thresholds": "thresholds", "calibration": "calibration"}
    if isinstance(origin, config.LogDir | config.Kafka):
        return origin, default
    if isinstance(origin, str) and origin.startswith("kafka://"):
        return _kafka(origin.removeprefix("kafka://").rstrip("/")), default
    if isinstance(origin, str) and origin.startswith("logdir:"):
        return config.LogDir(kind="logdir", path=Path(origin.removeprefix("logdir:"))), default
    if isinstance(origin, str) and "://" in origin:
        scheme = origin.split("://", 1)[0]
        cure = "write kafka://host:9092, logdir:PATH, or the path of a configuration file"
        raise ConfigValueError(f"{scheme}:// is unknown", where="subscribe", cure=cure)
    made = origin if isinstance(origin, config.Config) else config.load(origin)
    return made.transport, {name: getattr(made.topics, name) for name in default}


def _kafka(addresses: str) -> config.Kafka:
    if "@" in addresses:  # not repeated in the message: it may be a password
        cure = "give security=config.Security(...), or the path of a configuration file"
        raise ConfigValueError("an address holds no user and no password", where="subscribe", cure=cure)
    bootstrap = tuple(part.strip() for part in addresses.split(",") if part.strip())
    for address in bootstrap or ("",):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigValueError(
                f"{address!r} is not an address", where="subscribe", cure="write kafka://host:port,host:port"
            )
    return config.Kafka(kind="kafka", bootstrap=bootstrap)
