"""Records out: bytes that are a function of their facts, read back whole, and valid against their schema."""

import json
import math
import re
from datetime import UTC, datetime

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streameval.errors import InputError, InvariantError
from streameval.records import (
    RECORDS,
    Alignment,
    Calibration,
    Confusion,
    Diagnosis,
    Drift,
    Finding,
    Interval,
    Knots,
    Losses,
    Mark,
    Metrics,
    Prevalence,
    Rejected,
    ReliabilityPoint,
    Retrain,
    Threshold,
    Window,
    cloudevent,
    epoch_ms,
    key_of,
    parts_of,
    read,
    rfc3339,
)
from streameval.schema import record_schema

WINDOW = Window.of(1_700_000_000_000, 1_700_003_600_000, 20_000)
CELL = {"model": "fraud", "version": "7", "segment": "country=DE"}
DIAGNOSIS = Diagnosis("label_shift", {"T_pi": Finding(statistic=4.2, p_value=1e-5, effect=0.4, holds=False)})
PREVALENCE = Prevalence(Interval(0.05, 0.04, 0.06), None)

EXAMPLES = [
    Threshold(
        **CELL,
        threshold=0.0909,
        threshold_calibrated=None,
        previous=0.5,
        objective={"kind": "cost", "fp": 1.0, "fn": 10.0},
        expected_gain=Interval(0.02, 0.01, 0.03),
        reason="gain",
        prevalence=PREVALENCE,
        calibration="platt",
        window=WINDOW,
    ),
    Calibration(
        **CELL,
        method="platt",
        knots=Knots([0.0, 1.0], [0.1, 0.9]),
        before=Losses(0.2, 0.1),
        after=Losses(0.19, None),
        window=WINDOW,
    ),
    Drift(
        **CELL,
        monitor="label",
        tier="confirmed",
        statistic=2.5e6,
        direction="up",
        change_at=rfc3339(1_700_000_000_000),
        diagnosis=DIAGNOSIS,
    ),
    Retrain(**CELL, reason="concept_drift", diagnosis=DIAGNOSIS, window=WINDOW, priority=0.3),
    Metrics(
        **CELL,
        window=WINDOW,
        metrics={"auc": Interval(0.9, 0.88, 0.92), "F1": Interval(0.7)},
        prevalence=PREVALENCE,
        threshold=0.5,
        confusion=Confusion(1, 2, 3, 4),
        reliability=[ReliabilityPoint(0.1, 0.12, 0.08, 0.2, 300)],
        phase="watching",
    ),
    Alignment(
        **CELL,
        loss="log_loss",
        kpi="revenue",
        basis="across_time",
        disagreement=Interval(0.5, 0.4, 0.6),
        undecided=0.2,
        pairs=30,
    ),
    Rejected(reason="not_json", detail="malformed", topic="p", partition=0, offset=17, count=3, last_offset=40),
    Mark.of("predictions", 3, 17, 1_700_000_000_000, "idle"),
]
ids = [type(data).TYPE for data in EXAMPLES]


def event(data, **changed):
    given = {
        "worker": "payments",
        "lineage": "a1",
        "key": key_of("fraud", "7", "*"),
        "sequence": 5,
        "time": 1_700_000_000_000,
    }
    return cloudevent(data, **(given | changed))


def schema_errors(record):
    told = json.loads(record)
    schema = record_schema(RECORDS[told["type"]])
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return [
        error.message for error in jsonschema.Draft202012Validator(schema, format_checker=checker).iter_errors(told)
    ]


def test_every_type_of_record_has_an_example():
    assert ids == list(RECORDS)


@pytest.mark.parametrize("data", EXAMPLES, ids=ids)
def test_a_record_is_valid_against_its_schema(data):
    assert schema_errors(event(data).decode()) == []


@pytest.mark.parametrize("data", EXAMPLES, ids=ids)
def test_the_schema_refuses_a_record_that_lacks_an_attribute_or_has_null_for_one(data):
    told = json.loads(event(data))
    for key in told.keys() - {"type"}:
        rest = {name: value for name, value in told.items() if name != key}
        assert schema_errors(json.dumps(rest))
        assert schema_errors(json.dumps(rest | {key: None}))


@pytest.mark.parametrize("data", EXAMPLES, ids=ids)
def test_a_record_is_read_back_as_it_was_written(data):
    back = read(event(data))
    assert back.data == data
    assert (back.type, back.subject, back.source) == (data.TYPE, "fraud/7/*", "/streameval/payments")
    assert back.sequence == 5
    assert epoch_ms(back.time) == 1_700_000_000_000


