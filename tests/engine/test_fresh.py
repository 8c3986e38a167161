"""Groups of waiting predictions: however closings, labels and maturities are batched, they are the same."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.engine.fresh import GROUPS, LONGEST, PARTS, STEPS, Fresh
from streameval.engine.rows import Rows
from streameval.transport import codec

INTERVAL, WAIT, AMEND, EVENTS, WINDOW = 10, 6400, 500, 7, 200


def fresh():
    return Fresh(EVENTS, WINDOW, WAIT, AMEND, INTERVAL)


def cohorts(rng, count):
    """(end, scores) of cohorts, some intervals empty."""
    starts = np.sort(rng.choice(3 * count, count, replace=False)) * INTERVAL
    return [(int(start) + INTERVAL, rng.random(int(rng.integers(1, 9)))) for start in starts]


def rows(made):
    end = np.concatenate([np.full(len(score), at) for at, score in made])
    score = np.concatenate([score for _, score in made])
    ids = np.arange(len(score), dtype=np.uint64)
    return Rows(end + WAIT, end - INTERVAL, ids, score, (ids % 3 == 0).astype(np.int8), {})


def drive(made, cuts, restart=()):
    """Push in pieces that end after the cohorts in `cuts`; fill at ticks; what was seen at each of them."""
    one, seen = fresh(), []
    pieces = [piece for piece in np.split(np.arange(len(made)), sorted(cuts)) if len(piece)]
    for number, piece in enumerate(pieces):
        part = [made[i] for i in piece]
        at = np.concatenate([np.full(len(score), end) for end, score in part])
        for tick in one.push(at, np.concatenate([score for _, score in part])):
            one.absorb(tick.at)
            if tick.full:
                group = one.fill()
                seen.append((tick.at, group.first, group.last, group.events, group.coarse.sum()))
            else:
                seen.append((tick.at, one.open.events))
        one.absorb(part[-1][0])
        if number in restart:
            state = codec.decode(codec.encode(one.state()))
            one = fresh()
            one.restore(state)
    return one, seen


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 79), max_size=12, unique=True), st.sets(st.integers(0, 12)))
def test_groups_and_ticks_do_not_depend_on_how_closings_come(seed, cuts, restart):
    made = cohorts(np.random.default_rng(seed), 80)
    one, seen = drive(made, [])
    two, again = drive(made, cuts, restart)
    assert seen == again
    assert codec.encode(one.state()) == codec.encode(two.state())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_every_closed_prediction_is_in_one_group(seed):
    made = cohorts(np.random.default_rng(seed), 120)
    one, seen = drive(made, [])
    groups = one.waiting
    assert sum(group.events for group in groups) == sum(len(score) for _, score in made) == one.closed
    assert all(left.last < right.first for left, right in pairwise(groups))
    for group in one.full:
        assert group.events >= STEPS * EVENTS or group.last + INTERVAL - group.first >= WAIT // LONGEST
        assert group.last + INTERVAL - group.first >= WAIT // PARTS
    assert [entry for entry in seen if len(entry) == 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 300), max_size=10, unique=True))
def test_matured_rows_come_back_in_their_groups_whatever_the_steps(seed, cuts):
    made = cohorts(np.random.default_rng(seed), 100)
    every = rows(made)
    # A step takes whole cohorts.
    bounds = sorted({int(np.searchsorted(every.cohort, every.cohort[min(cut, len(every) - 1)])) for cut in cuts} - {0})
    one, _ = drive(made, [])
    filled = {group.first: group.events for group in one.full}
    through = []
    for low, high in zip([0, *bounds], [*bounds, len(every)], strict=True):
        if high > low:
            through += one.mature(10**6, every.take(slice(low, high)))
    assert {matured.group.first: matured.events for matured in through} == filled
    positives = sum(matured.positives for matured in through)
    last = through[-1].group.last if through else -1
    assert positives == int(every.label[every.cohort <= last].sum())
    assert not one.full


def test_a_group_that_matured_before_it_was_full_settles_at_once():
    made = [(INTERVAL * (k + 1), np.full(5, 0.3)) for k in range(15)]
    one, _ = drive(made, [])
    assert one.open is not None
    one.full.clear()
    assert one.mature(10**6, rows(made)) == []
    one.fill()
    settled = one.settle(10**6)
    assert settled.events >= settled.group.events
    assert one.settle(10**6) is None


def test_labels_are_counted_in_the_group_of_their_prediction_by_the_time_that_they_took():
    made = [(INTERVAL * (k + 1), np.full(5, 0.3)) for k in range(40)]
    one, _ = drive(made, [])
    first, second = one.full[0], one.full[1]
    start = np.array([first.first, first.last, second.first, -500], np.int64)
    known = np.array([1000, 1000, 2000, 2000], np.int64)
    one.label(known, start, np.array([2_000, 60_000, 5_000, 1]), np.array([1, 0, 1, 1], np.int8))
    one.absorb(1500)
    assert (first.delays.labels.tolist(), second.delays.labels.tolist()) == ([1, 1], [0, 0])
    one.absorb(2500)
    assert second.delays.labels.tolist() == [0, 1]


def test_positives_after_maturity_belong_to_the_past():
    made = [(INTERVAL * (k + 1), np.full(5, 0.3)) for k in range(40)]
    one, _ = drive(made, [])
    through = one.mature(9000, rows(made))
    one.late(np.array([through[0].group.first, through[0].group.last, through[1].group.first, 10**7]))
    assert [past.late for past in one.past][:2] == [2, 1]
    assert sum(past.late for past in one.past) == 3


def test_a_version_without_labels_does_not_grow_for_ever():
    one, _ = drive([(INTERVAL * (k + 1), np.full(20, 0.3)) for k in range(12 * GROUPS)], [])
    assert len(one.full) == GROUPS


def test_the_latest_groups_fill_the_window():
    one, _ = drive(cohorts(np.random.default_rng(4), 300), [])
    assert WINDOW / 2 < one.recent().sum() <= WINDOW
    assert 0 < one.recent(4).sum() < one.recent().sum()
