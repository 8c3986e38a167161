"""Record batches to columns, without one Python object a record, and without trust in what a batch says of itself.

kafka-python makes a record, a named tuple and a list of headers of every event, 4 µs each, which is more than all that
the daemon then does with it. This takes offset, time and value only, a batch at a time. Everything else stays
kafka-python's: fetching, checksums, and which batches are aborted or control batches.

Invariants:

- The columns are those of kafka-python's own records (a test compares them over every compression and shape).
- A batch stays packed, as it was fetched, until its turn has come (`Packed.columns`), so what waits costs what the
  brokers sent, and one batch is unpacked at a time, into `MOST` bytes at most.
- A batch whose checksum is right is what its producer wrote. If it cannot be read, its messages are refused as one row
  that names their offsets, and reading goes on behind it: what becomes of it is a function of its bytes. A checksum
  that is wrong is the broker's or the network's fault, and an error.

Source: Kafka protocol guide, "Record Batch" and "Record" (magic 2); kafka-python 3.0.12, ``kafka/consumer/fetcher.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import kafka.errors as kafka_errors
from kafka.consumer.fetcher import Fetcher
from kafka.record.util import decode_varint

from streameval.events.columns import Refused
from streameval.events.rejected import TOO_LARGE, UNREADABLE
from streameval.transport.kafka_unpacking import TooLargeError, UnreadableError, unpacked

MOST: Final = 64 << 20
"""Bytes that one record batch may unpack to: brokers take 1 MiB by default, and JSON is seldom packed 30 times."""

_LOG_APPEND_TIME = 1
_LEAST_RECORD = 7
"""Bytes of the smallest record: its length, attributes, time, offset, no key, no value, no headers."""


class Chunk(NamedTuple):
    """Consecutive events of one partition: offsets, record times (ms, -1 where there is none), values.

    ``refused``: they are one row, which stands for messages that cannot be read. ``size``: bytes that they came of.
    """

    offsets: list[int]
    timestamps: list[int]
    values: list[bytes | None]
    refused: Refused | None = None
    size: int = 0

    def split(self, n: int) -> tuple[Chunk, Chunk]:
        """The first ``n`` events, and the others."""
        first = self._replace(offsets=self.offsets[:n], timestamps=self.timestamps[:n], values=self.values[:n])
        return first, self._replace(offsets=self.offsets[n:], timestamps=self.timestamps[n:], values=self.values[n:])


def decode(data: bytes, count: int, *, base_offset: int, last_offset: int, base_time: int, times: bool) -> Chunk:
    """The records of one batch, unpacked.

    Args:
        data: the bytes of the records.
        count: number of records.
        base_offset: offset of the batch.
        last_offset: its last one, also where compaction took that record.
        base_time: first record time of the batch; or the time of all, where ``times`` is false.
        times: whether each record has its own time (create time, not log append time).

    Raises:
        UnreadableError: the bytes are no such records, in order of offsets.

    >>> decode(bytes.fromhex("100004020261026200"), 1, base_offset=40, last_offset=41, base_time=1000, times=True)[:3]
    ([41], [1002], [b'b'])
    """
    # Before anything is made of them: a count is four bytes, the lists for it would be gigabytes.
    if not 0 <= count * _LEAST_RECORD <= len(data):
        raise UnreadableError("it holds fewer records than it says")
    pos, most = 0, last_offset - base_offset
    before = -1
    offsets: list[int] = []
    timestamps: list[int] = []
    values: list[bytes | None] = []
    add_offset, add_timestamp, add_value = offsets.append, timestamps.append, values.append
    try:
        for _ in range(count):
            # A zig-zag varint below 128 is its byte, the usual case; written out, because a call costs more than it.
            byte = data[pos]
            if byte < 128:
                length, pos = byte >> 1, pos + 1
            elif (second := data[pos + 1]) < 128:
                length, pos = (byte & 127 | second << 7) >> 1, pos + 2
            else:
                length, pos = decode_varint(data, pos)
            end = pos + length
            pos += 1  # attributes, unused
            byte = data[pos]
            if byte < 128:
                delta, pos = (byte >> 1) ^ -(byte & 1), pos + 1
            else:
                delta, pos = decode_varint(data, pos)
            add_timestamp(base_time + delta if times else base_time)
            byte = data[pos]
            if byte < 128:
                delta, pos = (byte >> 1) ^ -(byte & 1), pos + 1
            elif (second := data[pos + 1]) < 128:
                delta = byte & 127 | second << 7
                delta, pos = (delta >> 1) ^ -(delta & 1), pos + 2
            else:
                delta, pos = decode_varint(data, pos)
            if not before < delta <= most:
                raise UnreadableError("its offsets are not in order")
            before = delta
            add_offset(base_offset + delta)
            byte = data[pos]
            if byte < 128:
                length, pos = (byte >> 1) ^ -(byte & 1), pos + 1
            else:
                length, pos = decode_varint(data, pos)
            if length > 0:
                pos += length
            byte = data[pos]
            if byte < 128:
                length, pos = (byte >> 1) ^ -(byte & 1), pos + 1
            elif (second := data[pos + 1]) < 128:
                length = byte & 127 | second << 7
                length, pos = (length >> 1) ^ -(length & 1), pos + 2
            else:
                length, pos = decode_varint(data, pos)
            add_value(data[pos : pos + length] if length >= 0 else None)
            if pos + max(length, 0) >= end:  # at least the number of headers follows
                raise UnreadableError("a record overruns its length")
            pos = end
    except (IndexError, ValueError) as error:
        raise UnreadableError("its records are cut short") from error
    if pos != len(data):
        raise UnreadableError("bytes follow its last record")
    return Chunk(offsets, timestamps, values, size=len(data))


class Packed(NamedTuple):
    """One record batch as it was fetched: its checksum is right, its records are not looked at yet.

    ``start`` is the first offset wanted: a fetch from the middle of a batch returns all of it. ``codec``, ``records``
    (their number) and times are what its head says.
    """

    data: bytes
    codec: int
    start: int
    base_offset: int
    last_offset: int
    records: int
    base_time: int
    times: bool

    @classmethod
    def of(cls, batch: Any, start: int) -> Packed:
        """What kafka-python's batch holds."""
        append_time = batch.timestamp_type == _LOG_APPEND_TIME
        return cls(
            bytes(memoryview(batch._buffer)[batch._pos :]),  # noqa: SLF001
            batch.compression_type,
            start,
            batch.base_offset,
            batch.last_offset,
            batch.records_count,
            batch.max_timestamp if append_time else batch.first_timestamp,
            not append_time,
        )

    def columns(self) -> Chunk:
        """Its records from ``start`` on; where they cannot be read, one row that is refused."""
        try:
            data = unpacked(self.codec, self.data, MOST) if self.codec else self.data
            chunk = decode(
                data,
                self.records,
                base_offset=self.base_offset,
                last_offset=self.last_offset,
                base_time=self.base_time,
                times=self.times,
            )
        except TooLargeError:
            return self._refused(
                TOO_LARGE,
                f"the record batch around it unpacks to more than {MOST >> 20} MiB: lower the producer's batch.size",
            )
        except UnreadableError as error:
            return self._refused(
                UNREADABLE,
                f"the record batch around it came as it was written, but {error}: look at the producer's library",
            )
        skip = 0
        while skip < len(chunk.offsets) and chunk.offsets[skip] < self.start:
            skip += 1
        return chunk.split(skip)[1] if skip else chunk

    def _refused(self, reason: str, detail: str) -> Chunk:
        # Its size is what was unpacked of it, for the sake of the time that this took.
        size = MOST if reason == TOO_LARGE else len(self.data)
        first = max(self.start, self.base_offset)
        messages = max(1, min(self.records, self.last_offset - first + 1))
        return Chunk([first], [-1], [None], Refused(reason, detail, self.last_offset, messages), size)


class SoundRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python ships no types
    """kafka-python's fetched records of a partition, done with once they have raised.

    Else the fetcher turns in a circle for ever at its next call: they give nothing more, and are not drained.
    """

    def take(self, n: int | None = None) -> list[Any]:
        """The next records."""
        try:
            return list(super().take(n))
        except struct.error as error:
            self.drain()
            raise kafka_errors.CorruptRecordError(f"no record batch at {self.next_fetch_offset}") from error
        except Exception:
            self.drain()
            raise


class LeanRecords(SoundRecords):
    """The same, given out as `Packed` batches, for a read-committed consumer."""

    next_fetch_offset: int

    def _maybe_skip_record(self, record: Any) -> bool:  # noqa: ARG002
        return False  # what lies before the fetch position is cut off where the columns are made

    def _unpack_records(self, tp: Any, records: Any, _key: Any, _value: Any) -> Iterator[Packed]:
        batch = records.next_batch()
        while batch is not None:
            if self.check_crcs and not batch.validate_crc():
                raise kafka_errors.CorruptRecordError(f"batch at offset {batch.base_offset} of {tp} fails its checksum")
            if batch.magic < 2:
                raise kafka_errors.UnsupportedForMessageFormatError(
                    f"{tp} holds records of a format older than Kafka 0.11"
                )
            if batch.last_offset < batch.base_offset:
                raise kafka_errors.CorruptRecordError(f"batch at offset {batch.base_offset} of {tp} ends before it")
            self.leader_epoch = batch.leader_epoch
            start = self.next_fetch_offset
            hidden = self._hidden(batch)
            # Never backwards: what was read would be read again.
            self.next_fetch_offset = max(start, batch.next_offset)
            # Of a batch whose records are all gone compaction keeps the head.
            empty = batch.records_count == 0 and batch.size_in_bytes == batch.HEADER_STRUCT.size
            if not (hidden or empty) and batch.last_offset >= start:
                self.records_read += 1
                self.bytes_read += batch.size_in_bytes
                yield Packed.of(batch, start)
            batch = records.next_batch()
        self.drain()

    def _hidden(self, batch: Any) -> bool:
        """Whether a batch is not for readers: a marker, or part of an aborted transaction."""
        if batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)
