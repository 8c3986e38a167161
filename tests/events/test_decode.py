"""Decoding: every message becomes a row, a rejection or a tombstone, whatever stands beside it."""

from __future__ import annotations

import json
import random
import sys

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.events import Batch, Decoder, ModelSpec, TopicMapping
from streameval.events.columns import Refused
from streameval.events.rejected import REASONS

TS = 1_714_564_800_000
MODELS = [
    ModelSpec("fraud", "binary", ("country", "channel"), {"revenue": 0.01}),
    ModelSpec("churn", "binary", (), {"clicks": 1.0}),
]
PREDICTION = {"id": "a", "model": "fraud", "ts": TS, "score": 0.25}
OUTCOME = {"id": "a", "ts": TS, "label": 1}


def prediction(**fields: object) -> bytes:
    return json.dumps(PREDICTION | fields).encode()


def outcome(**fields: object) -> bytes:
    return json.dumps(OUTCOME | fields).encode()


def raw(field: str, text: str, base: dict = PREDICTION) -> bytes:
    """The event with one field's JSON text as given."""
    rest = json.dumps({name: value for name, value in base.items() if name != field})
    return (rest[:-1] + f', "{field}": {text}}}').encode()


def batch(values: list[bytes | None], first: int = 0, timestamps: np.ndarray | None = None, topic: str = "t") -> Batch:
    return Batch(topic, 3, np.arange(first, first + len(values)), values, timestamps)


