"""How fast logs are read and checkpoints made: ``pytest -m bench -s tests/transport/bench_logdir.py``.

Every figure is a ratio to something simpler measured in the same run.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from streameval.transport.checkpoint import Checkpoints
from streameval.transport.commit import Committer
from streameval.transport.logdir import LogDir
from streameval.transport.protocol import Outbox

EVENTS = 1_000_000
LINE = (
    b'{"id":"3f2b8a52-7d7e-4f5a-9c1e-0a4b5c6d7e8f","model":"fraud","version":"7","ts":"2026-01-01T00:00:00.000Z",'
    b'"score":0.123456,"segments":{"country":"NL","tier":"gold"},"features":{"amount":12.5,"age":33}}\n'
)


def timed(work) -> float:
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


@pytest.mark.bench
def test_reading_compared_with_bare_lines(tmp_path: Path) -> None:
    path = tmp_path / "predictions" / "0.jsonl"
    path.parent.mkdir()
    path.write_bytes(LINE * EVENTS)

    def bare() -> None:
        with path.open("rb") as file:
            assert sum(1 for _ in file) == EVENTS

    def read(step: int) -> None:
        transport = LogDir(tmp_path)
        transport.assign({("predictions", 0): 0})
        count = 0
        while (batch := transport.read("predictions", 0, step)) is not None:
            count += len(batch)
        assert count == EVENTS
        transport.close()

    lines = timed(bare)
    print(f"\niterating over the lines: {lines / EVENTS * 1e6:.3f} µs an event")
    for step in (500, 5_000, 100_000):
        ours = timed(lambda step=step: read(step))
        print(f"read({step}): {ours / lines:.2f} times that, {(ours - lines) / EVENTS * 1e6:+.3f} µs an event")
    transport = LogDir(tmp_path)
    transport.assign({("predictions", 0): EVENTS})
    hints = transport.hints()
    seek = timed(lambda: LogDir(tmp_path).assign({("predictions", 0): EVENTS}))
    hinted = timed(lambda: LogDir(tmp_path).assign({("predictions", 0): EVENTS}, hints))
    look = timed(lambda: [transport.read("predictions", 0, 100) for _ in range(1000)])
    print(f"opening at the end without hints: {seek / lines:.2f} times that; with: {hinted / seek:.5f} of without")
    print(f"a look at a log without news: {look / 1000 / (lines / EVENTS):.0f} lines' time ({look * 1e3:.1f} µs)")


@pytest.mark.bench
def test_a_checkpoint_compared_with_writing_its_bytes(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).integers(0, 2**63, (50, 1_000_000), "i8")

    def bare() -> None:
        with (tmp_path / "bare").open("wb") as file:
            file.write(rows[0].data)
            os.fsync(file.fileno())

    checkpoints = Checkpoints(tmp_path / "state", "w")
    transport = LogDir(tmp_path / "logs")
    committer = Committer(transport, checkpoints, "w", ["out"])
    committer.start()

    def commit(count: int) -> float:
        blobs = {f"rows-{i}": rows[i] for i in range(count)}
        begun = time.perf_counter()
        committer.commit(state={}, blobs=blobs, outbox=Outbox(), T=None, positions={})
        return time.perf_counter() - begun

    simple = timed(bare)
    commit(49)
    print(f"\none segment of 8 MB written bare and forced: {simple * 1e3:.1f} ms")
    print(f"commit of 392 MB stored and one such segment new: {commit(50) / simple:.2f} times that")
    print(f"commit with nothing new: {min(commit(50) for _ in range(10)) / simple:.2f} times that")
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "state", "w")
    whole = timed(lambda: [np.fromfile(path, np.uint8) for path in (tmp_path / "state" / "blobs").iterdir()])
    print(f"loading 400 MB with digests: {timed(checkpoints.load) / whole:.2f} times reading the files ({whole:.2f} s)")
