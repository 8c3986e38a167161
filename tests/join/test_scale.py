"""At the sizes of real use: many small batches with restarts give, bit for bit, what one large batch gives."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from streameval.join import Advance, Join

N = 40_000


def events(seed, lateness, delay):
    """One partition: times out of order, logical times as a reader finds them, ids of up to `delay` events before."""
    rng = np.random.default_rng(seed)
    ts = np.arange(N) * 100 - np.where(rng.random(N) < 0.1, rng.integers(0, 300_000, N), 0)
    clock = np.maximum.accumulate(np.concatenate([[-(10**9)], ts[:-1]])) - lateness
    ids = (np.arange(N) // 2 * 2 + rng.integers(0, 3, N) - rng.integers(0, delay + 1, N)) % 30_000
    hashes = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    log = {"ts": ts, "lt": np.maximum(ts, clock), "hash": hashes, "x": rng.random(N), "v": rng.integers(0, 2, N)}
    if not delay:
        return log
    # Labels are silent for the middle third of the time.
    heard = (log["lt"] < N // 3 * 100) | (log["lt"] > 2 * N // 3 * 100)
    return {name: column[heard] for name, column in log.items()}


def give(join, part, log, s):
    ts, lt, h = log["ts"][s], log["lt"][s], log["hash"][s]
    if part < 2:
        join.put(part, ts, lt, h, log["x"][s], log["v"][s] * 3, log["v"][s])
    else:
        label = np.where(log["x"][s] < 0.2, np.nan, log["v"][s])
        join.match(part, ts, lt, h, label, {"revenue": np.round(log["x"][s], 1)})


def read(logs, step, seed):
    rng = np.random.default_rng(seed)
    join = Join(
        interval=60_000,
        wait=600_000,
        amend=300_000,
        early=60_000,
        give_up=120_000,
        missing="negative",
        kpis=("revenue",),
    )
    at, acts, kept = [0] * len(logs), [], {}
    # What is still to be read bounds the clock from below.
    least = [np.minimum.accumulate(log["lt"][::-1])[::-1] for log in logs]
    sizes = [len(log["ts"]) for log in logs]
    while left := [p for p in range(len(logs)) if at[p] < sizes[p]]:
        part = int(rng.choice(left))
        size = int(rng.integers(1, 2 * step))
        give(join, part, logs[part], slice(at[part], at[part] + size))
        at[part] = min(sizes[part], at[part] + size)
        now = min((int(least[p][at[p]]) for p in range(len(logs)) if at[p] < sizes[p]), default=N * 100)
        acts.append(join.advance(now))
        if rng.random() < 0.1:
            meta, blobs = join.export(set(kept))
            kept.update((name, blob.tobytes()) for name, blob in blobs.items())
            if rng.random() < 0.5:
                join = Join.restore(meta, kept.__getitem__)
    acts.append(join.advance(10 * N * 100))
    return join, Advance.join(acts)


def same(one, two):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if isinstance(a, dict):
            assert a.keys() == b.keys()
            assert all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)
        else:
            assert np.array_equal(a, b), field.name


@pytest.mark.parametrize("step", [300, 5000])
def test_many_batches_and_restarts_give_what_one_batch_gives(step):
    logs = [events(1, 60_000, 0), events(2, 60_000, 0), events(3, 120_000, 9000), events(4, 0, 9000)]
    (one, whole), (two, pieces) = read(logs, 10**6, 0), read(logs, step, 1)
    reached = (len(whole.matured), len(whole.amended), len(whole.late), one.duplicates, one.unlabelled, one.unproven)
    assert min(reached) > 10
    for name in ("closed", "matured", "amended", "late"):
        same(getattr(whole, name), getattr(pieces, name))
    counters = (
        "taken",
        "duplicates",
        "matched",
        "orphans",
        "amended",
        "repeated",
        "late",
        "unlabelled",
        "unproven",
        "expired",
    )
    assert [getattr(one, c) for c in counters] == [getattr(two, c) for c in counters]


def test_a_row_takes_at_most_forty_bytes_with_two_tags_and_one_more_for_each_that_fits_a_byte():
    held = {}
    n = 200_000
    ts, column = np.arange(n) * 10, np.arange(n) % 200
    hashes = np.random.default_rng(1).integers(0, 2**64, n, dtype=np.uint64)
    for tags in (0, 2, 4, 8):
        join = Join(interval=60_000, wait=10**9, amend=0, early=0, give_up=0, missing="drop", tags=tags)
        join.put(0, ts, ts, hashes, ts / 1e9, column, column, ts, [column] * tags)
        join.advance(n * 10)
        held[tags] = join.nbytes / n
    assert held[2] < 40
    assert [round(held[tags] - held[0], 1) for tags in (2, 4, 8)] == [2, 4, 8]
