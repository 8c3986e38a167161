"""A story is a function of its name, seed, length and rate, and its truth is what its events show."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.stories.events import NEVER, Foreseen, Reported, identifier
from streameval.stories.story import BLOCK, DAY, START
from streameval.testing.streams import STORIES, story

NAMES = list(STORIES)


def whole(told):
    return Foreseen.join(list(told.blocks()))


def acted(told, events, threshold=0.5):
    return events.act(threshold, selective=told.labels.selective, positives_only=told.labels.positives_only)


def test_the_stories_that_were_asked_for_exist():
    assert {
        "stationary", "seasonal", "bursty", "rare", "label_shift", "covariate", "miscalibration", "concept_drift",
        "mixed", "own_action", "delayed", "stalled", "selective", "traffic",
    } <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_same_name_seed_and_length_give_the_same_events_and_another_seed_gives_others(name):
    one, two, other = (whole(story(name, seed=seed, events=3000)) for seed in (3, 3, 4))
    for column in Foreseen.__slots__:
        assert np.array_equal(getattr(one, column), getattr(two, column)), column
    assert not np.array_equal(one.score, other.score)


@pytest.mark.parametrize("name", NAMES)
def test_events_are_valid_and_in_order(name):
    told = story(name, events=5000)
    events = whole(told)
    assert np.array_equal(events.number, np.arange(5000))
    assert (np.diff(events.ts) >= 0).all()
    assert events.ts[0] >= START
    assert events.ts[-1] <= START + told.duration
    assert ((events.score >= 0) & (events.score <= 1)).all()
    arrived = events.arrival != NEVER
    assert (events.arrival[arrived] > events.ts[arrived]).all()
    assert (events.arrival[arrived] - events.ts[arrived] <= told.labels.longest + 1).all()
    assert told.labels.longest < told.labels.wait
    outcomes = Reported.of(events, acted(told, events))
    assert (np.diff(outcomes.ts) >= 0).all()


@settings(max_examples=20)
@given(st.sampled_from(NAMES), st.integers(0, 2))
def test_a_block_can_be_drawn_without_those_before_it(name, place):
    told = story(name, events=2 * BLOCK + 1000)
    alone = told.block(place)
    assert alone.number[0] == place * BLOCK
    assert len(alone) == (BLOCK if place < 2 else 1000)
    assert np.array_equal(alone.score, list(told.blocks())[place].score)


@settings(max_examples=25)
@given(st.sampled_from(NAMES), st.lists(st.integers(1, 2999), max_size=4), st.floats(0.01, 0.9))
def test_taking_a_story_in_other_pieces_gives_the_same_events(name, cuts, threshold):
    told = story(name, events=3000)
    events = whole(told)
    edges = [0, *sorted(set(cuts)), 3000]
    parts = [events.take(slice(a, b)) for a, b in pairwise(edges)]
    joined = Reported.join([Reported.of(part, acted(told, part, threshold)) for part in parts]).in_order()
    at_once = Reported.of(events, acted(told, events, threshold))
    for column in Reported.__slots__:
        assert np.array_equal(getattr(joined, column), getattr(at_once, column)), column


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_is_what_the_events_show(name):
    told = story(name, events=200_000)
    events, truth = whole(told), told.truth()
    assert truth.chapters[0].at == START
    for chapter in truth.chapters:
        rows = (events.ts >= chapter.at) & (events.ts < chapter.until)
        share, n = events.positive[rows].mean(), rows.sum()
        # Bursts make neighbours alike: their mean varies more than independent events' would.
        spread = 4.5 * np.sqrt(chapter.prevalence / n) * (4 if told.burst else 1)
        assert abs(share - chapter.prevalence) < spread
        assert chapter.excess(chapter.best_threshold) < 1e-3
        assert chapter.excess(chapter.best_threshold * 5) > 0.02
    at, values = zip(*truth.prevalence, strict=True)
    told_at = np.array(values)[np.searchsorted(at, events.ts, side="right") - 1]
    if len(set(values)) > 1 and told.events * max(values) > 1000:
        high = told_at > np.median(values)
        assert events.positive[high].mean() > events.positive[~high].mean()


def test_the_daily_wave_and_the_bursts_are_as_large_as_they_are_said_to_be():
    told = story("seasonal", events=400_000)
    events = whole(told)
    hour = (events.ts - START) % DAY / DAY
    crest = events.positive[(hour > 0.2) & (hour < 0.3)].mean()
    trough = events.positive[(hour > 0.7) & (hour < 0.8)].mean()
    assert crest / trough == pytest.approx(1.3 / 0.7, rel=0.1)
    told = story("bursty", events=400_000)
    events = whole(told)
    blocks = events.positive[: len(events) // 250 * 250].reshape(-1, 250).mean(axis=1)
    assert blocks.var() * 250 / (0.05 * 0.95) > 2


def test_traffic_doubles():
    told = story("traffic")
    events = whole(told)
    gaps = np.diff(events.ts)
    assert gaps[:50_000].mean() / gaps[-50_000:].mean() == pytest.approx(2.0, rel=0.01)


def test_outcomes_stop_in_the_stalled_story_and_slow_down_in_the_delayed_one():
    told = story("stalled")
    outcomes = Reported.of(whole(told), acted(told, whole(told)))
    assert outcomes.ts.max() <= told.time_of(0.6)
    told = story("delayed")
    events = whole(told)
    known = events.arrival != NEVER
    delay = (events.arrival - events.ts)[known]
    late = events.ts[known] >= told.time_of(0.5)
    assert np.mean(delay[late]) / np.mean(delay[~late]) > 2.5


def test_actions_prevent_what_they_catch_and_nothing_else():
    told = story("own_action")
    events = whole(told)
    done = acted(told, events, 0.1)
    assert not (done.label & ~events.positive).any()
    assert np.array_equal(done.label[~done.decision], events.positive[~done.decision])
    caught = events.positive & done.decision
    assert done.label[caught].mean() == pytest.approx(0.2, abs=0.03)


def test_selective_labels_are_seen_as_often_as_their_propensity_says():
    told = story("selective")
    events = whole(told)
    done = acted(told, events, 0.1)
    seen = done.arrival != NEVER
    for decision, share in ((True, 0.99), (False, 0.2 * 0.99)):
        rows = done.decision == decision
        assert seen[rows].mean() == pytest.approx(share, abs=0.01)
        assert set(done.propensity[rows]) == {1.0 if decision else 0.2}


def test_only_positives_are_reported_where_that_is_so():
    told = story("traffic", events=20_000)
    assert Reported.of(whole(told), acted(told, whole(told))).label.all()


def test_ids_are_told_apart():
    assert len({identifier(n) for n in range(1000)}) == 1000
    told = story("stationary", events=1000)
    assert len(set(whole(told).id_hash().tolist())) == 1000
