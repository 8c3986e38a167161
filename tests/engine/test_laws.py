"""The laws of the design over the whole engine: what comes out is a function of the logs, the marks and the settings.

Every stream has an empty partition, one that falls silent and one an hour behind. That any shards of a cohort add up to
it, the third law, is held in ``tests/evidence``.
"""

from __future__ import annotations

import json
import random
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from folding import Records, fold
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streameval.config import Config
from streameval.engine import Engine
from streameval.engine.clock import Mark
from streameval.events.columns import Refused
from streameval.testing import streams
from streameval.testing.streams import HOUR, IDLE_PARTITION, START, Stream

laws = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
seeds = st.integers(0, 2**32)
TOPICS = ("thresholds", "calibration", "drift", "retrain", "metrics")
LONG = 2
CONFIG = Config.model_validate(streams.settings("events", "state"))


@cache
def made(seed: int) -> Stream:
    """Three short streams of a day, and a denser one that is long enough to ask for retraining."""
    events = 4000 if seed == LONG else 1200
    return streams.stream(seed, events=events, bad=0.03, gap=90_000_000 / events)


def woken(stream: Stream) -> list[Mark]:
    """The marks by which the partitions that fell silent no longer hold T back."""
    logs = stream.logs()
    silent = [(topic, IDLE_PARTITION) for topic in ("predictions", "outcomes")]
    return [Mark(*place, len(logs[place]), START + 100 * HOUR, "idle") for place in silent]


def folded(stream: Stream, **options: Any) -> tuple[Records, Engine]:
    return fold(CONFIG, stream.logs(), floors=woken(stream), **options)


@cache
def one_pass(seed: int) -> Records:
    return folded(made(seed))[0]


def test_the_streams_reach_all_that_the_laws_are_about() -> None:
    counts = {topic: sum(len(one_pass(seed).topics.get(topic, [])) for seed in range(4)) for topic in TOPICS}
    assert counts["thresholds"] > 20
    assert counts["calibration"] > 8
    assert counts["drift"] > 3
    assert counts["metrics"] > 100
    assert counts["retrain"] > 0
    values = [value for seed in range(4) for value in one_pass(seed).topics["thresholds"]]
    assert None in values, "a version retires"


@laws
@given(stream=st.integers(0, 3), seed=seeds)
def test_any_cuts_and_any_interleaving_give_the_records_of_one_pass(stream: int, seed: int) -> None:
    records, _ = folded(made(stream), seed=seed)
    records.assert_equal(one_pass(stream))


@laws
@given(stream=st.integers(0, 3), seed=seeds)
def test_restarts_at_any_moment_change_nothing(stream: int, seed: int) -> None:
    records, _ = folded(made(stream), seed=seed, restarts=0.1)
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
def test_marks_are_input_like_the_logs(stream: int, seed: int, floors: list[tuple[str, int, float, int]]) -> None:
    logs = made(stream).logs()
    marks = [
        Mark(topic, partition, int(share * len(logs[topic, partition])), START + after, "idle")
        for topic, partition, share, after in floors
    ]
    records, _ = fold(CONFIG, logs, seed=seed, floors=marks, restarts=0.05)
    records.assert_equal(fold(CONFIG, logs, floors=marks)[0])


@laws
@given(stream=st.integers(0, 3), seed=seeds)
def test_events_delivered_twice_change_nothing_but_the_counters_of_duplicates(stream: int, seed: int) -> None:
    # The second delivery comes while its first one is retained; what comes days later is another matter.
    good = made(stream).without_bad()
    once, engine = folded(_without_tardy(good))
    twice, again = folded(_without_tardy(good).with_duplicates(seed), seed=seed)
    twice.assert_equal(once)
    for name, model in engine.models.items():
        join, other = model.join, again.models[name].join
        assert other.duplicates > join.duplicates
        assert (other.duplicates_differing, other.matched > join.matched) == (join.duplicates_differing, True)
        assert (other.unlabelled, other.expired, other.taken - other.duplicates - other.late) == (
            join.unlabelled,
            join.expired,
            join.taken - join.duplicates - join.late,
        )


def _without_tardy(stream: Stream) -> Stream:
    """Late predictions are told one by one, so a second delivery of one is told again."""
    return Stream(
        [d for d in stream.deliveries if d.place[0] == "outcomes" or d.at - _ts(d.value) < 2 * HOUR], stream.places
    )


@settings(laws, max_examples=4)
@given(stream=st.integers(0, 3), seed=seeds)
def test_messages_that_could_not_be_handed_over_are_told_alike_however_they_are_cut(stream: int, seed: int) -> None:
    chance = random.Random(stream)
    logs = {
        place: [
            Refused("unreadable", "no reason", i, chance.randint(1, 9)) if chance.random() < 0.2 else v
            for i, v in enumerate(log)
        ]
        for place, log in made(stream).logs().items()
    }
    refused = sum(value.messages for log in logs.values() for value in log if isinstance(value, Refused))
    whole, _ = fold(CONFIG, logs)
    told = [json.loads(v)["data"] for (t, _), vs in whole.keys.items() for v in vs if t == "rejected"]
    assert sum(one["count"] for one in told if one["reason"] == "unreadable") == refused > 100
    records, _ = fold(CONFIG, logs, seed=seed, restarts=0.1)
    records.assert_equal(whole)


def _ts(value: bytes) -> int:
    ts = json.loads(value)["ts"]
    return ts if isinstance(ts, int) else round(datetime.fromisoformat(ts).timestamp() * 1000)


@pytest.mark.parametrize("between", [b"{}", b'{"id": 1'])
def test_a_message_beside_an_event_that_waits_to_be_confirmed_is_told_alike_however_it_is_cut(between: bytes) -> None:
    def event(ts: int) -> bytes:
        return json.dumps({"id": str(ts), "model": "fraud", "ts": ts, "score": 0.5}).encode()

    # A jump of three days is held until the next two events confirm it; bad messages stand between them.
    jump = START + 72 * HOUR
    values = [event(START), event(jump), between, event(jump + HOUR), between, event(jump + 2 * HOUR), between]
    logs = {("predictions", 0): values}
    at_once, _ = fold(CONFIG, logs)
    for seed in range(8):
        fold(CONFIG, logs, seed=seed, largest=1, restarts=0.3)[0].assert_equal(at_once)
