"""``tail``, ``report``, ``inspect`` and ``schema``: what they show of what was published."""

import io
import json
import signal
import threading

import jsonschema
import pytest
from rich.console import Console

from streameval.cli import inspect, lines
from streameval.cli.explaining import HYPOTHESES, alarm_of, explained
from streameval.cli.sources import picture, topic_records
from streameval.cli.standing import standing
from streameval.cli.stored import newest
from streameval.cli.tail import Follower
from streameval.config import load
from streameval.schema import all_schemas
from streameval.serve.series import Key
from streameval.testing.memory import MemoryBroker, MemoryTransport
from streameval.transport.protocol import Record


def records(config, topic):
    return (config.parent / "events" / topic / "0.jsonl").read_text().splitlines()


@pytest.fixture
def folder(call, worker, tmp_path):
    events = worker.parent / "events"
    given = ["--predictions", events / "predictions" / "0.jsonl", "--outcomes", events / "outcomes" / "0.jsonl"]
    assert call("replay", "-c", worker, *given, "--out", tmp_path / "results", "--as-log").exit_code == 0
    return tmp_path / "results"


# -- tail -------------------------------------------------------------------------------------------------------------


def test_a_pipe_gets_the_records_byte_for_byte(call, worker):
    result = call("tail", "-c", worker, "--no-follow", "--topic", "metrics")
    assert sorted(result.stdout.splitlines()) == sorted(records(worker, "metrics"))
    times = [json.loads(line)["time"] for line in result.stdout.splitlines()]
    assert times == sorted(times)


def test_people_get_a_line_a_record(call, worker):
    result = call("tail", "-c", worker, "--no-follow", "--topic", "thresholds,drift", "--no-json")
    assert len(result.stdout.splitlines()) == len(records(worker, "thresholds")) + len(records(worker, "drift"))
    assert "Confirmed change" in result.stdout


def test_the_last_ones_are_the_latest(call, worker):
    result = call("tail", "-c", worker, "--no-follow", "--last", "2", "-t", "metrics")
    assert len(result.stdout.splitlines()) == 2
    newest = max(json.loads(line)["time"] for line in records(worker, "metrics"))
    assert json.loads(result.stdout.splitlines()[-1])["time"] == newest


def test_a_model_and_a_topic_must_be_known(call, worker):
    result = call("tail", "-c", worker, "--model", "freud")
    assert (result.exit_code, "models are fraud" in result.stderr) == (2, True)
    result = call("tail", "-c", worker, "--topic", "drifts")
    assert (result.exit_code, "topics are thresholds" in result.stderr) == (2, True)


