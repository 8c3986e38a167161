"""A worker that loses its state directory makes it anew from its published core and what the logs still retain."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from worker import mark, small_batches

from streameval.config import Config
from streameval.daemon import Daemon, daemon
from streameval.engine import Engine, places
from streameval.errors import ConfigChangeError, StateMismatchError
from streameval.testing import streams
from streameval.testing.memory import MemoryBroker, MemoryTransport
from streameval.testing.streams import IDLE_PARTITION, Stream
from streameval.transport import commit
from streameval.transport.core import Core
from streameval.transport.opening import output_topics
from streameval.transport.protocol import Record


class Crash(BaseException):
    """Ends a run as a kill does."""


class Place:
    """Logs in memory, whole or as retention left them, and a state directory that may go at any time."""

    def __init__(self, stream: Stream, root: Path, **changes: object) -> None:
        self.state = root / "state"
        self.changes = changes
        self.broker = MemoryBroker()
        for place, values in stream.logs().items():
            self.broker.append(*place, values)
            if place[1] == IDLE_PARTITION:
                self.broker.published.setdefault("clock", []).append(
                    Record("clock", str(place), mark(*place, len(values)), None)
                )

    def config(self) -> Config:
        commits = {"every": "1h", "outputs": 10, "state_every": "1ms"}
        return Config.model_validate(streams.settings("none", self.state, **{"commit": commits, **self.changes}))

    def run(self, seed: int, *, batch: int = 200) -> None:
        with small_batches(batch):
            Daemon(self.config(), transport=MemoryTransport(self.broker, seed=seed)).run(until_end=True)

    def dies_after(self, commits: int, seed: int) -> None:
        left = commits

        def strike(step: str) -> None:
            nonlocal left
            left -= step == "commit.8"
            if not left:
                raise Crash

        commit.step_hook = strike
        try:
            self.run(seed)
        except Crash:
            pass
        finally:
            commit.step_hook = commit.no_step

    @property
    def core(self) -> Core:
        return Core.decode(self.broker.cores["streameval"])

    def retain_only_what_is_needed(self) -> int:
        """Retention takes all that the core does not need; how many events were before the needed ones."""
        needed = self.core.places() | {
            (topic, partition): anchor[0] for topic, partition, anchor in self.core.plain()["again"]
        }
        for place, begin in needed.items():
            self.broker.begins[place] = begin
            self.broker.values[place][:begin] = [b"gone"] * begin
        return sum(needed.values())

    def outputs(self) -> dict[str, list]:
        found: dict[str, list] = {}
        for topic in output_topics(self.config()):
            for record in self.broker.published.get(topic, []):
                name = f"{topic} {record.key}" if topic == "rejected" else topic
                found.setdefault(name, []).append(record)
        return found


@pytest.fixture(scope="module")
def stream() -> Stream:
    return streams.stream(0, events=1200, bad=0.02, gap=75_000).with_duplicates(3)


@pytest.fixture(scope="module")
def clean(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    place = Place(stream, tmp_path_factory.mktemp("clean"))
    place.run(0)
    outputs = place.outputs()
    assert len(outputs["metrics"]) > 30
    assert outputs["drift"]
    return outputs


@pytest.fixture
def now_and_then(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """A core goes with some commits only, so that the newest is older than the last commit."""
    choose = random.Random(5)
    due = daemon._Run._core_is_due

    def is_due(self: daemon._Run, now: float, *, last: bool) -> bool:
        return due(self, now, last=last) and choose.random() < 0.5

    monkeypatch.setattr(daemon._Run, "_core_is_due", is_due)
    return choose


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_lost_and_however_often_what_is_published_stays(
    stream: Stream, clean: dict[str, list], tmp_path: Path, now_and_then: random.Random, seed: int
) -> None:
    place = Place(stream, tmp_path)
    now_and_then.seed(seed)
    lost = 0
    while not place.broker.cores:
        place.dies_after(3, seed)
    for turn in range(8):
        place.dies_after(now_and_then.randint(1, 4), seed + turn)
        if now_and_then.random() < 0.7:
            shutil.rmtree(place.state)
            place.retain_only_what_is_needed()
            lost += 1
    place.run(seed)
    assert place.outputs() == clean
    assert lost >= 3
    shutil.rmtree(place.state)
    assert place.retain_only_what_is_needed() > 500
    place.run(seed)
    assert place.outputs() == clean


def test_rows_of_more_segment_values_than_there_are_places_are_read_again_as_they_were(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "CANDIDATES", 5)
    told = stream.saying(lambda choose: {"segments": {"country": choose.choice(["DE", "other", choose.random()])}}, 1)
    clean, place = Place(told, tmp_path / "clean"), Place(told, tmp_path / "lost")
    clean.run(0)
    for turn in range(3):
        place.dies_after(4, turn)
        shutil.rmtree(place.state)
        place.retain_only_what_is_needed()
    place.run(3)
    assert place.outputs() == clean.outputs()
    segments = {record.key.split("/", 1)[1] for record in place.outputs()["metrics"]}
    assert {"2/country=~other", "2/country=other", "2/country=DE"} <= segments


def test_the_core_leaves_out_the_rows_and_names_the_little_that_must_be_read_again(
    stream: Stream, tmp_path: Path
) -> None:
    place = Place(stream, tmp_path)
    place.dies_after(25, 1)
    read = sum(place.core.places().values())
    again = sum(
        place.core.places()[topic, partition] - anchor[0] for topic, partition, anchor in place.core.plain()["again"]
    )
    assert 0 < again < 0.6 * read
    config = place.config()
    engine = Engine(config)
    engine.restore(place.core.plain(), pytest.fail)
    assert engine.waiting == 0


def test_events_that_are_needed_and_gone_are_a_clear_error(stream: Stream, tmp_path: Path) -> None:
    place = Place(stream, tmp_path)
    place.dies_after(20, 1)
    shutil.rmtree(place.state)
    before = place.outputs()
    place.retain_only_what_is_needed()
    place.broker.begins["predictions", 0] += 7
    with pytest.raises(
        StateMismatchError, match=r"rows that wait need predictions/0 from offset .* retention .*--fresh"
    ):
        place.run(1)
    assert place.outputs() == before


def test_another_way_of_reading_must_wait_for_the_rebuild(
    stream: Stream, clean: dict[str, list], tmp_path: Path
) -> None:
    place = Place(stream, tmp_path)
    place.dies_after(20, 1)
    shutil.rmtree(place.state)
    place.changes = {"lateness": {"predictions": "2m", "outcomes": "1h"}}
    with pytest.raises(ConfigChangeError, match="as it was"):
        place.run(1)
    place.changes = {}
    place.run(1)
    assert place.outputs() == clean


def test_after_another_way_of_reading_a_core_comes_again_once_the_older_rows_are_gone(
    stream: Stream, tmp_path: Path
) -> None:
    place = Place(stream, tmp_path)
    place.dies_after(3, 1)
    before = place.core.n
    place.changes = {"max_ahead": "11m"}
    place.dies_after(2, 1)
    assert place.core.n == before
    place.run(1)
    assert place.core.n > before
    outputs = place.outputs()
    shutil.rmtree(place.state)
    place.retain_only_what_is_needed()
    place.run(2)
    assert place.outputs() == outputs


def test_a_stop_in_the_middle_of_a_rebuild_changes_nothing(
    stream: Stream, clean: dict[str, list], tmp_path: Path
) -> None:
    place = Place(stream, tmp_path)
    place.dies_after(20, 1)
    shutil.rmtree(place.state)
    before = place.outputs(), list(place.broker.records)
    worker = Daemon(place.config(), transport=MemoryTransport(place.broker, seed=1))
    worker.stop()
    assert worker.run(until_end=True).stopped
    assert (place.outputs(), place.broker.records) == before
    place.run(1)
    assert place.outputs() == clean
