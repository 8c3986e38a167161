"""What a worker published beyond its own state: not to be published again while it works its way there.

A worker whose state is behind its commit record regenerates outputs that are already out. They are the same bytes (law
of determinism), so each is dropped once it has been compared with the digest of what was published. Invariant: of the
records of one (topic, key), those with a sequence up to the last published one are dropped, all later ones pass.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

import msgspec
import xxhash

from streameval.errors import StateMismatchError
from streameval.transport.protocol import Outbox, Record
from streameval.transport.stub import stub

__all__ = ["Key", "Suppression"]

Key: TypeAlias = tuple[str, str]
"""(topic, key) of an output."""


class _Source(msgspec.Struct):
    source: str | None = None


_SOURCE = msgspec.json.Decoder(_Source)


class _Run:
    """Digests of the published records of one key, contiguous from sequence ``first`` on."""

    __slots__ = ("digests", "first")

    def __init__(self, first: int) -> None:
        self.first = first
        self.digests = array("Q")

    @property
    def last(self) -> int:
        return self.first + len(self.digests) - 1


class Suppression:
    """Published records that are still to be regenerated; 8 bytes each, besides its key.

    >>> out = Suppression([Record("drift", "fraud/1/*", b"{}", 0)])
    >>> box = Outbox()
    >>> box.add("drift", "fraud/1/*", b"{}", 0)
    >>> box.add("drift", "fraud/1/*", b"[]", 1)
    >>> [record.sequence for record in out.admit(box).records], bool(out)
    ([1], False)
    """

    def __init__(self, published: Iterable[Record] = (), *, source: str | None = None) -> None:
        """Remember what was published.

        Args:
            published: records, those of one key in order. Uncounted ones (sequence None) are passed over.
            source: pass over records that say they come from another CloudEvents source: topics may be shared.

        Raises:
            StateMismatchError: if the sequence of a key goes back.
        """
        self._runs: dict[Key, _Run] = {}
        for record in published:
            if record.sequence is not None and not _foreign(record, source):
                self._remember(record, record.sequence)

    def _remember(self, record: Record, sequence: int) -> None:
        run = self._runs.get((record.topic, record.key))
        if run is None or sequence > run.last + 1:
            # After a gap (compaction, retention) only the newest run can be compared; the older part is just dropped.
            run = self._runs[record.topic, record.key] = _Run(sequence)
        elif sequence <= run.last:
            what = f"sequence {sequence} was published after {run.last}"
            cure = "another worker of the same name publishes here, or the log was edited: start with --fresh"
            raise StateMismatchError(what, where=_where(record), cure=cure)
        run.digests.append(_digest(record))

    @property
    def last(self) -> dict[Key, int]:
        """Last published sequence of each key that has not been reached yet."""
        return {key: run.last for key, run in self._runs.items()}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def only(self, keys: Collection[Key]) -> Suppression:
        """The part for these keys."""
        return self._with({key: run for key, run in self._runs.items() if key in keys})

    def beyond(self, last: Mapping[Key, int]) -> Suppression:
        """The part for keys whose last published sequence is beyond the given one."""
        return self._with({key: run for key, run in self._runs.items() if run.last > last.get(key, -1)})

    def union(self, other: Suppression) -> Suppression:
        """Both; where both know a key, this one's digests, which reach further back, are kept."""
        return self._with(other._runs | self._runs)

    @staticmethod
    def _with(runs: dict[Key, _Run]) -> Suppression:
        result = Suppression()
        result._runs = runs
        return result

    def admit(self, outbox: Outbox) -> Outbox:
        """The outputs that are not published yet; compares those that are, and forgets keys that have caught up.

        Raises:
            StateMismatchError: if a regenerated record differs from the published one.
        """
        if not self._runs:
            return outbox
        admitted = Outbox()
        admitted.extend(record for record in outbox.records if not self._reached(record))
        return admitted

    def _reached(self, record: Record) -> bool:
        key = (record.topic, record.key)
        run = self._runs.get(key)
        if run is None or record.sequence is None:
            return False
        index = record.sequence - run.first
        if 0 <= index < len(run.digests) and not _same(record, run.digests[index]):
            what = f"the record with sequence {record.sequence} comes out otherwise than it was published"
            cure = "logs, configuration or release are not what they were then: bring them back, or start with --fresh"
            raise StateMismatchError(what, where=_where(record), cure=cure)
        if index >= len(run.digests) - 1:
            del self._runs[key]
        return index < len(run.digests)


def _digest(record: Record) -> int:
    return xxhash.xxh3_64_intdigest(b"" if record.value is None else record.value)


def _same(record: Record, digest: int) -> bool:
    if _digest(record) == digest:
        return True
    # The broker may have refused it then, and taken its stub.
    return record.value is not None and xxhash.xxh3_64_intdigest(stub(record.value)) == digest


def _foreign(record: Record, source: str | None) -> bool:
    if source is None or record.value is None:
        return False
    found = _SOURCE.decode(record.value).source
    return found is not None and found != source


def _where(record: Record) -> str:
    return f"topic {record.topic}, key {record.key}"
