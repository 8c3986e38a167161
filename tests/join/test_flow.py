"""The flow of labels: what is a silence, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Flow

from streameval.join import NEVER, Pauses
from streameval.join import flow as flow_module
from streameval.join.flow import LabelFlow

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def flow(wait=2 * DAY, give_up=7 * DAY) -> LabelFlow:
    return LabelFlow(MINUTE, wait, give_up)


def hear(it: LabelFlow, times, part=0) -> LabelFlow:
    times = np.sort(np.asarray(times)).astype(np.int64)
    return it.heard(times, np.full(len(times), part, np.int64))


def pauses(it: LabelFlow, after: int) -> list[tuple[int, int]]:
    """Those that begin after a time and have ended."""
    all_of = it.pauses()
    pairs = zip(all_of.begin.tolist(), all_of.end.tolist(), strict=True)
    return [(begin, end) for begin, end in pairs if begin > after and end < NEVER]


signs = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 5, 9, 20, 60, 200, 600]), st.sampled_from([1, 1, 1, 3, 5])), max_size=80
)


@settings(max_examples=200)
@given(
    steps=signs,
    interval=st.sampled_from([1, 7, 20]),
    wait=st.sampled_from([0, 30, 120, 1000]),
    give_up=st.sampled_from([1, 25, 400]),
    cuts=st.sets(st.integers(1, 80)),
)
def test_any_cut_of_the_signs_gives_what_the_description_says(steps, interval, wait, give_up, cuts):
    patched = pytest.MonkeyPatch()
    patched.setattr(flow_module, "ESTABLISHED", 4)
    patched.setattr(flow_module, "TRUSTED", 3)
    patched.setattr(flow_module, "LIGHT", 4)
    with patched.context():
        times = np.cumsum([step for step, _ in steps]).tolist()
        events = sorted(zip(times, (part for _, part in steps), strict=True))
        oracle, it, part = Flow(interval, wait, give_up), LabelFlow(interval, wait, give_up), []
        for at in sorted({at for at, _ in events}):
            oracle.hear(at, sorted(p for time, p in events if time == at))
        for i, event in enumerate(events):
            part.append(event)
            last = i + 1 == len(events)
            # One moment is never cut: a stretch of time ends before or after it.
            if last or (i + 1 in cuts and events[i + 1][0] > event[0]):
                it = it.heard(np.array([a for a, _ in part]), np.array([p for _, p in part]))
                again = LabelFlow(interval, wait, give_up)
                again.restore(it.state())
                it, part = again, []
        expected = Pauses([*oracle.pauses, (oracle.silent()[0], NEVER)])
        found = it.pauses()
    patched.undo()
    assert found.begin.clip(-(10**9)).tolist() == expected.begin.clip(-(10**9)).tolist()
    assert found.end.tolist() == expected.end.tolist()


def test_a_steady_feed_that_stops_for_a_day_makes_one_pause_of_almost_that_day():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(10 * MINUTE, 6000)).astype(np.int64)
    stopped = int(times[-1]) // 2
    it = hear(flow(), times[(times < stopped) | (times > stopped + DAY)])
    long = [(begin, end) for begin, end in pauses(it, 5 * DAY) if end - begin > 6 * HOUR]
    assert len(long) == 1
    assert abs(long[0][0] - stopped) < 3 * HOUR
    assert abs(long[0][1] - stopped - DAY) < HOUR
    # By chance a silence is a little longer than usual now and then: less than one in a thousand minutes.
    lost = sum(end - begin for begin, end in pauses(it, 5 * DAY)) - (long[0][1] - long[0][0])
    assert lost < times[-1] / 1000


@pytest.mark.parametrize(
    "feed",
    [
        pytest.param(lambda day: [2 * HOUR], id="a file at two in the morning"),
        pytest.param(lambda day: [2 * HOUR] if day % 7 < 5 else [], id="a file on weekdays"),
        pytest.param(lambda day: range(9 * HOUR, 17 * HOUR, 5 * MINUTE) if day % 7 < 5 else [], id="office hours"),
        pytest.param(lambda day: [day * HOUR % (24 * HOUR)] if day % 10 == 0 else [], id="one in ten days"),
    ],
)
def test_feeds_that_keep_hours_are_not_silent_once_they_are_known(feed):
    times = [day * DAY + at for day in range(120) for at in feed(day)]
    it = hear(flow(wait=7 * DAY), times)
    assert sum(end - begin for begin, end in pauses(it, 60 * DAY)) <= 0.02 * 60 * DAY


def test_an_outage_does_not_hide_the_next_one():
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.exponential(10 * MINUTE, 20_000)).astype(np.int64)
    silent = [(40 * DAY, 50 * DAY), (60 * DAY, 62 * DAY), (64 * DAY, 65 * DAY)]
    it = hear(flow(), [t for t in times.tolist() if not any(a < t < b for a, b in silent)])
    long = [(begin, end) for begin, end in pauses(it, 5 * DAY) if end - begin > 6 * HOUR]
    assert [round(begin / DAY) for begin, _ in long] == [40, 60, 64]


def test_a_feed_that_becomes_a_tenth_is_taken_for_that_after_a_while():
    rng = np.random.default_rng(3)
    dense = np.cumsum(rng.exponential(10 * MINUTE, 4000))
    rare = dense[-1] + np.cumsum(rng.exponential(100 * MINUTE, 4000))
    it = hear(flow(), np.concatenate([dense, rare]))
    changed = int(dense[-1])
    assert sum(end - begin for begin, end in pauses(it, changed + 20 * DAY)) < 0.01 * (rare[-1] - changed)


def test_one_of_two_feeds_is_missed_and_dropped_when_it_gives_up():
    rng = np.random.default_rng(4)
    one, two = (np.cumsum(rng.exponential(10 * MINUTE, 8000)) for _ in range(2))
    times = np.concatenate([one, two[two < 20 * DAY]])
    part = np.repeat([0, 1], [len(one), int((two < 20 * DAY).sum())])
    order = np.argsort(times)
    it = flow().heard(times[order].astype(np.int64), part[order])
    (pause,) = [(begin, end) for begin, end in pauses(it, 5 * DAY) if end - begin > DAY]
    assert abs(pause[0] - 20 * DAY) < 3 * HOUR
    assert abs(pause[1] - pause[0] - 7 * DAY) < 3 * HOUR
