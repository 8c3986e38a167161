"""The same laws with real processes, real SIGKILLs and disks that are really full."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import write_numbers

HERE = Path(__file__).parent
STEPS = [*(f"commit.{i}" for i in range(1, 9)), *(f"start.{i}" for i in range(1, 7))]
LOOP = [sys.executable, str(HERE / "tally.py")]


def crashing(at: str, count: int, *more: str) -> list[str]:
    module = [sys.executable, "-m", "streameval.testing.crash", "--at", at, "--count", str(count)]
    return [*module, *more, "--main", "tally:main", "--"]


def run(command: list[str], logs: Path, state: Path, seed: int, **options) -> subprocess.CompletedProcess:
    # The paths of the running interpreter, so that the child finds the same package and the loop beside this file.
    paths = os.pathsep.join([str(HERE), *(path for path in sys.path if path)])
    command = [*command, str(logs), str(state), str(seed)]
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_at_any_step_leaves_what_the_next_one_completes(
    numbers, tmp_path, clean, published, step
) -> None:
    state = tmp_path / "state"
    # Twice: the second one dies while it heals the first one's death, if it comes to this step at all.
    for seed, count in ((1, 1 if step.startswith("start") else 2), (2, 1)):
        killed = run(crashing(step, count), numbers, state, seed)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    ended = run(LOOP, numbers, state, 3)
    assert ended.returncode == 0, ended.stderr
    assert published(numbers) == clean


def test_a_process_killed_at_random_instants_leaves_what_the_next_one_completes(tmp_path, published) -> None:
    counts = (3000, 0, 1500)
    write_numbers(tmp_path / "a", counts)
    write_numbers(tmp_path / "b", counts)
    assert run(LOOP, tmp_path / "a", tmp_path / "state-a", 0).returncode == 0
    choose = random.Random(5)
    paths = os.pathsep.join([str(HERE), *(path for path in sys.path if path)])
    killed = 0
    for seed in range(6):
        command = [*LOOP, str(tmp_path / "b"), str(tmp_path / "state-b"), str(seed)]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths})
        commits = tmp_path / "b" / "commits" / "0.jsonl"
        before = commits.stat().st_size if commits.exists() else 0
        while process.poll() is None and (commits.stat().st_size if commits.exists() else 0) == before:
            time.sleep(0.005)
        time.sleep(choose.random() / 4)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 3
    ended = run(LOOP, tmp_path / "b", tmp_path / "state-b", 9)
    assert ended.returncode == 0, ended.stderr
    assert published(tmp_path / "b") == published(tmp_path / "a")


def test_a_second_process_on_the_same_state_is_told_who_holds_it(numbers, tmp_path) -> None:
    from streameval.transport.checkpoint import Checkpoints

    checkpoints = Checkpoints(tmp_path / "state", "tally")
    refused = run(LOOP, numbers, tmp_path / "state", 1)
    assert (refused.returncode, f"process {os.getpid()} already works" in refused.stderr) == (7, True)
    checkpoints.close()
    assert run(LOOP, numbers, tmp_path / "state", 1).returncode == 0


def test_a_full_disk_injected_by_the_wrapper_ends_with_the_cure(numbers, tmp_path, clean, published) -> None:
    full = run(crashing("commit.2", 2, "--error", "ENOSPC"), numbers, tmp_path / "state", 1)
    assert (full.returncode, "No space left on device (free some space" in full.stderr) == (8, True)
    assert run(LOOP, numbers, tmp_path / "state", 2).returncode == 0
    assert published(numbers) == clean


@pytest.mark.parametrize("limit", [100, 500, 900, 1500])
def test_a_limit_on_file_size_stops_with_the_cure_and_loses_nothing(numbers, tmp_path, clean, published, limit) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    full = run(LOOP, numbers, tmp_path / "state", 1, preexec_fn=limited)
    assert full.returncode == 8, full.stderr
    assert "File too large (raise the limit on file size" in full.stderr
    assert run(LOOP, numbers, tmp_path / "state", 2).returncode == 0
    assert published(numbers) == clean


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many 4 KiB pages."""
    path = tmp_path / "tiny"
    path.mkdir()

    def mount(pages: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "tmpfs", str(path)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("mounting a small file system needs root and the right to mount")
        return path

    yield mount
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["umount", str(path)], capture_output=True, check=False)


@pytest.mark.parametrize("what", ["state", "logs"])
@pytest.mark.parametrize("pages", [8, 12])
def test_a_disk_that_fills_up_stops_the_process_and_space_heals_it(tmp_path, published, tiny, what, pages) -> None:
    disk = tiny(pages)
    places = {"state": tmp_path / "state", "logs": tmp_path / "logs"} | {what: disk / what}
    counts = (600, 0, 40)
    write_numbers(places["logs"], counts)
    write_numbers(tmp_path / "clean", counts)
    assert run(LOOP, tmp_path / "clean", tmp_path / "clean-state", 0).returncode == 0
    full = run(LOOP, places["logs"], places["state"], 1)
    assert full.returncode == 8, full.stderr
    assert f"{disk}" in full.stderr
    assert "No space left on device (free some space" in full.stderr
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
    healed = run(LOOP, places["logs"], places["state"], 2)
    assert healed.returncode == 0, healed.stderr
    assert published(places["logs"]) == published(tmp_path / "clean")
