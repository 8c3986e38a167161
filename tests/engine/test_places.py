"""Who gets a cell of its own, and that a cell is the same whatever the other segments say."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from bench_segments import config as measured
from bench_segments import logs as combined
from bench_segments import run
from folding import Records, fold
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import streameval.engine.places as places_module
from streameval.config import Config
from streameval.engine import Engine
from streameval.engine.clock import Mark
from streameval.testing import streams
from streameval.testing.streams import HOUR, IDLE_PARTITION, MINUTE, START, Stream
from streameval.transport import codec

laws = settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
seeds = st.integers(0, 2**32)
NAMES = ("country", "plan")


def config(**changes: Any) -> Config:
    base = streams.settings("events", "state", **changes)
    base["models"] = [base["models"][0] | {"segments": list(NAMES)}]
    return Config.model_validate(base)


def folded(stream: Stream, settings: Config, **options: Any) -> Records:
    logs = stream.logs()
    silent = [(topic, IDLE_PARTITION) for topic in ("predictions", "outcomes")]
    marks = [Mark(*place, len(logs[place]), START + 100 * HOUR, "idle") for place in silent]
    return fold(settings, logs, floors=marks, **options)[0]


def of(records: Records, *names: str) -> dict[tuple[str, str], list[bytes | None]]:
    """What was published of the wholes and of these segment names."""
    segments = {key: key[1].split("/")[-1].partition("=")[0] for key in records.keys if key[0] != "rejected"}
    return {key: records.keys[key] for key, name in segments.items() if name in ("*", *names)}


def value(choose: random.Random, many: int) -> str | None:
    """One of many values, of which the first come most often; sometimes none, sometimes one called `other`."""
    drawn = int(choose.expovariate(4 / many))
    return None if drawn == 1 else "other" if drawn == 2 else f"v{drawn}"


@laws
@given(seed=seeds, many=st.sampled_from([[3, 3], [8, 90], [90, 8]]))
def test_what_is_said_of_a_segment_does_not_hang_on_how_values_combine(seed: int, many: list[int]) -> None:
    def both(choose: random.Random) -> dict[str, Any]:
        return {"segments": {name: value(choose, n) for name, n in zip(NAMES, many, strict=True)}}

    made = streams.stream(seed, events=600).saying(both, seed)
    records = folded(made, config())
    assert len({key[1].split("/")[-1] for key in of(records, *NAMES)}) > 6
    for name in NAMES:
        # Every event the same in the other names: as few combinations as this one has values.
        few = []
        for delivery in made.deliveries:
            event = json.loads(delivery.value)
            if "segments" in event:
                event["segments"] = {name: event["segments"][name]}
            few.append(delivery._replace(value=json.dumps(event).encode()))
        assert of(folded(Stream(few, made.places), config()), name) == of(records, name)


@laws
@given(seed=seeds, candidates=st.sampled_from([2, 7]))
def test_any_reading_of_more_values_and_versions_than_there_are_places_gives_the_same(
    seed: int, candidates: int
) -> None:
    def any_(choose: random.Random) -> dict[str, Any]:
        # Ids for values, as many as there are events; versions that come and go.
        segments = {"country": value(choose, 12), "plan": f"u{choose.random()}"}
        return {"version": f"v{int(choose.expovariate(1 / 3))}", "segments": segments}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places_module, "CANDIDATES", candidates)
        patch.setattr(places_module, "VALUES", 9)
        patch.setattr(places_module, "VERSIONS", 4)
        patch.setattr("streameval.engine.model.VERSIONS", 4)
        # Versions retire while their rows may still be corrected.
        made, short = streams.stream(seed % 5, events=600).saying(any_, seed), config(retire_after="1h")
        once = folded(made, short)
        segments = {key[1].split("/", 1)[1] for key in once.keys}
        assert {"~other/*", "~other/plan=~other"} <= segments
        # With two of each of three partitions not all places are taken.
        plans = {segment.split("=")[1] for segment in segments if "plan=" in segment}
        assert len(plans) <= 1 + min(3 * candidates, 9)
        folded(made, short, seed=seed, restarts=0.1).assert_equal(once)
        folded(made, short, seed=seed, largest=20, advances=0.2).assert_equal(once)


def prediction(minute: float, name: str, **fields: Any) -> bytes:
    event = {"id": name, "model": "fraud", "ts": START + int(minute * MINUTE), "score": 0.5}
    return json.dumps(event | fields).encode()


def outcome(minute: float, name: str, label: int) -> bytes:
    return json.dumps({"id": name, "ts": START + int(minute * MINUTE), "label": label}).encode()


def counted(engine: Engine) -> dict[str, int]:
    """Matured rows of each cell's window, and those that wait for its next step."""
    cells = engine.models["fraud"].cells.values()
    return {f"{cell.version}/{cell.segment}": cell.window.total.events + cell.steps.count for cell in cells}


