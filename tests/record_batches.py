"""Record batches made by hand, byte for byte, as no well-behaved producer would write them, and sent as they are.

Source: Kafka protocol guide, "Record Batch" and "Record" (magic 2).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Mapping

import kafka.codec as codecs
import kafka.errors as kafka_errors
from kafka.admin import KafkaAdminClient
from kafka.protocol.producer import ProduceRequest
from kafka.record.util import calc_crc32c, encode_varint

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
PACK = {
    NONE: bytes,
    GZIP: codecs.gzip_encode,
    SNAPPY: codecs.snappy_encode,
    LZ4: codecs.lz4_encode,
    ZSTD: codecs.zstd_encode,
}
TRANSACTIONAL, CONTROL = 0x10, 0x20
_NOW = 1_700_000_000_000


def varint(number: int) -> bytes:
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def record(value: bytes | None, delta: int, time_delta: int = 0, key: bytes | None = None) -> bytes:
    """One record, ``delta`` offsets and ``time_delta`` ms behind its batch's."""
    parts = [b"\0", varint(time_delta), varint(delta)]
    for part in (key, value):
        parts += [varint(-1)] if part is None else [varint(len(part)), part]
    whole = b"".join([*parts, varint(0)])
    return varint(len(whole)) + whole


def records(values: Iterable[bytes | None], first: int = 0) -> bytes:
    return b"".join(record(value, first + delta) for delta, value in enumerate(values))


def batch(
    body: bytes,
    count: int,
    *,
    base: int = 0,
    codec: int = NONE,
    packed: bytes | None = None,
    last: int | None = None,
    base_time: int = _NOW,
    attributes: int = 0,
    producer: int = -1,
    epoch: int = 0,
    magic: int = 2,
) -> bytes:
    """A record batch around a body of ``count`` records; ``packed`` in place of the body packed by the codec,
    ``last`` the offset of its end behind ``base``."""
    data = bytes(PACK[codec](body)) if packed is None else packed
    last = count - 1 if last is None else last
    tail = struct.pack(
        ">hiqqqhii", attributes | codec, last, base_time, base_time, producer, 0 if producer >= 0 else -1, -1, count
    )
    crc = calc_crc32c(memoryview(tail + data))
    return struct.pack(">qiibI", base, 9 + len(tail) + len(data), epoch, magic, crc) + tail + data


def of_values(values: list[bytes | None], base: int = 0, codec: int = NONE) -> bytes:
    """A sound batch."""
    return batch(records(values), len(values), base=base, codec=codec)


def bomb(codec: int, size: int = 300_000_000, base: int = 0) -> bytes:
    """A sound batch of one event with a comment of zeros, ``size`` bytes of them."""
    event = b'{"id":"bomb","ts":1700000000000,"label":1,"note":"' + b"0" * size + b'"}'
    return of_values([event], base, codec)


def produce(bootstrap: list[str], topic: str, batches: Mapping[int, bytes], times: int = 1) -> None:
    """Append each partition's batch to it, so many times; all partitions have one leader."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    kind = ProduceRequest.TopicProduceData
    data = [kind.PartitionProduceData(index=place, records=bytes(made)) for place, made in batches.items()]
    leader = admin.describe_topics([topic])[0]["partitions"][0]["leader_id"]

    async def send() -> None:
        waiting: list = []
        left = times
        while left or waiting:
            while left and len(waiting) < 4:
                request = ProduceRequest(
                    transactional_id=None,
                    acks=1,
                    timeout_ms=30_000,
                    topic_data=[kind(name=topic, partition_data=data)],
                    min_version=3,
                    max_version=9,
                )
                waiting.append(admin._manager.send(request, node_id=leader))
                left -= 1
            answer = await waiting.pop(0)
            for done in answer.responses[0].partition_responses:
                if done.error_code:
                    raise kafka_errors.for_code(done.error_code)(done.error_message)

    deadline = time.monotonic() + 10
    try:
        while True:
            try:
                return admin._manager.run(send)
            except kafka_errors.NotLeaderForPartitionError:  # just made: nothing was appended yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
    finally:
        admin.close()
