"""Figures of METHODS, table 1a, for e-SR: false alarms per 100,000 events, and the median delay from .05 to .08.

Run by hand: ``python tests/detect/bench_esr.py [runs]``. Per event, all runs side by side; in batches through `Esr`
itself. As in the table, the bounds are without the tolerance.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from streameval.detect.bounds import clopper_pearson
from streameval.detect.esr import Esr, bets

RATE, CHANGED, THRESHOLD = 0.05, 0.08, 1e6


def per_event(labels: np.ndarray, up: np.ndarray, down: np.ndarray, *, sides: int) -> list[list[int]]:
    """Alarm times of each run of labels[events, runs]; M restarts after an alarm."""
    bet = bets(up, down)[:, :sides]
    mean = np.stack([up, down], axis=1)[:, :sides, None]
    factor = np.stack([1.0 - bet * mean, 1.0 + bet * (1.0 - mean)])
    m = np.zeros(bet.shape)
    runs = np.arange(up.size)
    alarms: list[list[int]] = [[] for _ in runs]
    for t, y in enumerate(labels):
        m = factor[y, runs] * (m + 1.0)
        hit = m.mean(axis=2).max(axis=1) >= THRESHOLD
        if hit.any():
            for run in np.flatnonzero(hit):
                alarms[run].append(t)
            m[hit] = 0.0
    return alarms


def batched(rng: np.random.Generator, size: int, runs: int, events: int) -> float:
    """False alarms per 100,000 events with a known mean, in steps of `size`."""
    alarms = 0
    values, known = np.array([[0.0, 1.0]]), np.array([RATE])
    for _ in range(runs):
        esr = Esr(values, known, known.copy(), np.log(THRESHOLD), 0)
        for positives in rng.binomial(size, RATE, events // size):
            crossed = esr.step(np.array([size - positives, positives], dtype=np.float64), 0)
            if any(c.direction == "up" for c in crossed):
                alarms += 1
                esr = Esr(values, known, known.copy(), np.log(THRESHOLD), 0)
    return alarms / (runs * events) * 1e5


def main() -> None:
    """Print the table's e-SR rows."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    rng = np.random.default_rng(7)
    events = 300_000
    labels = (rng.random((events, runs)) < RATE).astype(np.int8)
    changed = (rng.random((12_000, runs)) < CHANGED).astype(np.int8)
    known = np.full(runs, RATE)

    def reference(size: int) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.array([clopper_pearson(k, size) for k in rng.binomial(size, RATE, runs).tolist()]).T
        return high, low

    rows = {
        "m known": (known, known, 1),
        "two-sided": (known, known, 2),
        "99.9 % bound from 10k": (*reference(10_000), 1),
        "99.9 % bound from 100k": (*reference(100_000), 1),
    }
    print(f"{'e-SR':28s} FA/100k  delay after 2k  after 20k   ({runs} runs of {events} events)")
    for name, (up, down, sides) in rows.items():
        alarms = per_event(labels, up, down, sides=sides)
        rate = sum(map(len, alarms)) / (runs * events) * 1e5
        delays = []
        for before in (2_000, 20_000):
            found = per_event(np.concatenate([labels[:before], changed]), up, down, sides=sides)
            first = [next((t - before for t in run if t >= before), changed.shape[0]) for run in found]
            delays.append(float(np.median(first)))
        print(f"{name:28s} {rate:7.3f} {delays[0]:15.0f} {delays[1]:10.0f}")
    for size in (30, 500, 20_000):
        print(f"batches of {size:6d}, m known     {batched(rng, size, 4 if size < 500 else 40, 1_000_000):7.3f}")
    esr = Esr(np.random.default_rng(0).random((4, 126)), np.full(4, 0.6), np.full(4, 0.4), 20.0, 0)
    counts = np.random.default_rng(1).poisson(4, 126).astype(np.float64)
    begun = time.perf_counter()
    for _ in range(5000):
        esr.step(counts, 0)
    step = time.perf_counter() - begun
    product = np.random.default_rng(2).random((56, 126))
    begun = time.perf_counter()
    for _ in range(5000):
        np.einsum("rc,c->r", product, counts)
    print(f"a step of 4 monitors: {step / 5000 * 1e6:.1f} us, {step / (time.perf_counter() - begun):.1f} x its product")


if __name__ == "__main__":
    main()
