"""Bounds of a reference's mean hold as often as they say, and are narrow where events are rare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from streameval.detect.bounds import betting, clopper_pearson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 50), (50, 50), (20, 20_000)])
def test_clopper_pearson_is_scipys_exact_interval(k: int, n: int) -> None:
    exact = binomtest(k, n).proportion_ci(0.998, "exact")
    assert clopper_pearson(k, n) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("positives", "ratio"), [(20, 1.9), (60, 1.5), (250, 1.2), (1000, 1.1)])
def test_the_smallest_detectable_ratio_is_that_of_the_methods(positives: int, ratio: float) -> None:
    events = positives * 1000
    assert clopper_pearson(positives, events)[1] / (positives / events) == pytest.approx(ratio, abs=0.05)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 500)), min_size=1, max_size=8))
def test_the_betting_bound_encloses_the_mean(cells: list[tuple[float, int]]) -> None:
    values, counts = np.array([v for v, _ in cells]), np.array([float(n) for _, n in cells])
    low, high = betting(values, counts)
    assert 0.0 <= low <= high <= 1.0
    if counts.sum():
        mean = values @ counts / counts.sum()
        assert low - 1e-8 <= mean <= high + 1e-8


def test_the_betting_bound_misses_no_more_often_than_it_says() -> None:
    """At alpha = .05 a side, 500 samples: 25 misses are allowed, 39 and more have a probability of .4 %."""
    rng = np.random.default_rng(5)
    values, weights = np.array([0.0, 0.2, 0.5, 1.0]), np.array([0.7, 0.2, 0.06, 0.04])
    mean, missed = values @ weights, [0, 0]
    for counts in rng.multinomial(400, weights, 500).astype(float):
        low, high = betting(values, counts, alpha=0.05)
        missed[0] += low > mean
        missed[1] += high < mean
    assert max(missed) <= 38


def test_the_betting_bound_is_narrow_for_rare_events() -> None:
    """Where empirical Bernstein gives 250 % of a prevalence of .001, betting stays near Clopper-Pearson."""
    low, high = betting(np.array([0.0, 1.0]), np.array([249_750.0, 250.0]))
    exact = clopper_pearson(250, 250_000)
    assert high - 0.001 < 1.6 * (exact[1] - 0.001)
    assert 0.001 - low < 1.6 * (0.001 - exact[0])
