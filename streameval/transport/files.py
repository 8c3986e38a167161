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

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from streameval.config import Topics
from streameval.errors import InputError, InvariantError, TopicError
from streameval.events.columns import Batch
from streameval.transport.file_formats import json_lines, named
from streameval.transport.file_lines import Lines
from streameval.transport.file_times import Times
from streameval.transport.protocol import Bounds, CommitRecord, Hints, Marks, OnStep, Outbox, Place, Record, no_step

__all__ = ["Files"]


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
        self._files: dict[Place, Lines] = {}
        paths_of_time = times or {}
        for place, path in self.paths.items():
            topic = place[0]
            where = paths_of_time.get(topic, "ts")
            needs = () if topic in paths_of_time else ("id", "ts")
            order = None if as_log or not where else Times(where)
            self._files[place] = Lines(path, json_lines(path, needs), order)

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

    def hidden(self, place: Place) -> str | None:  # noqa: ARG002
        """See `Transport.hidden`: nothing is."""
        return None

    def reopen(self) -> None:
        """See `Transport.reopen`: files that are whole need none."""

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

    def announce(self, record: CommitRecord) -> None:
        """Refused."""
        self._refuse(record)

    def core(self, worker: str) -> bytes | None:
        """Refused."""
        self._refuse(worker)

    def deliver(
        self,
        outbox: Outbox,
        record: CommitRecord,
        before: Marks,
        on_step: OnStep = no_step,
        core: bytes | None = None,
    ) -> None:
        """Refused."""
        self._refuse(outbox, record, before, on_step, core)

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
