"""Record batches that are not what they say: refused by their offsets, and reading goes on behind them."""

from __future__ import annotations

import struct
import tracemalloc
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from loopback import reader

from streameval.events.columns import Refused
from streameval.transport import kafka_reading, kafka_records
from streameval.transport.kafka_records import Chunk, LeanRecords, decode
from streameval.transport.kafka_unpacking import UnreadableError
from tests.record_batches import (
    CONTROL,
    GZIP,
    LZ4,
    NONE,
    PACK,
    SNAPPY,
    TRANSACTIONAL,
    ZSTD,
    batch,
    bomb,
    of_values,
    record,
    records,
)

PLACE = ("in", 0)
THREE = [b"a", b"b", b"c"]


def fetched(monkeypatch, *batches, start=0):
    """Offsets and values in order, and what was refused, of a log of these batches; the reader at its end."""
    made, _ = reader(monkeypatch, {PLACE: list(batches)})
    made.assign({PLACE: start + 1})
    made.assign({PLACE: start})
    offsets, values, refused = [], [], {}
    for _ in range(3 * len(batches) + 3):
        found = made.read(PLACE, 1_000)
        if found is not None:
            offsets += found.offsets.tolist()
            values += found.values
            refused |= found.refused
    return offsets, values, refused, made


BODY = records(THREE)
ALONE = record(b"a", 0)
INSIDES = {
    "an unknown codec": batch(BODY, 3, codec=6, base=3, packed=b"123"),
    "gzip cut short": batch(BODY, 3, codec=GZIP, base=3, packed=PACK[GZIP](BODY)[:-9]),
    "gzip that is none": batch(BODY, 3, codec=GZIP, base=3, packed=b"gzip"),
    "snappy that is none": batch(BODY, 3, codec=SNAPPY, base=3, packed=b"\x05\xff\xff\xff"),
    "LZ4 that is none": batch(BODY, 3, codec=LZ4, base=3, packed=b"lz4"),
    "zstd that is none": batch(BODY, 3, codec=ZSTD, base=3, packed=b"zstd"),
    "zstd cut short": batch(BODY, 3, codec=ZSTD, base=3, packed=PACK[ZSTD](BODY)[:-3]),
    "nothing inside": batch(b"", 3, base=3),
    "nothing packed inside": batch(b"", 3, base=3, codec=GZIP),
    "no bytes to unpack": batch(b"", 3, base=3, codec=GZIP, packed=b""),
    "fewer records than said": batch(records(THREE[:2]), 3, base=3),
    "more records than said": batch(BODY, 2, base=3, last=2),
    "records, and none said": batch(BODY, 0, base=3, last=2),
    "a negative number of records": batch(BODY, -1, base=3, last=2),
    "two thousand million records": batch(BODY, (1 << 31) - 1, base=3, last=2),
    "bytes behind the last record": batch(BODY + b"\0", 3, base=3),
    "offsets that stand": batch(ALONE * 3, 3, base=3),
    "offsets that fall": batch(record(b"a", 2) + record(b"b", 1), 2, base=3, last=2),
    "offsets beyond the last": batch(record(b"a", 3), 1, base=3, last=2),
    "negative offsets": batch(record(b"a", -1), 1, base=3, last=2),
    "a record of negative length": batch(b"\x01" * 21, 3, base=3),
    "a value of two gigabytes": batch(b"\x20\0\0\0\x01\xfe\xff\xff\xff\x0f" + b"a" * 10 + BODY, 3, base=3),
    "a varint without end": batch(b"\xff" * 40, 3, base=3),
}


@pytest.mark.parametrize("name", INSIDES)
def test_an_inside_that_cannot_be_read_is_refused_by_its_offsets_and_its_neighbours_stay(monkeypatch, name):
    damaged = INSIDES[name]
    offsets, values, refused, made = fetched(monkeypatch, of_values(THREE), damaged, of_values(THREE, base=6))
    assert offsets == [0, 1, 2, 3, 6, 7, 8]
    assert values == [*THREE, None, *THREE]
    ((first, found),) = refused.items()
    assert (first, found.reason, found.last) == (3, "unreadable", 5)
    assert 1 <= found.messages <= 3
    assert made.position(PLACE) == 9


