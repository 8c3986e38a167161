import msgspec
import pytest
import records
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.serve.series import Key
from streameval.serve.snapshot import Snapshot, milliseconds

RUN = records.demo_like()
WHOLE = Key("price-up", "0")


def fold(pairs):
    snapshot = Snapshot()
    for topic, record in pairs:
        snapshot.feed(topic, record)
    return snapshot


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_how_topics_interleave_changes_nothing(chance):
    topics = {}
    for topic, record in RUN:
        topics.setdefault(topic, []).append(record)
    mixed = [topic for topic, own in topics.items() for _ in own]
    chance.shuffle(mixed)
    places = {topic: iter(own) for topic, own in topics.items()}
    assert msgspec.json.encode(fold((t, next(places[t])) for t in mixed), order="deterministic") == msgspec.json.encode(
        fold(RUN), order="deterministic"
    )


def test_lines_bytes_and_dicts_give_the_same_snapshot():
    lines = [(topic, msgspec.json.encode(record)) for topic, record in RUN]
    texts = [(topic, line.decode() + "\n") for topic, line in lines] + [("metrics", "\n")]
    assert Snapshot.from_lines(lines) == Snapshot.from_lines(texts) == fold(RUN)


def test_a_snapshot_survives_being_encoded():
    snapshot = fold(RUN)
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot) == snapshot


def test_memory_is_bounded_by_keys_and_not_by_records():
    key = {"model": "m", "version": "1", "segment": "*"}
    snapshot = fold(records.metrics(key, week) for week in range(5000))
    assert snapshot.records == {"metrics": 5000}
    assert len(snapshot.series[0].history) <= 2001


def test_all_that_records_say_is_remembered():
    snapshot = fold(RUN)
    series = snapshot.get(WHOLE)
    assert [(m.previous, m.threshold) for m in series.moves] == [(0.5, 0.41), (0.41, 0.36)]
    assert [c.method for c in series.maps] == ["prior_shift", "platt"]
    assert series.last_confirmed.monitor == "cost"
    assert series.last_confirmed.diagnosis == "concept_drift"
    assert series.requests[0].diagnosis == "concept_drift"
    assert series.history.last.metrics["log_loss"].low < series.history.last.metrics["log_loss"].value
    assert series.threshold == 0.36
    assert {reason: entry.count for reason, entry in snapshot.rejected.items()} == {"naive_time": 15, "not_json": 1}
    assert snapshot.models == [("price-up", "0")]
    assert snapshot.series[0].key.whole
    assert snapshot.first == milliseconds(RUN[0][1]["time"])
    assert snapshot.last == milliseconds(RUN[-1][1]["time"])


def test_names_with_any_character_stay_apart():
    odd = [("a/b", "c"), ("a", "b/c"), ('a","b', "c"), ("a", 'b","c')]
    snapshot = fold(records.metrics({"model": m, "version": v, "segment": "*"}, 1) for m, v in odd)
    assert snapshot.models == sorted(odd)


def test_a_record_of_an_unknown_type_is_counted_and_left_alone():
    snapshot = fold([("alignment", {"type": "streameval.newer", "data": {}})])
    assert snapshot.records == {"newer": 1}
    assert snapshot.series == []


def test_a_line_that_is_no_json_is_an_error():
    with pytest.raises(msgspec.DecodeError):
        Snapshot.from_lines([("metrics", "{")])


def test_a_time_without_offset_is_refused():
    with pytest.raises(ValueError, match="without an offset"):
        milliseconds("1996-05-06T14:00:00")