def test_following_shows_what_comes_and_ctrl_c_ends_it(start, worker, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(worker.read_text())
    lines = records(worker, "drift")
    path = tmp_path / "events" / "drift" / "0.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(lines[0] + "\n")
    process = start("tail", "-c", config, "-t", "drift")
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert process.stdout.readline().rstrip("\n") == lines[0]
    with path.open("a") as file:
        file.write(lines[1] + "\n")
    assert process.stdout.readline().rstrip("\n") == lines[1]
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    watchdog.cancel()
    assert (process.returncode, err) == (130, "")


def test_a_follower_gives_each_record_once():
    broker = MemoryBroker()
    follower = Follower(MemoryTransport(broker), ["drift", "clock"])
    first = [Record("drift", "a", b"{}", 0), Record("drift", "b", b"{}", 0)]
    broker.published = {"drift": first[:], "clock": [Record("clock", "m", b"1", None)]}
    assert list(follower.new()) == [*first, Record("clock", "m", b"1", None)]
    assert list(follower.new()) == []
    late = Record("drift", "a", None, 1)
    broker.published["drift"].append(late)
    broker.published["clock"].append(Record("clock", "m", b"2", None))
    assert list(follower.new()) == [late, Record("clock", "m", b"2", None)]
    assert list(follower.new()) == []


def test_what_comes_while_a_follower_reads_is_given_once():
    broker = MemoryBroker()
    transport = MemoryTransport(broker)
    follower = Follower(transport, ["drift"])
    ends = transport.ends

    def late(topics):
        found = ends(topics)
        n = len(broker.published.get("drift", []))
        broker.published.setdefault("drift", []).append(Record("drift", "a", b"{}", n))
        return found

    transport.ends = late
    seen = [record.sequence for _ in range(5) for record in follower.new()]
    assert seen == [0, 1, 2, 3, 4]


def test_every_type_of_record_has_a_line(worker):
    shown = []
    for record in topic_records(load(worker)):
        if record.value is not None:
            console = Console(width=400, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
            console.print(lines.line_of(record.value))
            shown.append((record.topic, console.export_text()))
    assert {topic for topic, _ in shown} >= {"thresholds", "metrics", "drift"}
    assert all("fraud/0/" in text for _, text in shown)


def test_names_that_look_like_markup_are_shown_as_they_are(worker):
    record = json.loads(records(worker, "metrics")[0])
    record["subject"] = "%5Bred%5Dx%5B%2Fred%5D/0/*"
    assert "[red]x[/red]/0/*" in lines.line_of(json.dumps(record).encode()).plain


# -- report -----------------------------------------------------------------------------------------------------------


def test_a_report_is_drawn_from_topics_and_from_a_folder(call, worker, folder, tmp_path):
    first, second = tmp_path / "a.html", tmp_path / "deeper" / "b.html"
    assert call("report", "-c", worker, "--out", first).stdout == f"{first}\n"
    assert call("report", "--dir", folder, "--out", second).exit_code == 0
    for page in (first, second):
        assert "fraud" in page.read_text()
        assert "What happened" in page.read_text()


def test_a_folder_with_a_line_that_is_no_record_is_refused_with_its_place(call, folder):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("oops\n")
    result = call("report", "--dir", folder, "--out", folder / "r.html")
    assert result.exit_code == 4
    assert f"metrics.jsonl, line {len((folder / 'metrics.jsonl').read_text().splitlines())}" in result.stderr


def test_a_key_that_ended_with_a_tombstone_is_retired(worker):
    found = list(topic_records(load(worker)))
    assert picture(iter(found)).state(Key("fraud", "0")) != "retired"
    gone = Record("thresholds", "fraud/0/*", None, 10**6)
    assert picture(iter([*found, gone])).state(Key("fraud", "0")) == "retired"


# -- inspect ----------------------------------------------------------------------------------------------------------


def test_the_state_is_told_with_models_positions_and_what_waits(call, worker):
    told = json.loads(call("inspect", "-c", worker, "--json").stdout)
    assert told["commit"]["positions"] == {"predictions": {"0": 6000}, "outcomes": {"0": 6000}}
    assert told["state"]["checkpoint"] == told["commit"]["n"]
    ended = json.loads(call("run", "-c", worker, "--until-end").stderr.splitlines()[-1])
    assert told["state"]["waiting"] == {"fraud": ended["waiting"]}
    assert told["state"]["duplicates_differing"] == {"fraud": ended["duplicates_differing"]}
    assert ended["waiting"] > 0
    assert {model["segment"] for model in told["models"]} == {"*", "country=DE", "country=FR"}
    assert told["records"]["metrics"] == len(records(worker, "metrics"))
    text = call("inspect", "-c", worker).stdout
    assert "Worker streameval" in text
    assert "country=DE" in text


def test_the_state_of_a_worker_that_never_ran_is_told(call, fresh_worker):
    text = call("inspect", "-c", fresh_worker).stdout
    assert "Nothing is committed yet." in text
    assert "No records are published yet." in text
    assert standing(load(fresh_worker), [])["state"] is None


def test_a_checkpoint_that_is_replaced_while_it_is_looked_at_is_looked_for_again(worker, monkeypatch):
    stored, tries = newest(load(worker).state), []

    class Replaced:
        n = size = 0

        def joins(self):
            raise FileNotFoundError

    monkeypatch.setattr(
        "streameval.cli.standing.newest", lambda _: tries.append(0) or [Replaced(), stored][len(tries) - 1]
    )
    assert standing(load(worker), [])["state"]["checkpoint"] == stored.n


def test_a_record_is_shown_with_what_it_rests_on(call, worker, folder):
    drift = json.loads(records(worker, "drift")[-1])
    for source in (["-c", worker], ["--dir", folder]):
        told = json.loads(call("inspect", drift["id"][:12], *source, "--json").stdout)
        assert told["record"] == drift
        assert told["before"]["metrics"]["subject"] == drift["subject"]
        assert told["before"]["metrics"]["time"] <= drift["time"]
        assert all(after["time"] >= drift["time"] for after in told["after"].values())
    text = call("inspect", drift["id"], "-c", worker).stdout
    assert "Before it, of the same key:" in text
    assert drift["id"] in text


def test_a_decision_is_explained_with_its_tests_and_the_path_of_its_statistic(call, worker):
    text = call("inspect", "drift", "-c", worker).stdout
    drift = [one for one in map(json.loads, records(worker, "drift")) if one["data"]["tier"] == "confirmed"]
    assert drift[-1]["id"] in text
    assert "(the present one)" in text
    assert "path" in text
    assert "an alarm from" in text
    told = json.loads(call("inspect", "drift", "-c", worker, "--json").stdout)
    assert told["record"] in told["alarm"]
    moved = call("inspect", "threshold", "-c", worker).stdout
    assert "configuration" in moved
    result = call("inspect", "retrain", "-c", worker)
    assert result.exit_code == 0 or "there is no retrain record yet" in result.stderr


def test_every_test_of_a_diagnosis_is_shown_with_its_effect(call):
    tests = {name: {"statistic": 9.0, "p_value": 0.002, "effect": 0.2, "holds": name != "auc"} for name in HYPOTHESES}
    alarm = {"id": "a", "type": "streameval.drift", "subject": "m/0/*", "time": "t1", "data": {
        "alarm_at": "t1", "tier": "confirmed", "monitor": "cost", "statistic": 2e7, "bound": 1e7, "change_at": "t0",
        "evidence": {"path": [[1, 2.0], [2, 16.0]]}}}  # fmt: skip
    told = json.loads(json.dumps(alarm)) | {"time": "t2", "id": "b"}
    told["data"] |= {"diagnosis": {"state": "concept_drift", "tests": tests}, "configuration": "abc"}
    told["data"]["evidence"] = {"left_out": [[0.1, 0.2]], "counts": {"positives_after": [1], "negatives_after": [2]}}
    assert alarm_of(told, [told, alarm]) == alarm
    console = Console(width=200, record=True, file=io.StringIO())
    for part in explained(told, alarm, "another"):
        console.print(part)
    text = console.export_text()
    for doubted, effect in HYPOTHESES.values():
        assert doubted in text
        assert effect in text
    assert text.count("rejected") == 1
    assert "▁█" in text
    assert "0.1 to 0.2" in text
    assert "(not the present)" in text
    assert "3 events, 1 positive" in text


@pytest.mark.parametrize("kind", ["thresholds", "threshold", "metrics", "calibration"])
def test_the_newest_of_a_kind_is_found_by_its_own_name_and_by_its_topics(call, worker, kind):
    shown = json.loads(call("inspect", kind, "-c", worker, "--json").stdout)["record"]
    topic = "thresholds" if kind == "threshold" else kind
    assert shown["type"] == f"streameval.{'threshold' if topic == 'thresholds' else topic}"
    assert shown["time"] == max(json.loads(line)["time"] for line in records(worker, topic))


def test_a_page_is_not_written_over_a_folder(call, worker, tmp_path):
    result = call("report", "-c", worker, "--out", tmp_path)
    assert result.exit_code == 2
    assert "a directory, not a file" in result.stderr


def test_an_id_must_be_known_and_unambiguous(call, worker):
    result = call("inspect", "0" * 32, "-c", worker)
    assert (result.exit_code, "no record whose id begins with" in result.stderr) == (2, True)
    same = [Record("drift", "k", json.dumps({"id": f"abcd{n}", "type": "t", "subject": "k", "time": ""}).encode(), n)
            for n in range(2)]  # fmt: skip
    with pytest.raises(inspect.UsageError, match="2 ids begin with 'abcd'"):
        inspect.surroundings(same, "abcd")


# -- schema -----------------------------------------------------------------------------------------------------------


def test_schemas_are_printed_one_or_all(call, worker):
    assert json.loads(call("schema").stdout) == all_schemas()
    assert json.loads(call("schema", "threshold").stdout) == all_schemas()["streameval.threshold"]
    assert json.loads(call("schema", "streameval.drift").stdout) == all_schemas()["streameval.drift"]
    schema = json.loads(call("schema", "metrics").stdout)
    for line in records(worker, "metrics")[:5]:
        jsonschema.validate(json.loads(line), schema, cls=jsonschema.Draft202012Validator)
