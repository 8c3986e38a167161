"""Reading input topics: partitions assigned (never subscribed), from our own positions, committed records only.

Invariants:

- A partition's events come in offset order, each once, whatever the sizes of fetches, polls and buffers; how far a
  partition has been read is our checkpoint's business alone (no group, no auto-commit, no reset of a position).
- A fetch that is refused for its offset is a gap only where the log's own first offset says so: a replica that has only
  just become the leader, or a follower that lags, may refuse for a moment what the log still has.
- Memory is bounded: a partition whose events wait here for their turn is not fetched further, so one topic that lies
  days behind another costs no more than `BUFFERED` bytes and two fetches a partition, and what waits is still packed.
- What was fetched is taken over at once and never left with the consumer: a partition is held back by asking for no
  more of it (`streameval.transport.kafka_insides.hold_back`), not by kafka-python's ``pause``, which parks what is
  there already and, in 3.0.12, may forget it for good.

Source: kafka-python 3.0.12 (``KafkaConsumer``); Kafka protocol guide (transactions, watermarks, last stable offset).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import kafka.errors as kafka_errors
import numpy as np
from kafka import KafkaConsumer, TopicPartition

from streameval.errors import TopicError
from streameval.events.columns import I64, Batch, Refused
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_faults import explained, explaining
from streameval.transport.kafka_insides import give_out, hold_back, make_no_topics
from streameval.transport.kafka_records import Chunk, LeanRecords, Packed, SoundRecords
from streameval.transport.protocol import Place

BUFFERED: Final = 4 << 20
"""Bytes of one partition's record batches, as they were fetched, that may wait here before no more are fetched."""

_FETCH_BYTES: Final = 4 << 20
_FETCH_WAIT_MS: Final = 100
"""A request that waits for news of partitions at their end holds up those behind them: a broker gets one at a time."""
_TAKEN: Final = 16 << 20
"""Bytes of record batches, unpacked, after which a batch of events has enough of them."""
_SLICE: Final = 0.1  # seconds: how soon a waiting poll sees `wake`
_POLL = 1_000  # record batches at most that one look at the consumer takes


def open_consumer(connection: Connection, **options: Any) -> KafkaConsumer:
    """A consumer without group that sees committed records only, checks checksums and never moves a position itself.

    Raises:
        ConnectionFailedError: no broker answered, or the login was refused.
    """
    with explaining(connection, doing="connecting"):
        consumer = KafkaConsumer(
            **connection.options(),
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            check_crcs=True,
            allow_auto_create_topics=False,
            metadata_max_age_ms=30_000,
            **options,
        )
    make_no_topics(consumer)
    give_out(consumer, SoundRecords)
    return consumer


