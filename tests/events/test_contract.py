"""The contract's JSON Schema says what decoding does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from streameval.events import Batch, Decoder, ModelSpec, schemas

TS = 1_714_564_800_000
DROPPED = object()
PREDICTION = {"id": "a", "model": "m", "ts": TS, "score": 0.5}
OUTCOME = {"id": "a", "ts": TS, "label": 1}


def test_every_field_is_described():
    for schema in schemas().values():
        Draft202012Validator.check_schema(schema)
        assert schema["description"]
        for name, field in schema["properties"].items():
            assert "description" in json.dumps(field), name


@pytest.mark.parametrize(
    ("event", "changes", "valid"),
    [
        ("prediction", {}, True),
        ("prediction", {"ts": "2024-05-01T12:00:00Z", "id": 5, "version": 2, "segments": {"a": True}, "x": []}, True),
        ("prediction", {"id": ""}, False),
        ("prediction", {"id": 1.5}, False),
        ("prediction", {"score": "0.5"}, False),
        ("prediction", {"features": {"a": "b"}}, True),
        ("prediction", {"propensity": 0}, True),
        ("prediction", {"latency_ms": -1}, True),
        ("prediction", {"ts": float(TS), "id": 5.0, "version": 3.0}, True),
        ("prediction", {"version": 1.5}, False),
        ("prediction", {"segments": ["DE"], "scores": [0.5]}, True),
        ("outcome", {}, True),
        ("outcome", {"values": {"revenue": 1.5, "click": None}}, True),
        ("outcome", {"label": []}, False),
        ("outcome", {"id": DROPPED}, False),
        ("outcome", {"label": DROPPED}, False),
        ("outcome", {"id": DROPPED, "label": DROPPED}, True),
        ("outcome", {"id": DROPPED, "label": DROPPED, "model": "m"}, True),
        ("outcome", {"id": DROPPED, "label": DROPPED, "tx": "a"}, False),
        ("outcome", {"id": DROPPED, "label": DROPPED, "values": {}}, False),
        ("outcome", {"values": {"currency": "EUR"}}, True),
    ],
)
def test_schema_and_decoder_agree(event, changes, valid):
    payload = (PREDICTION if event == "prediction" else OUTCOME) | changes
    payload = {name: value for name, value in payload.items() if value is not DROPPED}
    decoder = Decoder([ModelSpec("m")])
    read = decoder.predictions if event == "prediction" else decoder.outcomes
    _, rejected = read(Batch("t", 0, np.arange(1), [json.dumps(payload).encode()]))
    assert Draft202012Validator(schemas()[event]).is_valid(payload) is valid
    assert (rejected == []) is valid
