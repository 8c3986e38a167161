"""The advisory tier: deterministic, quiet at the start, and never in the way."""

from __future__ import annotations

import numpy as np
import pytest

from streameval.detect.advisory import DETECTORS, SILENT_EVENTS, Advisory, check_names
from streameval.errors import ConfigValueError


def test_adwin_finds_a_rise_of_the_loss_and_not_within_the_first_events() -> None:
    rng, detector = np.random.default_rng(0), Advisory("ADWIN")
    early = [detector.step(500, float(rng.normal(20 + 200 * (k % 2), 1))) for k in range(SILENT_EVENTS // 500 - 1)]
    assert not any(early)
    detector = Advisory("ADWIN")
    calm = [detector.step(500, float(rng.normal(20, 3))) for _ in range(300)]
    assert not any(calm)
    assert any(detector.step(500, float(rng.normal(60, 3))) for _ in range(20))


def test_what_is_fed_has_the_mean_of_the_losses_to_less_than_one_value() -> None:
    detector, fed, due = Advisory("ADWIN"), 0.0, 0.0
    for k in range(40):
        loss = 0.37 * (k % 11)
        before = detector._bits.size
        detector.step(100, loss)
        fed += float(detector._bits[before:].sum())
        due += loss
        assert abs(fed - due) <= 1.0


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_restored_detector_equals_one_that_ran_on_also_across_its_bound(name: str) -> None:
    rng = np.random.default_rng(1)
    losses = [float(rng.normal(20 + 15 * (k // 60 % 2), 3)) for k in range(200)]
    one = Advisory(name)
    other = one
    for k, loss in enumerate(losses):
        if k % 37 == 5:
            other = Advisory.restore(one.state())
        found = one.step(500, loss)
        if other is not one:
            assert other.step(500, loss) == found
    assert one.state() == other.state()


def test_an_unknown_detector_is_refused_with_the_ones_that_serve() -> None:
    with pytest.raises(ConfigValueError, match="ADWIN"):
        check_names(("KSWIN",))
