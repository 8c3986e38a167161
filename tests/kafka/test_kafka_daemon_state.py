"""What happens to a daemon's own state, and to what it reads, between two runs on a real broker."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
import xxhash
from events_stream import FILLED
from kafka import TopicPartition
from scene import Scene
from worker_process import Nursery, Worker

from streameval.transport.core import Core
from streameval.transport.opening import open_transport


def killed_after(scene: Scene, nursery: Nursery, commits: int, at: str = "commit.8", **job) -> Worker:
    """A run that dies after some commits."""
    worker = nursery.start(scene.config, until_end=True, at=at, count=commits, **job)
    assert worker.wait() == -signal.SIGKILL, worker.text()[-2000:]
    return worker


def to_the_end(scene: Scene, nursery: Nursery, mode: str) -> Worker:
    worker = nursery.start(scene.config, until_end=True)
    assert worker.wait() == 0, worker.text()[-2000:]
    [started] = [line for line in worker.records() if line["event"] == "started"]
    assert started["mode"] == mode
    return worker


def refused(scene: Scene, nursery: Nursery, code: int, *words: str) -> Worker:
    """A start that ends with one clear line and changes nothing."""
    before = scene.published()
    worker = nursery.start(scene.config, until_end=True)
    assert worker.wait() == code, worker.text()[-2000:]
    last = worker.text().splitlines()[-1]
    for word in words:
        assert word in last
    assert "Traceback" not in worker.text()
    assert scene.published() == before
    return worker


def manifests(scene: Scene) -> list[Path]:
    return sorted((scene.state / "checkpoints").glob("*.json"))


def test_a_deleted_state_directory_is_rebuilt_from_the_logs(filled_scene, clean, nursery):
    killed_after(filled_scene, nursery, 5)
    shutil.rmtree(filled_scene.state)
    to_the_end(filled_scene, nursery, "rebuild")
    filled_scene.check(clean)


def test_a_lost_state_is_rebuilt_from_its_core_and_what_retention_has_left(make_scene, nursery):
    scene = make_scene(commit={"every": "1ms", "outputs": 20, "state_every": "1ms"})
    scene.make_topics()
    scene.feed(FILLED.logs)
    scene.mark_idle(FILLED.logs)
    expected = scene.expected()
    for commits, at in ((19, "commit.8"), (5, "commit.6")):
        # What the second one leaves open hides the core from a reader that does not fence, for a transaction's time.
        killed_after(scene, nursery, commits, at, batch=200, transaction_ms=1_500)
        shutil.rmtree(scene.state)
        transport = open_transport(scene.checked)
        core = Core.decode(transport.core("w"))
        transport.close()
        needed = core.places() | {(topic, p): anchor[0] for topic, p, anchor in core.plain()["again"]}
        with scene.admin() as admin:
            admin.delete_records({TopicPartition(*place): begin for place, begin in needed.items() if begin})
    # Whole batches are gone for good; how many depends on how far the last core was behind.
    assert sum(needed.values()) >= 400
    worker = to_the_end(scene, nursery, "rebuild")
    assert worker.saw("state_rebuilt")
    scene.check(expected)


def test_an_older_state_rolls_forward_also_when_it_is_killed_on_the_way(filled_scene, clean, nursery, tmp_path):
    killed_after(filled_scene, nursery, 3)
    shutil.copytree(filled_scene.state, tmp_path / "snapshot")
    killed_after(filled_scene, nursery, 3)
    shutil.rmtree(filled_scene.state)
    shutil.copytree(tmp_path / "snapshot", filled_scene.state)
    killed_after(filled_scene, nursery, 1)
    to_the_end(filled_scene, nursery, "continue")
    filled_scene.check(clean)


def test_a_truncated_checkpoint_is_passed_over_and_two_are_an_error_with_the_cure(filled_scene, clean, nursery):
    killed_after(filled_scene, nursery, 5)
    newest = manifests(filled_scene)[-1].with_suffix(".state")
    newest.write_bytes(newest.read_bytes()[:-7])
    killed_after(filled_scene, nursery, 1)
    for path in (filled_scene.state / "checkpoints").glob("*.state"):
        path.write_bytes(path.read_bytes()[:100])
    refused(filled_scene, nursery, 5, "no checkpoint is whole", "delete the directory")
    shutil.rmtree(filled_scene.state)
    to_the_end(filled_scene, nursery, "rebuild")
    filled_scene.check(clean)


def test_a_newer_schema_and_another_workers_state_are_errors_with_their_cures(filled_scene, clean, nursery):
    killed_after(filled_scene, nursery, 4)
    kept = {path: path.read_bytes() for path in manifests(filled_scene)}
    for field, value, words in (
        ("schema", 99, ("schema 99", "run the release that wrote it")),
        ("worker", "somebody", ("belongs to worker somebody", "name another state directory")),
    ):
        for path, data in kept.items():
            manifest = json.loads(data.split(b"\n")[0]) | {field: value}
            text = json.dumps(manifest).encode()
            path.write_bytes(text + b"\n" + xxhash.xxh3_128_hexdigest(text).encode() + b"\n")
        refused(filled_scene, nursery, 5, *words)
    for path, data in kept.items():
        path.write_bytes(data)
    to_the_end(filled_scene, nursery, "continue")
    filled_scene.check(clean)


def test_a_full_disk_is_a_clear_stop_and_loses_nothing(filled_scene, clean, nursery):
    for step in ("commit.1", "commit.3", "commit.8"):
        worker = nursery.start(filled_scene.config, until_end=True, at=step, count=2, error="ENOSPC")
        assert worker.wait() == 8
        assert "No space left on device" in worker.text().splitlines()[-1]
    to_the_end(filled_scene, nursery, "continue")
    filled_scene.check(clean)


def test_a_stop_at_any_moment_of_a_restore_is_clean(filled_scene, clean, nursery):
    killed_after(filled_scene, nursery, 5)
    shutil.rmtree(filled_scene.state)
    for delay in (0.0, 0.2, 0.4, 0.7):
        worker = nursery.start(filled_scene.config)
        time.sleep(delay)
        # Before its first line of work the signal has its default meaning.
        assert worker.stop() in ((0, -signal.SIGTERM) if delay == 0 else (0,)), worker.text()[-2000:]
    worker = nursery.start(filled_scene.config, until_end=True)
    assert worker.wait() == 0
    filled_scene.check(clean)


def test_a_deleted_consumer_group_harms_nothing(filled_scene, clean, nursery):
    killed_after(filled_scene, nursery, 4)
    with filled_scene.admin() as admin:
        admin.delete_groups(["streameval-w"])
    to_the_end(filled_scene, nursery, "continue")
    filled_scene.check(clean)


def test_a_topic_made_again_is_an_error_at_the_start_and_while_running(make_scene, nursery, filled):
    scene = make_scene()
    scene.make_topics()
    scene.feed({("predictions", 0): [b'{"id":"a","model":"fraud","ts":1700000000000,"score":0.5}'] * 5})
    scene.feed({("outcomes", 0): [b'{"id":"a","ts":1700000000000,"label":1}'] * 5})
    worker = nursery.start(scene.config)
    worker.await_log("caught_up")
    with scene.admin() as admin:
        admin.delete_topics([scene.named("outcomes")])
    time.sleep(0.3)
    scene.make_topics(["outcomes"])
    assert worker.wait() == 6
    assert "made again" in worker.text().splitlines()[-1] or "deleted" in worker.text().splitlines()[-1]
    refused(scene, nursery, 6, "deleted and made again", scene.named("outcomes"), "--fresh")


def test_a_retention_gap_is_an_error_that_says_where(make_scene, nursery):
    scene = make_scene()
    scene.make_topics()
    event = b'{"id":"%d","model":"fraud","ts":%d,"score":0.5}'
    part = {("predictions", 0): [event % (i, 1_700_000_000_000 + i) for i in range(100)]}
    scene.feed(part)
    worker = nursery.start(scene.config, until_end=True)
    assert worker.wait() == 0
    scene.feed(part)
    with scene.admin() as admin:
        admin.delete_records({TopicPartition(scene.named("predictions"), 0): 150})
    refused(scene, nursery, 6, f"{scene.named('predictions')}/0 at 100", "--fresh")
    shutil.rmtree(scene.state)
    refused(scene, nursery, 5, "the state is lost", "--fresh")
    worker = nursery.start(scene.config, until_end=True, fresh=True)
    assert worker.wait() == 0, worker.text()[-2000:]


@pytest.mark.parametrize("lost", [False, True])
def test_an_output_that_the_broker_refuses_becomes_a_stub_and_stays_one(filled_scene, clean, nursery, lost):
    with filled_scene.admin() as admin:
        name = filled_scene.named("metrics")
        admin.create_topics({name: {"num_partitions": 1, "configs": {"max.message.bytes": "1300"}}})
        admin.wait_for_topics([name])
    killed_after(filled_scene, nursery, 5)
    if lost:
        shutil.rmtree(filled_scene.state)
    worker = nursery.start(filled_scene.config, until_end=True)
    assert worker.wait() == 0, worker.text()[-2000:]
    seen = filled_scene.published()
    stubs = 0
    for place, values in clean.items():
        for mine, right in zip(seen[place], values, strict=True):
            if mine != right:
                small, whole = json.loads(mine), json.loads(right)
                assert small.pop("data") == {"refused": "by the broker", "bytes": len(right)}
                assert small == {field: whole[field] for field in small}
                stubs += 1
    assert stubs > 5
