"""A backlog of several buffers a partition, written as live producers write it, is read to its end by a real daemon."""

from __future__ import annotations

import os
import time

import pytest
from worker_process import Worker

from streameval.transport import kafka_reading
from tests.record_batches import packed_logs, produce

START = 1_700_000_000_000
SMALL, LARGE = 8_000, 60_000
"""Bytes of a record batch: of a producer that sends at once, and of one that waits for more."""


def events(topic: str, partition: int, n: int, gap: int = 5) -> list[bytes]:
    """Predictions, and their outcomes half a minute later; an event in `gap` ms."""
    if topic == "predictions":
        text = b'{"id":"%d-%d","model":"fraud","version":"1","ts":%d,"score":0.%06d,"segments":{"country":"DE"}}'
        return [text % (partition, i, START + i * gap, i * 7919 % 1_000_000) for i in range(n)]
    text = b'{"id":"%d-%d","model":"fraud","ts":%d,"label":%d,"values":{"revenue":12.5}}'
    return [text % (partition, i, START + 30_000 + i * gap, i % 10 == 0) for i in range(n)]


def backlog(make_scene, filled: dict[str, list[int]], size: int):
    """A scene whose input topics have partitions of so many events, in record batches of so many bytes."""
    # Record times are the events', of years ago.
    model = {
        "name": "fraud", "objective": {"kind": "cost", "fp": 1, "fn": 10}, "segments": ["country"],
        "labels": {"wait": "1m", "amend": "1m", "give_up": "1h"},
    }  # fmt: skip
    scene = make_scene(models=[model], commit={"every": "1s"}, serve={"stalled_after": "5s"})
    for topic, lengths in filled.items():
        scene.make_topics([topic], partitions=len(lengths), retention_ms="-1")
        logs = {p: packed_logs(events(topic, p, n), size) for p, n in enumerate(lengths) if n}
        produce(scene.bootstrap, scene.named(topic), logs)
    return scene


def read_to_the_end(nursery, scene, *, live: bool, seconds: float) -> Worker:
    worker = nursery.start(scene.config, until_end=not live, batch=32_768)
    if live:
        worker.await_log("caught_up", seconds)
        assert worker.stop() == 0, worker.text()[-2000:]
    else:
        assert worker.wait(seconds) == 0, worker.text()[-2000:]
    assert not worker.saw("reading_stalled")
    return worker


@pytest.mark.parametrize(
    ("size", "filled", "live"),
    [
        (SMALL, {"predictions": [90_000] * 4, "outcomes": [90_000] * 2}, False),
        (SMALL, {"predictions": [120_000, 0, 120_000], "outcomes": [120_000, 0, 120_000, 10]}, True),
    ],
    ids=["until-end", "live-some-at-their-end"],
)
def test_a_backlog_is_read_to_its_end(make_scene, nursery, size, filled, live):
    scene = backlog(make_scene, filled, size)
    read_to_the_end(nursery, scene, live=live, seconds=60)


@pytest.mark.parametrize(("partitions", "size"), [(2, SMALL), (4, SMALL), (4, LARGE), (6, SMALL)])
def test_whichever_partition_is_read_first_all_come_to_their_end(room, size, partitions):
    """Two are at their end from the first; each of the others is several buffers long."""
    topic = room.topic("in", partitions=partitions + 2, retention_ms="-1")
    n = 3 * kafka_reading.BUFFERED // 100
    values = [b"%07d" % i + bytes(100) for i in range(n)]
    log = packed_logs(values, size)
    produce(list(room.bootstrap), topic, dict.fromkeys(range(partitions), log))
    for order in (sorted, lambda places: sorted(places, reverse=True)):
        transport = room.transport()
        at = {(topic, p): 0 for p in range(partitions + 2)}
        ends = {place: transport.bounds(*place).end for place in at}
        assert sum(ends.values()) == partitions * n
        transport.assign(at)
        moved = time.monotonic()
        while at != ends:
            for place in order(at):
                if at[place] < ends[place] and (batch := transport.read(*place, 32_768)) is not None:
                    assert batch.values[0] == values[at[place]]
                    assert batch.offsets[-1] == at[place] + len(batch) - 1
                    at[place] += len(batch)
                    moved = time.monotonic()
                    break
            assert time.monotonic() - moved < 10, f"frozen at {at}"


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_backlog_of_millions_is_read_to_its_end(make_scene, nursery, size, live):
    """Prints how long it took; EVENTS a partition (700,000) in two partitions of either topic."""
    n = int(os.environ.get("EVENTS", "700000"))
    scene = backlog(make_scene, {"predictions": [n, n], "outcomes": [n, n]}, size)
    began = time.monotonic()
    read_to_the_end(nursery, scene, live=live, seconds=900)
    took = time.monotonic() - began
    scene.check()
    print(f"\n4 x {n:,} events in batches of {size:,} bytes, live {live}: {took:.1f} s, {4 * n / took:,.0f}/s")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_leaders_that_die_in_the_middle_of_a_backlog_are_gone_on_from(cluster, new_room):
    room = new_room(*cluster.bootstrap)
    topic = room.topic("in", partitions=4)
    n = 2 * kafka_reading.BUFFERED // 100
    producer = room.producer(batch_size=SMALL, linger_ms=5, acks="all")
    for i in range(n):
        for partition in range(4):
            producer.send(topic, b"%07d" % i + bytes(100), partition=partition)
    producer.flush(120)
    transport = room.transport()
    at = {(topic, p): 0 for p in range(4)}
    transport.assign(at)
    moved, doomed = time.monotonic(), [1, 2, 3]
    while min(at.values()) < n:
        if sum(at.values()) > (4 - len(doomed)) * n:
            node = doomed.pop(0)
            cluster.brokers[node].kill()
            cluster.brokers[node].start()
        for place in sorted(at, key=at.get, reverse=bool(len(doomed) % 2)):
            if at[place] < n and (batch := transport.read(*place, 5_000)) is not None:
                assert [int(value[:7]) for value in batch.values] == list(range(at[place], at[place] + len(batch)))
                at[place] += len(batch)
                moved = time.monotonic()
                break
        assert time.monotonic() - moved < 60, f"frozen at {at}"
