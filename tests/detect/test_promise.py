"""The promise: streams that never change raise no confirmed alarm in a million events, whatever their model.

Ten million by hand, and through the whole engine: ``bench_promise.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import STEP, YEAR, scores

from streameval.detect.examples import Examples
from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import bin_of

MINUTE = 60_000


def stationary(seed: int, events: int, *, prevalence: float, apart: float, positives: int = 250) -> tuple[Watch, list]:
    """A watch after so many events, 500 a minute, and its confirmed alarms."""
    rng = np.random.default_rng(seed)
    watch, alarms = Watch(20_000, positives, YEAR, costs=(1.0, 10.0), advisory=()), []
    for k in range(events // STEP):
        score, y = scores(rng, STEP, prevalence=prevalence, apart=apart, trained=0.05)
        at = np.full(STEP, k * MINUTE)
        examples = Examples(at, rng.integers(0, 2**63, STEP).astype(np.uint64), bin_of(score), y)
        evidence = BinaryEvidence.of(score, y)
        alarms += watch.step(evidence, k * MINUTE, (k + 1) * MINUTE, 1 / 11, lambda e=examples: e)
    return watch, alarms


@pytest.mark.parametrize(
    ("prevalence", "apart"),
    [(0.05, 2.0), (0.3, 1.0), (0.005, 3.0), (0.05, 0.0)],
    ids=["calibrated", "miscalibrated", "rare positives", "labels that know nothing of scores"],
)
def test_a_million_stationary_events_raise_no_confirmed_alarm(prevalence: float, apart: float) -> None:
    watch, alarms = stationary(int(1000 * prevalence), 250_000, prevalence=prevalence, apart=apart)
    assert alarms == []
    assert watch.phase == "watching"