BAD_BYTES = {
    "no bytes": (b"", "empty"),
    "only white space": (b" \n", "empty"),
    "not UTF-8": (b'{"id": "\xff"}', "not_utf8"),
    "not UTF-8 in an ignored field": (prediction()[:-1] + b', "note": "\xc3"}', "not_utf8"),
    "a surrogate in UTF-8": (prediction()[:-1] + b', "note": "\xed\xa0\x80"}', "not_utf8"),
    "a byte order mark": (b"\xef\xbb\xbf" + prediction(), "byte_order_mark"),
    "UTF-16": (prediction().decode().encode("utf-16"), "byte_order_mark"),
    "no JSON": (b"hello", "not_json"),
    "single quotes": (b"{'id': 'a'}", "not_json"),
    "two events in one message": (prediction() + prediction(), "not_json"),
    "a NUL byte at the end": (prediction() + b"\0", "not_json"),
    "a NUL byte in a string": (prediction().replace(b'"a"', b'"a\0"'), "not_json"),
    "a trailing comma": (prediction()[:-1] + b",}", "not_json"),
    "bad syntax behind a bad field": (b'{"id": 1.5, "ts": }', "not_json"),
    "a message cut off": (prediction()[:-5], "truncated"),
    "half a surrogate pair": (raw("id", '"\\ud800abcdefgh"'), "lone_surrogate"),
    "the other half": (raw("id", '"\\udc00abcdefgh"'), "lone_surrogate"),
    "NaN": (raw("ts", "NaN"), "not_finite"),
    "minus infinity": (raw("ts", "-Infinity"), "not_finite"),
    "deep nesting, unclosed": (b"[" * 100_000, "too_deep"),
    "deep nesting in an ignored field": (raw("x", "[" * 100_000 + "]" * 100_000), "too_deep"),
    "nesting just too deep": (raw("x", "[" * 64 + "]" * 64), "too_deep"),
    "nesting just too deep, of objects": (raw("x", '{"a":' * 64 + "1" + "}" * 64), "too_deep"),
    "an array": (b"[1]", "not_object"),
    "null": (b"null", "not_object"),
    "a string": (b'"a"', "not_object"),
    "a huge message": (prediction(note="x" * 1_048_576), "too_large"),
}
BAD_SHARED = {
    "a repeated key": (
        '{"id": "a", "id": "b", "model": "fraud", "ts": 1714564800000, "score": 0, "label": 0}',
        "duplicate_key",
    ),
    "a repeated key, spaced": (
        '{"id": "a", "id" : "b", "model": "fraud", "ts": 1714564800000, "score": 0, "label": 0}',
        "duplicate_key",
    ),
    "a repeated key, escaped": (
        '{"id": "a", "i\\u0064": "b", "model": "fraud", "ts": 1714564800000, "score": 0, "label": 0}',
        "duplicate_key",
    ),
}
BAD_PREDICTIONS = {
    "no id": (b'{"model": "fraud", "ts": 1, "score": 0}', "missing_field"),
    "no time": (b'{"id": "a", "model": "fraud", "score": 0}', "missing_field"),
    "no score": (b'{"id": "a", "model": "fraud", "ts": %d}' % TS, "missing_field"),
    "a null score": (prediction(score=None), "missing_field"),
    "scores for a binary model": (raw("scores", '{"a": 1.0}', PREDICTION | {"score": None}), "missing_field"),
    "a value for a binary model": (prediction(score=None, value=3), "missing_field"),
    "a score that is NaN": (raw("score", "NaN"), "not_finite"),
    "half a surrogate pair in a version": (raw("version", '"\\ud83d"'), "lone_surrogate"),
    "half a surrogate pair in a segment": (raw("segments", '{"country": "\\ud83d"}'), "lone_surrogate"),
    "a fraction as version": (prediction(version=1.5), "wrong_type"),
    "a list as version": (prediction(version=[1]), "wrong_type"),
    "a score in quotes": (prediction(score="0.5"), "wrong_type"),
    "a boolean score": (prediction(score=True), "wrong_type"),
    "a score above one": (prediction(score=1.0000001), "out_of_range"),
    "a score below zero": (prediction(score=-1e-300), "out_of_range"),
    "a score beyond a double": (raw("score", "1e400"), "huge_number"),
    "a score of four hundred digits": (raw("score", "1" + "0" * 400), "huge_number"),
    "an id of five thousand digits": (raw("id", "1" + "0" * 5000), "huge_number"),
    "an id beyond 64 bits": (raw("id", "1" + "0" * 30), "out_of_range"),
    "a fraction as id": (prediction(id=1.5), "wrong_type"),
    "an empty id": (prediction(id=""), "bad_string"),
    "a long id": (prediction(id="x" * 513), "bad_string"),
    "an id long in bytes": (prediction(id="é" * 257), "bad_string"),
    "an empty model": (prediction(model=""), "bad_string"),
    "a control character in a version": (prediction(version="1\0"), "bad_string"),
    "a C1 control in a version": (prediction(version="1\x9b31m"), "bad_string"),
    "a text turned round in a segment": (prediction(segments={"country": "12\u202e34"}), "bad_string"),
    "a line separator in a segment": (prediction(segments={"channel": "a\u2028b"}), "bad_string"),
    "a zero width in a version": (prediction(version="1\u200b"), "bad_string"),
    "a joiner that hides in a version": (prediction(version="v\u200d1"), "bad_string"),
    "a control character in a segment": (prediction(segments={"country": "D\nE"}), "bad_string"),
    "a version of 309 digits": (raw("version", "9" * 309), "out_of_range"),
    "a version beyond 64 bits": (prediction(version=2**63), "out_of_range"),
    "a segment value near the largest double": (prediction(segments={"country": 1e308}), "out_of_range"),
    "a segment value of twenty digits": (prediction(segments={"country": -(10**19)}), "out_of_range"),
    "a long segment value": (prediction(segments={"country": "D" * 201}), "bad_string"),
    "a segment value of the name for all others": (prediction(segments={"country": "~other"}), "bad_string"),
    "a version of the name for all others": (prediction(version="~other"), "bad_string"),
    "a time without offset": (prediction(ts="2024-05-01T12:00:00"), "naive_time"),
    "a date": (prediction(ts="2024-05-01"), "bad_time"),
    "a day that is none": (prediction(ts="2024-02-30T12:00:00Z"), "bad_time"),
    "a time in quotes": (prediction(ts=str(TS)), "bad_time"),
    "a fraction of a millisecond": (prediction(ts=TS + 0.5), "bad_time"),
    "no time but null": (prediction(ts=None), "wrong_type"),
    "seconds": (prediction(ts=TS // 1000), "seconds_time"),
    "seconds with a fraction": (prediction(ts=TS / 1000 + 0.25), "seconds_time"),
    "microseconds": (prediction(ts=TS * 1000), "microseconds_time"),
    "nanoseconds": (prediction(ts=TS * 1_000_000), "microseconds_time"),
    "the year 1970": (prediction(ts=0), "out_of_range"),
    "the year 2100": (prediction(ts="2100-01-01T00:00:00Z"), "out_of_range"),
    "a time of thirty digits": (raw("ts", "1" + "0" * 29), "out_of_range"),
    "a segment given twice": (raw("segments", '{"country": "DE", "country": "FR"}'), "duplicate_key"),
}
BAD_OUTCOMES = {
    "no id": (raw("id_", '"a"', {"ts": TS, "label": 1}), "missing_field"),
    "no id, but values": (json.dumps({"ts": TS, "values": {"revenue": 1}}).encode(), "missing_field"),
    "no id, and names of their own": (json.dumps({"ts": TS, "tx": "a", "fraud": 1}).encode(), "missing_field"),
    "no id, and a label of null": (json.dumps({"ts": TS, "label": None}).encode(), "missing_field"),
    "an id of null": (json.dumps({"ts": TS, "id": None}).encode(), "wrong_type"),
    "a heartbeat without a time": (b'{"model": "fraud"}', "missing_field"),
    "a heartbeat without anything": (b"{}", "missing_field"),
    "a time given twice": (b'{"ts": %d, "ts": %d}' % (TS, TS), "duplicate_key"),
    "neither label nor values": (raw("x", "1", {"id": "a", "ts": TS}), "missing_field"),
    "empty values": (outcome(label=None, values={}), "missing_field"),
    "values of null": (outcome(label=None, values={"revenue": None}), "missing_field"),
    "a label of two": (outcome(label=2), "out_of_range"),
    "a label of one half": (outcome(label=0.5), "out_of_range"),
    "a label of 309 digits": (raw("label", "9" * 309, OUTCOME), "out_of_range"),
    "a label of minus 4,000 digits": (raw("label", "-" + "9" * 4000, OUTCOME), "out_of_range"),
    "a label of 5,000 digits": (raw("label", "9" * 5000, OUTCOME), "huge_number"),
    "a label near the largest double": (raw("label", "1.7e308", OUTCOME), "out_of_range"),
    "a class as label": (outcome(label="yes"), "wrong_type"),
    "a list as label": (outcome(label=[1]), "wrong_type"),
    "a value in quotes": (outcome(values={"revenue": "3"}), "wrong_type"),
    "a value given twice": (raw("values", '{"revenue": 1, "revenue": 2}', OUTCOME), "duplicate_key"),
    "a value beyond a double": (raw("values", '{"revenue": 1e400}', OUTCOME), "huge_number"),
    "a sentinel as value": (outcome(values={"revenue": sys.float_info.max}), "out_of_range"),
    "a value whose square is no double": (outcome(values={"revenue": -1e154}), "out_of_range"),
    "a value of 309 digits": (raw("values", '{"revenue": %s}' % ("9" * 309), OUTCOME), "out_of_range"),
    "a value that is NaN": (raw("values", '{"revenue": NaN}', OUTCOME), "not_finite"),
    "a sentinel beside NaN": (raw("values", '{"revenue": 1e308, "x": NaN}', OUTCOME), "out_of_range"),
    "a value in a list": (outcome(values={"revenue": [3]}), "wrong_type"),
    "a value of true": (outcome(values={"revenue": True}), "wrong_type"),
    "values in a list": (outcome(values=[3]), "wrong_type"),
    "a label that is NaN": (raw("label", "NaN", OUTCOME), "not_finite"),
    "a value just beyond what its scale counts": (outcome(values={"clicks": 2.0**53 + 2}), "out_of_range"),
}
SHARED = {name: (text.encode(), reason) for name, (text, reason) in BAD_SHARED.items()}
ALL_BAD_PREDICTIONS = BAD_BYTES | SHARED | BAD_PREDICTIONS
ALL_BAD_OUTCOMES = BAD_BYTES | SHARED | BAD_OUTCOMES


def texts(column) -> list[str]:
    assert list(dict.fromkeys(column.code.tolist())) == list(range(len(column.distinct)))
    return [column.distinct[code] for code in column.code]


def names_of(predictions) -> list[tuple | None]:
    """Model, version and segment values of each row; None where the model is not configured."""
    values = list(map(texts, predictions.segments))
    return [
        None if model < 0 else (MODELS[model].name, version, *(column[row] for column in values))
        for row, (model, version) in enumerate(zip(predictions.model, texts(predictions.version), strict=True))
    ]


def rows_of(decoded) -> list[tuple]:
    """Rows of either kind of columns as plain tuples, with names that do not hang on the batch."""
    if hasattr(decoded, "segments"):
        # A batch has as many columns of segments as its models need.
        names = [name and (*name, *[""] * (4 - len(name))) for name in names_of(decoded)]
        return list(zip(decoded.offset, decoded.ts, decoded.id_hash, map(repr, decoded.score), names, strict=True))
    columns = [decoded.heartbeat, map(repr, decoded.label), *(map(repr, column) for column in decoded.kpis.values())]
    return list(zip(decoded.offset, decoded.ts, decoded.id_hash, decoded.model, *columns, strict=True))


@pytest.mark.parametrize("name", ALL_BAD_PREDICTIONS)
def test_a_bad_prediction_is_rejected_with_its_reason_and_a_cure_and_its_neighbours_stay(name):
    message, reason = ALL_BAD_PREDICTIONS[name]
    rows, rejected = Decoder(MODELS).predictions(batch([prediction(id="x"), message, prediction(id="y")], first=10))
    assert [(bad.reason, bad.topic, bad.partition, bad.offset) for bad in rejected] == [(reason, "t", 3, 11)]
    assert reason in REASONS
    assert ":" in rejected[0].detail or "larger" in rejected[0].detail
    assert rejected[0].payload == message
    assert rows.offset.tolist() == [10, 12]
    assert rows.score.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("name", ALL_BAD_OUTCOMES)
def test_a_bad_outcome_is_rejected_with_its_reason_and_a_cure_and_its_neighbours_stay(name):
    message, reason = ALL_BAD_OUTCOMES[name]
    rows, rejected = Decoder(MODELS).outcomes(batch([outcome(id="x"), message, outcome(id="y")], first=10))
    assert [(bad.reason, bad.offset) for bad in rejected] == [(reason, 11)]
    assert rows.offset.tolist() == [10, 12]
    assert rows.label.tolist() == [1.0, 1.0]


def test_bad_input_is_told_apart_in_at_least_twenty_classes():
    assert len({reason for _, reason in (ALL_BAD_PREDICTIONS | ALL_BAD_OUTCOMES).values()}) >= 20


def test_details_never_show_an_id_or_a_string_of_the_event():
    secret = "person-4711"
    for name, (message, _) in BAD_PREDICTIONS.items():
        shown = message.replace(b'"a"', f'"{secret}"'.encode())
        _, rejected = Decoder(MODELS).predictions(batch([shown]))
        assert all(secret not in bad.detail for bad in rejected), name


def test_every_field_of_a_prediction_is_read():
    full = prediction(
        id=7,
        ts="2024-05-01T14:00:00.5+02:00",
        version=3,
        score=-0.0,
        decision="block",
        segments={"country": True, "channel": 2.0, "other": "x"},
        features={"a": 1, "b": None},
        latency_ms=3,
        propensity=1,
        scores={"a": 0.5},
        value=2,
        group="g",
        unknown={"id": [1, {"id": 2}]},
    )
    rows, rejected = Decoder(MODELS).predictions(batch([full, prediction()], timestamps=np.array([5, -7])))
    assert rejected == []
    assert rows.ts.tolist() == [TS + 500, TS]
    assert rows.id_hash.tolist() == [xxhash.xxh3_64_intdigest(b"7"), xxhash.xxh3_64_intdigest(b"a")]
    assert str(rows.score[0]) == "0.0"
    assert names_of(rows) == [("fraud", "3", "true", "2"), ("fraud", "0", "", "")]
    assert rows.record_ts.tolist() == [5, -1]


def test_one_true_and_their_texts_are_told_apart_as_segment_values():
    values = [1, True, 1.0, "1", 0, False, None, 1.5]
    rows, _ = Decoder(MODELS).predictions(batch([prediction(segments={"country": value}) for value in values]))
    assert texts(rows.segments[0]) == ["1", "true", "1", "1", "0", "false", "", "1.5"]


def test_labels_and_values_of_outcomes_are_read():
    messages = [
        outcome(label=True, model="churn"),
        outcome(label=0.0, values={"revenue": 3, "clicks": None, "unknown": 5}),
        outcome(label=None, values={"clicks": -2.5}),
        outcome(label=False, model="elsewhere", values={"revenue": 1}),
    ]
    rows, rejected = Decoder(MODELS).outcomes(batch(messages))
    assert [(bad.reason, bad.offset) for bad in rejected] == [("unknown_model", 3)]
    assert rows.model.tolist() == [1, -1, -1, -2]
    np.testing.assert_array_equal(rows.label, [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(rows.kpis["revenue"], [np.nan, 3, np.nan, 1])
    np.testing.assert_array_equal(rows.kpis["clicks"], [np.nan, np.nan, -2.5, np.nan])


def test_a_time_alone_is_a_heartbeat():
    beats = [{"ts": TS}, {"ts": "2024-05-01T12:00:01Z", "model": "churn"}, {"ts": TS, "model": "elsewhere"}]
    values = [outcome(), *(json.dumps(beat).encode() for beat in beats)]
    rows, rejected = Decoder(MODELS).outcomes(batch(values))
    assert [(bad.reason, bad.offset) for bad in rejected] == [("unknown_model", 3)]
    assert rows.heartbeat.tolist() == [False, True, True, True]
    assert rows.ts.tolist() == [TS, TS, TS + 1000, TS]
    assert rows.model.tolist() == [-1, -1, 1, -2]
    assert rows.id_hash.tolist() == [xxhash.xxh3_64_intdigest(b"a"), 0, 0, 0]
    assert np.isnan(rows.label).tolist() == [False, True, True, True]
    assert np.isnan(rows.kpis["revenue"]).all()
    assert rows.take(np.array([0, 2])).heartbeat.tolist() == [False, True]


def test_a_value_is_bounded_by_the_scale_of_the_models_that_it_is_meant_for():
    models = [ModelSpec("fine", kpis={"v": 1e-12}), ModelSpec("coarse", kpis={"v": 1e9}), ModelSpec("none")]
    meant = [{}, *({"model": model.name} for model in models)]
    values = [outcome(label=None, values={"v": v}, **to) for to in meant for v in (9e3, 9e15, 9e24, 9e25)]
    rows, rejected = Decoder(models).outcomes(batch(values))
    assert rows.kpis["v"][np.isfinite(rows.kpis["v"])].tolist() == [9e3, 9e3, 9e3, 9e15, 9e24, 9e3, 9e15, 9e24, 9e25]
    assert [(bad.reason, bad.offset) for bad in rejected] == [("out_of_range", n) for n in (1, 2, 3, 5, 6, 7, 11)]
    assert "$.values.v is 9000000000000000.0, more than 2^53 units of its scale (1e-12)" in rejected[0].detail


def test_an_event_of_an_unknown_model_is_a_row_without_model_and_a_rejection():
    messages = [prediction(), prediction(model="elsewhere", score=None, scores={"a": 1}), prediction(model="churn")]
    rows, rejected = Decoder(MODELS).predictions(batch(messages))
    assert rows.offset.tolist() == [0, 1, 2]
    assert names_of(rows) == [("fraud", "0", "", ""), None, ("churn", "0", "", "")]
    assert np.isnan(rows.score[1])
    assert [(bad.reason, bad.offset, bad.ts) for bad in rejected] == [("unknown_model", 1, TS)]
    assert "'elsewhere'" in rejected[0].detail


def test_names_as_people_write_them_are_read():
    names = ["Zoë", "می\u200cخواهم", "क्\u200dष", "👩\u200d💻", "a\xa0b"]
    rows, rejected = Decoder(MODELS).predictions(batch([prediction(segments={"country": name}) for name in names]))
    assert rejected == []
    assert texts(rows.segments[0]) == names


def test_the_name_of_an_unknown_model_is_shown_without_what_moves_a_terminal_or_turns_text_round():
    messages = [
        prediction(model=name) for name in ("\x1b[2J", "\x9b2J", "a\u2028b", "12\u202e34", "\ufefffraud", "fra\u200dud")
    ]
    _, rejected = Decoder(MODELS).predictions(batch(messages))
    assert [bad.detail.split("'")[1] for bad in rejected] == ["�[2J", "�2J", "a�b", "12�34", "�fraud", "fra�ud"]


def test_tombstones_are_skipped_and_counted():
    decoder = Decoder(MODELS)
    rows, rejected = decoder.predictions(batch([None, prediction(), None]))
    assert (rows.offset.tolist(), rejected, decoder.tombstones) == ([1], [], 2)
    rows, rejected = decoder.outcomes(batch([None]))
    assert (len(rows), rejected, decoder.tombstones) == (0, [], 3)


def test_an_empty_batch_gives_empty_columns():
    rows, rejected = Decoder(MODELS).predictions(batch([]))
    assert (len(rows), len(rows.version.code), rejected) == (0, 0, [])
    outs, rejected = Decoder(MODELS).outcomes(batch([]))
    assert (len(outs), sorted(outs.kpis), rejected) == (0, ["clicks", "revenue"], [])


def test_a_time_far_beyond_its_record_is_future_where_the_log_has_record_times():
    messages = [prediction(), prediction(), prediction()]
    stamps = np.array([TS - 600_000, TS - 600_001, -1])
    rows, rejected = Decoder(MODELS, max_ahead=600_000).predictions(batch(messages, timestamps=stamps))
    assert rows.offset.tolist() == [0, 2]
    assert [(bad.reason, bad.offset, bad.ts) for bad in rejected] == [("future", 1, TS)]
    assert len(Decoder(MODELS, max_ahead=600_000).predictions(batch(messages))[0]) == 3


@pytest.mark.parametrize(
    "harmless",
    [
        '"x": {"id": 1, "id": 2}',
        '"x": "\\":\\":"',
        '"x" : 1',
        '"x": 1, "x": 2',
        '"x": [' + "[" * 60 + "]" * 60 + "]",
        '"x": "' + "[" * 500 + '"',
        '"x": 1e400',
        '"label": 1, "values": {"a": 1}, "score\\u0078": 1',
        '"id\\n": 1',
    ],
)
def test_what_the_contract_does_not_name_is_ignored_whatever_it_holds(harmless):
    message = prediction()[:-1] + b", " + harmless.encode() + b"}"
    rows, rejected = Decoder(MODELS).predictions(batch([message] * 3))
    assert (len(rows), rejected) == (3, [])


def test_the_score_at_zero_and_one_counts_and_pretty_printed_messages_are_read():
    messages = [json.dumps(PREDICTION | {"score": score}, indent=2).encode() for score in (0, 0.0, 1, 1.0, 5e-324)]
    rows, rejected = Decoder(MODELS).predictions(batch(messages))
    assert (rows.score.tolist(), rejected) == ([0, 0, 1, 1, 5e-324], [])


UNUSED = [
    '"features": {"age": NaN, "big": -Infinity, "wide": 1e400, "name": "DE", "flag": true, "v": [1, {"a": 1}]}',
    '"features": {"a": 1, "b": 2, "a": 1}',
    '"features": {"a": 1}, "features": NaN',
    '"features": "\\ud83d cut in half"',
    '"features" : {"spaced" : Infinity}',
    '"features": [' + "9" * 5000 + "]",
    '"latency_ms": -1',
    '"latency_ms": "fast", "value": "abc", "group": 1.5',
    '"scores": [0.1, 0.9], "decision": {"a": 1}',
    '"scores": {"a": 2}',
    '"propensity": 0',
    '"propensity": {"p": NaN}',
    '"segments": {"other": ["x"], "another": {"y": NaN}, "long": "%s", "bidi": "\u202e", "\\ud800": 1e400}'
    % ("x" * 300),
    '"segments": {"other": 1, "other": 2}',
    '"x": NaN, "y": {"z": "\\udc00", "deep": [[[1e999]]]}',
]


@pytest.mark.parametrize("text", UNUSED)
def test_what_no_model_uses_never_rejects_an_event(text):
    message = prediction()[:-1] + b", " + text.encode() + b"}"
    bound = Decoder(MODELS, [TopicMapping("bound", "prediction", fields={"id": "id"})])
    for decoder, topic in ((Decoder(MODELS), "t"), (bound, "bound")):
        rows, rejected = decoder.predictions(batch([prediction(), message, message, prediction()], topic=topic))
        assert (len(rows), rejected, decoder.unusable) == (4, [], {})
        assert len(set(map(repr, zip(rows.ts, rows.id_hash, rows.score, names_of(rows), strict=True)))) == 1


@pytest.mark.parametrize(
    "values", ['{"currency": "EUR", "wide": 1e999, "nan": NaN, "v": [1]}', '{"x": 1, "x": 2}', '{"x": "\\ud800"}']
)
def test_values_that_no_model_reads_never_reject_an_outcome(values):
    rows, rejected = Decoder(MODELS).outcomes(batch([raw("values", values, OUTCOME)]))
    assert (rows.label.tolist(), rejected) == ([1.0], [])


def test_values_are_judged_for_the_models_that_an_outcome_is_meant_for():
    messages = [outcome(model="churn", values={"revenue": "3"}), outcome(model="fraud", values={"revenue": "3"})]
    rows, rejected = Decoder(MODELS).outcomes(batch(messages))
    assert ([bad.offset for bad in rejected], rows.offset.tolist()) == ([1], [0])
    assert np.isnan(rows.kpis["revenue"]).all()
    rows, rejected = Decoder([ModelSpec("fraud")]).outcomes(batch([outcome(values="none")]))
    assert (len(rows), rejected) == (1, [])


@pytest.mark.parametrize(
    ("text", "kept", "count"),
    [
        ('{"country": ["DE"], "channel": "web"}', ("", "web"), 1),
        ('{"country": {"iso": "DE"}, "channel": NaN}', ("", ""), 2),
        ('{"country": 1e400}', ("", ""), 1),
        ('["DE", "web"]', ("", ""), 2),
        ('"DE"', ("", ""), 2),
        ("NaN", ("", ""), 2),
        ('{"country": null}', ("", ""), 0),
        ("null", ("", ""), 0),
        ("{}", ("", ""), 0),
        ("0", ("", ""), 2),
    ],
)
def test_a_segment_that_cannot_be_used_counts_as_not_given_and_is_counted(text, kept, count):
    decoder = Decoder(MODELS)
    rows, rejected = decoder.predictions(batch([raw("segments", text), prediction(segments={"country": "DE"})]))
    assert rejected == []
    assert [name[2:] for name in names_of(rows)] == [kept, ("DE", "")]
    assert decoder.unusable["segments"] == count


def test_a_propensity_that_cannot_be_used_counts_as_not_given_and_is_counted():
    models = [ModelSpec("fraud", propensity=True), ModelSpec("churn")]
    bad = ["0", "-1", "1.5", '"0.1"', "true", "[0.1]", "NaN", "1e400", "9" * 400, "{}"]
    good = {"0.25": 0.25, "1": 1.0, "5e-324": 5e-324}
    decoder = Decoder(models)
    values = [raw("propensity", text) for text in (*bad, *good, "null")]
    rows, rejected = decoder.predictions(batch(values))
    assert rejected == []
    np.testing.assert_array_equal(rows.propensity, [np.nan] * len(bad) + list(good.values()) + [np.nan])
    assert decoder.unusable == {"propensity": len(bad)}
    others = [raw("propensity", text, PREDICTION | {"model": "churn"}) for text in bad]
    assert np.isnan(decoder.predictions(batch(others))[0].propensity).all()
    assert decoder.unusable == {"propensity": len(bad)}


def test_a_rejection_shows_the_message_as_it_came():
    message = raw("features", '{"age": NaN}', PREDICTION | {"score": 2})
    _, rejected = Decoder(MODELS).predictions(batch([message]))
    assert [(bad.reason, bad.payload) for bad in rejected] == [("out_of_range", message)]


def test_whole_numbers_written_as_fractions_are_the_same_numbers():
    message = prediction(id=4711.0, ts=float(TS), version=3.0, segments={"country": 2.0})
    same = prediction(id=4711, ts=TS, version=3, segments={"country": 2})
    rows, rejected = Decoder(MODELS).predictions(batch([message, same]))
    assert rejected == []
    assert len(set(map(repr, zip(rows.ts, rows.id_hash, rows.score, names_of(rows), strict=True)))) == 1


GOOD_PREDICTIONS = st.builds(
    prediction,
    id=st.one_of(st.text(min_size=1, max_size=8).filter(lambda t: t.isascii()), st.integers(0, 99)),
    model=st.sampled_from(["fraud", "churn"]),
    ts=st.one_of(st.integers(TS, TS + 9999), st.just("2024-05-01T12:00:00Z")),
    score=st.floats(0, 1),
    version=st.sampled_from(["1", 2, None]),
    segments=st.dictionaries(st.sampled_from(["country", "x"]), st.sampled_from(["DE", 1, True, None])),
    extra=st.sampled_from([1, 'a":', {"id": 2}]),
)
ANY_PREDICTIONS = st.one_of(
    GOOD_PREDICTIONS,
    st.none(),
    st.just(prediction(model="elsewhere")),
    st.sampled_from([prediction()[:-1] + b", " + text.encode() + b"}" for text in UNUSED if len(text) < 1000]),
    st.sampled_from([message for name, (message, _) in ALL_BAD_PREDICTIONS.items() if len(message) < 1000]),
    st.binary(max_size=20),
)
ANY_OUTCOMES = st.one_of(
    st.builds(outcome, label=st.sampled_from([0, 1, True, None]), values=st.just({"revenue": 1.5})),
    st.none(),
    st.just(outcome(model="elsewhere")),
    st.just(b'{"ts": %d}' % TS),
    st.sampled_from([message for name, (message, _) in ALL_BAD_OUTCOMES.items() if len(message) < 1000]),
    st.binary(max_size=20),
)


def test_messages_that_could_not_be_handed_over_are_rejected_as_one_with_their_offsets_and_no_tombstones():
    bomb, wreck = Refused("too_large", "unpacks to much", 14, 4), Refused("unreadable", "not valid gzip", 20, 5)
    for make, read in ((prediction, Decoder.predictions), (outcome, Decoder.outcomes)):
        values = [make(), None, b"oops", None, make(id="x"), None]
        whole = Batch("t", 3, np.array([9, 11, 13, 15, 16, 17]), values, None, {11: bomb, 15: wreck})
        decoder = Decoder(MODELS)
        rows, rejected = read(decoder, whole)
        assert rows.offset.tolist() == [9, 16]
        assert [(bad.offset, bad.reason, bad.detail, bad.last, bad.count) for bad in rejected] == [
            (11, *bomb[:2], 14, 4),
            (13, "not_json", rejected[1].detail, None, 1),
            (15, *wreck[:2], 20, 5),
        ]
        assert {bad.reason for bad in rejected} <= set(REASONS)
        assert decoder.tombstones == 1
        parts = [read(Decoder(MODELS), whole.part(first, first + 2)) for first in (0, 2, 4)]
        assert [bad for _, part in parts for bad in part] == rejected


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY_PREDICTIONS, max_size=12), st.lists(ANY_OUTCOMES, max_size=12), st.data())
def test_any_batch_cut_gives_the_same_rows_and_rejections(predictions, outcomes, data):
    for values, read in ((predictions, Decoder.predictions), (outcomes, Decoder.outcomes)):
        whole_decoder, cut_decoder = Decoder(MODELS), Decoder(MODELS)
        whole, rejected = read(whole_decoder, batch(values))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
        rows, bad = [], []
        for start, end in zip([0, *cuts], [*cuts, len(values)], strict=True):
            part, part_bad = read(cut_decoder, batch(values[start:end], first=start))
            rows += rows_of(part)
            bad += part_bad
        assert rows == rows_of(whole)
        assert bad == rejected
        assert cut_decoder.tombstones == whole_decoder.tombstones


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY_PREDICTIONS, max_size=12), st.lists(ANY_OUTCOMES, max_size=12))
def test_every_message_is_exactly_one_of_a_row_a_rejection_and_a_tombstone(predictions, outcomes):
    for values, read in ((predictions, Decoder.predictions), (outcomes, Decoder.outcomes)):
        rows, rejected = read(Decoder(MODELS), batch(values))
        told = [bad.offset for bad in rejected if bad.reason != "unknown_model"]
        gone = [offset for offset, value in enumerate(values) if value is None]
        assert sorted([*rows.offset.tolist(), *told, *gone]) == list(range(len(values)))
        # An unknown model's event is told as well, and stays a row.
        assert {bad.offset for bad in rejected if bad.reason == "unknown_model"} <= set(rows.offset.tolist())
        assert [bad.offset for bad in rejected] == sorted(bad.offset for bad in rejected)


