"""Events from the future, while a worker runs: held, told, undone by a fresh start, and the same in a replay."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import structlog
from test_runs import Live

from streameval.daemon import Daemon, daemon
from streameval.testing.memory import MemoryTransport

HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "LOOK", 0.05)


def event(at: int, **fields: object) -> bytes:
    return json.dumps({"id": f"e{at}", "ts": at} | fields).encode()


def prediction(at: int) -> bytes:
    return event(at, model="fraud", score=0.5)


@pytest.fixture
def live(tmp_path: Path):
    made = Live(tmp_path, 3, models=[{"name": "fraud", "labels": {"wait": "1h", "give_up": "1h"}}])
    for topic in ("predictions", "outcomes"):
        made.broker.append(topic, 0)
    yield made
    made.daemon.stop()
    made.thread.join(30)


def wait_for(it, what) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        assert it.thread.is_alive()
        time.sleep(0.01)


def told(records: list[dict], name: str) -> list[dict]:
    return [line for line in records if line["event"] == name]


def rejected(live: Live) -> list[tuple[str, int]]:
    data = [json.loads(record.value)["data"] for record in live.broker.published.get("rejected", [])]
    return [(one["reason"], one["offset"]) for one in data]


def goes_on(live: Live, at: int) -> bool:
    """One more event of each kind, so that what is silent is so alone; whether it has been marked for it."""
    live.broker.append("predictions", 0, [prediction(at)])
    live.broker.append("outcomes", 0, [event(at, label=1)])
    return any(b'"idle"' in record.value for record in live.broker.published.get("clock", []))


def test_one_event_ahead_of_the_wall_clock_is_held_said_and_refused_when_the_next_is_not(live: Live) -> None:
    now = time.time_ns() // 1_000_000
    with structlog.testing.capture_logs() as lines:
        live.broker.append("predictions", 0, [prediction(now - HOUR), prediction(now + 400 * DAY)])
        wait_for(live, lambda: told(lines, "event_ahead"))
        assert rejected(live) == []
        live.broker.append("predictions", 0, [prediction(now - HOUR + 1000 * i) for i in range(1, 50)])
        live.broker.append("outcomes", 0, [event(now - HOUR + 1000 * i, label=1) for i in range(50)])
        wait_for(live, lambda: rejected(live))
        live.caught_up()
        summary = live.stop()
    assert rejected(live) == [("future", 1)]
    assert summary.time is not None
    assert summary.time < now
    marks = [json.loads(record.value)["data"] for record in live.broker.published["clock"]]
    assert [(mark["reason"], mark["offset"]) for mark in marks if mark["reason"] == "ahead"] == [("ahead", 1)]
    assert len(told(lines, "event_ahead")) == 1
    assert live.published() == live.replayed()


def test_a_clock_that_others_confirmed_is_told_and_a_fresh_start_lives_in_the_present(live: Live) -> None:
    now = time.time_ns() // 1_000_000
    # Silent from now on: it is marked idle, with a floor in the future.
    live.broker.append("outcomes", 1, [event(now - 2 * HOUR, label=1)])
    with structlog.testing.capture_logs() as lines:
        for topic, make in (("predictions", prediction), ("outcomes", lambda at: event(at, label=1))):
            live.broker.append(topic, 0, [make(now - HOUR), *(make(now + 400 * DAY + i) for i in range(5))])
        wait_for(live, lambda: len(told(lines, "clock_ahead")) == 2)
        wait_for(live, lambda: goes_on(live, now + 401 * DAY))
        assert live.stop().time > now + 399 * DAY
    for topic, make in (("predictions", prediction), ("outcomes", lambda at: event(at, label=1))):
        live.broker.append(topic, 0, [make(now - HOUR + 60_000 * i) for i in range(1, 60)])
    fresh = Daemon(live.config, transport=MemoryTransport(live.broker))
    live.broker.append("outcomes", 1, [event(now - HOUR, label=1)])
    assert fresh.run(until_end=True, fresh=True).time < now
    # And so does every later start: marks of the line of state before are not its own.
    live.broker.append("predictions", 0, [prediction(now)])
    live.broker.append("outcomes", 1, [event(now, label=1)])
    again = Daemon(live.config, transport=MemoryTransport(live.broker)).run(until_end=True)
    assert again.time is not None
    assert again.time < now
