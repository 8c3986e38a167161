"""Time that stands still in pauses, against a clock that is counted moment by moment."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streameval.join import NEVER, Pauses

moments = st.integers(0, 60)


@given(
    pairs=st.lists(st.tuples(moments, moments), max_size=5),
    starts=st.lists(moments, min_size=1, max_size=5),
    duration=st.integers(0, 40),
)
def test_what_has_passed_since_is_the_number_of_moments_outside_all_pauses(pairs, starts, duration):
    pauses = Pauses([pair for pair in pairs if pair[0] <= pair[1]])
    running = [t for t in range(1, 400) if not any(begin < t <= end for begin, end in pairs)]
    for start, after in zip(starts, pauses.after(np.array(starts), duration).tolist(), strict=True):
        left = [t for t in running if t > start]
        assert after == (left[duration - 1] if duration else start)


def test_in_a_pause_that_goes_on_nothing_is_reached_and_before_the_beginning_nothing_has_passed():
    pauses = Pauses([(-NEVER, 100), (200, NEVER)])
    after = pauses.after(np.array([50, 120, 150]), 60).tolist()
    assert after[:2] == [160, 180]
    assert after[2] >= NEVER