@settings(max_examples=60, deadline=None)
@given(st.lists(GOOD_PREDICTIONS, max_size=8), st.data())
def test_good_events_come_out_as_if_the_bad_had_not_been_there(good, data):
    bad = [message for message, _ in ALL_BAD_PREDICTIONS.values() if len(message) < 1000]
    mixed: list[tuple[int, bytes]] = []
    for place, message in enumerate(good):
        mixed += [(-1, extra) for extra in data.draw(st.lists(st.sampled_from(bad), max_size=2))]
        mixed.append((place, message))
    alone, _ = Decoder(MODELS).predictions(batch(list(good)))
    among, rejected = Decoder(MODELS).predictions(
        Batch("t", 3, np.array([place for place, _ in mixed], dtype=np.int64), [message for _, message in mixed])
    )
    assert rows_of(among) == rows_of(alone)
    assert among.version.distinct == alone.version.distinct
    assert len(rejected) == len(mixed) - len(good)


def test_a_long_stream_with_every_class_at_random_places_loses_nothing():
    rng = random.Random(5)
    bad = list(ALL_BAD_PREDICTIONS.values())
    expected: dict[str, int] = {}
    values: list[bytes | None] = []
    good = 0
    for number in range(40_000):
        if rng.random() < 0.01:
            message, reason = rng.choice(bad)
            values.append(message)
            expected[reason] = expected.get(reason, 0) + 1
        else:
            values.append(b'{"id":"%d","model":"fraud","ts":%d,"score":%.6f}' % (number, TS + number, rng.random()))
            good += 1
    decoder = Decoder(MODELS)
    counted: dict[str, int] = {}
    rows = 0
    for start in range(0, len(values), 3_000):
        part, rejected = decoder.predictions(batch(values[start : start + 3_000], first=start))
        rows += len(part)
        for one in rejected:
            counted[one.reason] = counted.get(one.reason, 0) + 1
    assert (rows, counted) == (good, expected)


