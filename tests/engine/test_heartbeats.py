"""Heartbeats: events like any other to the clocks, and nothing that the join could take for an outcome."""

from __future__ import annotations

import json

from folding import batch, fold

from streameval.config import Config
from streameval.engine import Engine
from streameval.testing import streams
from streameval.testing.streams import HOUR, START, Stream

CONFIG = Config.model_validate(streams.settings("events", "state"))


def with_heartbeats(stream: Stream) -> dict[tuple[str, int], list[bytes]]:
    """The logs, with a heartbeat behind each tenth outcome, and one far ahead that nothing confirms."""
    logs = stream.logs()
    for place, values in logs.items():
        if place[0] != "outcomes":
            continue
        for at in range(len(values) - 1, 0, -10):
            beat = {"ts": json.loads(values[at])["ts"]} | ({"model": "churn"} if at % 3 == 0 else {})
            values.insert(at + 1, json.dumps(beat).encode())
        if len(values) > 20:
            values.insert(20, b'{"ts": %d}' % (START + 500 * HOUR))
    return logs


def test_heartbeats_are_no_outcomes_whatever_the_order_the_batches_and_the_restarts() -> None:
    stream = streams.stream(3, events=400, gap=200_000)
    plain, beating = stream.logs(), with_heartbeats(stream)
    records, engine = fold(CONFIG, beating)
    for seed in range(3):
        again, other = fold(CONFIG, beating, seed=seed, largest=30, restarts=0.2)
        records.assert_equal(again)
        assert other.counts == engine.counts
    added = sum(map(len, beating.values())) - sum(map(len, plain.values()))
    others, without = fold(CONFIG, plain)
    assert engine.counts.outcomes == without.counts.outcomes + added
    orphans = [[fold.join.orphans for fold in one.models.values()] for one in (engine, without)]
    assert orphans[0] == orphans[1] != [0, 0]
    assert others.topics["metrics"] == records.topics["metrics"]
    assert any(topic == "rejected" and "future" in key for topic, key in records.keys)


def test_a_heartbeat_moves_the_clock_of_its_partition() -> None:
    engine = Engine(CONFIG)
    for place, value in (
        (("predictions", 0), b'{"id": "a", "model": "fraud", "ts": %d, "score": 0.5}' % START),
        (("outcomes", 0), b'{"ts": %d}' % (START + HOUR)),
    ):
        engine.receive(batch(place, [value], 0))
    engine.advance()
    assert engine.clocks.partitions["outcomes", 0].max_ts == START + HOUR
    assert engine.now == START - CONFIG.lateness.predictions