@pytest.mark.parametrize("codec", [GZIP, ZSTD])
def test_a_bomb_is_refused_by_its_offsets_and_costs_no_more_than_is_allowed(monkeypatch, codec):
    monkeypatch.setattr(kafka_records, "MOST", 8 << 20)
    one = bomb(codec, 50_000_000)[8:]
    assert len(one) < 1_000_000
    bombs = [base.to_bytes(8, "big") + one for base in range(3, 13)]
    batches = [of_values(THREE), *bombs, of_values(THREE, base=13)]
    tracemalloc.start()
    offsets, values, refused, _ = fetched(monkeypatch, *batches)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert offsets == list(range(16))
    assert values == [*THREE, *[None] * 10, *THREE]
    assert [(first, found.reason, found.last, found.messages) for first, found in refused.items()] == [
        (offset, "too_large", offset, 1) for offset in range(3, 13)
    ]
    assert peak < 20 << 20


def test_bombs_are_taken_one_at_a_time_so_that_the_loop_turns_between_them(monkeypatch):
    monkeypatch.setattr(kafka_records, "MOST", 16 << 20)
    one = bomb(ZSTD, 20_000_000)[8:]
    made, _ = reader(monkeypatch, {PLACE: [base.to_bytes(8, "big") + one for base in range(5)]})
    found = [taken for _ in range(8) if (taken := made.read(PLACE, 1_000)) is not None]
    assert [taken.offsets.tolist() for taken in found] == [[0], [1], [2], [3], [4]]


def test_batches_that_unpack_to_much_are_given_out_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(kafka_reading, "_TAKEN", 1 << 20)
    large = [of_values([bytes(500_000)], base=base, codec=GZIP) for base in range(40)]
    made, _ = reader(monkeypatch, {PLACE: large})
    sizes = []
    for _ in range(60):
        found = made.read(PLACE, 1_000)
        sizes += [] if found is None else [len(found)]
    assert sum(sizes) == 40
    assert max(sizes) <= 3


def test_a_refused_batch_that_is_read_from_its_middle_is_refused_from_there(monkeypatch):
    damaged = batch(BODY, 3, codec=GZIP, base=3, packed=b"gzip")
    offsets, values, refused, _ = fetched(monkeypatch, damaged, of_values([b"d"], base=6), start=4)
    assert (offsets, values) == ([4, 6], [None, b"d"])
    assert refused[4][2:] == (5, 2)


def test_what_compaction_left_of_a_batch_is_read_and_an_empty_one_is_nothing(monkeypatch):
    holes = batch(record(b"a", 1) + record(b"b", 4), 2, base=0, last=7)
    empty = batch(b"", 0, base=8, last=1)
    offsets, values, refused, made = fetched(monkeypatch, holes, empty, of_values([b"c"], base=10))
    assert (offsets, values, refused) == ([1, 4, 10], [b"a", b"b", b"c"], {})
    assert made.position(PLACE) == 11


def test_a_batch_that_ends_before_it_begins_is_an_error_and_is_never_read_twice(monkeypatch):
    backwards = batch(BODY, 3, base=3, last=-2)
    made, _ = reader(monkeypatch, {PLACE: [of_values(THREE)]})
    consumer = made._consumer
    [tp] = consumer.logs
    consumer.logs[tp].append((3, 5, backwards))
    assert made.read(PLACE, 10) is None
    assert made.read(PLACE, 10).values == THREE
    with pytest.raises(Exception, match="ends before it"):
        [made.read(PLACE, 10) for _ in range(3)]
    assert made.position(PLACE) == 3