def test_take_keeps_what_rows_mean():
    rows, _ = Decoder(MODELS).predictions(
        batch([prediction(version="1"), prediction(version="2"), prediction(model="churn")])
    )
    some = rows.take(np.array([2, 1]))
    assert [name[:2] for name in names_of(some)] == [("churn", "0"), ("fraud", "2")]
    assert some.version.distinct == ["0", "2"]
    assert rows.take(slice(0, 0)).version.distinct == []
    outs, _ = Decoder(MODELS).outcomes(batch([outcome(), outcome(values={"revenue": 2})]))
    assert outs.take(np.array([False, True])).kpis["revenue"].tolist() == [2.0]


def test_propensities_are_read_where_a_model_asks_for_them():
    values = [
        b'{"id":"a","model":"fraud","ts":1714564800000,"score":0.25,"propensity":0.1}',
        b'{"id":"b","model":"fraud","ts":1714564800000,"score":2,"propensity":0.2}',
        b'{"id":"c","model":"fraud","ts":1714564800000,"score":0.5}',
    ]
    batch = Batch("predictions", 0, np.arange(3), values)
    rows, rejected = Decoder([ModelSpec("fraud", propensity=True)]).predictions(batch)
    assert len(rejected) == 1
    assert rows.propensity[0] == 0.1
    assert np.isnan(rows.propensity[1])
    assert rows.take(np.array([0])).propensity.tolist() == [0.1]
    assert Decoder([ModelSpec("fraud")]).predictions(batch)[0].propensity is None
