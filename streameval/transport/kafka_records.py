"""Record batches to columns, without one Python object a record.

kafka-python makes a record, a named tuple and a list of headers of every event, 4 µs each, which is more than all that
the daemon then does with it. This takes offset, time and value only, a batch at a time. Everything else stays
kafka-python's: fetching, checksums, decompression, and which batches are aborted or control batches.

Invariant: the columns are those of kafka-python's own records (a test compares them over every compression and shape).
With another minor release than the tried one, whose insides may differ, kafka-python's own records are used.

Source: Kafka protocol guide, "Record Batch" and "Record" (magic 2); kafka-python 3.0.12, ``kafka/consumer/fetcher.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import kafka
import kafka.errors as kafka_errors
from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.record.util import decode_varint

TRIED: Final[bool] = kafka.__version__.startswith("3.0.")
"""Whether the insides of this kafka-python are those that this module knows."""

_LOG_APPEND_TIME = 1


class Chunk(NamedTuple):
    """Consecutive events of one partition: offsets, record times (ms, -1 where there is none), values."""

    offsets: list[int]
    timestamps: list[int]
    values: list[bytes | None]

    def split(self, n: int) -> tuple[Chunk, Chunk]:
        """The first ``n`` events, and the others."""
        first = Chunk(self.offsets[:n], self.timestamps[:n], self.values[:n])
        return first, Chunk(self.offsets[n:], self.timestamps[n:], self.values[n:])


def columns(records: Iterable[Any]) -> Iterator[Chunk]:
    """Chunks of what a consumer's poll returned for one partition: of chunks themselves, or of its own records."""
    for kind, run in itertools.groupby(records, type):
        if kind is Chunk:
            yield from run
        else:
            made = list(run)
            yield Chunk([r.offset for r in made], [r.timestamp for r in made], [r.value for r in made])


def decode(data: bytes, pos: int, count: int, *, base_offset: int, base_time: int, times: bool) -> Chunk:
    """The records of one uncompressed batch body.

    Args:
        data: bytes that hold the records, from ``pos`` to their end.
        pos: where the first record begins.
        count: number of records.
        base_offset: offset of the batch.
        base_time: first record time of the batch; or the time of all, where ``times`` is false.
        times: whether each record has its own time (create time, not log append time).

    Raises:
        kafka.errors.CorruptRecordError: the bytes are no such records.

    >>> decode(bytes.fromhex("100004020261026200"), 0, 1, base_offset=40, base_time=1000, times=True)
    Chunk(offsets=[41], timestamps=[1002], values=[b'b'])
    """
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
                delta, pos = byte >> 1, pos + 1
            elif (second := data[pos + 1]) < 128:
                delta, pos = (byte & 127 | second << 7) >> 1, pos + 2
            else:
                delta, pos = decode_varint(data, pos)
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
                raise kafka_errors.CorruptRecordError(
                    f"a record of {count} after offset {base_offset} overruns its length"
                )
            pos = end
    except (IndexError, ValueError) as error:
        raise kafka_errors.CorruptRecordError(f"no valid record in the batch at offset {base_offset}") from error
    if pos != len(data):
        raise kafka_errors.CorruptRecordError(f"{len(data) - pos} bytes after the batch at offset {base_offset}")
    return Chunk(offsets, timestamps, values)


class LeanRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python ships no types
    """kafka-python's fetched records of a partition, given out as `Chunk` a batch."""

    def _maybe_skip_record(self, record: Any) -> bool:  # noqa: ARG002
        return False  # what lies before the fetch position is cut off where the chunk is made

    def _unpack_records(self, tp: Any, records: Any, _key: Any, _value: Any) -> Iterator[Any]:
        batch = records.next_batch()
        while batch is not None:
            if self.check_crcs and not batch.validate_crc():
                raise kafka_errors.CorruptRecordError(f"batch at offset {batch.base_offset} of {tp} fails its checksum")
            if batch.magic < 2:
                raise kafka_errors.CorruptRecordError(f"{tp} holds records of a format older than Kafka 0.11")
            self.leader_epoch = batch.leader_epoch
            chunk = None if self._hidden(batch) else self._chunk(batch)
            self.next_fetch_offset = batch.next_offset
            if chunk is not None and chunk.offsets:
                self.records_read += len(chunk.offsets)
                self.bytes_read += batch.size_in_bytes
                yield chunk
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

    def _chunk(self, batch: Any) -> Chunk:
        batch._maybe_uncompress()  # noqa: SLF001
        append_time = batch.timestamp_type == _LOG_APPEND_TIME
        chunk = decode(
            bytes(batch._buffer),  # noqa: SLF001
            batch._pos,  # noqa: SLF001
            batch.records_count,
            base_offset=batch.base_offset,
            base_time=batch.max_timestamp if append_time else batch.first_timestamp,
            times=not append_time,
        )
        skip = 0
        # A fetch from the middle of a batch returns all of it.
        while skip < len(chunk.offsets) and chunk.offsets[skip] < self.fetch_offset:
            skip += 1
        return chunk.split(skip)[1] if skip else chunk


def lean(consumer: KafkaConsumer) -> bool:
    """Makes a read-committed consumer's poll return `Chunk` in the place of records, where that was tried."""
    if TRIED:
        consumer._fetcher.PartitionRecords = LeanRecords  # noqa: SLF001
    return bool(TRIED)