@pytest.mark.parametrize("data", EXAMPLES, ids=ids)
def test_a_record_has_all_attributes_that_cloudevents_asks_for(data):
    told = json.loads(event(data))
    assert list(told) == [
        "specversion", "id", "source", "type", "subject", "time", "sequence", "datacontenttype", "data",
    ]  # fmt: skip
    assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in told)
    assert told["specversion"] == "1.0"
    assert all(isinstance(told[name], str) and told[name] for name in told if name not in ("sequence", "data"))
    assert isinstance(told["sequence"], int)


def test_the_bytes_are_those_that_were_promised():
    """A change of these bytes breaks replays of old logs: it needs a line in the changelog."""
    assert event(EXAMPLES[-1]) == (
        b'{"specversion":"1.0","id":"' + read(event(EXAMPLES[-1])).id.encode() + b'","source":"/streameval/payments",'
        b'"type":"streameval.clock","subject":"fraud/7/*","time":"2023-11-14T22:13:20.000Z",'
        b'"sequence":5,"datacontenttype":"application/json",'
        b'"data":{"topic":"predictions","partition":3,"offset":17,"floor":"2023-11-14T22:13:20.000Z","reason":"idle",'
        b'"lineage":null,"detail":null}}'
    )


def test_the_id_differs_with_lineage_type_key_and_sequence_and_with_nothing_else():
    mark, other = EXAMPLES[-1], EXAMPLES[-2]
    first = read(event(mark)).id
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first == read(event(mark, time=0, worker="other")).id
    varied = [event(other), event(mark, lineage="a2"), event(mark, key="fraud/8/*"), event(mark, sequence=6)]
    assert len({first, *(read(record).id for record in varied)}) == 5


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_carries_nine_significant_digits(value):
    told = json.loads(event(msgspec.structs.replace(EXAMPLES[2], statistic=value)))["data"]["statistic"]
    assert told == float(f"{value:.9g}")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_that_is_not_finite_is_null_where_that_is_allowed_and_refused_elsewhere(value):
    assert read(event(msgspec.structs.replace(EXAMPLES[2], statistic=value))).data.statistic is None
    with pytest.raises(InvariantError, match=r"\$\.threshold"):
        event(msgspec.structs.replace(EXAMPLES[0], threshold=value))


def test_numpy_numbers_are_taken_as_numbers():
    exact = event(msgspec.structs.replace(EXAMPLES[4], threshold=0.5, confusion=Confusion(1, 2, 3, 4)))
    numpy = event(
        msgspec.structs.replace(EXAMPLES[4], threshold=np.float64(0.5), confusion=Confusion(*np.arange(1, 5)))
    )
    assert numpy == exact


def test_data_of_the_wrong_shape_are_refused_with_the_path():
    with pytest.raises(InvariantError, match=r"streameval\.clock of fraud/7/\*: .*\$\.offset"):
        event(msgspec.structs.replace(EXAMPLES[-1], offset=-1))


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"{}", b"\xff", b'{"type":1}'])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(InputError, match="not a record"):
        read(record)


def test_a_record_of_an_unknown_type_is_refused_by_name():
    told = json.loads(event(EXAMPLES[-1])) | {"type": "streameval.weather"}
    with pytest.raises(InputError, match="weather"):
        read(json.dumps(told))


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(NAMES, NAMES, NAMES.filter(lambda name: "=" not in name), NAMES)
def test_a_key_is_taken_apart_into_what_it_was_made_of(model, version, name, value):
    key = key_of(model, version, f"{name}={value}")
    assert parts_of(key) == (model, version, f"{name}={value}")
    assert re.fullmatch(r"[A-Za-z0-9_.~%*=-]+/[A-Za-z0-9_.~%*=-]+/[A-Za-z0-9_.~%*=-]+", key)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), unique=True, min_size=2, max_size=2))
def test_different_names_make_different_keys(names):
    assert key_of(*names[0]) != key_of(*names[1])


@given(st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999))
def test_a_time_is_written_exactly_and_sorts_as_text(ms):
    text = rfc3339(ms)
    assert epoch_ms(text) == ms
    assert len(text) == 24
    assert datetime.fromisoformat(text).tzinfo == UTC


@pytest.mark.parametrize(("ms", "text"), [(-(2**63), "0001-01-01T00:00:00.000Z"), (2**63, "9999-12-31T23:59:59.999Z")])
def test_a_time_beyond_the_calendar_is_said_as_its_nearest(ms, text):
    assert rfc3339(ms) == text


def test_a_time_without_an_offset_is_refused():
    with pytest.raises(ValueError, match="offset"):
        epoch_ms("2023-11-14T22:13:20")
