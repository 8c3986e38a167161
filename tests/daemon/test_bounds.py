"""What a daemon holds in memory is bounded, and the machine's clock on the wall decides nothing."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from test_runs import Live
from worker import Worker, small_batches

from streameval.testing import streams
from streameval.testing.streams import START

DAY = 86_400_000


def test_outcomes_wait_in_their_log_while_predictions_lie_days_behind(tmp_path: Path) -> None:
    labels = {"wait": "1h", "amend": "1m"}
    live = Live(tmp_path, 0, max_rows=600, idle_after="1h", labels=labels, models=[{"name": "fraud"}])
    live.broker.append(
        "predictions",
        0,
        [json.dumps({"id": "e0", "model": "fraud", "ts": START, "score": 0.5}).encode()],
    )
    outcomes = [
        json.dumps({"id": f"e{i}", "ts": START + 2 * DAY + i * 60_000, "label": 1}).encode() for i in range(2000)
    ]
    predictions = [
        json.dumps({"id": f"e{i}", "model": "fraud", "ts": START + 2 * DAY + i * 60_000, "score": 0.5}).encode()
        for i in range(2000)
    ]
    with small_batches(100):
        live.broker.append("outcomes", 0, outcomes)
        deadline = time.monotonic() + 30
        while live.read() < 601 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        # Held in memory: what max_rows allows and a batch; all else is where it was.
        assert 600 <= live.broker.records[-1].positions["outcomes"][0] <= 800
        # The backlog comes at last: everything is read, and matched.
        for at in range(0, 2000, 50):
            live.broker.append("predictions", 0, predictions[at : at + 50])
            time.sleep(0.005)
        live.caught_up()
        summary = live.stop()
    assert live.broker.records[-1].positions["outcomes"][0] == 2000
    assert summary.matched > 1500


def test_a_wall_clock_that_is_set_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = streams.stream(1, events=500, gap=150_000)
    right = Worker(tmp_path / "right").feed(stream).wake(stream)
    right.run()
    choose = random.Random(1)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - choose.uniform(0, 10 * DAY / 1000))
    wrong = Worker(tmp_path / "wrong").feed(stream).wake(stream)
    wrong.run()
    assert wrong.outputs() == right.outputs()
    assert wrong.outputs()["metrics"]
