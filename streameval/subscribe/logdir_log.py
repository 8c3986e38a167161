"""Thresholds and maps from a directory of JSONL logs, which may still be missing and grows while it is read.

Invariant: that of `streameval.transport.logdir`: whole lines only, a cut or exchanged file is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from streameval.subscribe.log import Entry, gone
from streameval.subscribe.view import Kind
from streameval.transport.logdir import LogDir

__all__ = ["LogDirLog"]

_LINES = 10_000  # taken at once


class _Head(msgspec.Struct):
    subject: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


_HEAD = msgspec.json.Decoder(_Head)


class LogDirLog:
    """Satisfies `streameval.subscribe.log.OutputLog`.

    Args:
        path: the directory.
        topics: name of the topic of each kind.
    """

    def __init__(self, path: Path, topics: Mapping[Kind, str]) -> None:
        self.path = path
        self.topics = topics
        self._logs: LogDir | None = None
        self._seen: set[str] = set()

    def load(self) -> Iterator[Entry]:
        """See `OutputLog.load`."""
        self.close()
        self._logs = LogDir(self.path)
        for topic, partitions in self._logs.partitions(self.topics.values()).items():
            if topic in self._seen and 0 not in partitions:
                raise gone(topic)
        self._logs.assign({(topic, 0): 0 for topic in self.topics.values()})
        yield from self.news()

    def news(self) -> Iterator[Entry]:
        """See `OutputLog.news`."""
        if self._logs is None:
            return
        for kind, topic in self.topics.items():
            while batch := self._logs.read(topic, 0, _LINES):
                self._seen.add(topic)
                for offset, line in zip(batch.offsets.tolist(), batch.values, strict=True):
                    if line is not None:
                        yield _entry(kind, line, f"{self.path / topic / '0.jsonl'}, line {offset + 1}")

    def outdated(self) -> bool:
        """See `OutputLog.outdated`: here a file that was exchanged is an error of its own."""
        return False

    def close(self) -> None:
        """See `OutputLog.close`."""
        if self._logs is not None:
            self._logs.close()
            self._logs = None


def _entry(kind: Kind, line: bytes, place: str) -> Entry:
    try:
        head = _HEAD.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Entry(kind, "", line, place)  # reading the whole of it will say what is wrong
    return Entry(kind, head.subject, None if bytes(head.data) == b"null" else line, place)