def every_way(predictions: list[bytes], outcomes: list[bytes], **changes: Any) -> dict[str, int]:
    """What the cells hold at the end, which is the same however the logs are cut."""
    lateness = {"predictions": "1s", "outcomes": "1s"}
    short = config(lateness=lateness, labels={"wait": "10m", "amend": "5h", "give_up": "12h"}, **changes)
    # Labels flow: a time alone says so.
    beats = [json.dumps({"ts": START + minute * MINUTE}).encode() for minute in range(0, 60 * 12, 2)]
    heard = sorted([*outcomes, *beats], key=lambda line: json.loads(line)["ts"])
    logs = {("predictions", 0): predictions, ("outcomes", 0): heard}
    records, engine = fold(short, logs)
    for seed in range(4):
        again, other = fold(short, logs, seed=seed, largest=1, restarts=0.3)
        again.assert_equal(records)
        assert counted(other) == counted(engine)
    return counted(engine)


def test_a_value_and_a_version_called_other_are_no_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "VALUES", 2)
    monkeypatch.setattr(places_module, "VERSIONS", 2)
    monkeypatch.setattr("streameval.engine.model.VERSIONS", 2)
    said = [("other", "other")] * 4 + [("1", "DE")] * 3 + [("2", "FR"), ("3", "IT"), ("~other", "DE"), ("1", "~other")]
    predictions = [
        prediction(i / 100, str(i), version=version, segments={"country": country})
        for i, (version, country) in enumerate(said)
    ]
    predictions.append(prediction(30, "last", version="1"))
    cells = every_way(predictions, [outcome(0.5, str(i), 1) for i in range(9)] + [outcome(31, "last", 0)])
    assert cells == {
        "other/*": 4,
        "other/country=other": 4,
        "1/*": 4,
        "1/country=DE": 3,
        "~other/*": 2,
        "~other/country=~other": 2,
    }


def test_a_row_that_matured_before_its_value_got_a_place_stays_where_it_was_counted() -> None:
    # The first of its value comes after its cohort's end, while another's label is awaited, and matures long before the
    # second comes in time.
    segments = {"country": "MT"}
    predictions = [
        prediction(0, "a"),
        prediction(3, "b"),
        prediction(0.5, "straggler", segments=segments),
        prediction(40, "c", segments=segments),
        prediction(60, "d"),
    ]
    outcomes = [outcome(at, name, 0) for at, name in [(4, "b"), (4, "straggler"), (41, "c"), (61, "d")]]
    # And so it does when it is corrected.
    outcomes.insert(3, outcome(50, "straggler", 1))
    cells = every_way(predictions, outcomes)
    assert cells == {"0/*": 5, "0/country=MT": 1, "0/country=~other": 1}


def test_an_outcome_for_a_version_that_has_retired_since_changes_no_other_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places_module, "VERSIONS", 1)
    monkeypatch.setattr("streameval.engine.model.VERSIONS", 1)
    # Version 2 is counted under `~other` until version 1 has been silent for an hour, and keeps what it has there.
    predictions = [prediction(minute / 2, f"1-{minute}", version="1") for minute in range(20)]
    predictions += [prediction(minute, f"2-{minute}", version="2") for minute in range(200)]
    predictions.sort(key=lambda value: json.loads(value)["ts"])
    names = [json.loads(value)["id"] for value in predictions]
    outcomes = [outcome(201, name, 1) for name in names]
    outcomes += [
        outcome(5 + json.loads(value)["ts"] / MINUTE - START / MINUTE, json.loads(value)["id"], 0)
        for value in predictions
    ]
    outcomes.sort(key=lambda value: json.loads(value)["ts"])
    cells = every_way(predictions, outcomes, retire_after="1h")
    assert cells.keys() == {"2/*", "~other/*"}
    assert sum(cells.values()) == 200


def test_many_combinations_of_values_cost_what_few_cost() -> None:
    names, n = 5, 15_000
    few, many = (
        [run(combined(n, names, 20, together=together), measured(names), 1000) for _ in range(3)]
        for together in (True, False)
    )
    for of_few, of_many in zip(few, many, strict=True):
        assert of_many[0].state < 1.1 * of_few[0].state
        assert sum(of_many[0].rows) < 1.1 * sum(of_few[0].rows)
        sizes = [
            len(codec.encode([values.state() for values in engine.models["fraud"].values]))
            for _, engine in (of_few, of_many)
        ]
        assert sizes[1] < 1.1 * sizes[0] < 5_000 * names
    assert min(cost.reading for cost, _ in many) < 1.5 * min(cost.reading for cost, _ in few)
    assert min(sum(cost.commits) for cost, _ in many) < 1.5 * min(sum(cost.commits) for cost, _ in few)


def test_an_id_for_a_value_costs_no_more_than_a_partition_may_propose() -> None:
    _, engine = run(combined(5_000, 1, 10**9, together=False), measured(1), 1000)
    (values,) = engine.models["fraud"].values
    assert len(values.state()["texts"]) == places_module.CANDIDATES
    assert len(codec.encode(values.state())) < 25 * places_module.CANDIDATES
