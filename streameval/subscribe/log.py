"""What a subscription reads: the logs of thresholds and of calibration maps, of which the last record a key counts.

Invariant: `OutputLog.load` followed by every `OutputLog.news` gives each record once, in the order of its partition.
A log that was there and is gone is an error, never an empty log: what is in force must not vanish by an accident.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from streameval.errors import TopicError
from streameval.subscribe.view import Kind

__all__ = ["Entry", "OutputLog", "gone"]


class Entry(NamedTuple):
    """One record as it stands in a log: its key, and its bytes or None for a tombstone."""

    kind: Kind
    key: str
    value: bytes | None
    place: str  # topic, partition and offset, for messages


class OutputLog(Protocol):
    """The logs of one source. Used by one thread; may be loaded anew after `close`."""

    def load(self) -> Iterator[Entry]:
        """Everything, from the beginning to the end as it is now. A log that is not there yet is empty.

        Raises:
            TransportError: the logs cannot be read to their end, or were there and are gone.
            ConfigError: they can never be read so.
        """
        ...

    def news(self) -> Iterator[Entry]:
        """What came since. Never waits for more.

        Raises:
            TransportError: as for `load`.
        """
        ...

    def outdated(self) -> bool:
        """Whether the logs are no longer those that were loaded (made anew, more partitions): load again."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


def gone(topic: str) -> TopicError:
    """The error of a log that was there before."""
    return TopicError(
        "the log was there and is gone; what was last read stays in force",
        where=f"topic {topic}",
        cure="restore it, or start streameval anew so that it publishes again",
    )
