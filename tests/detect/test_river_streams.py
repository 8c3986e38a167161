"""River's own detectors on River's own docstring streams: the figures that River publishes (METHODS, section 9)."""

from __future__ import annotations

import random

import pytest
from river.drift import ADWIN, KSWIN
from river.drift.binary import DDM, HDDMA


def first_drift(detector: object, stream: list[float]) -> int | None:
    """The first position at which a detector signals."""
    for at, x in enumerate(stream):
        detector.update(x)  # type: ignore[attr-defined]
        if detector.drift_detected:  # type: ignore[attr-defined]
            return at
    return None


def levels() -> list[float]:
    """Integers from {0, 1}, then from {4..7}."""
    rng = random.Random(12345)
    return rng.choices([0, 1], k=1000) + rng.choices(range(4, 8), k=1000)


def errors(seed: int) -> list[float]:
    """Fair coins, then coins that show 1 in 70 of 100."""
    rng = random.Random(seed)
    return rng.choices([0, 1], k=1000) + rng.choices([0, 1], k=1000, weights=[0.3, 0.7])


@pytest.mark.parametrize(
    ("detector", "stream", "at"),
    [
        (ADWIN(), levels(), 1023),
        (KSWIN(alpha=0.0001, seed=42), levels(), 1016),
        (DDM(), errors(42), 1334),
        (HDDMA(), errors(42), 1206),
    ],
)
def test_the_docstring_figures_are_reproduced(detector: object, stream: list[float], at: int) -> None:
    assert first_drift(detector, stream) == at
