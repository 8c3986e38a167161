"""METHODS' table 1a and the lines under it: false alarms per 100,000 events, and median delays from .05 to .08.

Run by hand: ``python tests/detect/bench_esr.py [share] [seed]``; a share of 1 takes some three minutes. River's
detectors and the cumulative sum run event by event; e-SR per event, all runs side by side, in batches and with seasons
through the shipped `Esr`; conformal SR is the shipped `Conformal` in steps of 50. As in the table, c = 1e6, tempering
1, and bounds are without the tolerance. Beside each figure stands that of METHODS.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from binary_streams import YEAR
from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import DDM, EDDM, HDDMA
from seasonal_streams import feed, steps

from streameval.detect.bounds import clopper_pearson
from streameval.detect.conformal import Conformal
from streameval.detect.esr import Esr, bets
from streameval.detect.examples import Examples
from streameval.detect.hours import Hours
from streameval.detect.label_counts import LabelCounts
from streameval.detect.life import Watch
from streameval.detect.season import season_of

RATE, CHANGED, THRESHOLD = 0.05, 0.08, 1e6
SHOWN = 12_000
COIN = np.array([[0.0, 1.0]])


def per_event(labels: np.ndarray, up: np.ndarray, down: np.ndarray, *, sides: int) -> list[list[int]]:
    """Alarm times of e-SR in each run of labels[events, runs]; M restarts after an alarm."""
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


def likelihood_ratio(labels: np.ndarray) -> list[list[int]]:
    """Alarm times of the cumulative sum that knows both rates, in each run."""
    factor = np.log([(1 - CHANGED) / (1 - RATE), CHANGED / RATE])
    total, alarms = np.zeros(labels.shape[1]), [[] for _ in range(labels.shape[1])]
    for t, y in enumerate(labels):
        total = np.maximum(total, 0.0) + factor[y]
        for run in np.flatnonzero(total >= np.log(THRESHOLD)):
            alarms[run].append(t)
            total[run] = 0.0
    return alarms


def river(make: Callable, labels: np.ndarray) -> list[list[int]]:
    """Alarm times of one of River's detectors in each run."""
    alarms = []
    for run in labels.T.tolist():
        detector, found = make(), []
        update = detector.update
        for t, x in enumerate(run):
            update(x)
            if detector.drift_detected:
                found.append(t)
        alarms.append(found)
    return alarms


def conformal(labels: np.ndarray, size: int = 50) -> list[list[int]]:
    """Alarm times of conformal SR on the label, upward, in each run; it forgets nothing but M after an alarm."""
    alarms = []
    for number, run in enumerate(labels.T):
        guard, found = Conformal(0, 0.2), []
        for t in range(0, run.size, size):
            y = run[t : t + size]
            ids = np.arange(t, t + y.size, dtype=np.uint64) + np.uint64(number << 40)
            guard.step(Examples(np.full(y.size, t), ids, np.full(y.size, 3000, np.int16), y).ordered(), t)
            if guard.log_statistic[0, 0] >= np.log(THRESHOLD):
                found.append(t + y.size)
                guard.recursion.restart(slice(None), t)
        alarms.append(found)
    return alarms


def row(name: str, methods: str, find: Callable, labels: np.ndarray, changed: np.ndarray, learnt: int = 0) -> None:
    """One row: false alarms, and delays after 2k and 20k events beyond those that are learnt from."""
    rate = sum(map(len, find(labels))) / labels.size * 1e5
    said = []
    for before in (2_000 + learnt, 20_000 + learnt):
        found = find(np.concatenate([labels[:before, : changed.shape[1]], changed]))
        first = [next((t - before for t in run if t >= before), None) for run in found]
        missed = first.count(None) / len(first)
        delays = [np.inf if t is None else t for t in first]
        middle = float(np.median(delays))
        said.append(("missed" if middle == np.inf else f"{middle:.0f}") + (f" ({missed:.0%} missed)" if missed else ""))
    print(f"{name:30s} {rate:8.3f}   {said[0]:>20s} {said[1]:>20s}   METHODS {methods}", flush=True)


