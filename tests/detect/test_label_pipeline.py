import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.detect.label_pipeline import GROUPS, ShareMonitor

YEAR = 365 * 86_400_000
HOUR = 3_600_000


def fed(monitor, rng, shares, labels=300, spread=0.0, start=0):
    """Signals of groups an hour apart; a group's own share varies by `spread` on the logit."""
    found = []
    for number, share in enumerate(shares):
        odds = share / (1 - share) * np.exp(spread * rng.normal())
        hits = int(rng.binomial(labels, odds / (1 + odds)))
        signal = monitor.step(hits, labels, start + number * HOUR)
        if signal is not None:
            found.append((number, signal))
    return found


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_a_pipeline_that_stays_as_it_is_raises_no_alarm(spread):
    alarms = 0
    for seed in range(20):
        alarms += len(fed(ShareMonitor(YEAR, 3), np.random.default_rng(seed), [0.5] * 500, spread=spread))
    assert alarms <= 1


@pytest.mark.parametrize(("before", "after", "way"), [(0.5, 0.9, "up"), (0.5, 0.1, "down"), (0.02, 0.3, "up")])
def test_one_that_changes_is_told_within_a_few_groups_with_when_and_what(before, after, way):
    monitor = ShareMonitor(YEAR, 3)
    (number, signal), *rest = fed(monitor, np.random.default_rng(1), [before] * 60 + [after] * 15)
    assert rest == []
    assert 60 <= number < 66
    assert signal.direction == way
    assert abs(signal.change_at - 60 * HOUR) <= 2 * HOUR
    assert signal.before == pytest.approx(before, rel=0.15)
    assert signal.after == pytest.approx(after, rel=0.15)
    assert signal.statistic >= signal.bound
    assert monitor.mean is None


def test_groups_without_labels_change_nothing():
    monitor = ShareMonitor(YEAR)
    for _ in range(3 * GROUPS):
        assert monitor.step(0, 0, 0) is None
    assert monitor.learnt == []


def test_a_share_of_nought_is_watched_too():
    monitor = ShareMonitor(YEAR)
    rng = np.random.default_rng(2)
    assert fed(monitor, rng, [1e-9] * 100) == []
    assert fed(monitor, rng, [0.3] * 10, start=100 * HOUR)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(0, 60))
def test_a_restored_monitor_goes_on_bit_for_bit(seed, cut):
    rng = np.random.default_rng(seed)
    groups = [(int(rng.binomial(100, 0.3 if k < 40 else 0.8)), 100, k * HOUR) for k in range(70)]
    one = ShareMonitor(YEAR)
    two = None
    for number, group in enumerate(groups):
        if number == cut:
            two = ShareMonitor.restore(one.state())
        first = one.step(*group)
        if two is not None:
            assert two.step(*group) == first