def test_aborted_batches_and_markers_are_no_events_whatever_is_in_them(monkeypatch):
    abort = batch(
        record(b"\0\0\0\0\0\0", 0, key=b"\0\0\0\0"), 1, base=3, attributes=TRANSACTIONAL | CONTROL, producer=7
    )
    aborted = batch(BODY, 3, base=0, codec=GZIP, packed=b"gzip", attributes=TRANSACTIONAL, producer=7)
    made, consumer = reader(monkeypatch, {PLACE: [aborted, abort, of_values([b"d"], base=4)]})
    [tp] = consumer.logs
    consumer.aborted[tp] = [SimpleNamespace(producer_id=7, first_offset=0)]
    found = [one for _ in range(4) if (one := made.read(PLACE, 10)) is not None]
    assert [(one.offsets.tolist(), one.values, one.refused) for one in found] == [([4], [b"d"], {})]


@pytest.mark.parametrize("base_time", [(1 << 63) - 1, -(1 << 63), -1, 1_700_000_000_000])
def test_a_record_time_beyond_what_a_record_holds_is_none(monkeypatch, base_time):
    body = record(b"a", 0) + record(b"b", 1, time_delta=1 << 62) + record(b"c", 2, time_delta=-(1 << 62))
    made, _ = reader(monkeypatch, {PLACE: [batch(body, 3, base_time=base_time)]})
    [found] = [one for _ in range(3) if (one := made.read(PLACE, 10)) is not None]
    right = [
        time if -(1 << 63) < time < 1 << 63 else -1
        for time in (base_time, base_time + (1 << 62), base_time - (1 << 62))
    ]
    assert found.timestamps.tolist()[1:] == right[1:]
    assert found.values == THREE


@pytest.mark.parametrize("cut", [1, 7, 8])
def test_bytes_that_are_no_records_are_refused(cut):
    good = bytes.fromhex("100004020261026200")
    arguments = {"base_offset": 40, "last_offset": 41, "base_time": 1000, "times": True}
    assert decode(good, 1, **arguments) == Chunk([41], [1002], [b"b"], size=9)
    for bad in (good[:cut], good + b"\0" * cut, b"\xff" * cut):
        with pytest.raises(UnreadableError):
            decode(bad, 1, **arguments)


def plain(data: bytes) -> list[tuple[int, int, bytes | None]]:
    """What kafka-python's own records of these batches are."""
    made = Fetcher.PartitionRecords(0, SimpleNamespace(topic="in", partition=0), MemoryRecords(data))
    found = made.take(None)
    made.take(None) if made else None  # raises what came after the first ones
    return [(one.offset, one.timestamp, one.value) for one in found]


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.binary(max_size=200)), min_size=1, max_size=30),
    codec=st.sampled_from([NONE, GZIP, SNAPPY, LZ4, ZSTD]),
    harm=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=3),
)
def test_a_damaged_batch_with_its_checksum_right_is_refused_whole_or_read_as_kafka_python_reads_it(values, codec, harm):
    body = bytearray(records(values))
    for place, byte in harm:
        body[place % len(body)] = byte
    data = batch(bytes(body), len(values), codec=codec)
    made = LeanRecords(0, SimpleNamespace(topic="in", partition=0), MemoryRecords(data))
    [packed] = made.take(None)
    chunk = packed.columns()
    if chunk.refused is not None:
        assert chunk[:4] == (
            [0],
            [-1],
            [None],
            Refused("unreadable", chunk.refused.detail, len(values) - 1, len(values)),
        )
        return
    try:
        right = plain(data)
    except (CorruptRecordError, UnicodeDecodeError):
        # We look at neither headers nor keys' lengths beyond their record.
        assert len(chunk.offsets) == len(values)
        return
    assert list(zip(chunk.offsets, chunk.timestamps, chunk.values, strict=True)) == right


def test_bytes_that_are_no_batch_are_an_error_of_the_transport(monkeypatch):
    short = struct.pack(">qiib", 0, 20, 0, 2) + bytes(15)
    made, consumer = reader(monkeypatch, {PLACE: [of_values([b"a"])]})
    [tp] = consumer.logs
    consumer.logs[tp] = [(0, 0, short)]
    for _ in range(2):
        with pytest.raises(Exception, match="no record batch at 0"):
            [made.read(PLACE, 10) for _ in range(3)]
