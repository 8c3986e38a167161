"""Event times: one meaning, or a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.events.timestamps import EARLIEST, LATEST, epoch_ms, time_fault

MOMENTS = st.datetimes(
    datetime(1990, 1, 1),  # noqa: DTZ001  # the strategy takes naive bounds
    datetime(2099, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@settings(max_examples=200)
@given(st.lists(st.one_of(MOMENTS, st.integers(EARLIEST, LATEST)), max_size=6))
def test_datetimes_and_integers_become_the_same_milliseconds_in_any_mixture(times):
    exact = [
        time if isinstance(time, int) else (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        for time in times
    ]
    assert epoch_ms(times).tolist() == exact


def test_the_accepted_range_is_half_open():
    assert time_fault(EARLIEST) is None
    assert time_fault(LATEST - 1) is None
    assert time_fault(LATEST) is not None
    assert time_fault(-1) is not None


@settings(max_examples=200)
@given(st.integers(EARLIEST, LATEST - 1))
def test_no_accepted_time_can_be_taken_for_another_unit(ms):
    assert time_fault(ms) is None
    assert time_fault(ms // 1000)[0] == "seconds_time" or ms // 1000 * 1000 < EARLIEST
    assert time_fault(ms * 1000)[0] == "microseconds_time"
    assert time_fault(ms * 1_000_000)[0] == "microseconds_time"


@pytest.mark.parametrize("ms", [-(2**62), 2**62, 0])
def test_absurd_times_are_out_of_range(ms):
    assert time_fault(ms)[0] == "out_of_range"
