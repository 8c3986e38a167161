"""Unpacking: what kafka-python's codecs make of the bytes, and never more than is allowed."""

from __future__ import annotations

import gzip
import random
import time
import tracemalloc

import kafka.codec as codecs
import pytest
import snappy
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.transport.kafka_unpacking import TooLargeError, UnreadableError, unpacked
from tests.record_batches import GZIP, LZ4, PACK, SNAPPY, ZSTD

UNPACK = {GZIP: codecs.gzip_decode, SNAPPY: codecs.snappy_decode, LZ4: codecs.lz4_decode, ZSTD: codecs.zstd_decode}
CODECS = pytest.mark.parametrize("codec", UNPACK)


@CODECS
@settings(max_examples=50, deadline=None)
@given(part=st.binary(max_size=300), times=st.sampled_from([1, 2, 1_000, 8_000]))
def test_bytes_come_back_and_one_too_many_is_refused(codec, part, times):
    raw = part * times
    packed = bytes(PACK[codec](raw))
    assert unpacked(codec, packed, len(raw)) == raw
    if raw:
        with pytest.raises(TooLargeError):
            unpacked(codec, packed, len(raw) - 1)


@CODECS
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_unpack_as_kafka_pythons_codec_does(codec, data):
    seed = data.draw(st.integers(0, 1 << 30))
    generator = random.Random(seed)
    packed = bytearray(PACK[codec](bytes(generator.choice(b"abcdef") for _ in range(3_000))))
    for _ in range(generator.randint(0, 4)):
        packed[generator.randrange(len(packed))] = generator.randrange(256)
    packed = bytes(packed[: generator.choice([len(packed), generator.randrange(len(packed))])])
    try:
        mine = unpacked(codec, packed, 1 << 20)
    except (TooLargeError, UnreadableError):
        return
    if codec == SNAPPY and len(packed) == 16:
        assert mine == b""  # a head and no blocks: kafka-python packs nothing so, and does not read it again
        return
    assert mine == bytes(UNPACK[codec](packed))


@CODECS
def test_three_hundred_megabytes_in_a_few_cost_what_is_allowed(codec):
    # Snappy's and LZ4's cannot be packed below a broker's limit; they are bounded all the same.
    packed = bytes(PACK[codec](bytes(300_000_000)))
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        unpacked(codec, packed, 16 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


def test_a_snappy_block_that_lies_about_its_length_is_refused_before_space_is_made_for_it():
    for lie in (b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x04"):
        with pytest.raises(TooLargeError):
            unpacked(SNAPPY, lie + b"\x00a", 1 << 20)
    for block in (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\xff\xff", b"\0"):
        with pytest.raises(UnreadableError):
            unpacked(SNAPPY, PACK[SNAPPY](b"x")[:16] + block + b"abc", 1 << 20)


def test_raw_snappy_and_gzip_of_many_members_are_read_in_time_that_is_linear():
    assert unpacked(SNAPPY, snappy.compress(b"abc" * 100), 300) == b"abc" * 100
    assert unpacked(GZIP, gzip.compress(b"ab") + gzip.compress(b"c") + bytes(7), 3) == b"abc"
    began = time.perf_counter()
    assert unpacked(GZIP, gzip.compress(b"") * 40_000, 1) == b""
    assert time.perf_counter() - began < 2.0


def test_a_codec_that_nobody_knows_is_refused():
    for codec in (0, 5, 6, 7):
        with pytest.raises(UnreadableError, match=str(codec)):
            unpacked(codec, b"abc", 10)
