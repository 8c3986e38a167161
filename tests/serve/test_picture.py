"""A picture that is kept up to date is the picture of all records, however they came."""

import msgspec
import pytest
import records
from hypothesis import given, settings
from hypothesis import strategies as st
from served import numbered

from streameval.serve.picture import Picture
from streameval.serve.series import Key
from streameval.serve.snapshot import Snapshot
from streameval.serve.tally import ELSEWHERE
from streameval.transport.protocol import Record

LIFE = numbered(records.demo_like())
WHOLE = Key("price-up", "0")


def of(past, live):
    picture = Picture()
    for record in past:
        picture.read_back(record)
    picture.settle()
    for record in live:
        picture.take(record)
    return picture


def by_topic(taken):
    return sorted(taken, key=lambda record: record.topic)


ALL = of([], LIFE).snapshot


@settings(max_examples=15, deadline=None)
@given(st.integers(0, len(LIFE)), st.integers(0, 200))
def test_what_is_read_back_and_what_is_published_meanwhile_count_once(cut, overlap):
    picture = of(by_topic(LIFE[:cut]), LIFE[max(cut - overlap, 0) :])
    assert picture.snapshot.records == ALL.records
    assert picture.snapshot.get(WHOLE).alarms == ALL.get(WHOLE).alarms
    assert [p.at for p in picture.snapshot.get(WHOLE).history] == [p.at for p in ALL.get(WHOLE).history]


def test_only_decisions_of_this_process_are_tallied():
    before, after = of(LIFE, []), of([], LIFE)
    assert set(before.tally.alarms.values()) == {0}
    assert after.tally.alarms["price-up", "0", "*", "confirmed"] == 1
    assert after.tally.moves["price-up", "0", "*"] == 2
    assert after.tally.requests["price-up", "0", "*"] == 1
    assert after.tally.rejected == {"naive_time": 15, "not_json": 1}


def test_a_diagnosis_is_counted_and_is_no_second_alarm():
    key = {"model": "m", "version": "1", "segment": "*"}
    topic, first = records.drift(key, 51, "cost", "confirmed", "up", change=44, diagnosis="pending")
    _, second = records.drift(key, 53, "cost", "confirmed", "up", change=44, diagnosis="label_shift")
    for record in (first, second):
        record["data"]["alarm_at"] = first["time"]
    picture = of([], numbered([(topic, first), (topic, second)]))
    assert picture.tally.alarms["m", "1", "*", "confirmed"] == 1
    assert picture.tally.diagnoses == {("m", "1", "*", "label_shift"): 1}
    (alarm,) = picture.snapshot.get(Key("m", "1")).alarms
    assert (alarm.diagnosis, alarm.at) == ("label_shift", records.epoch_ms(first["time"]))


def test_segments_beyond_the_bound_keep_no_past_and_are_counted_together():
    key = {"model": "m", "version": "1"}
    pairs = [records.metrics(key | {"segment": f"c={n}"}, week) for week in range(1, 30) for n in range(5)]
    pairs += [records.drift(key | {"segment": f"c={n}"}, 31, "cost", "confirmed", "up", change=28) for n in range(5)]
    picture = Picture(Snapshot(segments=2))
    for record in numbered(pairs):
        picture.take(record)
    lengths = [len(picture.snapshot.get(Key("m", "1", f"c={n}")).history) for n in range(5)]
    assert lengths[:2] == [29, 29]
    assert max(lengths[2:]) <= 3
    assert picture.tally.alarms["m", "1", ELSEWHERE, "confirmed"] == 3
    assert {place[2] for place in picture.tally.moves} == {"c=0", "c=1", ELSEWHERE}


def test_points_are_shared_by_all_keys():
    key = {"version": "1", "segment": "*"}
    snapshot = Snapshot(points=200)
    for week in range(1, 60):
        for n in range(10):
            snapshot.feed(*records.metrics(key | {"model": f"m{n}"}, week))
    assert sum(len(series.history) for series in snapshot.series) <= 220


@pytest.mark.parametrize("read_back", [True, False])
def test_a_tombstone_ends_a_key_and_a_later_record_brings_it_back(read_back):
    gone = Record("thresholds", "price-up/0/*", None, 99)
    picture = of([*LIFE, gone], []) if read_back else of(LIFE, [gone])
    assert picture.snapshot.state(WHOLE) == "retired"
    assert read_back or ("price-up", "0", "*") not in picture.tally.moves
    topic, record = records.metrics({"model": "price-up", "version": "0", "segment": "*"}, 400)
    picture.take(Record(topic, record["subject"], msgspec.json.encode(record), 400))
    assert picture.snapshot.state(WHOLE) != "retired"
