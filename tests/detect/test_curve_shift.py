"""How far P(y | s) has moved: against fits, intervals and variances computed some other way."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import step
from changes import changed
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import ncx2
from sklearn.linear_model import LogisticRegression

from streameval.detect.change_tests import auc_test, label_given_score_test
from streameval.detect.curve_shift import _basis, _fit, _interval, best_level, residuals, shift_from
from streameval.detect.label_counts import LabelCounts
from streameval.detect.window_pair import WindowPair, without
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import BINS, EDGES


def pair_of(seed: int, after: int = 5_000, **change: float) -> WindowPair:
    rng = np.random.default_rng([11, seed])
    return WindowPair.of(step(rng, 50_000), changed(rng, after, **change))


def test_level_slope_and_bend_are_those_that_scikit_learn_fits() -> None:
    pair = pair_of(0, slope=0.7, shift=-0.5)
    n, k, z = pair.after.sum(axis=0), pair.after[1], logit(pair.p)
    x = _basis(z, n * pair.p * (1.0 - pair.p))
    # Our ridge of .01 is scikit-learn's C of 100; the curve is an offset, so the columns it spans carry it over.
    found, covariance = _fit(n, k, np.zeros_like(z), x)
    rows = np.concatenate([x, x])
    theirs = LogisticRegression(C=100.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    theirs.fit(rows, np.repeat([0, 1], n.size), sample_weight=np.concatenate([n - k, k]))
    assert found == pytest.approx(theirs.coef_[0], abs=1e-4)
    q = expit(x @ found)
    assert np.linalg.inv(covariance) == pytest.approx((x.T * (n * q * (1 - q))) @ x + 0.01 * np.eye(3), rel=1e-4)


def test_the_basis_is_orthonormal_in_its_weight() -> None:
    rng = np.random.default_rng(1)
    weight = rng.gamma(1.0, 1.0, 200)
    x = _basis(rng.normal(size=200), weight)
    assert (x.T * (weight / weight.sum())) @ x == pytest.approx(np.eye(3), abs=1e-9)
    assert _basis(np.array([1.0, 2.0]), np.ones(2)).shape == (2, 2)


@pytest.mark.parametrize("effect", [0.0, 0.5, 3.0])
def test_where_all_directions_are_alike_the_interval_is_the_non_central_chi_squareds(effect: float) -> None:
    """Of k directions of variance v, |x|² is v times a non-central chi-squared of k degrees of freedom."""
    k, v = 3, 0.01
    pair = pair_of(1)
    rng = np.random.default_rng(2)
    mu = np.array([effect, 0.0, 0.0]) * 0.1
    prevalence = pair.after[1].sum() / pair.after.sum()
    unit = float(np.sqrt(prevalence * (1.0 - prevalence)))
    held = 0
    for _ in range(400):
        total = float(((mu + rng.normal(0.0, np.sqrt(v), k)) ** 2).sum())
        found = _interval(pair, total, k * v, k * v * v, v)
        held += found.low * unit <= np.linalg.norm(mu) <= found.high * unit
    # 99 % and three standard errors
    assert held >= 390
    total = 0.2
    found = _interval(pair, total, k * v, k * v * v, v)
    for end, tail in ((found.low, 0.995), (found.high, 0.005)):
        noncentrality = brentq(lambda c, tail=tail: ncx2.cdf(total / v, k, c) - tail, 1e-9, 1e4)
        assert end * unit == pytest.approx(np.sqrt(noncentrality * v), rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_window_compared_with_itself_has_not_moved(seed: int) -> None:
    window = step(np.random.default_rng(seed), 8_000)
    pair = WindowPair.of(window, window)
    found = residuals(pair, pair.p)
    assert found.difference == pytest.approx(np.zeros(found.difference.size), abs=1e-12)
    assert found.share.sum() == pytest.approx(1.0)
    assert sum(found.events[0]) == window.events
    test, shift = label_given_score_test(pair)
    assert test.p_value > 0.999
    assert (shift.effect, shift.low) == (0.0, 0.0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), prevalence=st.floats(0.02, 0.4))
def test_the_best_level_is_the_root_that_scipy_finds(seed: int, prevalence: float) -> None:
    rng = np.random.default_rng(seed)
    pair = WindowPair.of(step(rng, 20_000), step(rng, 3_000, prevalence=prevalence))
    n, k, z = pair.after.sum(axis=0), pair.after[1].sum(), logit(pair.p)
    level = brentq(lambda a: float(n @ expit(z + a)) - k, -20.0, 20.0, xtol=1e-12)
    assert best_level(pair) == pytest.approx(expit(z + level), rel=1e-6)


def test_the_effect_is_that_of_the_true_curves() -> None:
    """Cox's level and slope: P(y | s) after is expit(a + b logit p), so the effect is known."""
    rng = np.random.default_rng(3)
    score = rng.beta(1, 9, 400_000)
    q = expit(0.4 + 0.8 * logit(np.clip(score, 1e-9, 1 - 1e-9)))
    windows = [BinaryEvidence.of(score, (rng.random(score.size) < p).astype(np.int8)) for p in (score, q)]
    pair = WindowPair.of(*windows)
    truth = np.sqrt(np.mean((q - score) ** 2) / (q.mean() * (1.0 - q.mean())))
    found = shift_from(pair, pair.p, 1.0, fitted=0)
    assert found.effect == pytest.approx(truth, rel=0.05)
    assert found.low < truth < found.high


