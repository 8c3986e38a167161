"""The one tree of errors that streameval raises on purpose.

::

    StreamevalError                 1   anything below; catch this at the edge of the program
    ├── UsageError                  2   a command was called in a way that cannot work
    ├── ConfigError                 3   the configuration is wrong, or a change of it is refused
    │   ├── ConfigFileError         3   the file is missing, unreadable or not YAML
    │   ├── ConfigValueError        3   a value in it is unknown, mistyped or contradicts another one
    │   ├── NotAvailableError       3   asked for something that streameval parses but cannot do yet
    │   └── ConfigChangeError       3   the kept state does not allow this change
    ├── InputError                  4   an input file or log cannot be read as the contract says
    │   └── MissingDependencyError  4   reading it needs an optional package
    ├── StateError                  5   the state directory cannot be used
    │   ├── StateVersionError       5   written by a newer, or a too old, release
    │   ├── StateCorruptError       5   a stored file fails its digest or cannot be decoded
    │   └── StateMismatchError      5   state and commit record belong to different lineages or positions
    ├── TransportError              6   the transport failed
    │   ├── ConnectionFailedError   6   the broker or directory cannot be reached
    │   │   └── LoginRefusedError   6   it can, but it refuses the user or the password
    │   ├── TopicError              6   a topic is missing, was made anew, or has unfit limits or permissions
    │   ├── CommitError             6   a commit did not take place; what was sent is not visible
    │   └── FencedError             7   another incarnation of this worker took over; do not restart blindly
    ├── StorageError                8   the local disk refused a write (full, read-only, no permission)
    ├── ServeError                  9   the address for the page, probes and metrics cannot be listened on
    └── InvariantError             70   streameval broke its own rule: please report it

The number is the exit code of the process. A message to a person answers three questions, and so does every error:
*what* is wrong, *where* (file and path in it, topic and offset), and *what to do* (the cure).
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CommitError",
    "ConfigChangeError",
    "ConfigError",
    "ConfigFileError",
    "ConfigValueError",
    "ConnectionFailedError",
    "FencedError",
    "InputError",
    "InvariantError",
    "LoginRefusedError",
    "MissingDependencyError",
    "NotAvailableError",
    "ServeError",
    "StateCorruptError",
    "StateError",
    "StateMismatchError",
    "StateVersionError",
    "StorageError",
    "StreamevalError",
    "TopicError",
    "TransportError",
    "UsageError",
]


class StreamevalError(Exception):
    """Base of every error that streameval raises on purpose.

    Args:
        what: what is wrong, one plain sentence without a full stop.
        where: where it is: ``file: models[0].labels.wait``, ``topic predictions, partition 3, offset 17``.
        cure: what the reader can do about it.

    >>> print(StreamevalError("the sum is negative", where="cohort 60000", cure="report it"))
    cohort 60000: the sum is negative (report it)
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        self.what = what
        self.where = where
        self.cure = cure
        super().__init__(what)

    def __str__(self) -> str:
        located = f"{self.where}: {self.what}" if self.where else self.what
        return f"{located} ({self.cure})" if self.cure else located

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are rebuilt from positional args by default, which would drop where and cure between processes.
        return (_rebuild, (type(self), self.what, self.where, self.cure))


def _rebuild(kind: type[StreamevalError], what: str, where: str, cure: str) -> StreamevalError:
    return kind(what, where=where, cure=cure)


class UsageError(StreamevalError):
    """A command was called with arguments that cannot work together."""

    exit_code = 2


class ConfigError(StreamevalError):
    """The configuration is wrong."""

    exit_code = 3


class ConfigFileError(ConfigError):
    """The configuration file is missing, unreadable, or not one YAML mapping."""


class ConfigValueError(ConfigError):
    """A key is unknown, or a value has the wrong type, range or contradicts another value."""


class NotAvailableError(ConfigError):
    """Something that the configuration may name, but that this release cannot do yet."""


class ConfigChangeError(ConfigError):
    """The kept state does not allow this change of the configuration."""


class InputError(StreamevalError):
    """An input file or log cannot be read as the contract says."""

    exit_code = 4


class MissingDependencyError(InputError):
    """An optional package is needed; the cure names the ``pip install`` that brings it."""


class StateError(StreamevalError):
    """The state directory cannot be used."""

    exit_code = 5


class StateVersionError(StateError):
    """The state was written by a newer release, or by one too old to be read."""


class StateCorruptError(StateError):
    """A stored file fails its digest or cannot be decoded."""


class StateMismatchError(StateError):
    """State and commit record contradict each other: another lineage, or positions that cannot follow."""


class TransportError(StreamevalError):
    """Reading from or writing to the transport failed."""

    exit_code = 6


class ConnectionFailedError(TransportError):
    """The broker, or the directory of logs, cannot be reached."""


class LoginRefusedError(ConnectionFailedError):
    """The cluster answers and refuses the login: waiting alone does not help."""


class TopicError(TransportError):
    """A topic is missing, was deleted and made anew, or has limits or permissions that do not fit."""


class CommitError(TransportError):
    """A commit did not take place: nothing of it is visible, and it may be tried again."""


class FencedError(TransportError):
    """Another incarnation of the same worker took over."""

    # Its own code, so that a supervisor can tell "someone else runs" from "the broker is down".
    exit_code = 7


class StorageError(StreamevalError):
    """The local disk refused a write: full, read-only, or not permitted."""

    exit_code = 8


class ServeError(StreamevalError):
    """The address to serve on cannot be listened on: taken, not ours, or not permitted."""

    exit_code = 9


class InvariantError(StreamevalError):
    """Streameval broke a rule of its own: a defect, not a mistake of the person who runs it."""

    exit_code = 70
