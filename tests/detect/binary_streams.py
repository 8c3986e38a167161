"""Simulated streams of a binary model: two Gaussian classes, scored by a model that was right at the start."""

from __future__ import annotations

import msgspec
import numpy as np

from streameval.detect.examples import Examples
from streameval.evidence.binary import BinaryEvidence

STEP = 500
YEAR = 365 * 86_400_000


def scores(
    rng: np.random.Generator, n: int, *, prevalence: float = 0.05, apart: float = 2.0, trained: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a model trained at prevalence `trained` on classes 2 apart, and labels; the classes are `apart`."""
    y = (rng.random(n) < prevalence).astype(np.int8)
    x = rng.normal(apart * y, 1.0)
    return 1.0 / (1.0 + np.exp(-(np.log(trained / (1.0 - trained)) + 2.0 * (x - 1.0)))), y


def step(rng: np.random.Generator, n: int = STEP, *, prevalence: float = 0.05, apart: float = 2.0) -> BinaryEvidence:
    """The evidence of one step."""
    return BinaryEvidence.of(*scores(rng, n, prevalence=prevalence, apart=apart))


def frozen(state: dict[str, object]) -> bytes:
    """A state as bytes, to compare every bit of it."""
    return msgspec.msgpack.encode(state, enc_hook=lambda array: [array.dtype.str, array.tobytes()])


def as_examples(evidence: BinaryEvidence, at: int) -> Examples:
    """A histogram's events one by one, all of the cohort `at` (ms); their ids are numbers that no other step has."""
    bins = np.concatenate([np.repeat(evidence.bins, evidence.counts[label]) for label in (0, 1)])
    label = np.repeat(np.array([0, 1], np.int8), evidence.counts.sum(axis=1))
    ids = np.arange(bins.size, dtype=np.uint64) + (np.uint64(at + 1) << np.uint64(20))
    return Examples(np.full(bins.size, at, dtype=np.int64), ids, bins, label)