def test_the_test_of_the_auc_is_delongs_example_by_example() -> None:
    rng = np.random.default_rng(4)
    windows, parts = [], []
    for apart, n in ((2.0, 1500), (1.4, 700)):
        y = (rng.random(n) < 0.2).astype(np.int8)
        # Middles of bins: two examples share a bin only where they share a score.
        bins = BinaryEvidence.of(expit(rng.normal(apart * y, 1.0)), y).bins
        score = EDGES[rng.choice(bins, n)]
        y = (rng.random(n) < expit(apart * (logit(score) - 1.0))).astype(np.int8)
        windows.append(BinaryEvidence.of(score, y))
        beats = np.sign(score[y == 1][:, None] - score[y == 0][None, :]) * 0.5 + 0.5
        parts.append(
            (beats.mean(), beats.mean(axis=1).var(ddof=1), beats.mean(axis=0).var(ddof=1), y.sum(), (1 - y).sum())
        )

    def variance(of: tuple, sizes: tuple) -> float:
        return (of[1] / sizes[3] + of[2] / sizes[4]) / (of[0] * (1.0 - of[0])) ** 2

    before, after = parts
    expected = variance(before, before) + max(variance(before, after), variance(after, after))
    test = auc_test(WindowPair.of(*windows))
    assert test.effect == pytest.approx(before[0] - after[0])
    assert test.statistic == pytest.approx((logit(before[0]) - logit(after[0])) / np.sqrt(expected))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, BINS - 1), st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=30),
    bands=st.lists(st.tuples(st.integers(0, BINS), st.integers(0, 2_000)), max_size=3),
)
def test_what_is_left_out_is_left_out_and_nothing_else(
    rows: list[tuple[int, int, int]], bands: list[tuple[int, int]]
) -> None:
    by_bin = {b: (n, k) for b, n, k in rows}
    bins = sorted(by_bin)
    window = LabelCounts(np.array(bins, np.int16), np.array([by_bin[b] for b in bins], dtype=np.int64).T)
    kept = without(window, [(low, low + wide) for low, wide in bands])
    expected = [b for b in bins if not any(low <= b < low + wide for low, wide in bands)]
    assert kept.bins.tolist() == expected
    assert [tuple(c) for c in kept.counts.T.tolist()] == [by_bin[b] for b in expected]
