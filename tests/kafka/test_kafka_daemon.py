"""The daemon as a process of its own, on a real broker: what foreign consumers see is one clean pass."""

from __future__ import annotations

import json
import time

from events_stream import Stream
from kafka.admin import NewPartitions
from scene import Scene, counted
from worker_process import Nursery, Worker

COMPRESSIONS = (None, "gzip", "lz4", "snappy", "zstd")


def feed_live(scene: Scene, worker: Worker, parts: list, pause: float = 0.05) -> None:
    for part in parts:
        scene.feed(part)
        assert worker.alive, worker.text()[-2000:]
        time.sleep(pause)


def until(true, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finish(scene: Scene, nursery: Nursery, **job) -> Worker:
    """Reads what is left, without any further act of the wall clock."""
    worker = nursery.start(scene.config, until_end=True, **job)
    assert worker.wait() == 0, worker.text()[-3000:]
    return worker


def test_run_stop_and_go_on_publishes_what_a_replay_gives(make_scene, nursery):
    scene, stream = make_scene(), Stream(seed=3)
    scene.make_topics()
    worker = nursery.start(scene.config)
    worker.await_log("caught_up")
    feed_live(scene, worker, stream.parts[:10], pause=0.1)
    assert worker.stop() == 0
    assert worker.saw("stopped")
    for part in stream.parts[10:13]:
        scene.feed(part)
    worker = nursery.start(scene.config)
    worker.await_log("caught_up")
    feed_live(scene, worker, stream.parts[13:], pause=0.1)
    scene.await_marks(8)
    assert worker.stop() == 0
    finish(scene, nursery)
    seen = scene.check()
    counts = counted(seen)
    assert counts["thresholds"] > 0
    assert counts["drift"] > 0
    assert counts["metrics"] > 20
    assert counts["rejected"] > 20
    assert any(json.loads(mark)["data"]["reason"] == "idle" for mark in scene.marks())


def test_partitions_added_while_running_and_aborted_transactions_and_any_compression(make_scene, nursery):
    scene, stream = make_scene(), Stream(seed=4, predictions=3_000)
    scene.make_topics()
    worker = nursery.start(scene.config)
    producers = [
        scene.producer(transactional_id=f"{scene.prefix}{c}", compression_type=c, metadata_max_age_ms=200)
        for c in COMPRESSIONS
    ]
    for producer in producers:
        producer.init_transactions()
    for index, part in enumerate(stream.parts):
        if index == 8:
            with scene.admin() as admin:
                admin.create_partitions(
                    {scene.named("predictions"): NewPartitions(total_count=6, new_assignments=None)}
                )
            for producer in producers:
                until(lambda one=producer: len(one.partitions_for(scene.named("predictions"))) == 6)
        if index >= 10:
            # The new partition takes over from the busy one; number 5 stays empty.
            moved = {(topic, 4 if (topic, p) == ("predictions", 0) else p): v for (topic, p), v in part.items()}
        else:
            moved = part
        producer = producers[index % len(producers)]
        for aborted in (True, False):
            producer.begin_transaction()
            for (topic, partition), values in moved.items():
                for value in values[:40] if aborted else values:
                    producer.send(scene.named(topic), value, b"k", partition=partition)
            producer.flush()
            (producer.abort_transaction if aborted else producer.commit_transaction)()
        time.sleep(0.1)
    for producer in producers:
        producer.close()
    until(lambda: worker.saw("partition_found"))
    scene.await_marks(8)
    assert worker.stop() == 0
    finish(scene, nursery)
    counts = counted(scene.check())
    assert counts["metrics"] > 10


def test_a_busy_stream_does_not_hide_a_silent_partition(make_scene, nursery):
    scene, stream = make_scene(), Stream(seed=5, predictions=4_000, slices=200)
    scene.make_topics()
    worker = nursery.start(scene.config)
    feed_live(scene, worker, stream.parts, pause=0.01)
    assert worker.stop() == 0
    last = max(json.loads(mark)["data"]["floor"] for mark in scene.marks())
    assert last > "2023-11-15T00", "the idle partition held T back"
    finish(scene, nursery)
    scene.check()
