"""The advisory tier: deterministic, quiet at the start, never in the way, and each detector fed what it expects."""

from __future__ import annotations

import numpy as np
import pytest

from streameval.config import parse
from streameval.detect.advisory import DETECTORS, SILENT_EVENTS, Advisory, check_names
from streameval.detect.label_counts import LabelCounts
from streameval.errors import ConfigValueError

NAMES = sorted(DETECTORS)
ONE_BIN = LabelCounts(np.array([100], np.int16), np.array([[500], [0]]))


def scored(rng: np.random.Generator, positives: int, n: int = 500) -> tuple[LabelCounts, float]:
    """A step of n events, so many of them positive, by a model that says about .05 to all; and its loss."""
    bins, which = np.unique(rng.integers(3000, 3200, n), return_inverse=True)
    y = np.arange(n) < positives
    counts = np.stack([np.bincount(which[y == label], minlength=bins.size) for label in (False, True)])
    return LabelCounts(bins.astype(np.int16), counts), 0.9 * positives + 0.0025 * (n - positives)


def test_adwin_finds_a_rise_of_the_loss_and_not_within_the_first_events() -> None:
    rng, detector = np.random.default_rng(0), Advisory("ADWIN")
    early = [detector.step(ONE_BIN, float(rng.normal(20 + 200 * (k % 2), 1))) for k in range(SILENT_EVENTS // 500 - 1)]
    assert not any(early)
    detector = Advisory("ADWIN")
    calm = [detector.step(ONE_BIN, float(rng.normal(20, 3))) for _ in range(300)]
    assert not any(calm)
    assert any(detector.step(ONE_BIN, float(rng.normal(60, 3))) for _ in range(20))


@pytest.mark.parametrize("name", NAMES)
def test_each_detector_finds_a_great_rise_of_the_loss(name: str) -> None:
    rng, detector = np.random.default_rng(3), Advisory(name)
    for _ in range(120):
        detector.step(*scored(rng, int(rng.binomial(500, 0.05))))
    assert any(detector.step(*scored(rng, int(rng.binomial(500, 0.7)))) for _ in range(60))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"EDDM", "DDM"}))
def test_a_detector_that_may_be_on_is_seldom_wrong(name: str) -> None:
    """100,000 events without change; `DDM` and `EDDM` are for those who ask for them."""
    rng, detector = np.random.default_rng(5), Advisory(name)
    assert sum(detector.step(*scored(rng, int(rng.binomial(500, 0.05)))) for _ in range(200)) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_what_a_detector_says_at_the_start_is_swallowed(name: str) -> None:
    rng, detector = np.random.default_rng(1), Advisory(name)
    for k in range(SILENT_EVENTS // 500 - 1):
        assert not detector.step(*scored(rng, 400 if k % 16 > 8 else 5))


@pytest.mark.parametrize("name", ["ADWIN", "FHDDM"])
def test_what_is_fed_has_the_mean_of_the_losses_to_less_than_one_value(name: str) -> None:
    detector, fed, due = Advisory(name), 0.0, 0.0
    for k in range(40):
        loss = 0.37 * (k % 11)
        before = detector._inputs.size
        detector.step(LabelCounts(np.array([0], np.int16), np.array([[100], [0]])), loss)
        fed += float(detector._inputs[before:].sum())
        due += 100 - loss if name == "FHDDM" else loss
        assert abs(fed - due) <= 1.0
    assert detector.mean == pytest.approx(due / 4000 if name == "ADWIN" else 1 - due / 4000, abs=0.001)


def test_the_subsample_has_the_distribution_of_the_losses() -> None:
    rng, detector, losses = np.random.default_rng(2), Advisory("KSWIN"), []
    for _ in range(400):
        detector.step(*scored(rng, 100))
        losses.append(float(detector._inputs[-1]))
    assert np.mean(np.array(losses) > 0.5) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_detector_equals_one_that_ran_on_also_across_its_bound(name: str) -> None:
    rng = np.random.default_rng(1)
    one = Advisory(name)
    other = one
    for k in range(260 if one.kind.input == "sample" else 80):
        if k % 37 == 5:
            other = Advisory.restore(one.state())
        stepped = scored(rng, int(rng.binomial(500, 0.05 if k // 60 % 2 else 0.4)))
        found = one.step(*stepped)
        if other is not one:
            assert other.step(*stepped) == found
    ours, theirs = one.state(), other.state()
    assert np.array_equal(ours.pop("values"), theirs.pop("values"))
    assert ours == theirs


@pytest.mark.parametrize("name", ["DummyDriftDetector", "NoDrift", "adwin", "HDDM_A"])
def test_an_unknown_detector_is_refused_with_the_ones_that_serve(name: str) -> None:
    with pytest.raises(ConfigValueError, match="ADWIN, PageHinkley, KSWIN"):
        check_names((name,))


def test_only_adwin_is_on_by_default() -> None:
    config = parse({"transport": {"kind": "logdir", "path": "events"}, "models": [{"name": "fraud"}]})
    assert config.models[0].drift.advisory == ("ADWIN",)
