"""How to reach a Kafka cluster: addresses, TLS, SASL, and the options that every client of ours shares.

Invariant: a secret is held only in objects that print as ``***`` and in the TLS library; no log line of ours or of
kafka-python, no error and no record can show it. (At level DEBUG kafka-python 3.0.12 logs a client's whole
configuration, and three times the bytes that it sends to log in, which for PLAIN is the password.)

Source: Apache Kafka documentation, "Security"; kafka-python 3.0.12.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import kafka.errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from streameval.errors import ConfigValueError
from streameval.transport import kafka_insides

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


_BOOTSTRAP_MS = 10_000
_WIRE = ("kafka.net.connection", "kafka.net.transport", "kafka.protocol.parser")


def _no_wire(record: logging.LogRecord) -> bool:
    """Whether a log record of the wire may be shown: what is sent and received may not."""
    return record.levelno > logging.DEBUG


class Client(KafkaNetClient):  # type: ignore[misc]  # kafka-python ships no types
    """kafka-python's network client without three faults of 3.0.12.

    A login that a broker refuses ends the first connection at once; else a wrong password is tried again and again
    until the connection's time is over, and the reason is lost. What a broker says just before it hangs up is heard:
    else the refusal itself is lost, nearly always over TLS. And a transaction coordinator that dies is looked up
    anew; else the producer drops the request that it was about to send (``Sender._maybe_send_pending_request``: an
    exception leaves the loop without the retry) and stands still until its batches expire.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        manager = self._manager
        connect = manager.get_connection
        build = manager._build_transport  # noqa: SLF001 - where each connection gets its socket
        refusals: list[Exception] = []

        def get_connection(node: Any, *arguments: Any, **more: Any) -> Any:
            # Only of the first connection: a broker that restarts may refuse for a moment whom it let in before.
            if not manager.cluster.is_bootstrap(node):
                return connect(node, *arguments, **more)
            if refusals:
                raise refusals.pop()
            made = connect(node, *arguments, **more)
            made.init_future.add_errback(remember)
            return made

        def remember(error: Exception) -> None:
            if isinstance(error, kafka_errors.SaslAuthenticationFailedError):
                refusals.append(error)

        async def build_transport(*arguments: Any, **more: Any) -> Any:
            transport = await build(*arguments, **more)
            receive = transport._sock_recv  # noqa: SLF001 - as above

            def last_words_first() -> tuple[bytes, Exception | None]:
                # With data and the end of the stream at once, kafka-python drops the data. The end comes again.
                data, error = receive()
                return data, None if data else error

            transport._sock_recv = last_words_first  # noqa: SLF001 - as above
            return transport

        manager.get_connection = get_connection
        manager._build_transport = build_transport  # noqa: SLF001 - as above

    def await_ready(self, node_id: Any, **options: Any) -> bool:
        """Whether the node is ready; also false, and no exception, where the connection is refused."""
        try:
            return bool(super().await_ready(node_id, **options))
        except kafka_errors.KafkaConnectionError:
            return False


class Hidden(str):
    """A secret string: usable as one, but ``repr`` (what a logged configuration shows) does not tell it.

    >>> {"password": Hidden("hunter2")}
    {'password': ***}
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class Security:
    """Who we are to the cluster, and how we know that it is the right one.

    Args:
        protocol: one of ``PROTOCOLS``.
        ca_file: PEM file of the authorities that may sign the brokers' certificates; None: the system's.
        certificate_file: PEM file of our own certificate (mutual TLS), with its chain.
        key_file: PEM file of its key.
        key_password: password of the key, where it is encrypted.
        check_hostname: whether the broker's certificate must name the host that we asked for.
        mechanism: one of ``MECHANISMS``, for the SASL protocols.
        username: SASL user.
        password: SASL password.

    Raises:
        ConfigValueError: the parts contradict each other; the message names the part.
    """

    protocol: str = "PLAINTEXT"
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: Hidden | None = None
    check_hostname: bool = True
    mechanism: str | None = None
    username: str | None = None
    password: Hidden | None = None

    def __post_init__(self) -> None:
        where = "transport.security"
        if self.protocol not in PROTOCOLS:
            raise ConfigValueError(
                f"protocol {self.protocol!r} is unknown", where=where, cure=f"use one of {', '.join(PROTOCOLS)}"
            )
        if self.protocol.startswith("SASL"):
            if self.mechanism not in MECHANISMS:
                raise ConfigValueError(
                    f"mechanism {self.mechanism!r} is unknown", where=where, cure=f"use one of {', '.join(MECHANISMS)}"
                )
            if not self.username or not self.password:
                raise ConfigValueError(
                    f"{self.protocol} needs a username and a password",
                    where=where,
                    cure="set username, and the password from a file or an environment variable",
                )
        elif self.mechanism or self.username or self.password:
            raise ConfigValueError(
                f"{self.protocol} does not log in, yet a SASL mechanism, username or password is given",
                where=where,
                cure="set protocol to SASL_SSL (or SASL_PLAINTEXT), or remove them",
            )
        if (self.certificate_file is None) != (self.key_file is None):
            raise ConfigValueError(
                "mutual TLS needs both a certificate and its key", where=where, cure="set certificate_file and key_file"
            )

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.protocol in ("SSL", "SASL_SSL")

    def tls(self) -> ssl.SSLContext:
        """The TLS context of these files.

        Raises:
            ConfigValueError: a file is missing, is no PEM, or the key's password is wrong.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        context.check_hostname = self.check_hostname
        if self.ca_file is not None:
            _load(self.ca_file, "ca_file", lambda: context.load_verify_locations(cafile=self.ca_file))
        if self.certificate_file is not None:
            # An empty password, where none is given, keeps OpenSSL from asking for one on the terminal.
            password = str(self.key_password or "")
            _load(
                self.certificate_file,
                "certificate_file and key_file",
                lambda: context.load_cert_chain(str(self.certificate_file), str(self.key_file), password=password),
            )
        return context


