import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.evaluate.label_delay import AGES, EDGES, Delays, age_of
from streameval.evaluate.provisional import Immature, provisional

HOUR = 3_600_000
delays = st.lists(st.integers(-1000, 10**11), max_size=50)


@given(delays)
def test_a_delay_lies_in_its_bucket(values):
    delay = np.array(values, np.int64)
    age = age_of(delay)
    assert (EDGES[age] <= np.maximum(delay, 0)).all()
    inside = age < AGES - 1
    assert (delay[inside] < EDGES[age[inside] + 1]).all()


@given(delays, delays)
def test_counts_add(one, two):
    def of(values):
        found = Delays()
        found.add(np.arange(len(values)) % 2, np.array(values, np.int64))
        return found

    both = of(one)
    both.merge(of(two))
    assert both.labels.sum() == len(one) + len(two)
    assert (both.counts == of(one).counts + of(two).counts).all()
    assert (Delays.restore(both.state()).counts == both.counts).all()


def test_quantiles_and_shares_are_those_of_the_delays_within_a_bucket():
    rng = np.random.default_rng(1)
    took = (rng.lognormal(0.0, 1.0, 20_000) * HOUR).astype(np.int64)
    found = Delays()
    found.add(np.ones(20_000, np.int8), took)
    for share in (0.1, 0.5, 0.9, 0.99):
        assert found.quantile(share) == pytest.approx(np.quantile(took, share), rel=0.05)
        assert found.share_by(1, int(np.quantile(took, share))) == pytest.approx(share, abs=0.01)
    assert found.share_by(0, HOUR) == 0.0
    assert Delays().quantile(0.5) is None


def world(rng, n, prevalence, age, slow=1.0):
    """Labels of n predictions of one age: positives take an hour or so, negatives two."""
    y = rng.random(n) < prevalence
    took = np.where(y, 1.0, 2.0) * rng.lognormal(0.0, 0.5, n) * HOUR * slow
    seen = took <= age
    return Immature(n, age, int((seen & ~y).sum()), int((seen & y).sum())), took, y


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_provisional_prevalence_is_that_of_all_labels(seed, negative):
    rng = np.random.default_rng(seed)
    known = Delays()
    _, took, y = world(rng, 40_000, 0.1, HOUR)
    known.add(y.astype(np.int8), took.astype(np.int64))
    groups = [world(rng, 3000, 0.1, age * HOUR)[0] for age in (9, 5, 3, 2, 0.2)]
    if negative:
        groups = [group._replace(negatives=0) for group in groups]
    view = provisional(groups, known, missing_is_negative=negative)
    assert view.groups == 4 if negative else view.groups in (3, 4)
    se = (view.prevalence.high - view.prevalence.low) / 3.92
    assert abs(view.prevalence.value - 0.1) < 4.5 * se
    assert se < 0.006


def test_its_interval_covers():
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        known = Delays()
        _, took, y = world(rng, 20_000, 0.05, HOUR)
        known.add(y.astype(np.int8), took.astype(np.int64))
        view = provisional([world(rng, 2000, 0.05, 2 * HOUR)[0]], known, missing_is_negative=True)
        inside += view.prevalence.low <= 0.05 <= view.prevalence.high
    assert inside / 200 > 0.9


def test_groups_that_are_too_young_say_nothing():
    known = Delays()
    known.add(np.array([0, 1]), np.array([HOUR, HOUR]))
    assert provisional([Immature(100, HOUR // 2, 0, 0)], known, missing_is_negative=False) is None
    assert provisional([], known, missing_is_negative=False) is None
    assert provisional([Immature(100, 2 * HOUR, 3, 1)], Delays(), missing_is_negative=True) is None


def test_twice_the_traffic_is_the_same_prevalence():
    known = Delays()
    known.add(np.ones(100, np.int8), np.repeat([HOUR, 3 * HOUR], 50))
    one = [Immature(1000, 2 * HOUR, 0, 25), Immature(1000, 5 * HOUR, 0, 50)]
    two = [one[0]._replace(events=2000, positives=50), one[1]]
    first, second = (provisional(groups, known, missing_is_negative=True) for groups in (one, two))
    assert first.prevalence.value == pytest.approx(second.prevalence.value, rel=1e-3) == pytest.approx(0.05, rel=0.01)


def test_a_pipeline_that_has_slowed_reads_as_a_fall():
    rng = np.random.default_rng(5)
    known = Delays()
    _, took, y = world(rng, 20_000, 0.1, HOUR)
    known.add(y.astype(np.int8), took.astype(np.int64))
    view = provisional([world(rng, 5000, 0.1, 2 * HOUR, slow=2.0)[0]], known, missing_is_negative=True)
    assert view.prevalence.high < 0.08
