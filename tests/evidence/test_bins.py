import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.evidence.bins import BINS, EDGES, HALF, bin_of, threshold_bin

scores = st.floats(0.0, 1.0)


def holds(score):
    score = np.asarray(score, np.float64)
    b = bin_of(score).astype(np.int64)
    return (EDGES[b] <= score) & (score < EDGES[b + 1])


def test_every_edge_and_its_neighbouring_floats_lie_in_the_bin_that_the_edges_say():
    candidates = np.concatenate(
        [EDGES[:-1], np.nextafter(EDGES[:-1], 2.0), np.nextafter(EDGES[1:], -1.0), np.nextafter(EDGES[1:-1], 2.0)]
    )
    candidates = candidates[candidates <= 1.0]
    assert holds(candidates).all()
    assert np.array_equal(bin_of(EDGES[:-1]), np.arange(BINS))


@given(st.lists(scores | st.floats(0.0, 2.0**-28) | st.floats(1 - 2.0**-28, 1.0), min_size=1))
def test_any_score_lies_in_its_bin(values):
    assert holds(values).all()


@given(st.lists(scores, min_size=2))
def test_bins_are_monotone_in_the_score(values):
    assert (np.diff(bin_of(np.sort(np.array(values))).astype(int)) >= 0).all()


def test_there_are_7427_bins_with_half_of_them_below_one_half():
    assert (BINS, len(EDGES)) == (7427, 7428)
    assert EDGES[HALF] == 0.5
    assert HALF * 2 + 1 == BINS
    assert EDGES[0] == 0.0
    assert EDGES[-1] > 1.0


def test_the_ends_and_the_middle_are_what_they_should_be():
    assert bin_of(np.array([0.0, -0.0, 5e-324, 2.0**-31, 0.5, 1 - 2.0**-30, 1.0])).tolist() == [
        0,
        0,
        0,
        0,
        HALF,
        BINS - 1,
        BINS - 1,
    ]


def test_bins_are_within_one_part_in_128_of_the_distance_to_the_nearer_end():
    lower, upper = EDGES[1:HALF], EDGES[2 : HALF + 1]
    assert ((upper - lower) / lower <= 1 / 128).all()
    near, far = 1.0 - EDGES[HALF + 2 : -1], 1.0 - EDGES[HALF + 1 : -2]
    assert ((far - near) / near <= 1 / 127).all()


@given(scores, scores)
def test_a_threshold_acts_from_the_lower_edge_of_its_bin(score, threshold):
    first = threshold_bin(threshold)
    assert (bin_of(np.array([score]))[0] >= first) == (score >= EDGES[first])
    assert EDGES[first] <= threshold < EDGES[first + 1]


@pytest.mark.parametrize(("threshold", "first"), [(-0.1, 0), (0.0, 0), (0.5, HALF), (1.0, BINS - 1), (1.1, BINS)])
def test_thresholds_at_and_beyond_the_ends_let_all_or_none_through(threshold, first):
    assert threshold_bin(threshold) == first


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_bins_of_an_array_do_not_depend_on_how_it_is_cut(seed):
    values = np.random.default_rng(seed).beta(0.1, 0.1, 100)
    assert np.array_equal(bin_of(values), np.concatenate([bin_of(values[i : i + 7]) for i in range(0, 100, 7)]))