def _load(path: Path, name: str, load: Any) -> None:
    where = f"transport.security.{name}"
    try:
        load()
    except FileNotFoundError as error:
        raise ConfigValueError(f"{path} or its key does not exist", where=where, cure="correct the path") from error
    except PermissionError as error:
        raise ConfigValueError(f"{path} or its key cannot be read", where=where, cure="grant read access") from error
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not in PEM format"
        raise ConfigValueError(
            f"{path} cannot be used: {reason}", where=where, cure="give PEM files, and the key's own password"
        ) from None


@dataclass(frozen=True, slots=True)
class Connection:
    """A cluster and how to reach it.

    Args:
        bootstrap: ``host:port`` of some brokers.
        security: protocol and credentials.
        client_id: our name in the brokers' logs and quotas.
        patience_ms: how long a first connection, or an answer to a question of ours, may take.
    """

    bootstrap: tuple[str, ...]
    security: Security = field(default_factory=Security)
    client_id: str = "streameval"
    patience_ms: int = 30_000

    def __post_init__(self) -> None:
        if not self.bootstrap:
            raise ConfigValueError(
                "no broker is given", where="transport.bootstrap", cure="list at least one host:port"
            )
        for address in self.bootstrap:
            split_address(address)

    def options(self) -> dict[str, Any]:
        """Keyword arguments for any of kafka-python's clients.

        Raises:
            TransportError: this is no kafka-python that we know.
        """
        kafka_insides.check()
        security = self.security
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap),
            "client_id": self.client_id,
            "security_protocol": security.protocol,
            # Whoever waits for longer asks again, and can be told to stop in between.
            "bootstrap_timeout_ms": min(self.patience_ms, _BOOTSTRAP_MS),
            "request_timeout_ms": self.patience_ms,
            "kafka_client": Client,
            # kafka-python waits up to 30 s between attempts; a broker that is back should be noticed at once.
            "reconnect_backoff_max_ms": 1_000,
        }
        if security.encrypted:
            options["ssl_context"] = security.tls()
            options["ssl_check_hostname"] = security.check_hostname
        if security.mechanism is not None:
            for name in _WIRE:
                logging.getLogger(name).addFilter(_no_wire)
            options["sasl_mechanism"] = security.mechanism
            options["sasl_plain_username"] = security.username
            options["sasl_plain_password"] = security.password
        return options


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[v6]:port``.

    Raises:
        ConfigValueError: the port is missing or no number from 1 to 65535.

    >>> split_address("[::1]:9092")
    ('::1', 9092)
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigValueError(
            f"{address!r} is no address", where="transport.bootstrap", cure="write host:port, for example kafka:9092"
        )
    return host.strip("[]"), int(port)


def addresses(bootstrap: str | Sequence[str]) -> tuple[str, ...]:
    """The addresses of a list, or of one comma-separated string as Kafka's own tools take it.

    >>> addresses("a:1, b:2")
    ('a:1', 'b:2')
    """
    parts = bootstrap.split(",") if isinstance(bootstrap, str) else bootstrap
    return tuple(part.strip() for part in parts if part.strip())
