"""A changed configuration takes effect at the next start, as each field declares, and is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from folding import Place, Records, Restarting, batch

from streameval.config import Config
from streameval.engine.publisher import Published
from streameval.errors import ConfigChangeError
from streameval.testing import streams
from streameval.testing.streams import IDLE_PARTITION, Stream


def config(**model: Any) -> Config:
    """The streams' settings, with changes to the model that all events are for."""
    base = streams.settings("events", "state")
    base["models"][0] |= model
    return Config.model_validate(base)


def only(names: list[str]) -> Config:
    base = streams.settings("events", "state")
    base["models"] = [model for model in base["models"] if model["name"] in names]
    return Config.model_validate(base)


@pytest.fixture(scope="module")
def stream() -> Stream:
    made = streams.stream(7, events=1500)
    # Nobody sets marks here, so nobody may fall silent.
    return Stream([d._replace(place=(d.place[0], d.place[1] % IDLE_PARTITION)) for d in made.deliveries], made.places)


class Worker:
    """An engine that reads a stream's deliveries in a few batches and starts anew where it is told to."""

    def __init__(self, stream: Stream, first: Config) -> None:
        self.stream = stream
        self.held = Restarting(first)
        for place, values in stream.logs().items():
            self.held.engine.clocks.add(*place, empty=not values)
        self.records = Records()
        self.at = dict.fromkeys(stream.places, 0)
        self.read = 0

    def upto(self, share: float) -> Worker:
        until = int(share * len(self.stream.deliveries))
        values: dict[Place, list[bytes]] = {}
        for delivery in self.stream.deliveries[self.read : until]:
            values.setdefault(delivery.place, []).append(delivery.value)
        for place, messages in values.items():
            self.records.add(self.held.engine.receive(batch(place, messages, self.at[place])))
            self.at[place] += len(messages)
        self.records.add(self.held.engine.advance())
        self.read = until
        return self

    def restart(self, changed: Config) -> list[Published]:
        published = self.held.restart(changed)
        self.records.add(published)
        return published

    def complete(self) -> Records:
        self.records.add(self.upto(1.0).held.engine.complete())
        return self.records


def marks(published: list[Published]) -> list[dict[str, Any]]:
    return [json.loads(value)["data"] for topic, _, value, _ in published if topic == "clock" and value is not None]


def test_an_unchanged_configuration_is_not_said(stream: Stream) -> None:
    assert Worker(stream, config()).upto(0.3).restart(config()) == []


def test_a_live_change_is_said_and_keeps_what_was_learnt(stream: Stream) -> None:
    worker = Worker(stream, config()).upto(0.4)
    before = worker.held.engine.models["fraud"].cells
    said = marks(worker.restart(config(thresholds={"cooldown": 400})))
    assert [mark["reason"] for mark in said] == ["configuration"]
    assert "models" not in said[0]["detail"]
    assert "thresholds.cooldown" in said[0]["detail"]
    after = worker.held.engine.models["fraud"].cells
    assert {key: cell.window.total.events for key, cell in after.items()} == {
        key: cell.window.total.events for key, cell in before.items()
    }


def test_a_change_that_restarts_learning_keeps_thresholds_in_force_and_survives_corrections_of_what_it_forgot(
    stream: Stream,
) -> None:
    worker = Worker(stream, config()).upto(0.6)
    in_force = {key: cell.own_threshold for key, cell in worker.held.engine.models["fraud"].cells.items()}
    assert len(set(in_force.values())) > 1
    worker.restart(config(reference={"events": 100}))
    cells = worker.held.engine.models["fraud"].cells
    assert {key: cell.own_threshold for key, cell in cells.items()} == in_force
    assert all(cell.window.total.events == 0 for cell in cells.values())
    # Outcomes go on to correct rows whose evidence was in the windows that are gone.
    worker.complete()
    assert worker.held.engine.models["fraud"].join.amended > 0


