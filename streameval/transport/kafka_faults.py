"""What a failure of Kafka means to a person: one line that says what, where and what to do, and never a secret.

Invariant: every exception of kafka-python that leaves the Kafka rooms has become one of our own error tree, and the
text of an authentication failure is ours, not the library's.

Source: Apache Kafka's error codes (protocol guide); kafka-python 3.0.12, ``kafka.errors``.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

import kafka.errors as kafka_errors

from streameval.errors import ConnectionFailedError, LoginRefusedError, StreamevalError, TopicError, TransportError
from streameval.transport.kafka_connection import Connection, split_address

_UNREACHABLE = (
    kafka_errors.KafkaConnectionError,
    kafka_errors.NodeNotReadyError,
    kafka_errors.KafkaTimeoutError,
    kafka_errors.RequestTimedOutError,
)
_GRANTS = (
    (kafka_errors.TopicAuthorizationFailedError, "topic"),
    (kafka_errors.GroupAuthorizationFailedError, "group"),
    (kafka_errors.TransactionalIdAuthorizationFailedError, "transactional id"),
    (kafka_errors.ClusterAuthorizationFailedError, "cluster"),
)
_REFUSED = (
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
)
UNREADY = (kafka_errors.RetriableError, kafka_errors.UnknownBrokerIdError)
"""What passes by itself. A partition whose leader is away names broker -1, which kafka-python does not know."""
FENCED = (
    kafka_errors.ProducerFencedError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.InvalidTxnStateError,
)
"""What a broker says to a producer whose place was taken, or whose transaction it has timed out."""


def is_fenced(failure: BaseException | None) -> bool:
    """Whether a broker's fencing is what led to this failure.

    >>> is_fenced(kafka_errors.ProducerFencedError()), is_fenced(kafka_errors.KafkaTimeoutError())
    (True, False)
    """
    while failure is not None:
        if isinstance(failure, FENCED):
            return True
        failure = failure.__cause__
    return False


def probe(connection: Connection) -> str:
    """Why no broker answers, one clause an address, found by trying each: name, port, then the TLS handshake."""
    found = []
    for address in connection.bootstrap:
        host, port = split_address(address)
        try:
            with contextlib.closing(socket.create_connection((host, port), timeout=3)) as raw:
                if connection.security.encrypted:
                    found.append(f"{address} {_probe_tls(raw, host, connection)}")
                else:
                    found.append(
                        f"{address} accepts the connection but gave no answer in time, or speaks another protocol"
                    )
        except socket.gaierror:
            found.append(f"{address}: the host name is unknown")
        except ssl.SSLCertVerificationError as error:
            found.append(f"{address}: its certificate is refused: {error.verify_message}")
        except ssl.SSLError as error:
            found.append(f"{address}: the TLS handshake failed: {error.reason or 'no TLS there'}")
        except TimeoutError:
            found.append(f"{address}: no answer")
        except OSError as error:
            found.append(f"{address}: {error.strerror or error}")
    return "; ".join(found)


def _probe_tls(raw: socket.socket, host: str, connection: Connection) -> str:
    with connection.security.tls().wrap_socket(raw, server_hostname=host) as channel:
        # In TLS 1.3 a server judges our certificate only after the handshake, and says so in its first bytes.
        channel.settimeout(1)
        try:
            channel.recv(1)
        except TimeoutError:
            return "accepts TLS but gave no answer in time, or speaks another protocol"
    return "closed the connection after the TLS handshake"


def explained(error: Exception, connection: Connection, *, doing: str, where: str = "") -> StreamevalError:
    """The error of our tree that says what ``error`` means.

    Args:
        error: what kafka-python, or the system, raised.
        connection: the cluster; its addresses stand in the message where nothing answers.
        doing: what was being done, for the message: ``"reading predictions"``.
        where: topic, partition or file that is concerned.
    """
    servers = ", ".join(connection.bootstrap)
    if isinstance(error, StreamevalError):
        return error
    if isinstance(error, _REFUSED):
        user = f" of user {connection.security.username!r}" if connection.security.username else ""
        return LoginRefusedError(
            f"the cluster refused the login{user} by {connection.security.mechanism or 'TLS'}",
            where=where or servers,
            cure="correct transport.security: mechanism, username and password",
        )
    for kind, resource in _GRANTS:
        if isinstance(error, kind):
            name = connection.security.username or "this client"
            return TopicError(
                f"{name} has no permission on the {resource} while {doing}",
                where=where or _named(error) or servers,
                cure=f"grant the {resource} permissions that the README lists",
            )
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return TopicError(
            f"the topic or partition does not exist while {doing}",
            where=where or _named(error) or servers,
            cure="create it, or correct its name in topics",
        )
    if isinstance(error, kafka_errors.InvalidTopicError):
        return TopicError(
            "Kafka does not accept this topic name",
            where=where or _named(error),
            cure="use letters, digits, dots, underscores and dashes, at most 249",
        )
    if isinstance(error, kafka_errors.UnsupportedCodecError | NotImplementedError):
        return TransportError(
            f"a compression of these records cannot be read while {doing}: {error}",
            where=where or servers,
            cure="pip install 'kafka-python[lz4,snappy,zstd]'",
        )
    if isinstance(error, kafka_errors.CorruptRecordError):
        return TransportError(
            f"a record batch is damaged, found while {doing}: {error}",
            where=where or servers,
            cure="check the broker's disk; nothing was skipped",
        )
    if isinstance(error, (*_UNREACHABLE, OSError)):
        return ConnectionFailedError(
            f"no broker answered while {doing}: {probe(connection)}",
            where=where or servers,
            cure="check transport.bootstrap, the network and transport.security.protocol",
        )
    if isinstance(error, UNREADY):
        return ConnectionFailedError(
            f"the cluster is not ready: {type(error).__name__} while {doing}",
            where=where or servers,
            cure="it passes when its leaders are back; look at the brokers if it stays",
        )
    detail = str(error).removeprefix(f"{type(error).__name__}: ")
    return TransportError(f"{type(error).__name__} while {doing}: {detail}", where=where or servers)


def _named(error: Exception) -> str:
    """The topics or ids that a refusal of kafka-python carries as its arguments, sorted."""
    names: set[str] = set()
    for argument in error.args:
        names.update([argument] if isinstance(argument, str) else map(str, argument or ()))
    return ", ".join(sorted(names))


@contextlib.contextmanager
def explaining(connection: Connection, *, doing: str, where: str = "") -> Iterator[None]:
    """Turns whatever kafka-python raises inside into an error of our tree (see :func:`explained`)."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError, NotImplementedError) as error:
        raise explained(error, connection, doing=doing, where=where) from error
