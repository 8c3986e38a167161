"""Runs on logs that grow, live runs with acts of the wall clock, and replays: they all tell the same."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from worker import Worker, small_batches

from streameval import records
from streameval.config import Config
from streameval.daemon import Daemon, Summary, replay
from streameval.testing import streams
from streameval.testing.memory import MemoryBroker, MemoryTransport
from streameval.testing.streams import HOUR, START, Stream
from streameval.transport.logdir import tombstone
from streameval.transport.opening import output_topics


@pytest.fixture(scope="module")
def stream() -> Stream:
    return streams.stream(0, events=1200, bad=0.02, gap=75_000)


@pytest.fixture(scope="module")
def at_once(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    worker = Worker(tmp_path_factory.mktemp("once")).feed(stream).wake(stream)
    worker.run()
    return worker.outputs()


@settings(
    deadline=None,
    max_examples=6,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cuts=st.lists(st.floats(0.1, 1), min_size=1, max_size=4))
def test_runs_to_the_end_of_logs_that_grow_equal_one_pass(
    stream: Stream, at_once: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, cuts: list[float]
) -> None:
    worker = Worker(tmp_path_factory.mktemp("grown")).feed(stream, before=0).wake(stream)
    after = 0
    for share in [*sorted(cuts), 1.0]:
        before = round(share * len(stream.deliveries))
        worker.feed(stream, after=after, before=before).run()
        after = before
    assert worker.outputs() == at_once


class Live:
    """A daemon in a thread, over a broker in memory that is being written to."""

    def __init__(self, root: Path, seed: int, **changes: Any) -> None:
        self.choose = random.Random(seed)
        self.broker = MemoryBroker()
        self.changes = {"idle_after": "20ms", "commit": {"every": "10ms", "outputs": 10}} | changes
        self.config = Config.model_validate(streams.settings(root / "events", root / "state", **self.changes))
        self.out = root / "out"
        self.summaries: list[Summary] = []
        self.start()

    def start(self) -> None:
        transport = MemoryTransport(self.broker, seed=self.choose.randint(0, 1 << 30))
        self.daemon = Daemon(self.config, transport=transport)
        self.thread = threading.Thread(target=lambda: self.summaries.append(self.daemon.run()))
        self.thread.start()

    def stop(self) -> Summary:
        self.daemon.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.summaries[-1]

    def caught_up(self) -> None:
        deadline = time.monotonic() + 30
        while self.read() < sum(map(len, self.broker.values.values())) and time.monotonic() < deadline:
            assert self.thread.is_alive()
            time.sleep(0.01)

    def hear(self, stream: Stream, begin: int, end: int) -> None:
        """Deliver what a stream delivers from one hour to another."""
        for delivery in stream.deliveries:
            if begin * HOUR <= max(delivery.at - START, 0) < end * HOUR:
                self.broker.append(*delivery.place, [delivery.value])

    def read(self) -> int:
        last = self.broker.records[-1] if self.broker.records else None
        return 0 if last is None else sum(offset for places in last.positions.values() for offset in places.values())

    def published(self) -> dict[str, list[bytes]]:
        topics = output_topics(self.config)
        lines = {
            topic: [
                tombstone(record.key, record.sequence) if record.value is None else record.value
                for record in self.broker.published.get(topic, [])
            ]
            for topic in topics
        }
        return by_key(lines)

    def replayed(self) -> dict[str, list[bytes]]:
        marks = [record.value for record in self.broker.published.get("clock", []) if record.value is not None]
        replay(self.config, MemoryTransport(self.broker), self.out, marks=marks)
        topics = output_topics(self.config)
        return by_key({topic: (self.out / f"{topic}.jsonl").read_bytes().splitlines() for topic in topics})


def by_key(lines: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
    found = {topic: values for topic, values in lines.items() if topic != "rejected"}
    for line in lines["rejected"]:
        found.setdefault(f"rejected {json.loads(line)['subject']}", []).append(line)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_with_the_recorded_clock_equals_the_live_run_with_its_idle_marks(
    stream: Stream, tmp_path: Path, seed: int
) -> None:
    live = Live(tmp_path, seed)
    for place in stream.places:
        live.broker.append(*place)
    with small_batches():
        at = 0
        while at < len(stream.deliveries):
            until = at + live.choose.randint(1, 400)
            for delivery in stream.deliveries[at:until]:
                live.broker.append(*delivery.place, [delivery.value])
            time.sleep(live.choose.choice([0, 0.01, 0.15]))
            if live.choose.random() < 0.3:
                live.stop()
                live.start()
            at = until
        live.caught_up()
        live.stop()
    clock = [json.loads(record.value)["data"]["reason"] for record in live.broker.published["clock"]]
    assert {"idle", "entered"} & set(clock)
    published = live.published()
    assert published["metrics"]
    assert published == live.replayed()


@pytest.fixture
def silence() -> Stream:
    """Predictions go on for thirty hours; labels flow, fall silent after ten, and come back after twenty-two."""
    made = streams.stream(11, events=1500, gap=72_000, late=0)
    return Stream(
        [d for d in made.deliveries if d.place[0] == "predictions" or not 10 * HOUR < d.at - START < 22 * HOUR],
        made.places,
    )


def test_labels_that_fall_silent_bring_no_flood_of_negatives_and_a_fresh_start_when_they_return(
    silence: Stream, tmp_path: Path
) -> None:
    live = Live(tmp_path, 1, labels={"wait": "2h", "give_up": "20h", "missing": "negative"})
    for place in silence.places:
        live.broker.append(*place)
    for hour in range(21):
        live.hear(silence, hour, hour + 1)
        # Long enough for the silent ones to be found idle while predictions still come.
        time.sleep(0.06)
    live.caught_up()
    quiet = live.stop()
    # The clock passed the silent labels by marks, but what waited for proof did not mature as negatives.
    assert quiet.time is not None
    assert quiet.time > START + 18 * HOUR
    latest = max(_window_end(live, "fraud/2/*"), _window_end(live, "fraud/1/*"))
    assert latest < START + 10 * HOUR
    live.start()
    for hour in range(21, 60):
        live.hear(silence, hour, hour + 1)
        time.sleep(0.02)
    live.caught_up()
    live.stop()
    assert _window_end(live, "fraud/2/*") > START + 20 * HOUR
    assert live.published() == live.replayed()


def _window_end(live: Live, key: str) -> int:
    values = [r.value for r in live.broker.published.get("metrics", []) if r.key == key and r.value is not None]
    return max((records.epoch_ms(json.loads(value)["data"]["window"]["to"]) for value in values), default=0)


def test_a_model_that_never_gets_outcomes_takes_no_mature_decision(stream: Stream, tmp_path: Path) -> None:
    mute = Stream([d for d in stream.deliveries if d.place[0] == "predictions" or d.place[1] == 0], stream.places)
    mute.deliveries = [
        d._replace(value=d.value.replace(b'"model": "fraud", ', b'"model": "mute", ')) for d in mute.deliveries
    ]
    outcomes = [d for d in mute.deliveries if d.place[0] == "outcomes" and b'"model": "churn"' not in d.value]
    mute.deliveries = [d for d in mute.deliveries if d not in set(outcomes)]
    worker = Worker(tmp_path).feed(mute).wake(mute)
    models = [{"name": "mute", "labels": {"missing": "negative"}}, {"name": "churn"}]
    worker.run(models=models)
    published = worker.outputs()
    for line in b"".join(published.values()).splitlines():
        record = json.loads(line)
        if (record.get("subject") or "").startswith("mute/"):
            # Without data: a tombstone of a version that has ended.
            assert record["data"] is None or record["data"]["reason"] == "initial"
    assert b"mute/" in published["thresholds"]


def test_reading_of_predictions_pauses_at_max_rows_in_a_live_run_too(tmp_path: Path) -> None:
    live = Live(tmp_path, 0, max_rows=300)
    for place in [("predictions", 0), ("outcomes", 0)]:
        live.broker.append(*place)
    events = [
        json.dumps({"id": f"e{i}", "model": "fraud", "ts": START + i * 1000, "score": 0.5}).encode()
        for i in range(2000)
    ]
    with small_batches(100):
        for at in range(0, 2000, 100):
            live.broker.append("predictions", 0, events[at : at + 100])
            time.sleep(0.02)
        time.sleep(0.5)
        summary = live.stop()
    assert 300 <= summary.waiting <= 400
