"""What one producer can do to a worker through a broker that takes it: bombs, and a transaction left open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import yaml
from events_stream import Stream

import streameval
from tests.ports import free_port
from tests.record_batches import GZIP, ZSTD, bomb, produce

BUSY = 0


def peak(worker) -> int:
    """Most bytes that a worker has resident until it ends; it must end well."""
    process, most = psutil.Process(worker.pid), 0
    while worker.alive:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.002)
    assert worker.wait() == 0, worker.text()[-2000:]
    return most


def test_bombs_below_a_brokers_limit_are_rejected_by_their_offsets_and_cost_little(make_scene, nursery):
    scene, stream = make_scene(), Stream(seed=6, predictions=1_500)
    scene.make_topics()
    for part in stream.parts[:10]:
        scene.feed(part)
    scene.mark_idle(stream.logs)
    calm = peak(nursery.start(scene.config, until_end=True))
    bombs = [bomb(GZIP), bomb(ZSTD)]
    assert max(map(len, bombs)) < 1_000_000
    first = {}
    for topic in ("predictions", "outcomes"):
        logs = dict.fromkeys(range(4), bombs)
        first |= {
            (scene.named(topic), partition): sum(
                len(values)
                for part in stream.parts[:10]
                for (name, place), values in part.items()
                if (name, place) == (topic, partition)
            )
            for partition in logs
        }
        produce(scene.bootstrap, scene.named(topic), logs)
    for part in stream.parts[10:]:
        scene.feed(part)
    worker = nursery.start(scene.config, until_end=True)
    hostile = peak(worker)
    print(f"\npeak: {calm >> 20} MiB without bombs, {hostile >> 20} MiB with 16 of 300 MB each")
    # What one batch may unpack to, and as much again while its pieces are put together.
    assert hostile - calm < 200 << 20
    seen = scene.check()
    told = [json.loads(value)["data"] for (topic, _), values in seen.items() if topic == "rejected" for value in values]
    large = [one for one in told if one["reason"] == "too_large"]
    assert {(one["topic"], one["partition"]): one["offset"] for one in reversed(large)} == first
    assert sum(one["count"] for one in large) == 16
    assert "batch.size" in large[0]["detail"]


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def until(true, seconds):
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_a_transaction_left_open_turns_healthz_and_says_what_it_is_until_it_ends(make_scene, tmp_path):
    port = free_port()
    # What hides events has ten times as long.
    scene = make_scene(serve={"port": port, "stalled_after": "1s"})
    scene.make_topics()
    scene.feed(Stream(seed=8, predictions=300).logs)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(scene.config))
    producer = scene.producer(transactional_id=f"{scene.prefix}hung")
    producer.init_transactions()
    producer.begin_transaction()
    hidden = producer.send(scene.named("predictions"), b"{}", partition=BUSY).get(10).offset
    producer.flush()
    command = [sys.executable, "-m", "streameval.cli", "run", "--config", str(tmp_path / "config.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(Path(streameval.__file__).parents[1])}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)
    try:
        until(lambda: asked(port, "/healthz")[0] == 200, 30)
        # On a busy machine the loop itself may stand for a second.
        body = until(lambda: (said := asked(port, "/healthz"))[0] == 503 and "does not move" in said[1] and said[1], 40)
        reason = json.loads(body)["reason"]
        assert reason.startswith(f"{scene.named('predictions')}/{BUSY} does not move: 1 event to read")
        assert f"open transaction hides all from offset {hidden} on" in reason
        stalled = f'streameval_partitions_stalled{{topic="{scene.named("predictions")}"}}'
        until(lambda: f"{stalled} 1.0" in asked(port, "/metrics")[1], 10)
        producer.commit_transaction()
        until(lambda: asked(port, "/healthz")[0] == 200, 30)
        until(lambda: f"{stalled} 0.0" in asked(port, "/metrics")[1], 10)
    finally:
        producer.close()
        process.terminate()
        process.wait(30)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    told = [line["event"] for line in lines if line["event"] in ("reading_stalled", "reading_flows")]
    assert told == ["reading_stalled", "reading_flows"]
    assert process.returncode == 0
