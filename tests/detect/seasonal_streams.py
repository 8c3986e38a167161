"""Simulated streams whose prevalence follows the hour of the day, or comes in bursts, as steps with their examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from binary_streams import STEP, scores

from streameval.detect.examples import Examples
from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import bin_of

DAY = 86_400_000
MINUTE = 60_000
Rate = Callable[[np.ndarray], np.ndarray]
Stepped = tuple[BinaryEvidence, int, int, Examples]


def daily(mean: float = 0.05, amplitude: float = 0.3) -> Rate:
    """A prevalence that swings once a day."""
    return lambda ts: mean * (1.0 + amplitude * np.sin(2.0 * np.pi * ts / DAY))


def bursts(rng: np.random.Generator, low: float = 0.04, high: float = 0.14, hold: float = DAY / 4) -> Rate:
    """Two states; how long each is held is exponential, with mean `hold` (ms). Times must ascend."""
    turn, state = 0.0, 1

    def rate(ts: np.ndarray) -> np.ndarray:
        nonlocal turn, state
        out = np.empty(ts.size)
        for k, at in enumerate(ts.tolist()):
            while at >= turn:
                turn += rng.exponential(hold)
                state ^= 1
            out[k] = (low, high)[state]
        return out

    return rate


def steps(rng: np.random.Generator, rate: Rate, per_day: int, first: int = 0, n: int = STEP) -> Iterator[Stepped]:
    """Steps of n events at `per_day` events a day, cohorts a minute; the model's scores are of prevalence .05."""
    event = first
    while True:
        ts = ((event + np.arange(n)) * (DAY / per_day)).astype(np.int64)
        score, y = scores(rng, n, prevalence=rate(ts))
        cohort = ts - ts % MINUTE
        examples = Examples(cohort, rng.integers(0, 2**63, n).astype(np.uint64), bin_of(score), y)
        yield BinaryEvidence.of(score, y), int(cohort[0]), int(cohort[-1]) + MINUTE, examples
        event += n


def feed(watch: Watch, stepped: Stepped, threshold: float = 1 / 11) -> list:
    """One step into a watch."""
    evidence, start, end, examples = stepped
    return watch.step(evidence, start, end, threshold, lambda: examples)
