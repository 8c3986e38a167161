"""The laws of the design over the whole engine: what comes out is a function of the logs, the marks and the settings.

Every stream has an empty partition, one that falls silent and one an hour behind. That any shards of a cohort add up to
it, the third law, is held in ``tests/evidence``.
"""

from __future__ import annotations

from functools import cache

import pytest
from folding import Records, fold
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streameval.config import Config
from streameval.engine.clock import Mark
from streameval.testing import streams
from streameval.testing.streams import HOUR, IDLE_PARTITION, START, Stream

laws = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32)
TOPICS = ("thresholds", "calibration", "drift", "retrain", "metrics")
CONFIG = Config.model_validate(streams.settings("events", "state"))


@cache
def made(seed: int, events: int = 1600) -> Stream:
    return streams.stream(seed, events=events, bad=0.03, gap=75_000)


@cache
def one_pass(seed: int) -> Records:
    return fold(CONFIG, made(seed).logs())[0]


def test_the_streams_reach_all_that_the_laws_are_about() -> None:
    counts = {topic: sum(len(one_pass(seed).topics[topic]) for seed in range(4)) for topic in TOPICS}
    print(counts)
    assert counts["thresholds"] > 20
    assert counts["calibration"] > 8
    assert counts["drift"] > 4
    assert counts["metrics"] > 100
    assert counts["retrain"] > 0
    values = [value for seed in range(4) for value in one_pass(seed).topics["thresholds"]]
    assert None in values, "a version retires"


@laws
@given(stream=st.integers(0, 3), seed=seeds)
def test_any_cuts_and_any_interleaving_give_the_records_of_one_pass(stream: int, seed: int) -> None:
    records, _ = fold(CONFIG, made(stream).logs(), seed=seed)
    records.assert_equal(one_pass(stream))


@laws
@given(stream=st.integers(0, 3), seed=seeds)
def test_restarts_at_any_moment_change_nothing(stream: int, seed: int) -> None:
    records, _ = fold(CONFIG, made(stream).logs(), seed=seed, restarts=0.1)
    records.assert_equal(one_pass(stream))


@settings(laws, max_examples=4)
@given(stream=st.integers(0, 3), seed=seeds)
def test_single_events_in_any_order_of_partitions_give_the_records_of_one_pass(stream: int, seed: int) -> None:
    logs = {place: values[:150] for place, values in made(stream).logs().items()}
    records, _ = fold(CONFIG, logs, seed=seed, largest=1, restarts=0.02)
    records.assert_equal(fold(CONFIG, logs)[0])


@laws
@given(
    stream=st.integers(0, 3),
    seed=seeds,
    floors=st.lists(
        st.tuples(
            st.sampled_from(["predictions", "outcomes"]), st.integers(0, 3), st.floats(0, 1), st.integers(0, 30 * HOUR)
        ),
        max_size=5,
    ),
)
def test_marks_are_input_like_the_logs(
    stream: int, seed: int, floors: list[tuple[str, int, float, int]]
) -> None:
    logs = made(stream).logs()
    marks = [
        Mark(topic, partition, int(share * len(logs[topic, partition])), START + after, "idle")
        for topic, partition, share, after in floors
    ]
    records, _ = fold(CONFIG, logs, seed=seed, floors=marks, restarts=0.05)
    records.assert_equal(fold(CONFIG, logs, floors=marks)[0])
