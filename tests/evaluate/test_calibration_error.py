import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from streameval.evaluate.calibration_error import (
    brier_decomposition,
    calibration_error,
    calibration_in_the_large,
    calibration_measures,
    reliability,
    spiegelhalter,
    squared_calibration_error,
)
from streameval.evidence import BinaryEvidence

evidences = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=80).map(
    lambda rows: BinaryEvidence.of(np.array([r[0] for r in rows]), np.array([r[1] for r in rows]))
)


def draw(rng, n, slope=1.0, shift=0.0):
    z = rng.normal(-2, 2, n)
    return BinaryEvidence.of(expit(z), (rng.random(n) < expit(slope * z + shift)).astype(np.int8))


def relative_truth(slope, shift):
    z = np.random.default_rng(0).normal(-2, 2, 1_000_000)
    p = expit(slope * z + shift)
    return float(np.sqrt(np.mean((expit(z) - p) ** 2) / (p.mean() * (1 - p.mean()))))


def test_the_debiased_error_of_calibrated_data_is_zero_on_average_where_the_plug_in_is_not():
    rng = np.random.default_rng(1)
    samples = [draw(rng, 2000) for _ in range(150)]
    values = np.array([squared_calibration_error(e).value for e in samples])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    plug_in = [
        sum(p["events"] / e.events * abs(p["score"] - p["observed"]) for p in reliability(e, 20)) for e in samples
    ]
    assert np.mean(plug_in) > 0.015


def test_intervals_of_calibrated_data_begin_at_zero_and_those_of_miscalibrated_data_hold_the_truth():
    rng = np.random.default_rng(2)
    assert sum(calibration_error(draw(rng, 2000)).low > 0 for _ in range(100)) <= 6
    truth = relative_truth(0.7, -0.5)
    found = [calibration_error(draw(rng, 5000, 0.7, -0.5)) for _ in range(100)]
    assert sum(e.low <= truth <= e.high for e in found) >= 85
    assert np.mean([e.value for e in found]) == pytest.approx(truth, rel=0.05)


def test_the_same_evidence_has_the_same_interval():
    e = draw(np.random.default_rng(3), 3000)
    assert calibration_error(e) == calibration_error(BinaryEvidence.restore(e.state()))


def test_a_map_that_mends_the_scores_has_a_smaller_error():
    e = draw(np.random.default_rng(4), 20_000, 0.7, -0.5)
    p = e.mean_scores
    mended = expit(0.7 * np.log(p / (1 - p)) - 0.5)
    assert calibration_error(e, mended).value < 0.3 * calibration_error(e).value


def test_without_both_labels_or_enough_examples_it_is_absent():
    assert calibration_error(BinaryEvidence.empty()) is None
    assert calibration_error(BinaryEvidence.of(np.full(100, 0.2), np.zeros(100, np.int8))) is None
    assert calibration_error(draw(np.random.default_rng(5), 40)) is None


@pytest.mark.parametrize(
    ("p", "brier", "z"),
    [((0.2, 0.2), 0.34, 1.06), ((0.4, 0.5), 0.305, 1.2247)],
    ids=["p = .2, .2", "p = .4, .5"],
)
def test_rufibachs_table_is_reproduced(p, brier, z):
    e = BinaryEvidence.of(np.array(p), np.array([1, 0]))
    assert (e.losses["brier_0"] + e.losses["brier_1"]) / 2**32 / 2 == pytest.approx(brier, abs=1e-8)
    assert spiegelhalter(e) == pytest.approx(z, abs=5e-3 if z == 1.06 else 5e-5)


def test_both_z_are_standard_normal_on_calibrated_data_and_large_on_others():
    rng = np.random.default_rng(6)
    for test in (calibration_in_the_large, spiegelhalter):
        values = np.array([test(draw(rng, 2000)) for _ in range(300)])
        assert abs(values.mean()) < 0.25
        assert 0.85 < values.std() < 1.15
    assert calibration_in_the_large(draw(rng, 20_000, 1.0, -0.3)) < -5
    assert abs(spiegelhalter(draw(rng, 20_000, 0.6, 0.0))) > 5


def test_tests_are_absent_where_all_scores_are_certain():
    e = BinaryEvidence.of(np.array([0.0, 1.0]), np.array([0, 1]))
    assert calibration_in_the_large(e) is None
    assert spiegelhalter(e) is None


@settings(max_examples=50)
@given(evidences)
def test_all_measures_at_once_say_what_each_says_alone_and_add_up_to_the_brier_score(e):
    found = calibration_measures(e)
    assert (found is None) == (calibration_error(e) is None)
    if found is None:
        return
    assert found.relative_error == calibration_error(e)
    assert found.reliability == squared_calibration_error(e)
    for test, z in ((found.in_the_large, calibration_in_the_large(e)), (found.spiegelhalter, spiegelhalter(e))):
        assert (None if test is None else test.z) == z
    p, (n0, n1) = e.mean_scores, e.counts
    brier = float((n0 * p**2 + n1 * (1 - p) ** 2).sum() / e.events)
    parts = found.reliability.value - found.resolution.value + found.uncertainty.value + found.within
    assert parts == pytest.approx(brier)
    for part in (found.reliability, found.resolution, found.uncertainty):
        assert part.low <= part.value <= part.high


def test_the_debiased_resolution_is_that_of_the_population():
    rng = np.random.default_rng(7)
    z = rng.normal(-2, 2, 1_000_000)
    truth = expit(z).var()
    found = [calibration_measures(draw(rng, 1000)) for _ in range(150)]
    values = np.array([m.resolution.value for m in found])
    # Merged bins lose what differs inside them.
    assert values.mean() == pytest.approx(truth, rel=0.03)
    assert np.mean([m.resolution.low <= truth <= m.resolution.high for m in found]) >= 0.88


def test_the_p_values_of_calibrated_data_are_uniform_and_those_of_a_mended_map_too():
    rng = np.random.default_rng(8)
    found = [calibration_measures(draw(rng, 1000)) for _ in range(200)]
    for name in ("in_the_large", "spiegelhalter"):
        p = np.array([getattr(m, name).p_value for m in found])
        assert 0.35 < p.mean() < 0.65
        assert np.mean(p < 0.05) < 0.12
    e = draw(rng, 20_000, 0.7, -0.5)
    mended = expit(0.7 * np.log(e.mean_scores / (1 - e.mean_scores)) - 0.5)
    assert calibration_measures(e).spiegelhalter.p_value < 1e-6
    assert calibration_measures(e, mended).spiegelhalter.p_value > 0.001


@settings(max_examples=50)
@given(evidences)
def test_the_parts_of_the_brier_score_add_up_to_it(e):
    parts = brier_decomposition(e)
    p, (n0, n1) = e.mean_scores, e.counts
    assert parts.brier == pytest.approx(float((n0 * p**2 + n1 * (1 - p) ** 2).sum() / e.events))
    assert parts.reliability >= 0
    assert parts.resolution >= 0


@settings(max_examples=50)
@given(evidences, st.integers(1, 15))
def test_the_reliability_diagram_counts_every_example_in_order_of_score(e, bins):
    points = reliability(e, bins)
    assert len(points) <= bins
    assert sum(p["events"] for p in points) == e.events
    assert all(p["low"] <= p["observed"] <= p["high"] for p in points)
    assert [p["score"] for p in points] == sorted(p["score"] for p in points)
