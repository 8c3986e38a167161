"""Record batches made by hand, byte for byte, as no well-behaved producer would write them, and sent as they are.

Source: Kafka protocol guide, "Record Batch" and "Record" (magic 2).
"""

from __future__ import annotations

import struct
import time
import zlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import kafka.codec as codecs
import kafka.errors as kafka_errors
import zstandard
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
    """A sound batch of one event with a comment of zeros, ``size`` bytes of them, packed by gzip or zstd."""
    packer = zlib.compressobj(wbits=31) if codec == GZIP else zstandard.ZstdCompressor().compressobj()
    head, tail = b'{"id":"bomb","ts":1700000000000,"label":1,"note":"', b'"}'
    event = varint(len(head) + size + len(tail)) + head
    front = b"\0" + varint(0) + varint(0) + varint(-1) + event
    length = varint(len(front) + size + len(tail) + 1)
    pieces = [length + front, *[b"0" * 1_000_000] * (size // 1_000_000), b"0" * (size % 1_000_000), tail + varint(0)]
    packed = b"".join(packer.compress(piece) for piece in pieces) + packer.flush()
    return batch(b"", 1, base=base, codec=codec, packed=packed)


def packed_logs(values: Iterable[bytes], size: int, codec: int = NONE) -> list[bytes]:
    """Sound batches of about so many bytes each, unpacked, as a producer's ``batch.size`` makes them."""
    made, body, count = [], bytearray(), 0
    for value in values:
        body += record(value, count)
        count += 1
        if len(body) >= size:
            made.append(batch(bytes(body), count, codec=codec))
            body, count = bytearray(), 0
    return [*made, batch(bytes(body), count, codec=codec)] if count else made


def produce(bootstrap: list[str], topic: str, logs: Mapping[int, Sequence[bytes]]) -> None:
    """Append each partition's batches to it as they are, one of each a request; all partitions have one leader."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    kind = ProduceRequest.TopicProduceData
    leader = admin.describe_topics([topic])[0]["partitions"][0]["leader_id"]
    rounds = [
        [
            kind.PartitionProduceData(index=place, records=bytes(log[index]))
            for place, log in logs.items()
            if index < len(log)
        ]
        for index in range(max(map(len, logs.values())))
    ]

    async def send() -> None:
        left, waiting = iter(rounds), deque()
        data = next(left, None)
        while data or waiting:
            while data and len(waiting) < 2:
                request = ProduceRequest(
                    transactional_id=None,
                    acks=1,
                    timeout_ms=30_000,
                    topic_data=[kind(name=topic, partition_data=data)],
                    min_version=3,
                    max_version=9,
                )
                waiting.append(admin._manager.send(request, node_id=leader))
                data = next(left, None)
            answer = await waiting.popleft()
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
