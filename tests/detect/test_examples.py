"""Examples: an order and numbers that are functions of the ids alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from streameval.detect.examples import HOUR, Examples


def made(rng: np.random.Generator, n: int) -> Examples:
    """n examples of three hours."""
    cohort = np.sort(rng.integers(0, 3 * HOUR, n))
    ids = rng.integers(0, 2**63, n).astype(np.uint64)
    return Examples(cohort, ids, rng.integers(0, 50, n).astype(np.int16), rng.integers(0, 2, n).astype(np.int8))


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 200), st.booleans())
def test_the_order_is_a_function_of_the_set(seed: int, n: int, several: bool) -> None:
    rng = np.random.default_rng(seed)
    examples, order = made(rng, n), rng.permutation(n)
    if several:
        # As where several versions that scored the same ids share a cell.
        examples.id_hash[:] %= np.uint64(5)
        examples.cohort[:] = 0
    shuffled = Examples(*(column[order] for column in _columns(examples)))
    ours, theirs = examples.ordered(), shuffled.ordered()
    assert all(np.array_equal(a, b) for a, b in zip(_columns(ours), _columns(theirs), strict=True))
    assert (np.diff(ours.cohort) >= 0).all()
    assert np.array_equal(ours.uniform(), theirs.uniform())


def test_order_and_numbers_of_consecutive_ids_look_random() -> None:
    n = 4000
    ids = np.arange(n, dtype=np.uint64)
    examples = Examples(np.zeros(n, np.int64), ids, np.zeros(n, np.int16), np.zeros(n, np.int8))
    uniform, order = examples.uniform(), examples.ordered().id_hash.astype(float)
    assert kstest(uniform, "uniform").pvalue > 0.001
    for a, b in ((uniform, ids.astype(float)), (order, ids.astype(float)), (order, uniform)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.0 / np.sqrt(n)


def _columns(examples: Examples) -> tuple[np.ndarray, ...]:
    return examples.cohort, examples.id_hash, examples.bins, examples.label