@pytest.mark.parametrize(
    ("changed", "path"),
    [({"segments": []}, "segments"), ({"kpis": {}}, "kpis"), ({"segments": ["country", "channel"]}, "segments")],
)
def test_other_segments_or_kpis_begin_anew_without_mixing_old_rows_in(
    stream: Stream, changed: dict[str, Any], path: str
) -> None:
    worker = Worker(stream, config()).upto(0.4)
    said = marks(worker.restart(config(**changed)))
    assert path in said[0]["detail"]
    # What is stored from here on must not be taken for what the old rows were stored as.
    for share in (0.42, 0.45, 0.5, 0.7):
        worker.upto(share).restart(config(**changed))
    records = worker.complete()
    assert any(b'"fraud/2/*"' in value for value in records.topics["metrics"] if value is not None)


def test_a_removed_model_leaves_tombstones_and_one_that_comes_is_said(stream: Stream) -> None:
    worker = Worker(stream, config()).upto(0.7)
    published = worker.restart(only(["churn"]))
    assert "models.fraud" in marks(published)[0]["detail"]
    ended = {(topic, key) for topic, key, value, _ in published if value is None}
    told = {place for place in worker.records.keys if place[1].startswith("fraud/")}
    assert ended == {place for place in told if place[0] in ("thresholds", "calibration")} - _ended_before(
        worker, ended
    )
    assert {("thresholds", "fraud/2/*"), ("calibration", "fraud/2/*")} <= ended
    worker.upto(0.8)
    published = worker.restart(config())
    assert "models.fraud" in marks(published)[0]["detail"]
    worker.complete()
    values = worker.records.keys["thresholds", "fraud/2/*"]
    again = values[values.index(None) + 1]
    assert again is not None
    assert json.loads(again)["data"]["reason"] == "initial"


def _ended_before(worker: Worker, ended: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {place for place, values in worker.records.keys.items() if values[-1] is None and place not in ended}


def test_a_change_before_the_first_event_is_said_and_does_no_harm(stream: Stream) -> None:
    worker = Worker(stream, config())
    assert "thresholds.z" in marks(worker.restart(config(thresholds={"z": 2.0})))[0]["detail"]
    worker.upto(0.1)
    worker.complete()


@pytest.mark.parametrize("changed", [{"interval": "5m"}, {"worker": "another"}])
def test_a_refused_change_names_itself_and_the_cure(stream: Stream, changed: dict[str, Any]) -> None:
    worker = Worker(stream, config()).upto(0.1)
    with pytest.raises(ConfigChangeError) as error:
        worker.restart(Config.model_validate(streams.settings("events", "state") | changed))
    assert next(iter(changed)) in str(error.value)
    assert error.value.cure


def test_blobs_of_rows_that_begin_anew_are_never_taken_for_the_old_ones(stream: Stream) -> None:
    once, often = (Worker(stream, config()).upto(0.02) for _ in range(2))
    changed = config(segments=[])
    once.restart(changed)
    often.restart(changed)
    for step in range(1, 40):
        often.upto(0.02 + step / 2000).restart(changed)
    often.complete().assert_equal(once.complete())


def test_thresholds_in_force_outlast_other_segments_and_those_of_segments_that_are_gone_get_tombstones(
    stream: Stream,
) -> None:
    worker = Worker(stream, config()).upto(0.6).upto(0.9)
    cells = worker.held.engine.models["fraud"].cells.values()
    own = {cell.segment: cell.own_threshold for cell in cells if cell.version == "2"}
    gone = {segment for segment, threshold in own.items() if threshold is not None} - {"*"}
    assert gone, own
    assert own["*"] != 0.5
    published = worker.restart(config(segments=["channel"]))
    assert {key for topic, key, value, _ in published if topic == "thresholds" and value is None} >= {
        f"fraud/2/{segment}" for segment in gone
    }
    records = worker.complete()
    values = [json.loads(value)["data"] for value in records.keys["thresholds", "fraud/2/*"] if value is not None]
    thresholds = [data["threshold"] for data in values]
    assert own["*"] in thresholds
    assert 0.5 not in thresholds[1:]
