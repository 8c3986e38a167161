"""``streameval demo --kafka``: the demo's stream played into a broker, and the daemon on it with its page.

A thread plays the part of the service that predicts: it writes the events in the order of their times, as fast as asked
for. The daemon knows nothing of it and reads the topics as it would anybody's.

Invariant: only topics that begin with `PREFIX` are touched, and those of an earlier demo are removed first.
"""

from __future__ import annotations

import datetime as dt
import heapq
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import yaml

from streameval.cli.console import for_people
from streameval.cli.ending import counted
from streameval.cli.progress import Meter
from streameval.cli.run import stopped_by_signals
from streameval.cli.serving import serving
from streameval.config import Config, load
from streameval.config.transport import Kafka
from streameval.errors import StreamevalError
from streameval.logs import log_record
from streameval.transport.opening import kafka_connection
from streameval.transport.protocol import Record

__all__ = ["PREFIX", "Player", "on_kafka", "play"]

PREFIX: Final = "streameval-demo-"
LASTS: Final = 180.0
"""Seconds that the whole stream takes where no speed is asked for."""
_INPUTS: Final = ("predictions", "outcomes")


def on_kafka(config: Path, bootstrap: str) -> Config:
    """Let a demo's configuration read and write on a cluster, and return it checked.

    Args:
        config: the file that the demo has written; it is rewritten.
        bootstrap: ``host:port``, several separated by commas.

    Raises:
        ConfigError: an address is none.
    """
    text = config.read_text(encoding="utf-8")
    settings: dict[str, Any] = yaml.safe_load(text)
    topics = {name: PREFIX + name for name in Config.model_fields["topics"].annotation.model_fields}  # type: ignore[union-attr]
    settings |= {
        "worker": "streameval-demo",
        "transport": {"kind": "kafka", "bootstrap": [address.strip() for address in bootstrap.split(",")]},
        "topics": topics | {name: [topics[name]] for name in _INPUTS},
    }
    head = text.partition("\n")[0]
    config.write_text(f"{head}\n{yaml.safe_dump(settings, sort_keys=False, default_flow_style=None)}", encoding="utf-8")
    return load(config)


def play(config: Path, bootstrap: str, *, speed: float | None, port: int) -> None:
    """Play the logs beside a demo's configuration into a cluster, with the daemon on it, until stopped.

    Args:
        config: what the demo has written, its logs beside it.
        bootstrap: the cluster.
        speed: seconds of the stream in one second; None: all of it within `LASTS`.
        port: of the page.

    Raises:
        StreamevalError: the cluster cannot be reached, or nobody may listen on the port.
    """
    from streameval.daemon.daemon import Daemon  # noqa: PLC0415 - takes a second to import
    from streameval.transport.kafka_feeding import Feeder  # noqa: PLC0415 - brings kafka-python

    checked = on_kafka(config, bootstrap)
    chosen = checked.transport
    assert isinstance(chosen, Kafka)  # noqa: S101 - just written
    feeder = Feeder(kafka_connection(chosen, client_id="streameval-demo", patience_ms=10_000), PREFIX)
    console = for_people()
    with Meter("playing", shown=False):
        feeder.renew(topic for name in _INPUTS for topic in getattr(checked.topics, name))
        daemon = Daemon(checked, on_records=_log)
        player = Player(feeder, config.parent / "events", speed)
        with stopped_by_signals(daemon), serving(daemon, port=port) as served:
            if served is not None:
                console.print(f"The page:   http://{served.host}:{served.port}", markup=False, soft_wrap=True)
            console.print(f"The topics: {PREFIX}* at {bootstrap}", markup=False, soft_wrap=True)
            console.print(f"Records:    streameval tail -c {config}", markup=False, soft_wrap=True)
            console.print("Ctrl-C ends it; the topics stay until the next demo.", markup=False, soft_wrap=True)
            player.start()
            try:
                summary = daemon.run()
            finally:
                player.stop()
    console.print(counted(summary), markup=False, soft_wrap=True)


def _log(records: list[Record]) -> None:
    for record in records:
        if record.value is not None:
            log_record(record.value)


class Player(threading.Thread):
    """Writes logged events into topics at a speed; a thread of its own.

    Args:
        feeder: where to.
        logs: the folder of ``<topic>/0.jsonl``, each in the order of its events' times.
        speed: seconds of the stream in one second; None: all of it within `LASTS`.
    """

    def __init__(self, feeder: Any, logs: Path, speed: float | None) -> None:
        super().__init__(name="demo-player", daemon=True)
        self._feeder = feeder
        self._logs = logs
        self._speed = speed
        self._stopped = threading.Event()

    def run(self) -> None:
        """Play; where the cluster fails for good, say so and end: the daemon goes on."""
        log = structlog.get_logger()
        try:
            if self._play():
                self._feeder.flush()
                log.info("demo_played", cure="none needed: the page stays until Ctrl-C")
        except StreamevalError as error:
            log.warning("demo_interrupted", error=str(error))
        finally:
            self._feeder.close()

    def stop(self) -> None:
        """End, at the latest after the event that is being written."""
        self._stopped.set()
        if self.is_alive():
            self.join(5)

    def _play(self) -> bool:
        times = [ts for name in _INPUTS for ts in self._ends(name)]
        first = min(times)
        speed = self._speed or max((max(times) - first) / 1000 / LASTS, 1.0)
        waited = 0.0
        for ts, topic, value in heapq.merge(*map(self._events, _INPUTS), key=lambda event: event[0]):
            due = (ts - first) / 1000 / speed
            # A nap is never shorter than the clock can tell.
            if due - waited >= 0.01:
                self._stopped.wait(due - waited)
                waited = due
            if self._stopped.is_set():
                return False
            self._feeder.send(topic, value)
        return True

    def _ends(self, name: str) -> tuple[int, int]:
        events = [ts for ts, _, _ in self._events(name)]
        return events[0], max(events)

    def _events(self, name: str) -> Iterator[tuple[int, str, bytes]]:
        with (self._logs / name / "0.jsonl").open("rb") as log:
            for line in log:
                value = line.rstrip(b"\n")
                yield _TIMED.decode(value).at, PREFIX + name, value


class _Timed(msgspec.Struct):
    ts: int | dt.datetime

    @property
    def at(self) -> int:
        return self.ts if isinstance(self.ts, int) else round(self.ts.timestamp() * 1000)


_TIMED: Final = msgspec.json.Decoder(_Timed)
