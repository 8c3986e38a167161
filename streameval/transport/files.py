"""Files of past events as a transport's reading half: what ``replay`` reads.

Each file is one partition. Its number is that of its stem where all files of a topic have distinct numbers for stems
(so that a logdir's ``0.jsonl`` is partition 0 again), else its place in the order given. It belongs to the topic that
its folder is named after, else to the first one. A last line without newline counts if it is whole JSON.

By default the rows of a file are read in order of ``ts``, because a table has no order of arrival; rows of one time
keep the file's order, and a row without a readable time stays behind the one before it. With ``as_log`` the file is a
log, read in its own order.

Invariant: an event's offset is its place in the order of reading, because everything behind a transport relies on
ascending offsets. It is the row's number (from 0) unless the rows had to be reordered: `Files.reordered` names those.

Source: design, "Surface", on ``replay``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import msgspec
import numpy as np
import xxhash

from streameval.config import Topics
from streameval.errors import InputError, InvariantError, TopicError
from streameval.events.columns import Batch
from streameval.transport.file_formats import json_lines, named
from streameval.transport.file_times import Times
from streameval.transport.protocol import Bounds, CommitRecord, Hints, Marks, OnStep, Outbox, Place, Record, no_step

__all__ = ["Files"]

LINE_LIMIT: Final = 4 << 20
"""Bytes of one line that are kept, as in a logdir: far beyond what the contract accepts."""

_BLOCK: Final = 1 << 20
_ANCHOR: Final = 8192
"""Lines between two places of a file that are remembered, where it is read in its own order."""

_whole = msgspec.json.Decoder(msgspec.Raw).decode


class Files:
    """The reading half of `streameval.transport.protocol.Transport` over files; its writing half is refused.

    Args:
        predictions: files of predictions.
        outcomes: files of outcomes.
        topics: names of the topics that they stand for.
        as_log: read each file in its own order.
        times: topic -> dotted path of the time in its payloads, where that is not ``ts``; "" where a payload has none.

    Raises:
        InputError: a file is missing, given twice, or not in the format that its suffix says.
        MissingDependencyError: reading one needs an optional package.

    Attributes:
        paths: file of each partition.
    """

    def __init__(
        self,
        predictions: Sequence[Path],
        outcomes: Sequence[Path],
        topics: Topics,
        *,
        as_log: bool = False,
        times: Mapping[str, str] | None = None,
    ) -> None:
        seen: set[Path] = set()
        for path in (*predictions, *outcomes):
            if path.resolve() in seen:
                raise InputError("the file is given twice", where=str(path), cure="give each file once")
            seen.add(path.resolve())
        self.paths = _places(predictions, topics.predictions) | _places(outcomes, topics.outcomes)
        self._at: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._files: dict[Place, _Lines] = {}
        paths_of_time = times or {}
        for place, path in self.paths.items():
            topic = place[0]
            where = paths_of_time.get(topic, "ts")
            needs = () if topic in paths_of_time else ("id", "ts")
            order = None if as_log or not where else Times(where)
            self._files[place] = _Lines(path, json_lines(path, needs), order)

    @property
    def reordered(self) -> list[Path]:
        """Files whose rows were not in order of time: their offsets count in the order of reading."""
        return [self.paths[place] for place, file in self._files.items() if file.order is not None]

    # -- inputs ---------------------------------------------------------------------------------------------------

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """See `Transport.partitions`."""
        return {topic: sorted(p for t, p in self._files if t == topic) for topic in topics}

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See `Transport.bounds`."""
        return Bounds(0, len(self._files[topic, partition]))

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """See `Transport.topic_ids`; the keys are ``topic/partition``, the values digests of first lines."""
        wanted = set(topics)
        return {f"{t}/{p}": file.identity for (t, p), file in self._files.items() if t in wanted and len(file)}

    def assign(self, positions: Mapping[Place, int], hints: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """See `Transport.assign`."""
        for place, position in positions.items():
            end = len(self._files[place]) if place in self._files else 0
            if not 0 <= position <= end:
                what = f"position {position} lies outside of 0 to {end}"
                where = f"topic {place[0]}, partition {place[1]}"
                raise TopicError(what, where=where, cure="replay the same files")
        self._at = dict(sorted(positions.items()))
        self._paused &= positions.keys()

    def read(self, topic: str, partition: int, max_events: int) -> Batch | None:
        """See `Transport.read`."""
        place = (topic, partition)
        first = self._at[place]
        values: list[bytes | None] = []
        if place in self._files:
            values.extend(self._files[place].take(first, max_events))
        if not values:
            return None
        self._at[place] = first + len(values)
        return Batch(topic, partition, np.arange(first, first + len(values), dtype=np.int64), values)

    def poll(self, max_events: int, timeout: float) -> list[Batch]:  # noqa: ARG002 - files do not grow
        """See `Transport.poll`; never waits, because nothing will come."""
        places = [place for place in self._at if place not in self._paused and not self.caught_up(place)]
        share = -(-max_events // max(len(places), 1))
        return [batch for place in places if (batch := self.read(*place, share)) is not None]

    def pause(self, places: Collection[Place]) -> None:
        """See `Transport.pause`."""
        self._paused |= set(places) & self._at.keys()

    def resume(self, places: Collection[Place]) -> None:
        """See `Transport.resume`."""
        self._paused -= set(places)

    def position(self, place: Place) -> int:
        """See `Transport.position`."""
        return self._at[place]

    def caught_up(self, place: Place) -> bool:
        """See `Transport.caught_up`."""
        return place not in self._files or self._at[place] == len(self._files[place])

    def hints(self) -> Hints:
        """See `Transport.hints`."""
        return {}

    def wake(self) -> None:
        """See `Transport.wake`: nothing here ever waits."""

    def close(self) -> None:
        """See `Transport.close`."""
        for file in self._files.values():
            file.close()
        self._files = {}

    # -- outputs --------------------------------------------------------------------------------------------------

    def fence(self, worker: str) -> None:
        """Refused, as is all that publishes."""
        self._refuse(worker)

    def commit_record(self, worker: str) -> CommitRecord | None:
        """Refused."""
        self._refuse(worker)

    def ends(self, topics: Iterable[str]) -> Marks:
        """Refused."""
        self._refuse(topics)

    def deliver(self, outbox: Outbox, record: CommitRecord, before: Marks, on_step: OnStep = no_step) -> None:
        """Refused."""
        self._refuse(outbox, record, before, on_step)

    def confirm(self, record: CommitRecord) -> None:
        """Refused."""
        self._refuse(record)

    def published(self, topics: Iterable[str], since: Marks | None = None) -> Iterator[Record]:
        """Refused."""
        self._refuse(topics, since)

    def clock_marks(self) -> list[bytes]:
        """Refused: the marks of a replay are given to it."""
        self._refuse()

    @staticmethod
    def _refuse(*_: object) -> NoReturn:
        raise InvariantError("files of events are only read", where="replay", cure="report it")


def _places(paths: Sequence[Path], topics: Sequence[str]) -> dict[Place, Path]:
    """The partition of each file.

    >>> _places([Path("outcomes/3.jsonl"), Path("outcomes/1.csv")], ["late", "outcomes"])
    {('outcomes', 3): PosixPath('outcomes/3.jsonl'), ('outcomes', 1): PosixPath('outcomes/1.csv')}
    """
    found: dict[Place, Path] = {}
    by_topic: dict[str, list[Path]] = {}
    for path in paths:
        folder = path.absolute().parent.name
        by_topic.setdefault(folder if folder in topics else topics[0], []).append(path)
    for topic, own in by_topic.items():
        stems = [named(path).stem for path in own]
        numbered = all(stem.isascii() and stem.isdecimal() for stem in stems)
        numbers = [int(stem) for stem in stems] if numbered else []
        if len(set(numbers)) != len(own):
            numbers = list(range(len(own)))
        found |= {(topic, number): path for number, path in zip(numbers, own, strict=True)}
    return found


class _Lines:
    """The lines of one file in the order of reading.

    ``starts`` are the bytes where every `_ANCHOR`-th line begins, and the end; with an ``order`` (int64[n]: line read
    at each place) they are those of every line.
    """

    def __init__(self, path: Path, file: IO[bytes], times: Times | None) -> None:
        self.path = path
        self.file = file
        self.order: np.ndarray[Any, np.dtype[np.int64]] | None = None
        self._held: tuple[int, list[bytes]] = (-1, [])
        starts = [np.zeros(1, dtype=np.int64)]
        size, rest = 0, b""
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + (size + 1)
            starts.append(ends)
            size += len(block)
            if len(ends) == 0:
                rest += block
                continue
            *lines, last = (rest + block).split(b"\n")
            if times is not None:
                times.add(lines)
            rest = last
        if rest and _is_whole(rest):
            starts.append(np.array([size + 1]))
            if times is not None:
                times.add([rest])
        every = np.concatenate(starts)
        self._n = len(every) - 1
        self.identity = xxhash.xxh3_64_hexdigest(self._bytes(0, int(every[1]))) if self._n else ""
        self.order = times.order() if times is not None else None
        self.starts = every if self.order is not None else np.append(every[:-1][::_ANCHOR], every[-1])

    def __len__(self) -> int:
        return self._n

    def take(self, first: int, count: int) -> list[bytes]:
        """Lines at places ``first`` up to ``first + count``; fewer at the end of a run of lines."""
        if first >= self._n:
            return []
        if self.order is not None:
            rows = self.order[first : first + count]
            return [
                self._bytes(start, end)[:-1][:LINE_LIMIT]
                for start, end in zip(self.starts[rows].tolist(), self.starts[rows + 1].tolist(), strict=True)
            ]
        number, skipped = divmod(first, _ANCHOR)
        if self._held[0] != number:
            text = self._bytes(int(self.starts[number]), int(self.starts[number + 1]))
            self._held = (number, text[:-1].split(b"\n"))
        return [line[:LINE_LIMIT] for line in self._held[1][skipped : skipped + count]]

    def _bytes(self, start: int, end: int) -> bytes:
        text = os.pread(self.file.fileno(), end - start, start)
        if len(text) == end - start:
            return text
        if len(text) == end - start - 1 and not text.endswith(b"\n"):
            return text + b"\n"  # the last line lacks it
        what = "the file was cut while it was read"
        raise InputError(what, where=str(self.path), cure="leave it alone until the replay has ended")

    def close(self) -> None:
        self.file.close()


def _is_whole(line: bytes) -> bool:
    try:
        _whole(line)
    except msgspec.DecodeError:
        return False
    return True
