import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.evidence.exact import UNIT, canonical, fixed, from_plain, minus, plus, squares, sums_by, to_plain

# Around the ends of 31, 53 and 63 bits, where int32, floats and int64 stop being exact.
big = st.one_of(
    st.integers(-5, 5),
    *(st.integers(2**bits - 3, 2**bits + 3) for bits in (31, 53)),
    st.integers(2**63 - 4, 2**63 - 1),
    st.integers(-(2**63) + 1, -(2**63) + 4),
)
huge = big | st.integers(-(2**70), 2**70)


def array(values):
    return canonical(np.array(values, dtype=object))


@settings(max_examples=60)
@given(st.lists(st.tuples(huge, huge), min_size=1))
def test_sums_and_differences_equal_those_of_pythons_integers(pairs):
    a, b = array([p[0] for p in pairs]), array([p[1] for p in pairs])
    assert plus(a, b).tolist() == [x + y for x, y in pairs]
    assert minus(a, b).tolist() == [x - y for x, y in pairs]
    assert np.array_equal(minus(plus(a, b), b), a)
    assert minus(plus(a, b), b).dtype == a.dtype


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), huge), min_size=1))
def test_grouped_sums_equal_those_of_pythons_integers(pairs):
    codes, x = np.array([c for c, _ in pairs]), array([v for _, v in pairs])
    assert sums_by(codes, x, 4).tolist() == [sum(v for c, v in pairs if c == g) for g in range(4)]


def test_an_array_becomes_python_integers_exactly_when_a_sum_passes_63_bits():
    edge = np.array([2**63 - 1])
    assert plus(edge - 1, np.array([1])).dtype == np.int64
    assert plus(edge, np.array([1])).dtype == object
    assert plus(edge, np.array([1])).tolist() == [2**63]
    assert minus(plus(edge, np.array([1])), np.array([1])).dtype == np.int64


@pytest.mark.parametrize("count", [2**31 - 1, 2**31, 2**31 + 1])
def test_the_score_sums_of_a_bin_stay_exact_across_2_to_the_31_examples(count):
    # A score of 1 is 2^32 units: 2^31 of them are 2^63, one more than int64 holds.
    half = np.array([count // 2 * 2**32])
    rest = np.array([(count - count // 2) * 2**32])
    total = plus(half, rest)
    assert total.tolist() == [count * 2**32]
    assert (total.dtype == object) == (count >= 2**31)


@settings(max_examples=60)
@given(st.lists(st.integers(-(2**40), 2**40), min_size=1))
def test_squares_are_exact(values):
    assert squares(array(values)).tolist() == [v * v for v in values]


def test_floats_beyond_63_bits_become_python_integers():
    assert fixed(np.array([2.0**40]), UNIT).tolist() == [2**72]
    assert fixed(np.array([0.25])).dtype == np.int64


@settings(max_examples=30)
@given(st.lists(huge, min_size=1))
def test_plain_values_restore_the_same_array(values):
    x = array(values)
    back = from_plain(to_plain(x))
    assert np.array_equal(back, x)
    assert back.dtype == x.dtype
