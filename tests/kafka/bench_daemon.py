"""The daemon against a bare kafka-python ``poll()`` loop over the same topics, in one run; how soon records are seen.

By hand: ``pytest -m bench -s tests/kafka/bench_daemon.py``; EVENTS (predictions, and as many
outcomes) is 200,000 unless the environment says otherwise.
"""

from __future__ import annotations

import json
import os
import random
import time

import numpy as np
import psutil
import pytest
from kafka import KafkaConsumer, TopicPartition

EVENTS = int(os.environ.get("EVENTS", "200000"))
RATE = 1_000
START = 1_700_000_000_000


def filled(scene) -> None:
    """Two partitions each; outcomes follow 30 s later, all but one in ten."""
    rng = random.Random(1)
    producer = scene.producer(linger_ms=50, batch_size=1 << 20, compression_type=None)
    predictions, outcomes = scene.named("predictions"), scene.named("outcomes")
    for i in range(EVENTS):
        ts = START + i * 1000 // RATE
        label = int(rng.random() < 0.1)
        name, score = f"event-{i:09d}", round(rng.betavariate(2 + 3 * label, 6), 6)
        segments = {"country": rng.choice("ABCDE"), "channel": rng.choice(["web", "app", "shop", "call", "mail"])}
        prediction = {"id": name, "model": "fraud", "version": "1", "ts": ts, "score": score, "segments": segments}
        outcome = {"id": name, "ts": ts + 30_000, "label": label}
        producer.send(predictions, json.dumps(prediction).encode(), partition=i % 2)
        producer.send(outcomes, json.dumps(outcome).encode(), partition=i % 2)
    producer.flush(120)
    producer.close()


def bare(scene) -> float:
    """Events a second that a read_committed poll loop takes, doing nothing with them."""
    consumer = KafkaConsumer(
        bootstrap_servers=scene.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest",
        fetch_max_bytes=16 << 20, max_partition_fetch_bytes=4 << 20,
    )  # fmt: skip
    places = [TopicPartition(scene.named(topic), p) for topic in ("predictions", "outcomes") for p in range(2)]
    consumer.assign(places)
    consumer.seek_to_beginning()
    begin, count = time.perf_counter(), 0
    while count < 2 * EVENTS:
        count += sum(map(len, consumer.poll(200, max_records=10_000).values()))
    took = time.perf_counter() - begin
    consumer.close()
    return count / took


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_the_daemon_against_a_bare_poll(make_scene, nursery):
    scene = make_scene()
    scene.make_topics(partitions=2)
    filled(scene)
    model = {
        "name": "fraud", "objective": {"kind": "cost", "fp": 1, "fn": 10}, "segments": ["country", "channel"],
        "labels": {"wait": "1m", "amend": "1m", "give_up": "1h"},
    }  # fmt: skip
    scene.config |= {"models": [model], "commit": {"every": "1s"}, "lateness": {"predictions": "1m", "outcomes": "1m"}}
    rates = [bare(scene)]
    worker = nursery.start(scene.config, until_end=True, batch=8_192)
    process, peak = psutil.Process(worker.pid), 0
    while worker.alive:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    assert worker.wait(600) == 0, worker.text()[-2000:]
    lines = {line["event"]: line for line in worker.records()}
    stamp = {name: np.datetime64(lines[name]["timestamp"].rstrip("Z")) for name in ("started", "end_of_logs")}
    took = (stamp["end_of_logs"] - stamp["started"]) / np.timedelta64(1, "s")
    rates.append(bare(scene))
    mine = 2 * EVENTS / took
    print(f"\nbare poll {rates[0]:,.0f} and {rates[1]:,.0f} events/s, daemon {mine:,.0f}: {mine / np.mean(rates):.2f}")
    end = lines["end_of_logs"]
    print(f"commits {end['commits']}, records {end['records']}, peak RSS {peak / 1e6:.0f} MB")


@pytest.mark.bench
@pytest.mark.timeout(300)
@pytest.mark.parametrize("every", ["100ms", "1s"])
def test_how_soon_a_decidable_record_is_seen(make_scene, nursery, every):
    """From the moment that stream time passes a record's time to its visibility; 10,000 events a second."""
    scene = make_scene()
    scene.make_topics(partitions=2)
    model = {
        "name": "fraud", "objective": {"kind": "cost", "fp": 1, "fn": 10}, "segments": ["country", "channel"],
        "labels": {"wait": "2s", "amend": "1s", "give_up": "1h"}, "evaluate": {"events": 500, "publish_every": "0s"},
    }  # fmt: skip
    scene.config |= {"models": [model], "commit": {"every": every}, "interval": "1s",
                     "lateness": {"predictions": "0s", "outcomes": "0s"}}  # fmt: skip
    worker = nursery.start(scene.config, batch=8_192)
    worker.await_log("started")
    seconds, slices = 12, 20
    producer = scene.producer(linger_ms=1)
    reader = KafkaConsumer(
        bootstrap_servers=scene.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=10,
    )
    metrics = TopicPartition(scene.named("metrics"), 0)
    reader.assign([metrics])
    rng = random.Random(1)
    waits: list[float] = []
    begin = time.time()
    for tick in range(seconds * slices):
        now = int(time.time() * 1000)
        for i in range(10_000 // slices // 2):
            name = f"{tick}-{i}"
            segments = {"country": rng.choice("AB"), "channel": rng.choice("XY")}
            event = {"id": name, "model": "fraud", "ts": now, "score": rng.random(), "segments": segments}
            producer.send(scene.named("predictions"), json.dumps(event).encode(), partition=i % 2)
            if tick >= slices:
                name = f"{tick - slices}-{i}"
                producer.send(
                    scene.named("outcomes"),
                    json.dumps({"id": name, "ts": now, "label": i % 5 == 0}).encode(),
                    partition=i % 2,
                )
        while (left := begin + (tick + 1) / slices - time.time()) > 0:
            for records in reader.poll(min(10, int(left * 1000)), max_records=1_000).values():
                seen = time.time()
                for record in records:
                    at = (
                        np.datetime64(json.loads(record.value)["time"].rstrip("Z")).astype("datetime64[ms]").astype(int)
                    )
                    waits.append(seen - at / 1000)
    behind = time.time() - begin - seconds
    assert worker.stop() == 0
    quantiles = np.quantile(waits, [0.5, 0.99])
    print(f"\ncommit.every {every}: {len(waits)} records, p50 {quantiles[0]:.3f} s, p99 {quantiles[1]:.3f} s")
    assert behind < 1, "the feeder did not keep its rate"
    producer.close()
    reader.close()
