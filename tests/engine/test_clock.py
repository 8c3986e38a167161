"""The clock of a partition: what jumps is held until others follow, and what it leaps over is remembered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streameval.engine.clock import CONFIRMED, CONFIRMED_BUSY, DAY, PartitionClock
from streameval.events.columns import Outcomes

HOUR = 3_600_000
START = 1_704_067_200_000


def events(ts, first=0, record_ts=None) -> Outcomes:
    n = len(ts)
    at = np.array(ts, np.int64)
    stamps = np.full(n, -1, np.int64) if record_ts is None else np.array(record_ts, np.int64)
    columns = {name: np.zeros(n) for name in ("hash", "label")}
    return Outcomes(
        "outcomes",
        0,
        np.arange(first, first + n),
        at,
        columns["hash"].astype(np.uint64),
        stamps,
        np.zeros(n, np.int16),
        columns["label"],
        {},
        **_rest(n),
    )


def _rest(n):
    names = set(Outcomes.__dataclass_fields__)
    return {"heartbeat": np.zeros(n, bool)} if "heartbeat" in names else {}


def clock(dense: int = 0) -> PartitionClock:
    """A clock that has seen so many events, a minute apart."""
    it = PartitionClock(HOUR, 10 * 60_000)
    if dense:
        it.admit(events(START + np.arange(dense) * 60_000))
    return it


def newest(it: PartitionClock) -> int:
    return (it.max_ts - START) // 60_000


@pytest.mark.parametrize("stamped", [False, True])
def test_one_event_far_ahead_is_refused_when_the_next_does_not_follow_whatever_its_record_says(stamped):
    it = clock(100)
    far = START + 400 * DAY
    ts = [far, START + 100 * 60_000]
    admitted = it.admit(events(ts, 100, ts if stamped else None))
    assert [(offset, at) for offset, at, _ in admitted.future] == [(100, far)]
    assert newest(it) == 100


def test_events_that_go_on_after_a_long_pause_confirm_each_other():
    it = clock(100)
    ts = START + 3 * DAY + np.arange(CONFIRMED) * 60_000
    assert len(it.admit(events(ts[:-1], 100)).runs) == 0
    admitted = it.admit(events(ts[-1:], 102))
    assert sum(len(columns) for columns, _ in admitted.runs) == CONFIRMED
    assert it.max_ts == ts[-1]


def test_three_wrong_clocks_in_a_row_do_not_move_a_busy_partition():
    it = clock(2000)
    far = START + 400 * DAY + np.arange(3) * 60_000
    admitted = it.admit(events([*far, START + 2000 * 60_000], 2000))
    assert len(admitted.future) == 3
    assert newest(it) == 2000
    # A producer whose clock stays wrong moves it in the end: others confirm.
    it.admit(events(START + 400 * DAY + np.arange(CONFIRMED_BUSY) * 60_000, 2004))
    assert it.max_ts > START + 400 * DAY


def test_a_sparse_log_is_never_held():
    it = clock()
    for month in range(6):
        admitted = it.admit(events([START + month * 30 * DAY], month))
        assert len(admitted.runs) == 1
    # Nor where it pauses for twice as long as ever.
    assert len(it.admit(events([START + 240 * DAY], 6)).runs) == 1


def test_what_was_ahead_of_the_wall_clock_is_held_and_marked_once_and_taken_when_others_follow():
    it = clock(100)
    wall = START + 100 * 60_000
    ahead = wall + 6 * HOUR
    admitted = it.admit(events([ahead], 100), wall + it.max_ahead)
    assert (admitted.ahead, len(admitted.runs)) == ([100], 0)
    admitted = it.admit(events([ahead + 1, ahead + 2, ahead + 3], 101), wall + it.max_ahead)
    # The two that confirmed it were ahead as well; the last one is not ahead of its partition any more.
    assert admitted.ahead == [101, 102]
    assert it.max_ts == ahead + 3


def test_a_first_event_that_is_ahead_of_the_wall_clock_is_held_too():
    it = clock()
    assert it.admit(events([START + 400 * DAY], 0), START).ahead == [0]
    admitted = it.admit(events([START], 1), START)
    assert [offset for offset, _, _ in admitted.future] == [0]
    assert it.max_ts == START


def test_a_replay_that_knows_the_marks_does_what_was_done_live():
    ts = [START + 100 * 60_000 + 6 * HOUR, START + 101 * 60_000]
    live, again, unaware = clock(100), clock(100), clock(100)
    marks = live.admit(events(ts, 100), START + 110 * 60_000).ahead
    again.suspects.update(marks)
    again.admit(events(ts, 100))
    unaware.admit(events(ts, 100))
    assert again.state() == live.state()
    assert unaware.max_ts != live.max_ts


def test_what_the_clock_passes_in_one_step_is_remembered_and_what_it_passed_by_a_mark_is_not():
    it = clock(10)
    it.admit(events([START + 5 * HOUR], 10))
    assert it.leaps == [(START + 9 * 60_000 - HOUR, START + 4 * HOUR)]
    it.floor = START + 20 * HOUR
    it.admit(events([START + 24 * HOUR], 11))
    assert it.leaps[1:] == [(START + 20 * HOUR, START + 23 * HOUR)]
    it.forget(START + 4 * HOUR)
    assert len(it.leaps) == 1


steps = st.lists(st.sampled_from([0, 60_000, 60_000, HOUR, DAY, 2 * DAY, 9 * DAY, -HOUR, 400 * DAY]), max_size=60)


@given(steps=steps, cuts=st.sets(st.integers(1, 59)), limit=st.sampled_from([None, 30, 500]))
def test_any_cut_of_a_log_gives_the_same_logical_times_and_refusals(steps, cuts, limit):
    ts, now = [], START
    for step in steps:
        ts.append(now + step)
        # A wrong clock is wrong once.
        now += step if step < 100 * DAY else 60_000
    limit = 1 << 61 if limit is None else START + limit * DAY
    whole, parts = PartitionClock(HOUR, 600_000), PartitionClock(HOUR, 600_000)
    one, two = [whole.admit(events(ts), limit)], []
    for part in np.split(np.arange(len(ts)), sorted(cut for cut in cuts if cut < len(ts))):
        if len(part):
            two.append(parts.admit(events([ts[i] for i in part], int(part[0])), limit))
            again = PartitionClock(HOUR, 600_000)
            again.restore(parts.state(), Outcomes)
            parts = again

    def told(admitted):
        times = [
            pair
            for a in admitted
            for columns, logical in a.runs
            for pair in zip(columns.offset.tolist(), logical.tolist(), strict=True)
        ]
        return times, [f for a in admitted for f in a.future], [o for a in admitted for o in a.ahead]

    assert told(one) == told(two)
    assert [len(columns) for columns in whole.held] == [len(columns) for columns in parts.held]
    assert (whole.max_ts, whole.seen, whole.longest, whole.leaps) == (
        parts.max_ts,
        parts.seen,
        parts.longest,
        parts.leaps,
    )
