import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest

from streameval.config import load
from streameval.demo import elec2


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    return elec2.prepare(directory).parent


@pytest.fixture(scope="module")
def events(written):
    return {
        topic: [json.loads(line) for line in (written / "events" / topic / "0.jsonl").read_bytes().splitlines()]
        for topic in ("predictions", "outcomes")
    }


def test_the_stream_is_the_published_one():
    rows = elec2.rows()
    assert len(rows) == 45_312
    down = sum(not row.up for row in rows) / len(rows)
    assert round(down, 3) == 0.575
    same = sum(a.up == b.up for a, b in pairwise(rows)) / len(rows)
    assert round(same, 4) == 0.8533


def test_the_same_bytes_come_out_each_time(written, tmp_path):
    seen = []
    elec2.prepare(tmp_path, progress=lambda done, total: seen.append((done, total)))
    for path in ("events/predictions/0.jsonl", "events/outcomes/0.jsonl", "streameval.yaml"):
        assert hashlib.sha256((tmp_path / path).read_bytes()).digest() == (
            hashlib.sha256((written / path).read_bytes()).digest()
        )
    assert seen == sorted(seen)
    assert seen[-1] == (45_312, 45_312)


def test_every_prediction_is_a_probability_of_a_known_half_hour(events):
    predictions = events["predictions"]
    assert len(predictions) == 45_312 - elec2.TRAINED == len({p["id"] for p in predictions})
    assert all(0 <= p["score"] <= 1 for p in predictions)
    assert predictions[0]["ts"] == "1996-07-02T00:00:00+10:00"
    assert [p["ts"] for p in predictions] == sorted(p["ts"] for p in predictions)
    assert {p["segments"]["daytime"] for p in predictions} == {"night", "morning", "afternoon", "evening"}


def test_outcomes_arrive_in_order_a_day_later_some_twice_some_never(events):
    outcomes = events["outcomes"]
    assert [o["ts"] for o in outcomes] == sorted(o["ts"] for o in outcomes)
    assert all(o["label"] in (0, 1) for o in outcomes)
    ids = {o["id"] for o in outcomes}
    total = len(events["predictions"])
    assert 0.003 < 1 - len(ids) / total < 0.007
    assert 0.007 < (len(outcomes) - len(ids)) / total < 0.013
    assert ids <= {p["id"] for p in events["predictions"]}


def test_the_model_is_good_at_first_and_gets_worse(events):
    labels = {o["id"]: o["label"] for o in events["outcomes"]}
    known = [(p["score"], labels[p["id"]]) for p in events["predictions"] if p["id"] in labels]

    def right(part):
        return sum((score >= 0.5) == bool(label) for score, label in part) / len(part)

    assert right(known[:5000]) > 0.8
    assert right(known[25_000:30_000]) < right(known[:5000]) - 0.08


def test_the_configuration_is_valid_and_points_at_the_logs(written):
    config = load(written / "streameval.yaml")
    assert (Path(config.transport.path) / "predictions" / "0.jsonl").exists()
    (model,) = config.models
    assert model.name == "price-up"
    assert (model.objective.fp, model.objective.fn) == (1, 2)
