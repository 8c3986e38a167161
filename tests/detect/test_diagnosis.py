"""What a change is called: by the tests of its two windows, and by their order."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import step
from changes import IN_FORCE, MOVED, changed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from sklearn.metrics import roc_auc_score

from streameval.detect.change_tests import AUC, LABEL_GIVEN_SCORE, PRIOR, SCORE, auc_test, prior_test, score_test
from streameval.detect.curve_shift import best_level, shift_from
from streameval.detect.diagnosis import Diagnosis, diagnose
from streameval.detect.label_counts import LabelCounts, total
from streameval.detect.own_move import threshold_move
from streameval.detect.window_pair import WindowPair, curve_of, merge_until
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import bin_of

CHANGES = {
    "none": ("none", {}),
    "covariate": ("covariate_shift", {"dearer": 1.0}),
    "label": ("label_shift", {"prevalence": 0.08}),
    "miscalibration": ("miscalibration", {"slope": 0.7, "shift": -0.5}),
    "concept": ("concept_drift", {"apart": 1.0}),
    "concept and label": ("concept_drift", {"apart": 1.2, "prevalence": 0.10}),
    "label and miscalibration": ("miscalibration", {"slope": 0.7, "shift": -0.5, "prevalence": 0.10}),
}


def windows(seed: int, n: int, **change: float) -> tuple[LabelCounts, LabelCounts]:
    rng = np.random.default_rng([7, seed])
    return LabelCounts.of(step(rng, 50_000)), LabelCounts.of(changed(rng, n, **change))


@pytest.mark.parametrize("kind", sorted(CHANGES))
def test_each_kind_of_change_is_called_by_its_name(kind: str) -> None:
    state, change = CHANGES[kind]
    found = [diagnose(*windows(seed, 20_000, **change)).state for seed in range(12)]
    assert found.count(state) >= 11, found


@pytest.mark.parametrize("kind", ["covariate", "miscalibration"])
def test_small_windows_are_told_inconclusive_rather_than_wrong(kind: str) -> None:
    state, change = CHANGES[kind]
    found = {diagnose(*windows(seed, 2_000, **change)).state for seed in range(12)}
    assert found <= {state, "inconclusive"}
    assert "inconclusive" in found


def test_without_a_change_tests_reject_no_more_often_than_their_level() -> None:
    rejected = np.zeros(5)
    runs = 150
    for seed in range(runs):
        rejected += [test.p_value < 0.05 for test in diagnose(*windows(seed, 5_000)).tests]
    # .05 and three standard errors of it
    assert (rejected <= runs * 0.05 + 3.0 * np.sqrt(runs * 0.05 * 0.95)).all(), rejected


def test_a_covariate_shift_leaves_the_test_of_labels_given_scores_alone() -> None:
    """Within a merged bin the mean of the labels moves with the scores: residuals do not."""
    rejected, runs = 0, 100
    for seed in range(runs):
        tests = {t.name: t for t in diagnose(*windows(seed, 10_000, dearer=1.0)).tests}
        assert tests[SCORE].rejects
        rejected += tests[LABEL_GIVEN_SCORE].p_value < 0.05
    assert rejected <= runs * 0.05 + 3.0 * np.sqrt(runs * 0.05 * 0.95)


def test_the_interval_of_the_effect_holds_the_truth() -> None:
    """Against the effect that the curves of a very large window after the change have."""
    rng = np.random.default_rng(0)
    for change in ({}, {"apart": 1.5}, {"dearer": 0.5}):
        pair = WindowPair.of(step(rng, 1_000_000), changed(rng, 1_000_000, **change))
        large = shift_from(pair, pair.p, 1.0, fitted=0)
        held = 0
        for seed in range(40):
            interval = diagnose(*windows(seed, 5_000, **change)).interval
            assert interval is not None
            held += interval[0] <= large.effect + 0.005 and interval[1] >= large.effect - 0.005
        assert held >= 38, change


def test_the_auc_and_its_fall_are_those_of_the_examples() -> None:
    rng = np.random.default_rng(1)
    samples = []
    for apart in (2.0, 1.0):
        y = (rng.random(4_000) < 0.2).astype(np.int8)
        samples.append((1.0 / (1.0 + np.exp(-rng.normal(apart * y, 1.0))), y))
    before, after = (BinaryEvidence.of(*sample) for sample in samples)
    test = auc_test(WindowPair.of(before, after))
    fall = roc_auc_score(samples[0][1], samples[0][0]) - roc_auc_score(samples[1][1], samples[1][0])
    assert test.effect == pytest.approx(fall, abs=2e-3)
    assert (test.name, test.holds) == (AUC, False)


def test_with_two_score_bins_the_test_of_scores_is_pearsons() -> None:
    before = LabelCounts(np.array([10, 20], np.int16), np.array([[300, 500], [30, 50]]))
    after = LabelCounts(np.array([10, 20], np.int16), np.array([[150, 170], [15, 20]]))
    table = np.stack([before.counts.sum(axis=0), after.counts.sum(axis=0)])
    expected = chi2_contingency(table, correction=False)
    test = score_test(WindowPair.of(before, after))
    assert test.statistic == pytest.approx(expected.statistic)
    assert test.p_value == pytest.approx(expected.pvalue)


def test_the_test_of_the_prior_is_that_of_two_proportions() -> None:
    before = LabelCounts(np.array([10, 20], np.int16), np.array([[900, 0], [0, 100]]))
    after = LabelCounts(np.array([10, 20], np.int16), np.array([[400, 0], [0, 100]]))
    test = prior_test(WindowPair.of(before, after))
    expected = chi2_contingency(np.array([[900, 100], [400, 100]]), correction=False)
    assert test.name == PRIOR
    assert test.statistic**2 == pytest.approx(expected.statistic)
    assert test.effect == pytest.approx(np.log(0.2 / 0.8) - np.log(0.1 / 0.9), abs=0.01)


def test_overdispersion_takes_away_significance() -> None:
    before, after = windows(3, 5_000, prevalence=0.08)
    assert diagnose(before, after).state == "label_shift"
    assert diagnose(before, after, phi=50.0).state == "none"


def test_what_our_own_threshold_changed_is_left_out() -> None:
    """A threshold that came down and prevents 80 % of what it newly catches is no change of P(y | s) elsewhere."""
    prevented = (MOVED, IN_FORCE)
    band = threshold_move(0, IN_FORCE, MOVED).band
    for seed in range(10):
        rng = np.random.default_rng([8, seed])
        before, after = step(rng, 50_000), changed(rng, 20_000, prevented=prevented)
        assert diagnose(before, after).state in ("miscalibration", "concept_drift", "covariate_shift")
        assert diagnose(before, after, exclude=[band]).state == "none"


def test_a_window_without_one_of_the_labels_is_inconclusive() -> None:
    before, after = windows(0, 500)
    negatives = LabelCounts(after.bins, after.counts * np.array([[1], [0]]))
    assert diagnose(before, negatives) == Diagnosis("inconclusive")


counts = st.lists(st.tuples(st.integers(0, 7_000), st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=30)


def _histogram(rows: list[tuple[int, int, int]]) -> LabelCounts:
    return total([LabelCounts(np.array([b], np.int16), np.array([[n + 1], [k + 1]])) for b, n, k in rows])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(before=counts, after=counts, low=st.integers(0, 7_000), wide=st.integers(0, 3_000))
def test_any_two_windows_have_a_finite_diagnosis(
    before: list[tuple[int, int, int]], after: list[tuple[int, int, int]], low: int, wide: int
) -> None:
    found = diagnose(_histogram(before), _histogram(after), exclude=[(low, low + wide)])
    for test in found.tests:
        assert 0.0 <= test.p_value <= 1.0
        assert np.isfinite([test.statistic, test.effect]).all()
    assert found.interval is None or 0.0 <= found.interval[0] <= found.interval[1]


@settings(deadline=None, max_examples=60)
@given(rows=counts)
def test_the_best_level_keeps_the_number_of_positives_and_the_curve_never_falls(
    rows: list[tuple[int, int, int]],
) -> None:
    window = _histogram(rows)
    pair = WindowPair.of(window, window)
    n, k = pair.after.sum(axis=0), pair.after[1].sum()
    assert float(n @ best_level(pair)) == pytest.approx(float(k), rel=1e-6)
    assert (np.diff(pair.p) >= -1e-12).all()


@settings(deadline=None, max_examples=100)
@given(
    parts=st.lists(st.lists(st.integers(0, 9), min_size=12, max_size=12), min_size=1, max_size=4),
    least=st.integers(1, 15),
)
def test_merged_bins_each_hold_their_least(parts: list[list[int]], least: int) -> None:
    rows = np.array(parts, dtype=np.float64)
    starts = merge_until(rows, np.full(len(parts), float(least)))
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    if starts.size > 1:
        assert (np.add.reduceat(rows, starts, axis=1) >= least).all()


def test_the_curve_is_near_the_truth() -> None:
    rng = np.random.default_rng(2)
    score = rng.beta(1, 9, 200_000)
    before = BinaryEvidence.of(score, (rng.random(200_000) < score).astype(np.int8))
    at = np.array([0.02, 0.1, 0.3, 0.5])
    assert curve_of(before, bin_of(at)) == pytest.approx(at, rel=0.1)
