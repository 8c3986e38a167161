"""A directory of JSONL logs as a transport: ``PATH/<topic>/<partition>.jsonl``, read as it grows.

The offset of an event is the number of the line, from 0. A last line without newline is not yet an event. A blank line
is an event with an empty message (rejected later, with its offset), so that offsets stay line numbers; CRLF ends a line
too. Topics and partitions may appear at any time. A line longer than `LINE_LIMIT` is cut there, which is far beyond
what the contract accepts, so it is rejected as too large and costs no memory.

Outputs go to partition 0 of their topic, one record a line, the commit records to ``PATH/commits/0.jsonl`` last. A
tombstone is the line ``{"subject":KEY,"sequence":N,"data":null}``.

Invariants: files only grow; nothing here ever truncates, neither in recovery. One process publishes at a time (a lock
on the directory). A log that was cut, removed or exchanged is an error and never skipped silently: the identity of a
log is the digest of its first line, which survives copying the directory.

Not atomic like a Kafka transaction: a reader can see outputs whose commit record is not there yet. They are not lost
and not doubled, because the stored outbox is delivered to its last byte before anything else happens.
"""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import xxhash

from streameval.errors import FencedError, InvariantError, StateMismatchError, TopicError
from streameval.events.columns import Batch
from streameval.transport import durable
from streameval.transport.protocol import Bounds, CommitRecord, Hints, Marks, OnStep, Outbox, Place, Record, no_step

__all__ = ["LINE_LIMIT", "LogDir"]

LINE_LIMIT = 4 << 20
"""Bytes of one line that are kept."""

BLOCK = 1 << 18
"""Bytes read at once; 256 KiB stays within a core's second-level cache while it is split."""

_PARTITION = re.compile(r"(0|[1-9][0-9]*)\.jsonl")
_WAIT = 0.02  # seconds between two looks at the files' sizes while nothing comes


