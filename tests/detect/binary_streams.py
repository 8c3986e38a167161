"""Simulated streams of a binary model: two Gaussian classes, scored by a model that was right at the start."""

from __future__ import annotations

import msgspec
import numpy as np

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
