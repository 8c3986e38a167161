"""The metrics are what Prometheus expects, whatever names people use, and their number is bounded."""

import re
import shutil
import subprocess

import pytest
import records
from prometheus_client.parser import text_string_to_metric_families
from served import VITALS, numbered

from streameval.serve.picture import Picture
from streameval.serve.prometheus import About, Exposition
from streameval.serve.snapshot import Snapshot
from streameval.serve.tally import ELSEWHERE
from streameval.serve.vitals import Vitals

PROMTOOL = shutil.which("promtool")
EVIL = 'a"b\\c\nd{}=,é'


def exposed(pairs, vitals=VITALS, segments=50):
    picture = Picture(Snapshot(segments=segments))
    for record in numbered(pairs):
        picture.take(record)
    about = About("0.1.0", "payments", "c0ffee")
    return Exposition(about, picture, lambda: vitals).text()[0].decode()


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text, name, **labels):
    return samples(text)[(name, *sorted(labels.items()))]


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine (Debian: prometheus)")
@pytest.mark.parametrize("vitals", [VITALS, None], ids=["running", "starting"])
def test_promtool_finds_nothing_to_mend(vitals):
    pairs = records.demo_like() + records.life(model=EVIL, version=EVIL, segment=f"a={EVIL}")
    text = exposed(pairs, vitals)
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_family_is_documented_and_counters_alone_end_on_total():
    for family in text_string_to_metric_families(exposed(records.demo_like())):
        assert family.documentation
        if family.name.startswith("streameval"):
            for sample in family.samples:
                assert sample.name.endswith("_total") == (family.type == "counter")


def test_names_come_through_as_people_wrote_them():
    text = exposed(records.life(model=EVIL, segment=f"a={EVIL}"))
    assert value(text, "streameval_model_threshold", model=EVIL, version="0", segment=f"a={EVIL}") == 0.36


def test_a_model_is_told_with_its_intervals_its_state_and_its_decisions():
    text = exposed(records.life(mended=False))
    key = {"model": "price-up", "version": "0", "segment": "*"}
    cost, low, high = (
        value(text, f"streameval_model_metric{end}", metric="cost", **key) for end in ("", "_low", "_high")
    )
    assert low < cost < high
    assert value(text, "streameval_model_prevalence_ratio", basis="labelled", **key) > 0
    assert value(text, "streameval_model_state", state="drifted", **key) == 1
    assert value(text, "streameval_model_state", state="healthy", **key) == 0
    assert value(text, "streameval_drift_alarms_total", tier="confirmed", **key) == 1
    assert value(text, "streameval_diagnoses_total", state="concept_drift", **key) == 1
    assert value(text, "streameval_threshold_moves_total", **key) == 2
    assert value(text, "streameval_retrain_requests_total", **key) == 1
    assert value(text, "streameval_model_calibration", method="platt", **key) == 1


def test_the_worker_is_told_in_seconds_and_events():
    text = exposed([])
    assert value(text, "streameval_stream_time_seconds") == VITALS.time / 1000
    assert value(text, "streameval_lag_events", topic="outcomes") == 12
    assert value(text, "streameval_lag_seconds", topic="outcomes") == 60
    assert value(text, "streameval_partitions_stalled", topic="outcomes") == 2
    assert value(text, "streameval_partitions_stalled", topic="predictions") == 0
    assert value(text, "streameval_rows_waiting", model="price-up") == 48
    assert value(text, "streameval_predictions_duplicate_differing_total", model="price-up") == 3
    assert value(text, "streameval_fields_unusable_total", field="segments") == 7
    assert value(text, "streameval_fields_unusable_total", field="propensity") == 0
    assert value(text, "streameval_last_commit_timestamp_seconds") == VITALS.committed
    assert value(text, "streameval_last_contact_timestamp_seconds") == VITALS.heard
    info = {"version": "0.1.0", "worker": "payments", "configuration": "c0ffee", "shard": "0/1"}
    assert value(text, "streameval_info", **info) == 1
    assert value(text, "process_resident_memory_bytes") > 0


def test_the_number_of_series_is_bounded_by_the_configuration():
    key = {"model": "m", "version": "1"}

    def life(segments):
        pairs = [records.metrics(key | {"segment": f"c={n}"}, 1) for n in range(segments)]
        return pairs + [
            records.drift(key | {"segment": f"c={n}"}, 2, "cost", "confirmed", "up") for n in range(segments)
        ]

    few, many = exposed(life(8), segments=3), exposed(life(80), segments=3)
    assert many.count("\n") == few.count("\n")
    place = {"model": "m", "version": "1", "segment": ELSEWHERE, "tier": "confirmed"}
    assert value(many, "streameval_drift_alarms_total", **place) == 77


def test_counters_only_grow_while_records_come():
    taken = numbered(records.demo_like())
    picture = Picture()
    exposition = Exposition(About("0.1.0", "payments", "c0ffee"), picture, lambda: VITALS)
    before = {}
    for start in range(0, len(taken), 40):
        for record in taken[start : start + 40]:
            picture.take(record)
        now = {key: number for key, number in samples(exposition.text()[0].decode()).items() if "_total" in key[0]}
        assert all(now[key] >= number for key, number in before.items() if key[0].startswith("streameval"))
        before = now
    assert any(number for key, number in before.items() if key[0] == "streameval_drift_alarms_total")


def test_an_alarm_is_an_increase_because_its_count_was_there_before():
    quiet = exposed(records.life(weeks=20, drifts=False))
    key = {"model": "price-up", "version": "0", "segment": "*"}
    for tier in ("advisory", "confirmed"):
        assert value(quiet, "streameval_drift_alarms_total", tier=tier, **key) == 0


def test_no_metric_names_an_event():
    assert not re.search(r"\boffset=|\bid=", exposed(records.demo_like()))


def test_a_worker_that_has_said_nothing_yet_is_there_and_not_ready():
    assert value(exposed([], None), "streameval_ready") == 0
    assert value(exposed([], Vitals(wall=0.0, ready=True)), "streameval_ready") == 1
