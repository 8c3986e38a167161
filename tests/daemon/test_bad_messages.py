"""Bad messages among good ones: each is counted by its reason, and the good ones come out as if they were alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from streameval.config import Config
from streameval.daemon import replay
from streameval.testing import streams
from streameval.testing.memory import MemoryBroker, MemoryTransport
from streameval.testing.streams import BAD, Stream
from streameval.transport.opening import output_topics


def replayed(stream: Stream, out: Path) -> tuple[dict[str, bytes], Counter[str]]:
    """Every topic's bytes, and how often each reason was told or counted."""
    # What good events bring must not reach the bounds of a test that is about a million of them.
    config = Config.model_validate(streams.settings("events", "state", evaluate={"events": 500, "window": 5000}))
    broker = MemoryBroker()
    for place, values in stream.logs().items():
        broker.append(*place, values)
    replay(config, MemoryTransport(broker, seed=1), out, complete=True)
    outputs = {topic: (out / f"{topic}.jsonl").read_bytes() for topic in output_topics(config)}
    reasons: Counter[str] = Counter()
    for line in outputs.pop("rejected").splitlines():
        data = json.loads(line)["data"]
        reasons[data["reason"]] += data["count"]
    return outputs, reasons


def check(events: int, share: float, gap: float, tmp_path: Path) -> Stream:
    stream = streams.stream(2, events=events, bad=share, gap=gap)
    assert len(stream.bad) == len(BAD) >= 20
    assert min(stream.bad.values()) >= 10
    outputs, reasons = replayed(stream, tmp_path / "all")
    alone, late = replayed(stream.without_bad(), tmp_path / "good")
    assert late.keys() == {"late"}
    assert reasons == stream.bad + late
    assert outputs == alone
    assert outputs["metrics"].count(b"\n") > 50
    return stream


def test_each_class_is_counted_exactly_and_good_events_are_as_if_alone(tmp_path: Path) -> None:
    stream = check(24_000, 0.005, 5_000, tmp_path)
    assert len(stream.deliveries) > 50_000


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_each_class_is_counted_exactly_among_a_million(tmp_path: Path) -> None:
    stream = check(470_000, 0.003, 2_000, tmp_path)
    assert len(stream.deliveries) > 1_000_000
