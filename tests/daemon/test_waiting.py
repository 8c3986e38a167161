"""A cluster that is away at the start is waited for, visibly and not for ever."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import structlog

from streameval.config import Config
from streameval.daemon import Daemon, daemon
from streameval.errors import ConnectionFailedError, LoginRefusedError
from streameval.testing import streams
from streameval.testing.memory import MemoryBroker, MemoryTransport


class Away(MemoryTransport):
    """A transport that does not answer the first questions."""

    def __init__(self, failures: int, error: type[ConnectionFailedError] = ConnectionFailedError) -> None:
        broker = MemoryBroker()
        broker.append("predictions", 0)
        broker.append("outcomes", 0)
        super().__init__(broker)
        self.left = failures
        self.error = error

    def fence(self, worker: str) -> None:
        self.left -= 1
        if self.left >= 0:
            raise self.error("no broker answers", where="kafka:9092", cure="start it")
        super().fence(worker)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "RETRY", 0.05)
    monkeypatch.setattr(daemon, "WAIT", 0.01)


def config(tmp_path: Path, patience: str = "1h") -> Config:
    kafka = {"kind": "kafka", "bootstrap": ["kafka:9092"], "patience": patience}
    return Config.model_validate(streams.settings("", tmp_path / "state", transport=kafka))


def test_it_waits_says_so_and_goes_on_when_the_cluster_is_there(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as told:
        Daemon(config(tmp_path), transport=Away(3)).run(until_end=True)
    away = [line for line in told if line["event"] == "cluster_away"]
    assert len(away) == 3
    assert "no broker answers" in away[0]["error"]
    assert 3500 < away[0]["gives_up_in_seconds"] <= 3600
    assert "started" in [line["event"] for line in told]


def test_its_patience_ends_with_the_error_itself(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionFailedError, match="start it"):
        Daemon(config(tmp_path, "200ms"), transport=Away(1 << 30)).run()
    assert time.monotonic() - began >= 0.2


def test_a_refused_login_is_not_waited_for(tmp_path: Path) -> None:
    transport = Away(1 << 30, LoginRefusedError)
    with pytest.raises(LoginRefusedError):
        Daemon(config(tmp_path), transport=transport).run()
    assert transport.left == (1 << 30) - 1


def test_a_stop_ends_the_waiting_without_an_error(tmp_path: Path) -> None:
    transport = Away(1 << 30)
    waiting = Daemon(config(tmp_path), transport=transport)
    summaries: list = []
    thread = threading.Thread(target=lambda: summaries.append(waiting.run()))
    thread.start()
    while waiting.health.doing != "waiting for the cluster":
        time.sleep(0.01)
    assert not waiting.health.ready
    waiting.stop()
    thread.join(10)
    assert summaries[0].stopped
    assert transport.broker.records == []