def batched(rng: np.random.Generator, size: int, events: int) -> float:
    """False alarms per 100,000 events with a known mean, in steps of `size`."""
    alarms, known = 0, np.array([RATE])
    esr = Esr(COIN, known, known.copy(), np.log(THRESHOLD), 0)
    for positives in rng.binomial(size, RATE, events // size):
        crossed = esr.step(np.array([size - positives, positives], dtype=np.float64), 0)
        if any(c.direction == "up" for c in crossed):
            alarms += 1
            esr = Esr(COIN, known, known.copy(), np.log(THRESHOLD), 0)
    return alarms / events * 1e5


def swinging(rng: np.random.Generator, events: int, a_day: int = 20_000) -> np.ndarray:
    """Labels whose rate swings by 30 % a day."""
    return (rng.random(events) < 0.05 * (1 + 0.3 * np.sin(2 * np.pi * np.arange(events) / a_day))).astype(np.int8)


def bursty(rng: np.random.Generator, events: int) -> np.ndarray:
    """Labels of two states, .04 for 9,000 events on average and .14 for 1,000."""
    rate = np.empty(events)
    at, high = 0, False
    while at < events:
        hold = 1 + int(rng.exponential(1_000 if high else 9_000))
        rate[at : at + hold] = 0.14 if high else 0.04
        at, high = at + hold, not high
    return (rng.random(events) < rate).astype(np.int8)


def unchanging(rng: np.random.Generator, share: float) -> None:
    """Streams whose long-run mean never changes."""
    runs, events = max(int(8 * share), 2), 200_000
    print("\nFA/100k where the long-run mean never changes: daily swing of 30 % | bursts of .14 in .04")
    kinds = [np.stack([make(rng, events) for _ in range(runs)], axis=1) for make in (swinging, bursty)]
    known = np.full(runs, RATE)
    for name, methods, find in (
        ("ADWIN", "8.2 | 6.1", lambda labels: river(ADWIN, labels)),
        ("PageHinkley", "9.4 | 4.3", lambda labels: river(PageHinkley, labels)),
        ("e-SR, constant m, eta 1", "6.3 | 15.3", lambda labels: per_event(labels, known, known, sides=2)),
    ):
        rates = [sum(map(len, find(labels))) / labels.size * 1e5 for labels in kinds]
        print(f"{name:30s} {rates[0]:8.2f} | {rates[1]:.2f}   METHODS {methods}", flush=True)
    found = []
    for labels in kinds:
        seen = [0, 0, 0]
        for number in range(runs):
            watch = Watch(40_000, 250, YEAR, advisory=())
            rate = labels[:, number]
            for stepped in islice(_scored(rng, rate), events // 500):
                for alarm in feed(watch, stepped, 0.5):
                    seen[0 if alarm.detector == "e_sr" else 1] += 1
                seen[2] += 500 * (watch.phase == "watching")
        found.append((seen[0] / max(seen[2], 1) * 1e5, seen[1]))
    print(
        f"{'all monitors with the rules':30s} {found[0][0]:8.2f} | {found[1][0]:.2f}   METHODS near 0; while learning, "
        f"in {runs} streams each, the guard spoke {found[0][1]} | {found[1][1]} times"
    )


def _scored(rng: np.random.Generator, labels: np.ndarray, a_day: int = 20_000) -> Iterator[tuple]:
    rates = iter(labels.reshape(-1, 500))
    return steps(rng, lambda ts: next(rates).astype(float), a_day)


def seasons(rng: np.random.Generator, share: float) -> None:
    """Two harmonics with 3.09 standard errors on the label, from references of 20k and 80k events, 10k a day."""
    print("\nSeason by two harmonics, label upward, reference of 20k | 80k events at 10k a day")
    runs = max(int(30 * share), 4)
    for learnt, methods in ((20_000, ".002, delay 3034"), (80_000, "0, delay 1428")):
        alarms, events, delays, known = 0, 0, [], 0
        for _ in range(runs):
            per_hour = 10_000 / 24
            hour = np.arange((learnt + 400_000) * 24 // 10_000)
            rate = 0.05 * (1 + 0.3 * np.sin(2 * np.pi * (hour + 0.5) / 24))
            counts = rng.poisson(per_hour, hour.size)
            cut, hours = learnt * 24 // 10_000, Hours()
            positives = rng.binomial(counts, rate)
            for h in range(cut):
                hours.add(
                    h, LabelCounts(np.array([0], np.int16), np.array([[counts[h] - positives[h]], [positives[h]]]))
                )
            cells = hours.counts.shape[1]
            season = season_of(hours, np.repeat([[0.0, 1.0]], cells // 2, axis=1).reshape(1, -1), 0, np.array([0.95]))
            known += bool(season.waves)
            if not season.waves:
                continue
            for changed in (1.0, 1.6):
                esr = Esr(COIN, np.array([0.5]), np.array([0.001]), np.log(THRESHOLD), 0)
                found = rng.binomial(counts[cut:], np.minimum(rate[cut:] * changed, 1.0))
                for k, (n, y) in enumerate(zip(counts[cut:].tolist(), found.tolist(), strict=True)):
                    high, low = season.bounds(cut + k)[0]
                    esr.bound(np.array([high]), np.array([low]))
                    crossed = esr.step(np.array([n - y, y], dtype=float), k)
                    if any(c.direction == "up" for c in crossed):
                        if changed > 1.0:
                            delays.append(int(counts[cut : cut + k + 1].sum()))
                            break
                        alarms += 1
                        esr.recursion.restart(slice(None), k)
                events += 400_000 if changed == 1.0 else 0
        rate = alarms / max(events, 1) * 1e5
        said = f"season found {known}/{runs}, {rate:.4f}, delay {np.median(delays):.0f}"
        print(f"reference {learnt}: {said}   METHODS {methods}")


def main() -> None:
    """Print the table."""
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 7)
    runs, few = max(int(40 * share), 4), max(int(10 * share), 3)
    events = 300_000
    labels = (rng.random((events, runs)) < RATE).astype(np.int8)
    changed = (rng.random((SHOWN, runs)) < CHANGED).astype(np.int8)
    known = np.full(runs, RATE)
    print(f"{'':30s}  FA/100k        after 2k events     after 20k events   ({runs} or {few} runs of {events} events)")
    for name, methods, make in (
        ("ADWIN", "0.020, 4464 (38 % missed), 1392", lambda: ADWIN(delta=0.002)),
        ("PageHinkley", "1.62, 4233, 1438", PageHinkley),
        ("DDM", "0.18, 916, 4202", DDM),
        ("EDDM", "4.1, 212, 360", EDDM),
        ("HDDM_A", "0, missed, 5310", HDDMA),
    ):
        row(
            name,
            methods,
            lambda part, make=make: river(make, part),
            labels[:, :few],
            changed[:, : max(few, 6)][:, :few],
        )
    values = rng.beta(1, 19, (10_000, 2))
    alarms = sum(map(len, river(lambda: KSWIN(seed=1), values)))
    print(f"{'KSWIN on Beta(1,19) values':30s} {alarms / values.size * 1e5:8.0f}   METHODS 103", flush=True)
    row("likelihood-ratio CUSUM", ".0005, 1428, 1416", likelihood_ratio, labels, changed)

    def reference(size: int) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.array([clopper_pearson(k, size) for k in rng.binomial(size, RATE, runs).tolist()]).T
        return high, low

    for name, methods, bounds, sides in (
        ("e-SR, m known", ".078, 912, 960", (known, known), 1),
        ("e-SR two-sided", ".088, 1030, 1050", (known, known), 2),
        ("e-SR, 99.9 % bound from 10k", ".004, 1746, 1793", reference(10_000), 1),
        ("e-SR, 99.9 % bound from 100k", ".016, 1136, 1168", reference(100_000), 1),
    ):

        def find(
            part: np.ndarray, bounds: tuple[np.ndarray, np.ndarray] = bounds, sides: int = sides
        ) -> list[list[int]]:
            up, down = (bound[: part.shape[1]] for bound in bounds)
            return per_event(part, up, down, sides=sides)

        row(name, methods, find, labels, changed)
    half = max(runs // 3, 3)
    row("conformal SR, 10k reference", ".075, 1094, 1054", conformal, labels[:, :half], changed[:, :half], 10_000)
    print("\nbatches of 30 / 500 / 20k, m known (METHODS .055 / .023 / .003):", end=" ")
    sizes = ((30, 3_000_000), (500, 40_000_000), (20_000, 200_000_000))
    print(" / ".join(f"{batched(rng, size, int(share * total)):.3f}" for size, total in sizes))
    unchanging(rng, share)
    seasons(rng, share)
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
    print(
        f"\na step of 4 monitors: {step / 5000 * 1e6:.1f} us, {step / (time.perf_counter() - begun):.1f} x its product"
    )


if __name__ == "__main__":
    main()
