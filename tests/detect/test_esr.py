"""e-SR: a supermartingale in events, whatever the steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.detect.esr import DIRECTIONS, RATIOS, Esr, bets

COIN = np.array([[0.0, 1.0]])


def coin(mean: float, log_threshold: float = np.log(1e6)) -> Esr:
    """A detector of one 0/1 monitor whose mean is known."""
    return Esr(COIN, np.array([mean]), np.array([mean]), log_threshold, 0)


@given(st.floats(1e-4, 0.9999), st.floats(1e-4, 0.9999))
def test_no_event_can_bankrupt_a_bet(up: float, down: float) -> None:
    bet = bets(np.array([up]), np.array([down]))[0]
    for direction, mean in enumerate((up, down)):
        for x in (0.0, 1.0):
            assert (1.0 + bet[direction] * (x - mean) > 0.04).all()


@given(st.floats(0.01, 0.99))
def test_one_event_multiplies_each_bet_by_one_on_average_at_the_bound(mean: float) -> None:
    bet = bets(np.array([mean]), np.array([mean]))[0]
    average = mean * (1.0 + bet * (1.0 - mean)) + (1.0 - mean) * (1.0 - bet * mean)
    assert average == pytest.approx(np.ones((2, RATIOS.size)))


def test_a_step_follows_the_recursion_of_the_paper() -> None:
    esr, bet = coin(0.05), bets(np.array([0.05]), np.array([0.05]))
    m = np.zeros((1, 2, RATIOS.size))
    for negatives, positives in ((470, 30), (100, 0), (3, 9)):
        esr.step(np.array([negatives, positives], dtype=float), 0)
        factor = (1.0 - bet * 0.05) ** negatives * (1.0 + bet * 0.95) ** positives
        m = factor * (m + negatives + positives)
    assert np.exp(esr.log_statistic) == pytest.approx(m.mean(axis=2), rel=1e-9)


def test_m_less_the_events_seen_has_expectation_zero_at_the_bound_however_steps_are_cut() -> None:
    """Two steps of three events, all 64 outcomes weighed by their probability."""
    mean, expected = 0.3, np.zeros((1, 2))
    for bits in range(64):
        y = np.array([(bits >> k) & 1 for k in range(6)])
        esr = coin(mean)
        for part in (y[:3], y[3:]):
            esr.step(np.array([3.0 - part.sum(), part.sum()]), 0)
        expected += mean ** y.sum() * (1 - mean) ** (6 - y.sum()) * np.exp(esr.log_statistic)
    assert expected == pytest.approx(np.full((1, 2), 6.0))


def test_nothing_overflows_when_the_evidence_is_overwhelming() -> None:
    esr = coin(0.05)
    for k in range(50):
        found = esr.step(np.array([0.0, 1e6]), k)
    assert np.isfinite(esr.log_statistic).all()
    assert found[0].direction == "up"
    assert found[0].log_statistic > 1e6


def test_an_empty_step_changes_nothing() -> None:
    esr = coin(0.05)
    esr.step(np.array([95.0, 5.0]), 1)
    before = esr.state()
    assert esr.step(np.zeros(2), 2) == []
    after = esr.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_change_point_is_found_within_a_few_steps() -> None:
    rng = np.random.default_rng(3)
    esr, errors = coin(0.05), []
    for _ in range(20):
        esr = coin(0.05)
        for k in range(1, 400):
            positives = rng.binomial(100, 0.05 if k <= 100 else 0.1)
            found = esr.step(np.array([100.0 - positives, positives]), k)
            if found:
                errors.append(abs(found[0].change_at - 100))
                break
    assert len(errors) == 20
    assert np.median(errors) <= 5


@pytest.mark.parametrize(("rate", "direction"), [(0.1, "up"), (0.02, "down")])
def test_each_direction_has_its_own_monitor(rate: float, direction: str) -> None:
    rng, esr = np.random.default_rng(1), coin(0.05)
    for k in range(200):
        positives = rng.binomial(500, rate)
        found = esr.step(np.array([500.0 - positives, positives]), k)
        if found:
            break
    assert [c.direction for c in found] == [direction]
    assert direction in DIRECTIONS


def test_false_alarms_stay_within_the_promise_and_a_jump_is_found_soon() -> None:
    """Bernoulli(.05) in steps of 50, c = 1e6: at most one alarm in a million events; .08 is found after some 1,000."""
    rng, alarms, esr = np.random.default_rng(11), 0, coin(0.05)
    for positives in rng.binomial(50, 0.05, 60_000):
        if esr.step(np.array([50.0 - positives, positives]), 0):
            alarms, esr = alarms + 1, coin(0.05)
    # Each direction may raise 3 in these 3M events on average; 13 and more have a probability of 1 %.
    assert alarms <= 12
    delays = []
    for _ in range(30):
        esr = coin(0.05)
        for k, positives in enumerate(rng.binomial(50, np.repeat([0.05, 0.08], [40, 200]))):
            if esr.step(np.array([50.0 - positives, positives]), k) and k >= 40:
                delays.append((k - 39) * 50)
                break
    assert len(delays) == 30
    assert 600 <= np.median(delays) <= 1500


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12), st.integers(0, 12))
def test_a_restored_detector_continues_bit_for_bit(steps: list[tuple[int, int]], cut: int) -> None:
    one = coin(0.3)
    other = one
    for k, counts in enumerate(steps):
        if k == cut:
            other = Esr.restore(one.state())
        found = one.step(np.array(counts, dtype=float), k)
        if other is not one:
            assert other.step(np.array(counts, dtype=float), k) == found
    assert np.array_equal(one.log_m, other.log_m)
    assert np.array_equal(one.recursion.minimum_at, other.recursion.minimum_at)


def test_a_monitor_that_restarts_leaves_the_others_alone() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0]])
    esr = Esr(values, np.array([0.2, 0.8]), np.array([0.2, 0.8]), 30.0, 0)
    esr.step(np.array([60.0, 40.0]), 1)
    first = esr.log_m[0].copy()
    esr.restart(1, 0.7, 0.6, 5)
    assert np.array_equal(esr.log_m[0], first)
    assert (esr.log_m[1] == -np.inf).all()
    assert (esr.recursion.minimum_at[1] == 5).all()


@given(st.integers(0, 2**32))
def test_parts_under_bounds_of_their_own_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    monitors, cells, parts = 3, 8, 5
    up, down = np.sort(rng.uniform(0.01, 0.99, (2, parts, monitors)), axis=0)[::-1]
    counts = rng.poisson(0.5, (parts, cells))
    esr = Esr(rng.random((monitors, cells)), up[0], down[0], 10.0, 0, rng.uniform(0.1, 1.0, monitors))
    found = esr.log_ratio_under(up, down, counts)
    expected = np.zeros_like(found)
    for part in range(parts):
        esr.bound(up[part], down[part])
        expected += esr.log_ratio(counts[part].astype(np.float64))
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)