class LogDir:
    """The transport over one directory; satisfies `streameval.transport.protocol.Transport`.

    Args:
        path: the directory; need not exist yet.
        commits: topic of the commit records.
        clock: topic of the clock marks.
    """

    def __init__(self, path: Path | str, *, commits: str = "commits", clock: str = "clock") -> None:
        self.path = Path(path)
        self.commits = commits
        self.clock = clock
        self._logs: dict[Place, _Log] = {}
        self._paused: set[Place] = set()
        self._turn = 0
        self._wake = threading.Event()
        self._lock: int | None = None

    # -- inputs ---------------------------------------------------------------------------------------------------

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """See `Transport.partitions`."""
        return {topic: self._partitions(topic) for topic in topics}

    def _partitions(self, topic: str) -> list[int]:
        try:
            with os.scandir(self.path / topic) as entries:
                found = [_PARTITION.fullmatch(entry.name) for entry in entries]
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for match in found if match)

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See `Transport.bounds`; nothing is ever removed, so it begins at 0."""
        log = self._logs.get((topic, partition))
        if log is not None:
            return Bounds(0, log.end())
        log = _Log(self._file(topic, partition), topic, partition)
        try:
            return Bounds(0, log.end())
        finally:
            log.close()

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """See `Transport.topic_ids`; the keys are ``topic/partition``, the values digests of first lines."""
        ids: dict[str, str] = {}
        for topic in topics:
            for partition in self._partitions(topic):
                log = self._logs.get((topic, partition))
                identity = log.identity if log is not None else ""
                identity = identity or _identity(self._file(topic, partition))
                if identity:
                    ids[f"{topic}/{partition}"] = identity
        return ids

    def assign(self, positions: Mapping[Place, int], hints: Mapping[str, Any] | None = None) -> None:
        """See `Transport.assign`."""
        hints = hints or {}
        logs: dict[Place, _Log] = {}
        for place, position in sorted(positions.items()):
            log = self._logs.pop(place, None)
            if log is None or log.position != position:
                if log is not None:
                    log.close()
                log = _Log(self._file(*place), *place)
                log.seek(position, hints.get(f"{place[0]}/{place[1]}"))
            logs[place] = log
        for log in self._logs.values():
            log.close()
        self._logs = logs
        self._paused &= logs.keys()

    def read(self, topic: str, partition: int, max_events: int) -> Batch | None:
        """See `Transport.read`."""
        log = self._logs[topic, partition]
        first = log.position
        values = log.take(max_events)
        if not values:
            return None
        return Batch(topic, partition, np.arange(first, first + len(values), dtype=np.int64), values, None)

    def poll(self, max_events: int, timeout: float) -> list[Batch]:
        """See `Transport.poll`. Looks at the files' sizes fifty times a second while nothing comes."""
        waits = max(0, round(timeout / _WAIT))
        while True:
            batches = self._poll(max_events)
            if batches or not waits or self._wake.wait(_WAIT):
                self._wake.clear()
                return batches
            waits -= 1

    def _poll(self, max_events: int) -> list[Batch]:
        places = [place for place in self._logs if place not in self._paused]
        if not places:
            return []
        # Every partition gets its share, and the first turn goes round, so none starves however small the bound.
        self._turn = (self._turn + 1) % len(places)
        batches: list[Batch] = []
        for index, place in enumerate(places[self._turn :] + places[: self._turn]):
            share = -(-max_events // (len(places) - index))
            batch = self.read(*place, share) if share > 0 else None
            if batch is not None:
                batches.append(batch)
                max_events -= len(batch.values)
        return batches

    def pause(self, places: Collection[Place]) -> None:
        """See `Transport.pause`."""
        self._paused |= set(places) & self._logs.keys()

    def resume(self, places: Collection[Place]) -> None:
        """See `Transport.resume`."""
        self._paused -= set(places)

    def position(self, place: Place) -> int:
        """See `Transport.position`."""
        return self._logs[place].position

    def caught_up(self, place: Place) -> bool:
        """See `Transport.caught_up`."""
        return not self._logs[place].ready()

    def hidden(self, place: Place) -> str | None:  # noqa: ARG002
        """See `Transport.hidden`: nothing is."""
        return None

    def reopen(self) -> None:
        """See `Transport.reopen`: a file is looked at anew whenever it is read."""

    def hints(self) -> Hints:
        """See `Transport.hints`: a known (offset, byte) at or before each position."""
        return {f"{topic}/{partition}": list(log.known) for (topic, partition), log in self._logs.items()}

    def wake(self) -> None:
        """See `Transport.wake`."""
        self._wake.set()

    def _file(self, topic: str, partition: int) -> Path:
        return self.path / topic / f"{partition}.jsonl"

    # -- outputs --------------------------------------------------------------------------------------------------

    def fence(self, worker: str) -> None:
        """See `Transport.fence`: takes the lock on the directory, whose outputs have one writer at a time."""
        if self._lock is not None:
            return
        with durable.storage(self.path):
            durable.make_directory(self.path / self.commits)
            path = self.path / self.commits / ".lock"
            self._lock = durable.lock(path)
        if self._lock is None:
            what = f"{durable.owner(path)} already publishes here, so worker {worker} cannot"
            raise FencedError(what, where=str(self.path), cure="stop it first, or give each worker its own directory")

    def commit_record(self, worker: str) -> CommitRecord | None:
        """See `Transport.commit_record`."""
        path = self._file(self.commits, 0)
        for line in _lines_backwards(path):
            try:
                record = CommitRecord.decode(line)
            except msgspec.MsgspecError as error:
                cure = "restore the file; it is the authority on what was published"
                raise StateMismatchError(
                    f"a line is not a commit record: {error}", where=str(path), cure=cure
                ) from error
            if record.worker == worker:
                return record
        return None

    def ends(self, topics: Iterable[str]) -> Marks:
        """See `Transport.ends`: the size of each file up to its last newline."""
        return {topic: _whole_lines(self._file(topic, 0)) for topic in dict.fromkeys((*topics, self.commits))}

    def announce(self, record: CommitRecord) -> None:
        """See `Transport.announce`: the lock keeps all others out."""

    def core(self, worker: str) -> bytes | None:
        """See `Transport.core`: the file ``PATH/<commits>/<worker>.core``."""
        try:
            return self._core(worker).read_bytes()
        except FileNotFoundError:
            return None

    def _core(self, worker: str) -> Path:
        return self.path / self.commits / f"{quote(worker, safe='')}.core"

    def deliver(
        self,
        outbox: Outbox,
        record: CommitRecord,
        before: Marks,
        on_step: OnStep = no_step,
        core: bytes | None = None,
    ) -> None:
        """See `Transport.deliver`: appends what is missing of each topic, then the commit record, then the core.

        The core is a file of its own, put in the place of the last one: here nothing compacts a log.
        """
        if self._lock is None:
            raise InvariantError("deliver before fence", where=str(self.path), cure="report it")
        texts: dict[str, io.BytesIO] = {}
        for topic, key, value, sequence in outbox.records:
            text = texts.setdefault(topic, io.BytesIO())
            text.write(tombstone(key, sequence) if value is None else value)
            text.write(b"\n")
        on_step("commit.5")
        for topic, text in texts.items():
            self._complete(topic, text.getvalue(), before.get(topic, 0))
        on_step("commit.6")
        self._complete(self.commits, record.encode() + b"\n", before.get(self.commits, 0))
        if core is not None:
            with durable.storage(self.path):
                durable.write(self._core(record.worker), [core])

    def _complete(self, topic: str, text: bytes, before: int) -> None:
        """Bring a file that ended at ``before`` to end with ``text``, wherever an earlier attempt stopped."""
        path = self._file(topic, 0)
        there = b""
        size = _size(path)
        if size < before:
            what = f"the file has {size} bytes, but {before} were published"
            raise StateMismatchError(what, where=str(path), cure="restore the file, or start with --fresh")
        if size > before:
            with path.open("rb") as file:
                there = os.pread(file.fileno(), len(text) + 1, before)
        if not text.startswith(there):
            what = f"the file holds something else after byte {before} than what is to be published there"
            cure = "nobody else may write there; a changed input log or release also does this: start with --fresh"
            raise StateMismatchError(what, where=str(path), cure=cure)
        if len(there) < len(text):
            with durable.storage(path):
                durable.append(path, memoryview(text)[len(there) :])

    def confirm(self, record: CommitRecord) -> None:
        """See `Transport.confirm`: nobody follows the lag of a directory."""

    def published(self, topics: Iterable[str], since: Marks | None = None) -> Iterator[Record]:
        """See `Transport.published`."""
        for topic in topics:
            path = self._file(topic, 0)
            for line in _lines(path, 0 if since is None else since.get(topic, 0)):
                try:
                    head = _HEAD.decode(line)
                except msgspec.MsgspecError as error:
                    what = f"a line is not a published record: {error}"
                    raise StateMismatchError(
                        what, where=str(path), cure="restore the file, or start with --fresh"
                    ) from error
                gone = line == tombstone(head.key, head.sequence)
                yield Record(topic, head.key, None if gone else line, head.sequence)

    def clock_marks(self) -> list[bytes]:
        """See `Transport.clock_marks`."""
        return list(_lines(self._file(self.clock, 0), 0))

    def close(self) -> None:
        """See `Transport.close`."""
        for log in self._logs.values():
            log.close()
        self._logs = {}
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class _Head(msgspec.Struct):
    """What a published line says about itself: CloudEvents' subject, or a commit record's worker."""

    subject: str | None = None
    worker: str | None = None
    sequence: int | None = None

    @property
    def key(self) -> str:
        return self.subject or self.worker or ""


_HEAD = msgspec.json.Decoder(_Head)


def tombstone(key: str, sequence: int | None) -> bytes:
    return msgspec.json.encode({"subject": key, "sequence": sequence, "data": None})


class _Log:
    """One file, read by blocks of whole lines.

    Keeps ``offset`` and ``byte`` where the next block begins, and ``lines[next:]`` of the present one still to hand
    out. ``known`` is an (offset, byte) at or before the position: where the present block began.
    """

    __slots__ = (
        "byte",
        "descriptor",
        "file",
        "identity",
        "known",
        "lines",
        "next",
        "offset",
        "partition",
        "path",
        "seen",
        "topic",
        "total",
    )

    def __init__(self, path: Path, topic: str, partition: int) -> None:
        self.path = os.fspath(path)
        self.topic = topic
        self.partition = partition
        self.descriptor = -1
        self.file = (0, 0)  # device and inode of the open file
        self.identity = ""
        self.offset = 0
        self.byte = 0
        self.seen = 0  # size of the file up to which no whole line follows `byte`
        self.known = (0, 0)
        self.lines: list[bytes | None] = []
        self.next = 0
        self.total = (0, 0)  # (lines, bytes) counted so far by `end`

    @property
    def position(self) -> int:
        return self.offset - len(self.lines) + self.next

    def take(self, max_events: int) -> list[bytes | None]:
        """Up to so many lines; fewer at the end of a block, none at the end of the log."""
        if self.next == len(self.lines) and not self._fill():
            return []
        first = self.next
        self.next = min(first + max_events, len(self.lines))
        return self.lines[first : self.next]

    def ready(self) -> bool:
        """Whether a whole line is there to be taken."""
        return self.next < len(self.lines) or self._fill()

    def seek(self, position: int, hint: object = None) -> None:
        """Go to a line, from a known place before it or else from the start."""
        if position == 0:
            return
        self._size()
        offset, byte = self._trusted(hint, position)
        while offset < position:
            block = self._block(byte)
            cut = block.rfind(b"\n") + 1
            if cut == 0:
                found = self._newline_from(byte)
                if found < 0:
                    raise self._error(f"the log has only {offset} events, but {position} were read from it")
                offset, byte = offset + 1, found + 1
                continue
            count = block.count(b"\n", 0, cut)
            if offset + count > position:
                # Within this block: hand the rest of it out as any other block.
                self.offset, self.byte, self.seen = offset, byte, byte
                self._fill()
                self.next = position - offset
                return
            offset, byte = offset + count, byte + cut
        self.offset, self.byte, self.seen, self.known = offset, byte, byte, (offset, byte)
        self.lines, self.next = [], 0

    def _trusted(self, hint: object, position: int) -> tuple[int, int]:
        """The hint if it can be right: not beyond the position, and just after a newline of the file."""
        match hint:
            case [int(offset), int(byte)] if 0 < offset <= position and byte > 0:
                if self.descriptor >= 0 and os.pread(self.descriptor, 1, byte - 1) == b"\n":
                    return offset, byte
        return 0, 0

    def end(self) -> int:
        """Number of whole lines now; counts on from the last time."""
        size = self._size()
        lines, byte = self.total
        while byte < size:
            block = self._block(byte)
            cut = block.rfind(b"\n") + 1
            if cut == 0:
                found = self._newline_from(byte)
                if found < 0:
                    break
                lines, byte = lines + 1, found + 1
                continue
            lines, byte = lines + block.count(b"\n", 0, cut), byte + cut
        self.total = (lines, byte)
        return lines

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()

    def _fill(self) -> bool:
        """Load the next block of whole lines; False when none is there yet."""
        size = self._size()
        if size == self.seen:
            return False
        block = self._block(self.byte)
        cut = block.rfind(b"\n")
        if cut >= 0:
            length = cut + 1
            lines: list[bytes | None] = list(block[:cut].split(b"\n"))
        else:
            found = self._newline_from(max(self.seen, self.byte))
            if found < 0:
                self.seen = max(size, self.byte + len(block))
                return False
            length = found + 1 - self.byte
            lines = [self._block(self.byte, min(found - self.byte, LINE_LIMIT))]
        if b"\r" in block or cut < 0:
            lines = [line[:-1] if line is not None and line.endswith(b"\r") else line for line in lines]
        self.known = (self.offset, self.byte)
        self.lines, self.next = lines, 0
        self.offset += len(lines)
        self.byte += length
        self.seen = self.byte
        return True

    def _block(self, byte: int, length: int | None = None) -> bytes:
        return os.pread(self.descriptor, BLOCK if length is None else length, byte) if self.descriptor >= 0 else b""

    def _newline_from(self, byte: int) -> int:
        """Place of the first newline at or after a byte, -1 if there is none; holds one block at a time."""
        while block := self._block(byte):
            found = block.find(b"\n")
            if found >= 0:
                return byte + found
            byte += len(block)
        return -1

    def _size(self) -> int:
        """Size of the file by name, after making sure that it is still the same log."""
        try:
            status = os.stat(self.path)  # noqa: PTH116 - a third of pathlib's cost, and called at each look
        except FileNotFoundError:
            if self.byte or self.descriptor >= 0:
                raise self._error("the log was removed") from None
            return 0
        if (status.st_dev, status.st_ino) != self.file:
            self._open()
        if status.st_size < self.byte:
            raise self._error(f"the log was cut to {status.st_size} bytes, {self.byte} were read from it")
        # A torn last line is not an event, so whoever wrote it may take it back.
        self.seen = min(self.seen, status.st_size)
        if not self.identity and status.st_size:
            self.identity = _identity(Path(self.path))
        return status.st_size

    def _open(self) -> None:
        """Open the file that has the name now: the first time, or after it was exchanged for another."""
        self.close()
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self.descriptor)
        self.file = (status.st_dev, status.st_ino)
        if self.identity and _identity(Path(self.path)) != self.identity:
            raise self._error("the log was made anew: its first line is another one")

    def _error(self, what: str) -> TopicError:
        where = f"topic {self.topic}, partition {self.partition} ({self.path})"
        cure = "restore the log; if it was made anew on purpose, start with --fresh"
        return TopicError(what, where=where, cure=cure)


