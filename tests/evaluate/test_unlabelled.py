import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss, f1_score, log_loss, precision_score, recall_score, roc_auc_score

from streameval.evaluate.unlabelled import KEPT, LEAST_GROUPS, Backtest, point_metrics, shifted
from streameval.evidence import BinaryEvidence, threshold_bin


def test_on_certain_labels_the_metrics_are_scikit_learns():
    rng = np.random.default_rng(1)
    score = rng.beta(1, 4, 3000).round(3).clip(0.001, 0.999)
    y = (rng.random(3000) < score).astype(np.int8)
    e = BinaryEvidence.of(score, y)
    flagged = int(np.searchsorted(e.bins, threshold_bin(0.3)))
    decided = score >= 0.3
    found = point_metrics(*e.counts.astype(float), e.mean_scores, flagged, (1.0, 5.0))
    assert found["precision"] == pytest.approx(precision_score(y, decided), abs=2e-3)
    assert found["recall"] == pytest.approx(recall_score(y, decided), abs=2e-3)
    assert found["f1"] == pytest.approx(f1_score(y, decided), abs=2e-3)
    assert found["auc"] == pytest.approx(roc_auc_score(y, score), abs=1e-4)
    assert found["log_loss"] == pytest.approx(log_loss(y, score), rel=1e-3)
    assert found["brier"] == pytest.approx(brier_score_loss(y, score), rel=1e-3)
    assert found["cost"] == pytest.approx(np.mean(np.where(y == 1, 5 * ~decided, decided)), rel=5e-3)


def test_what_is_not_defined_is_absent():
    one = np.array([1.0])
    assert point_metrics(np.zeros(1), np.zeros(1), one, 0, None) == {}
    nothing_flagged = point_metrics(np.array([3.0]), np.array([0.0]), np.array([0.2]), 1, None)
    assert set(nothing_flagged) == {"log_loss", "brier"}


def test_under_a_calibrated_map_expectations_are_what_comes_true():
    rng = np.random.default_rng(2)
    score = rng.beta(1, 9, 400_000)
    y = (rng.random(400_000) < score).astype(np.int8)
    e = BinaryEvidence.of(score, y)
    flagged = int(np.searchsorted(e.bins, threshold_bin(0.2)))
    n, s = e.counts.sum(axis=0), e.mean_scores
    expected = point_metrics(n * (1 - s), n * s, s, flagged, (1.0, 10.0))
    realised = point_metrics(*e.counts.astype(float), s, flagged, (1.0, 10.0))
    for name, value in realised.items():
        assert expected[name] == pytest.approx(value, rel=0.02), name


def test_after_a_label_shift_the_shifted_map_is_the_calibrated_one():
    rng = np.random.default_rng(3)
    y = (rng.random(400_000) < 0.15).astype(np.int8)
    x = rng.normal(2.0 * y, 1.0)
    q = expit(logit(0.05) + 2.0 * (x - 1.0))
    moved = shifted(q, 0.05, 0.15)
    assert moved.mean() == pytest.approx(0.15, rel=0.02)
    top = moved > 0.5
    assert y[top].mean() == pytest.approx(moved[top].mean(), rel=0.02)


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_shifting_there_and_back_changes_nothing(old, new):
    q = np.array([0.01, 0.3, 0.9])
    assert shifted(shifted(q, old, new), new, old) == pytest.approx(q, rel=1e-5)


def test_a_band_needs_twenty_groups_of_its_size():
    backtest = Backtest()
    for _ in range(LEAST_GROUPS - 1):
        backtest.judge(1000, {"auc": 0.9}, {"auc": 0.91})
    assert backtest.bands(1000) == {}
    backtest.judge(400, {"auc": 0.9}, {"auc": 0.91})
    assert backtest.bands(1000) == {}
    backtest.judge(1900, {"auc": 0.9}, {"auc": 0.91, "f1": 0.2})
    assert backtest.bands(1000) == {"auc": pytest.approx(0.01)}


def test_only_the_latest_are_remembered():
    backtest = Backtest()
    for k in range(3 * KEPT):
        backtest.judge(1000, {"auc": 0.9}, {"auc": 0.9 if k >= 2 * KEPT else 0.1})
    assert len(backtest) == KEPT
    assert backtest.bands(1000) == {"auc": 0.0}


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_the_band_covers_the_next_error_nine_times_in_ten(seed):
    rng = np.random.default_rng(seed)
    inside = 0
    for _ in range(200):
        errors = rng.exponential(size=40)
        backtest = Backtest()
        for error in errors[:-1]:
            backtest.judge(1000, {"cost": float(error)}, {"cost": 0.0})
        inside += errors[-1] <= backtest.bands(1000)["cost"]
    assert inside / 200 > 0.82


def test_a_restored_backtest_gives_the_same_bands():
    backtest = Backtest()
    for k in range(30):
        backtest.judge(1000 + k, {"auc": 0.9, "f1": 0.1 * k}, {"auc": 0.8, "f1": 0.0})
    assert Backtest.restore(backtest.state()).bands(1000) == backtest.bands(1000)
