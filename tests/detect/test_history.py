"""History: whatever is merged, nothing is lost, and the recent past stays fine."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.detect.history import LEARNING_LIMIT, WATCHING_LIMIT, History
from streameval.detect.label_counts import LabelCounts, total


def counts(k: int, n: int) -> LabelCounts:
    """n negatives and one positive in a bin that depends on k."""
    return LabelCounts(np.array([k % 7], np.int16), np.array([[n], [1]], np.int64))


@settings(max_examples=25)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=150), st.booleans())
def test_blocks_add_up_to_all_that_was_appended(sizes: list[int], recent: bool) -> None:
    history = History()
    for k, n in enumerate(sizes):
        history.append(k, k + 1, counts(k, n), recent=recent)
    whole = total(counts(k, n) for k, n in enumerate(sizes))
    assert np.array_equal(history.total().counts, whole.counts)
    assert (history.events, history.positives) == (whole.events, whole.positives)
    assert len(history.blocks) <= (WATCHING_LIMIT if recent else LEARNING_LIMIT)
    assert [b.end for b in history.blocks[:-1]] == [b.start for b in history.blocks[1:]]


def test_a_block_is_a_small_share_of_what_came_after_it() -> None:
    history = History()
    for k in range(3000):
        history.append(k, k + 1, counts(k, 499), recent=True)
    after = history.events
    for block in history.blocks[:-1]:
        after -= block.events
        assert block.events <= 0.6 * after + 1000


def test_a_block_that_spans_the_change_is_on_neither_side() -> None:
    history = History()
    for k in range(3):
        history.append(10 * k, 10 * k + 10, counts(k, 9), recent=True)
    assert history.since(15).events == 10
    assert history.until(15).events == 10
    assert history.since(20).events + history.until(20).events == 30


def test_state_restores_the_same_blocks() -> None:
    history = History()
    for k in range(50):
        history.append(k, k + 1, counts(k, k + 1), recent=True)
    again = History.restore(history.state())
    assert [(b.start, b.end, b.events) for b in again.blocks] == [(b.start, b.end, b.events) for b in history.blocks]
    assert np.array_equal(again.total().counts, history.total().counts)
