"""Foreign payloads: moved into the contract, then judged by it."""

from __future__ import annotations

import json

import pytest

from streameval.errors import ConfigValueError
from streameval.events import Batch, Decoder, ModelSpec, TopicMapping

TS = 1_714_564_800_000
MODELS = [ModelSpec("fraud", "binary", ("country",), {"revenue": 0.01})]
MAPPING = TopicMapping(
    "scores",
    "prediction",
    model="fraud",
    fields={
        "id": "payment.ref",
        "ts": "payment.at",
        "score": "result.0.p",
        "segments.country": "payment.geo\\.country",
        "version": "",
    },
    constants={"segments.channel": "web"},
)
PAYLOAD = {
    "payment": {"ref": "a", "at": TS, "geo.country": "DE"},
    "result": [{"p": 0.5}],
    "model": "theirs",
    "version": {"major": 1},
}


def decode(payload: object, mapping: TopicMapping = MAPPING):
    message = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    decoder = Decoder(MODELS, [mapping])
    read = decoder.predictions if mapping.event == "prediction" else decoder.outcomes
    return read(Batch(mapping.topic, 0, range(1), [message]))


def test_fields_come_from_their_paths_and_constants_win():
    rows, rejected = decode(PAYLOAD)
    assert rejected == []
    assert (rows.ts.tolist(), rows.score.tolist(), rows.segments[0].distinct) == ([TS], [0.5], ["DE"])


def test_a_topic_bound_to_a_model_needs_nothing_else():
    mapping = TopicMapping("scores", "prediction", model="fraud")
    rows, rejected = decode({"id": "a", "ts": TS, "score": 1, "segments": {"country": "FR"}}, mapping)
    assert (rows.segments[0].distinct, rejected) == (["FR"], [])


def test_outcomes_are_mapped_too():
    mapping = TopicMapping(
        "bills", "outcome", fields={"values.revenue": "sum", "label": "paid"}, constants={"model": "fraud"}
    )
    rows, rejected = decode({"id": "a", "ts": TS, "sum": 12, "paid": False}, mapping)
    assert (rows.model.tolist(), rows.label.tolist(), rows.kpis["revenue"].tolist()) == ([0], [0.0], [12.0])
    assert rejected == []


@pytest.mark.parametrize(
    ("payload", "rows"),
    [
        ({"bill": {"at": TS}}, 1),
        ({"bill": {"at": TS, "ref": None}}, 0),
        ({"bill": {"at": TS}, "kind": "heartbeat"}, 0),
        ({"bill": {"at": TS}, "paid": True}, 0),
    ],
)
def test_a_heartbeat_of_a_mapped_topic_holds_nothing_but_the_time_where_the_mapping_finds_it(payload, rows):
    fields = {"id": "bill.ref", "ts": "bill.at", "label": "paid"}
    found, rejected = decode(payload, TopicMapping("bills", "outcome", model="fraud", fields=fields))
    assert found.heartbeat.tolist() == [True] * rows
    assert [bad.reason for bad in rejected] == ["missing_field"] * (1 - rows)


def test_other_topics_and_events_are_not_mapped():
    decoder = Decoder(MODELS, [MAPPING])
    native = json.dumps({"id": "a", "model": "fraud", "ts": TS, "score": 1}).encode()
    assert len(decoder.predictions(Batch("other", 0, range(1), [native]))[0]) == 1
    outcome = json.dumps({"id": "a", "ts": TS, "label": 1}).encode()
    assert len(decoder.outcomes(Batch("scores", 0, range(1), [outcome]))[0]) == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (PAYLOAD | {"result": []}, "missing_field"),
        (PAYLOAD | {"result": [{"p": "x"}]}, "wrong_type"),
        (PAYLOAD | {"payment": {"at": TS}}, "missing_field"),
        (PAYLOAD | {"payment": {"ref": "a", "at": TS // 1000}}, "seconds_time"),
        (PAYLOAD | {"payment": {"ref": "a", "at": "2024-05-01T12:00:00"}}, "naive_time"),
        ([PAYLOAD], "not_object"),
        (b"{", "truncated"),
        (b"\xff", "not_utf8"),
        (b'{"payment": 1e400}', "huge_number"),
        (b"[" * 100_000, "too_deep"),
        (json.dumps(PAYLOAD).replace('"p"', '"p": 0.25, "p"').encode(), "duplicate_key"),
        (json.dumps(PAYLOAD).replace('"ref"', '"ref": "b", "ref"').encode(), "duplicate_key"),
    ],
)
def test_a_bad_foreign_payload_has_the_reason_of_a_native_one(payload, reason):
    rows, rejected = decode(payload)
    assert ([bad.reason for bad in rejected], len(rows)) == ([reason], 0)


def test_a_fault_names_the_path_it_was_read_from():
    _, rejected = decode(PAYLOAD | {"result": [{"p": "x"}]})
    assert "result.0.p" in rejected[0].detail


@pytest.mark.parametrize(
    ("mappings", "text"),
    [
        ([TopicMapping("t", "prediction", fields={"scor": "x"})], "did you mean 'score'"),
        ([TopicMapping("t", "outcome", fields={"score": "x"})], "not a field of a outcome"),
        ([TopicMapping("t", "prediction", fields={"score.x": "x"})], "not a field"),
        ([TopicMapping("t", "prediction", fields={"score": "a..b"})], "empty piece"),
        ([TopicMapping("t", "prediction", model="frod")], "no model is named"),
        ([MAPPING, MAPPING], "a second mapping"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_with_its_topic(mappings, text):
    with pytest.raises(ConfigValueError, match="mapping of topic") as refused:
        Decoder(MODELS, mappings)
    assert text in str(refused.value)
