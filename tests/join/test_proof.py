"""Whether labels came: the share of late, and stretches that have none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streameval.join.proof import LabelledShare, lost

cohorts = st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1)), min_size=1, max_size=60)


@given(cohorts=cohorts, cuts=st.sets(st.integers(1, 59)))
def test_the_share_is_that_of_the_cohorts_however_they_are_cut(cohorts, cuts):
    rows = np.array([n for n, _ in cohorts])
    labelled = np.array([int(n * share) for n, share in cohorts])
    whole, parts = LabelledShare(), LabelledShare()
    whole.count(rows, labelled)
    for part in np.split(np.arange(len(rows)), sorted(cuts)):
        parts.count(rows[part], labelled[part])
        again = LabelledShare()
        again.restore(parts.state())
        parts = again
    assert (whole.rows, whole.labelled) == (parts.rows, parts.labelled)
    # Of late: never less than the last two hundred labels, if there were so many.
    assert whole.labelled >= min(200, labelled.sum())


def test_a_share_that_has_changed_is_forgotten():
    share = LabelledShare()
    share.count(np.full(1000, 10), np.full(1000, 5))
    share.count(np.full(1000, 10), np.full(1000, 1))
    assert share.labelled / share.rows == 0.1


def test_chance_alone_loses_nothing_in_a_thousand_silences():
    rng = np.random.default_rng(1)
    for prevalence, n in ((0.3, 2_000), (0.01, 60_000), (0.001, 300_000)):
        share = LabelledShare(100_000, round(100_000 * prevalence))
        found = [lost(np.full(500, n // 500), rng.binomial(n // 500, prevalence, 500), share) for _ in range(350)]
        assert sum(found) <= 1


def test_labels_that_are_lost_for_long_enough_to_matter_are_missed():
    rng = np.random.default_rng(2)
    for prevalence, n in ((0.3, 2_000), (0.01, 60_000)):
        share = LabelledShare(100_000, round(100_000 * prevalence))
        missed = 0
        for _ in range(100):
            labels = rng.binomial(n // 500, prevalence, 500)
            labels[200:240] = 0
            missed += lost(np.full(500, n // 500), labels, share)
        assert missed >= 95


@pytest.mark.parametrize("left", [0.1, 0.5])
def test_labels_of_which_a_part_came_are_missed_over_a_longer_time(left):
    rng = np.random.default_rng(3)
    share, missed = LabelledShare(100_000, 30_000), 0
    for _ in range(100):
        labels = rng.binomial(4, 0.3, 500)
        labels[100:250] = rng.binomial(labels[100:250], left)
        missed += lost(np.full(500, 4), labels, share)
    assert missed >= 95


def test_a_prevalence_that_is_a_little_lower_loses_nothing():
    rng = np.random.default_rng(4)
    share = LabelledShare(100_000, 40_000)
    assert sum(lost(np.full(500, 20), rng.binomial(20, 0.35, 500), share) for _ in range(100)) <= 1
