"""Heartbeats: events like any other to the clocks, proof that labels flow, and nothing that passes for an outcome."""

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
    _, without = fold(CONFIG, plain)
    assert engine.counts.outcomes == without.counts.outcomes + added
    orphans = [[fold.join.orphans for fold in one.models.values()] for one in (engine, without)]
    assert orphans[0] == orphans[1] != [0, 0]
    assert any(topic == "rejected" and "future" in key for topic, key in records.keys)


def test_a_heartbeat_is_meant_for_its_model_or_for_all() -> None:
    """Predictions without outcomes mature by waiting where labels flow, and leave unlabelled where nothing says so."""
    names = ("fraud", "churn")
    models = [{"name": name, "labels": {"wait": "1h", "missing": "negative", "give_up": "1h"}} for name in names]
    config = Config.model_validate(streams.settings("events", "state", models=models))
    predictions = [
        json.dumps({"id": f"{minute}", "model": name, "ts": START + minute * 60_000, "score": 0.5}).encode()
        for minute in range(600)
        for name in names
    ]
    for model, proven in ((None, set(names)), ("fraud", {"fraud"}), ("churn", {"churn"})):
        beats = [{"ts": START + minute * 60_000} | ({"model": model} if model else {}) for minute in range(0, 600, 5)]
        logs = {("predictions", 0): predictions, ("outcomes", 0): [json.dumps(beat).encode() for beat in beats]}
        _, engine = fold(config, logs)
        unproven = {name: fold.join.unproven for name, fold in engine.models.items()}
        assert {name for name, left in unproven.items() if left < 100} == proven
        assert {name for name, left in unproven.items() if left == 600} == set(names) - proven


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
