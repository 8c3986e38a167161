"""Figures of the join: bytes a row, put, match, advance, export, restore: `python tests/join/bench_join.py [rows]`.

Times are of the CPU; beside each stands its ratio to a bare numpy pass in the same run: one sort of the hashes, batch
by batch, and one copy of the other input columns.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

from streameval.join import Join

DAY = 86_400_000
RATE = 50  # predictions a second of stream time
BATCH = 50_000


def rss() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def line(name: str, seconds: float, events: int, bare: float | None = None) -> None:
    ratio = f"{seconds / bare:8.1f} x bare" if bare else ""
    print(f"{name:46s}{seconds:9.3f} s {seconds / max(1, events) * 1e6:9.3f} us/event {ratio}", flush=True)


def stream(n: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    ts = np.arange(n, dtype=np.int64) * 1000 // RATE
    return ts, rng.integers(0, 2**64, n, dtype=np.uint64), rng.random(n), rng.integers(0, 25, n).astype(np.int32)


def bare(*columns: np.ndarray) -> float:
    """Seconds for one copy of the columns, batch by batch; hashes are sorted."""
    began = time.process_time()
    for low in range(0, len(columns[0]), BATCH):
        for column in columns:
            np.sort(column[low : low + BATCH]) if column.dtype == np.uint64 else column[low : low + BATCH].copy()
    return time.process_time() - began


def new(wait: int = 30 * DAY) -> Join:
    return Join(interval=60_000, wait=wait, amend=DAY, early=3_600_000, give_up=7 * DAY, missing="negative")


def fill(join: Join, columns: tuple[np.ndarray, ...], batch: int = BATCH) -> float:
    ts, h, score, kind = columns
    n = len(ts)
    version = np.zeros(n, np.int16)
    began = time.process_time()
    for low in range(0, n, batch):
        s = slice(low, low + batch)
        join.put(0, ts[s], ts[s], h[s], score[s], kind[s], version[s])
        join.advance(int(ts[s][-1]) + 1)
    return time.process_time() - began


def large(n: int) -> None:
    print(f"-- {n:,} retained rows")
    ts, h, score, kind = columns = stream(n)
    before = rss()
    join = new()
    seconds = fill(join, columns)
    base = bare(ts, ts, h, score, kind)
    line("put and advance, batches of 50k", seconds, n, base)
    resident = (rss() - before) / n
    print(f"bytes a row: columns {join.nbytes / n:.1f}, resident {resident:.1f}; runs {len(join._rows.runs)}")
    rng = np.random.default_rng(2)
    now = int(ts[-1]) + 1
    for size in (50_000, 5_000):
        m = min(n, 40 * size)
        pick = rng.permutation(n)[:m]
        at = np.sort(rng.integers(now, now + 600_000, m))
        label = rng.integers(0, 2, m).astype(float)
        base = bare(at, at, h[pick], label)
        began = time.process_time()
        for low in range(0, m, size):
            s = slice(low, low + size)
            join.match(1, at[s], at[s], h[pick[s]], label[s], {})
            join.advance(int(at[s][-1]))
        line(f"match and advance, batches of {size:,}", time.process_time() - began, m, base)
        now = int(at[-1]) + 1
    blobs: dict[str, np.ndarray] = {}
    began = time.process_time()
    meta, more = join.export(set())
    line("export, full", time.process_time() - began, n)
    blobs.update(more)
    m = 20_000
    at = np.full(m, now)
    join.match(1, at, at, h[rng.permutation(n)[:m]], np.ones(m), {})
    join.advance(now + 1)
    began = time.process_time()
    meta, more = join.export(set(blobs))
    line("export, after 20k outcomes", time.process_time() - began, m)
    print(f"   {sum(b.nbytes for b in more.values()) / 1e6:.1f} MB in {len(more)} blobs, of {len(blobs)}")
    blobs.update(more)
    held = join.nbytes
    began = time.process_time()
    Join.restore(meta, blobs.__getitem__)
    line("restore", time.process_time() - began, n)
    print(f"   {held / 1e6:.0f} MB; first advance after it builds the cohort index")
    began = time.process_time()
    join.advance(now + 60 * DAY)
    line("mature and expire all", time.process_time() - began, n, bare(ts, ts, h, score, kind))


def steady() -> None:
    print("-- steady stream: 1,000 predictions/s, outcomes 200 s later")
    n = 2_000_000
    rng = np.random.default_rng(3)
    ts = np.arange(n, dtype=np.int64)
    h = rng.integers(0, 2**64, n, dtype=np.uint64)
    score = rng.random(n)
    zero = np.zeros(n, np.int32)
    label = (score > 0.9).astype(float)
    for size in (1_000, 20_000):
        join = Join(interval=60_000, wait=3_600_000, amend=1_800_000, early=600_000, give_up=DAY, missing="negative")
        began = time.process_time()
        matured = 0
        top = 400_000 if size == 1_000 else n
        for low in range(0, top, size):
            s = slice(low, low + size)
            join.put(0, ts[s], ts[s], h[s], score[s], zero[s], zero[s])
            o = slice(max(0, low - 200_000), max(0, low - 200_000 + size))
            if low >= 200_000:
                at = ts[o] + 200_000
                join.match(1, at, at, h[o], label[o], {})
            matured += len(join.advance(int(ts[s][-1]) + 1).matured.ts)
        line(f"whole join, advance every {size:,} events, matured {matured:,}", time.process_time() - began, top)


def sparse() -> None:
    print("-- sparse stream: one row a cohort")
    n = 20_000
    ts = np.arange(n, dtype=np.int64) * 1_800_000
    h = np.random.default_rng(4).integers(0, 2**64, n, dtype=np.uint64)
    zero = np.zeros(n, np.int32)
    for size in (n, 500, 1):
        top = n if size > 1 else 2_000
        join = Join(interval=60_000, wait=2 * DAY, amend=DAY, early=3_600_000, give_up=7 * DAY, missing="drop")
        began = time.process_time()
        rows = 0
        for low in range(0, top, size):
            s = slice(low, min(top, low + size))
            join.put(0, ts[s], ts[s], h[s], zero[s], zero[s], zero[s])
            at = ts[s] + DAY
            join.match(1, at, at, h[s], zero[s], {})
            rows += len(join.advance(int(ts[s][-1]) + 1).matured)
        rows += len(join.advance(int(ts[top - 1]) + 10 * DAY).matured)
        line(f"advance every {size:,}, cohorts {rows:,}", time.process_time() - began, top)


if __name__ == "__main__":
    large(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)  # first: memory freed before would hide what it takes
    large(4_000_000)
    steady()
    sparse()
