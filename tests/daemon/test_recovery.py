"""Whatever ends the process: what is published in the end is, byte for byte, what one clean pass publishes."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from worker import Worker

from streameval.testing import streams
from streameval.testing.streams import Stream

SEED = 0
STEPS = [*(f"commit.{i}" for i in range(1, 9)), *(f"start.{i}" for i in range(1, 7))]


@pytest.fixture(scope="module")
def stream() -> Stream:
    return streams.stream(SEED, events=1200, bad=0.02, gap=75_000)


@pytest.fixture(scope="module")
def clean(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    worker = Worker(tmp_path_factory.mktemp("clean")).feed(stream).wake(stream)
    worker.run()
    outputs = worker.outputs()
    assert min(outputs[topic].count(b"\n") for topic in ("thresholds", "calibration")) > 5
    assert outputs["metrics"].count(b"\n") > 30
    assert outputs["drift"]
    assert worker.commits() > 4
    return outputs


@pytest.fixture
def worker(stream: Stream, tmp_path: Path) -> Worker:
    return Worker(tmp_path).feed(stream).wake(stream)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_and_again_while_healing(worker: Worker, clean: dict[str, bytes], step: str) -> None:
    assert worker.forked(at=step, count=1 if step.startswith("start") else 3) == -signal.SIGKILL
    assert worker.forked(at=step, count=1) == -signal.SIGKILL
    assert worker.forked() == 0
    assert worker.outputs() == clean


def test_killed_at_random_instants(worker: Worker, clean: dict[str, bytes]) -> None:
    choose = random.Random(3)
    killed = 0
    for _ in range(60):
        ended = worker.forked(kill_after=choose.uniform(0.02, 0.12))
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        killed += 1
    else:
        assert worker.forked() == 0
    assert killed >= 3
    assert worker.outputs() == clean


def test_a_lost_state_directory_is_rebuilt_from_the_logs(worker: Worker, clean: dict[str, bytes]) -> None:
    for step, count in (("commit.1", 3), ("commit.6", 4), ("commit.8", 1)):
        assert worker.forked(at=step, count=count) == -signal.SIGKILL
        shutil.rmtree(worker.state)
    assert worker.forked() == 0
    assert worker.outputs() == clean
    shutil.rmtree(worker.state)
    assert worker.forked() == 0
    assert worker.outputs() == clean


def test_an_older_copy_of_the_state_catches_up(worker: Worker, clean: dict[str, bytes], tmp_path: Path) -> None:
    assert worker.forked(at="commit.1", count=3) == -signal.SIGKILL
    shutil.copytree(worker.state, tmp_path / "copy")
    assert worker.forked(at="commit.6", count=4) == -signal.SIGKILL
    for _ in range(2):
        shutil.rmtree(worker.state)
        shutil.copytree(tmp_path / "copy", worker.state)
        assert worker.forked() == 0
        assert worker.outputs() == clean


def test_a_full_disk_stops_it_with_a_clear_error_and_loses_nothing(worker: Worker, clean: dict[str, bytes]) -> None:
    limits = []
    for limit in (10_000, 40_000, 150_000):
        # A limit on file sizes refuses writes as a full disk does, and needs no rights.
        full = worker.command(
            capture_output=True, preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit,) * 2)
        )
        limits.append(full.returncode)
        if full.returncode:
            assert full.returncode == 8, full.stderr
            assert str(worker.root) in full.stderr
            assert "Traceback" not in full.stderr
    assert 8 in limits
    assert worker.forked() == 0
    assert worker.outputs() == clean


@pytest.mark.parametrize("step", ["commit.2", "commit.5"])
def test_a_disk_that_is_full_at_a_step_of_the_commit(worker: Worker, clean: dict[str, bytes], step: str) -> None:
    crash = ("-m", "streameval.testing.crash", "--at", step, "--count", "2", "--error", "ENOSPC", "--")
    full = worker.command(*crash, capture_output=True)
    assert full.returncode == 8, full.stderr
    assert "No space left" in full.stderr
    assert worker.forked() == 0
    assert worker.outputs() == clean


def test_sigterm_commits_and_exits_with_zero_and_the_next_run_goes_on(
    worker: Worker, stream: Stream, clean: dict[str, bytes], tmp_path: Path
) -> None:
    live = Worker(tmp_path / "live").feed(stream, before=1200).wake(stream)
    for before in (1200, len(stream.deliveries)):
        commits = live.commits()
        process = subprocess.Popen(live.words(until_end=False), stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while live.commits() == commits and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 0, told
        assert time.monotonic() - asked < 10
        live.feed(stream, after=before, before=len(stream.deliveries))
    assert live.forked() == 0
    assert live.outputs() == clean