def _identity(path: Path) -> str:
    """Digest of the first whole line; "" if there is none yet."""
    try:
        with path.open("rb") as file:
            line = file.readline(LINE_LIMIT)
    except FileNotFoundError:
        return ""
    return xxhash.xxh3_64_hexdigest(line) if line.endswith(b"\n") or len(line) == LINE_LIMIT else ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _whole_lines(path: Path) -> int:
    """Size of a file up to and with its last newline."""
    size = _size(path)
    if size == 0:
        return 0
    with path.open("rb") as file:
        while size > 0:
            start = max(0, size - BLOCK)
            cut = os.pread(file.fileno(), size - start, start).rfind(b"\n")
            if cut >= 0:
                return start + cut + 1
            size = start
    return 0


def _lines(path: Path, start: int) -> Iterator[bytes]:
    """Whole lines of an output file from a byte on, without their newlines."""
    if _size(path) < start:
        what = f"the file has {_size(path)} bytes, but {start} were published"
        raise StateMismatchError(what, where=str(path), cure="restore the file, or start with --fresh")
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1]


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """Whole lines of an output file, last one first."""
    end = _whole_lines(path)
    if end == 0:
        return
    with path.open("rb") as file:
        rest = b""
        end -= 1  # the last newline ends a line and begins none
        while end > 0:
            start = max(0, end - BLOCK)
            first, *lines = (os.pread(file.fileno(), end - start, start) + rest).split(b"\n")
            yield from reversed(lines)
            rest, end = first, start
        yield rest
