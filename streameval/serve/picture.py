"""A snapshot that is kept up to date: records as they are published, in the order of their topics, each taken once.

Invariant: a record counts once however often it is given: those that were read back from the topics are recognised by
their sequence when the worker publishes them, and the other way round. Only decisions of this process are tallied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from streameval.records import epoch_ms, parts_of
from streameval.serve.series import Key
from streameval.serve.snapshot import Snapshot
from streameval.serve.tally import ELSEWHERE, Place, Tally
from streameval.transport.protocol import Record

__all__ = ["Picture"]

_PARTS = 3
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Picture:
    """What is known of a worker's records.

    Args:
        snapshot: Where to begin; by default nothing is known.

    >>> picture = Picture()
    >>> picture.take(Record("thresholds", "m/1/*", None, 7))
    >>> picture.snapshot.models
    []
    """

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = Snapshot() if snapshot is None else snapshot
        self.tally = Tally()
        self.changes = 0
        """Grows with everything taken."""
        self._versions: Counter[Key] = Counter()
        self._taken: dict[tuple[str, str], int] = {}
        self._ended: dict[tuple[str, str], bool] = {}

    def read_back(self, record: Record) -> None:
        """Take a record that was published before; when all are read, `settle` is called."""
        if self._is_new(record):
            # Topics come one after the other: whether a key has ended is known when all are there.
            self._ended[record.topic, record.key] = record.value is None
            if record.value is not None:
                self._feed(record.topic, _decode(record.value))

    def settle(self) -> None:
        """All that was published before is read: keys whose last record is a tombstone have ended."""
        for (_, name), gone in self._ended.items():
            key = _key(name)
            if gone and key is not None and self.snapshot.last is not None and self.snapshot.get(key) is not None:
                self.snapshot.retire(key, self.snapshot.last)
        self._ended.clear()
        for series in self.snapshot.series:
            if series.retired_at is None:
                self.tally.see(self.place(series.key))

    def take(self, record: Record) -> None:
        """Take a record that this process has just published."""
        if record.value is None:
            self._end(record)
            return
        event = _decode(record.value)
        if self._is_new(record):
            self._feed(record.topic, event)
        data = event.get("data")
        if isinstance(data, Mapping):
            self._count(str(event.get("type") or "").removeprefix("streameval."), str(event.get("time")), data)

    def version(self, key: Key) -> int:
        """Grows with every record about a key."""
        return self._versions[key]

    def place(self, key: Key) -> Place:
        """Where the decisions about a key are counted."""
        named = key.whole or self.snapshot.remembers(key)
        return (key.model, key.version, key.segment if named else ELSEWHERE)

    def _feed(self, topic: str, event: Mapping[str, Any]) -> None:
        self.snapshot.feed(topic, event)
        self.changes += 1
        data = event.get("data")
        if isinstance(data, Mapping) and "model" in data:
            self._versions[_about(data)] += 1

    def _is_new(self, record: Record) -> bool:
        if record.sequence is None:
            return True
        name = (record.topic, record.key)
        if self._taken.get(name, -1) >= record.sequence:
            return False
        self._taken[name] = record.sequence
        return True

    def _end(self, record: Record) -> None:
        key = _key(record.key)
        self.changes += 1
        if self._is_new(record) and key is not None and self.snapshot.get(key) is not None:
            self.snapshot.retire(key, self.snapshot.last or 0)
            if key.whole:
                self.tally.forget(key.model, key.version)

    def _count(self, kind: str, time: str, data: Mapping[str, Any]) -> None:
        if kind == "rejected":
            self.tally.reject(data)
        elif "model" in data:
            place = self.place(
                Key(str(data["model"]), str(data.get("version") or "0"), str(data.get("segment") or "*"))
            )
            self.tally.see(place)
            if kind == "drift":
                alarmed = data.get("alarm_at")
                self.tally.drift(place, data, later=alarmed is not None and epoch_ms(alarmed) < epoch_ms(time))
            elif kind == "threshold":
                self.tally.threshold(place, data)
            elif kind == "retrain":
                self.tally.retrain(place)


def _about(data: Mapping[str, Any]) -> Key:
    return Key(str(data["model"]), str(data.get("version") or "0"), str(data.get("segment") or "*"))


def _key(name: str) -> Key | None:
    parts = parts_of(name)
    return Key(*parts) if len(parts) == _PARTS else None