class Reader:
    """The assigned partitions and what was fetched of them but not yet given out.

    Args:
        connection: the cluster and how to reach it.
        bounds: asks the leaders for the first offset and the high watermark of partitions.
    """

    def __init__(
        self, connection: Connection, bounds: Callable[[Iterable[Place]], Mapping[Place, tuple[int, int]]]
    ) -> None:
        self.connection = connection
        self._bounds = bounds
        self._doubted: dict[Place, float] = {}  # since when fetches are refused that the log's bounds allow
        self._consumer: KafkaConsumer | None = None
        self._buffers: dict[Place, deque[Packed]] = {}
        self._waiting: dict[Place, int] = {}  # bytes in the buffer
        self._opened: dict[Place, Chunk] = {}  # what is left of a batch that was given out in part
        self._positions: dict[Place, int] = {}
        self._held: set[Place] = set()  # not fetched now: its buffer is full
        self._paused: set[Place] = set()  # `poll` passes over it: the caller said so
        self._turn: deque[Place] = deque()
        self._woken = threading.Event()

    @property
    def places(self) -> list[Place]:
        """The assigned partitions."""
        return list(self._positions)

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Read exactly these partitions; one that is read already and stays at its position keeps its buffer."""
        if self._consumer is None:
            self._consumer = self._open()
        moved = [place for place, offset in positions.items() if self._positions.get(place) != offset]
        with explaining(self.connection, doing="assigning partitions"):
            self._consumer.assign([TopicPartition(*place) for place in sorted(positions)])
            for place in moved:
                self._consumer.seek(TopicPartition(*place), positions[place])
                self._buffers[place] = deque()
                self._waiting[place] = 0
                self._opened.pop(place, None)
                self._positions[place] = positions[place]
                self._held.discard(place)
        for place in [place for place in self._positions if place not in positions]:
            del self._positions[place], self._buffers[place], self._waiting[place]
            self._opened.pop(place, None)
            self._held.discard(place)
            self._paused.discard(place)
        self._turn = deque(sorted(positions))

    def _open(self) -> KafkaConsumer:
        consumer = open_consumer(
            self.connection,
            fetch_max_bytes=4 * _FETCH_BYTES,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            metrics_enabled=False,
        )
        give_out(consumer, LeanRecords)
        hold_back(consumer, self._held)
        return consumer

    def pause(self, places: Collection[Place]) -> None:
        """Let `poll` pass over these; `read` still reads them."""
        self._paused.update(place for place in places if place in self._positions)

    def resume(self, places: Collection[Place]) -> None:
        """Undo `pause`."""
        self._paused.difference_update(places)

    def wake(self) -> None:
        """Make a waiting `poll`, or the next one, return; from any thread or signal handler."""
        self._woken.set()

    def read(self, place: Place, max_events: int) -> Batch | None:
        """Next events of one partition; None when none is here. Never waits."""
        if not self._has(place):
            self._fetch(0.0)
        return self._take(place, max_events)

    def poll(self, max_events: int, timeout: float) -> list[Batch]:
        """Next events of the partitions that are not paused, in turn; waits up to ``timeout`` seconds for the first."""
        deadline = time.monotonic() + timeout
        wait = 0.0
        while True:
            if not any(self._has(place) for place in self._turn if place not in self._paused):
                self._fetch(wait)
            batches = self._take_turns(max_events)
            remaining = deadline - time.monotonic()
            if self._woken.is_set() or batches or remaining <= 0:
                self._woken.clear()
                return batches
            wait = min(_SLICE, remaining)

    def _take_turns(self, max_events: int) -> list[Batch]:
        batches = []
        for place in list(self._turn):
            if max_events <= 0:
                break
            if place in self._paused:
                continue
            batch = self._take(place, max_events)
            if batch is not None:
                batches.append(batch)
                max_events -= len(batch.values)
                # The one that had its turn goes last, or a busy partition would starve the others.
                self._turn.remove(place)
                self._turn.append(place)
        return batches

    def _has(self, place: Place) -> bool:
        return bool(self._buffers[place]) or place in self._opened

    def position(self, place: Place) -> int:
        """Offset of the next event; beyond the markers of transactions, which take offsets and are no events."""
        if not self._has(place) and self._consumer is not None:
            with explaining(self.connection, doing="reading a position", where=f"topic {place[0]}"):
                at = self._consumer.position(TopicPartition(*place), timeout_ms=0)
            self._positions[place] = max(self._positions[place], at or 0)
        return self._positions[place]

    def drained(self, place: Place) -> bool:
        """Whether all that was fetched is given out and reached the high watermark of the last fetch, if it said one.

        Cheap, but as old as the last fetch: a broker that is away leaves it true. After partitions were assigned anew
        an idle one has no high watermark: brokers leave out of a fetch session's answers what has no news.
        """
        if self._has(place) or self._consumer is None or place in self._held:
            return False
        end = self._consumer.highwater(TopicPartition(*place))
        return end is None or self.position(place) >= end

    def reopen(self) -> None:
        """A new consumer in the place of the present one, at the same positions; what waited here is fetched again."""
        positions = {place: self.position(place) for place in self.places}
        consumer = self._open()
        self.close()
        self._consumer, self._positions = consumer, {}
        self.assign(positions)

    def close(self) -> None:
        """Closes the connection."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=1_000)
            self._consumer = None

    def _fetch(self, wait: float) -> None:
        """Moves what the consumer has into the buffers."""
        if self._consumer is None or not self._positions:
            time.sleep(wait)
            return
        try:
            fetched = self._consumer.poll(timeout_ms=int(wait * 1000), max_records=_POLL)
        except kafka_errors.OffsetOutOfRangeError as error:
            self._look_twice(error)
            return
        except (kafka_errors.KafkaError, OSError, NotImplementedError) as error:
            raise explained(error, self.connection, doing="reading", where=self._where()) from error
        for tp, records in fetched.items():
            place = (tp.topic, tp.partition)
            self._doubted.pop(place, None)
            self._buffers[place].extend(records)
            self._waiting[place] += sum(len(packed.data) for packed in records)
            if self._waiting[place] >= BUFFERED:
                self._held.add(place)

    def _look_twice(self, error: kafka_errors.OffsetOutOfRangeError) -> None:
        """Compares a refused offset with the log's own bounds; returns where it may be asked for again.

        Raises:
            TopicError: it was removed, or is refused for longer than the patience.
            ConnectionFailedError: no leader answers.
        """
        import structlog  # noqa: PLC0415 - subscribers load this module too, and structlog loads rich

        log = structlog.get_logger(__name__)
        refused = {(tp.topic, tp.partition): int(offset) for tp, offset in error.args[0].items()}
        now = time.monotonic()
        for place, (begin, end) in sorted(self._bounds(refused).items()):
            since = self._doubted.setdefault(place, now)
            if refused[place] < begin or now - since > self.connection.patience_ms / 1000:
                raise retention_gap(f"{place[0]}/{place[1]} at {refused[place]} (it has {begin} to {end})") from error
            if since == now:
                log.warning("fetch_refused", topic=place[0], partition=place[1], offset=refused[place], end=end)
        time.sleep(_SLICE)

    def _take(self, place: Place, max_events: int) -> Batch | None:
        offsets: list[int] = []
        timestamps: list[int] = []
        values: list[bytes | None] = []
        refused: dict[int, Refused] = {}
        size = 0
        while len(values) < max_events and size < _TAKEN and (chunk := self._next(place)) is not None:
            room = max_events - len(values)
            if len(chunk.offsets) > room:
                chunk, self._opened[place] = chunk.split(room)
            if chunk.refused is not None:
                refused[chunk.offsets[0]] = chunk.refused
            offsets += chunk.offsets
            timestamps += chunk.timestamps
            values += chunk.values
            size += chunk.size
        if not values:
            return None
        last = refused.get(offsets[-1])
        self._positions[place] = (offsets[-1] if last is None else last.last) + 1
        return Batch(*place, np.array(offsets, np.int64), values, _times(timestamps), refused)

    def _next(self, place: Place) -> Chunk | None:
        """The columns of the next record batch, or what is left of one; None where none waits."""
        opened = self._opened.pop(place, None)
        if opened is not None or not self._buffers[place]:
            return opened
        packed = self._buffers[place].popleft()
        self._waiting[place] -= len(packed.data)
        if self._waiting[place] <= BUFFERED // 2:
            self._held.discard(place)
        return packed.columns()

    def _where(self) -> str:
        return f"topics {', '.join(sorted({topic for topic, _ in self._positions}))}"


def _times(timestamps: list[int]) -> I64:
    """int64[n]; a time beyond what a record can hold, as a batch's and a record's can add up to, is none."""
    try:
        return np.array(timestamps, np.int64)
    except OverflowError:
        return np.array([time if abs(time) < 1 << 63 else -1 for time in timestamps], np.int64)


def retention_gap(named: str) -> TopicError:
    """The error of a position that the log no longer, or not yet, has."""
    return TopicError(
        f"the log does not have the position {named} any more: retention removed events that were not read, "
        "or the log was cut",
        where=named.split(" ", 1)[0],
        cure="lengthen the topic's retention; to go on without the lost events start with --fresh",
    )
