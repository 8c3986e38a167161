"""``run``: the daemon as a process: its log, its signals, its end."""

import json
import signal
import time

from tests.cli import stream


def log_of(text):
    return [json.loads(line) for line in text.splitlines()]


def records(config, topic):
    return (config.parent / "events" / topic / "0.jsonl").read_text().splitlines()


def test_a_run_until_the_end_logs_json_in_a_pipe_and_keeps_stdout_for_data(start, fresh_worker):
    process = start("run", "--config", fresh_worker, "--until-end")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    ended = [entry for entry in log_of(err) if entry["event"] == "ended"]
    assert (ended[0]["predictions"], ended[0]["outcomes"]) == (stream.EVENTS, stream.EVENTS)
    assert ended[0]["stopped"] is False
    assert ended[0]["records"]["metrics"] == len(records(fresh_worker, "metrics"))


def test_decisions_stand_in_the_log_as_the_records_on_their_topics(start, fresh_worker):
    err = start("run", "--config", fresh_worker, "--until-end").communicate(timeout=60)[1]
    for event, topic in (("drift", "drift"), ("threshold", "thresholds"), ("retrain", "retrain")):
        logged = [line.partition('"record":')[2][:-1] for line in err.splitlines() if f'"event":"{event}"' in line]
        there = fresh_worker.parent / "events" / topic / "0.jsonl"
        assert logged == (records(fresh_worker, topic) if there.exists() else [])
    assert records(fresh_worker, "drift")


def test_sigterm_stops_a_running_daemon_cleanly_and_the_next_start_goes_on(start, fresh_worker):
    process = start("run", "--config", fresh_worker)
    commits = fresh_worker.parent / "events" / "commits" / "0.jsonl"
    deadline = time.monotonic() + 60
    while not (commits.exists() and commits.read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert [entry["stopped"] for entry in log_of(err) if entry["event"] == "ended"] == [True]
    before = records(fresh_worker, "metrics")
    process = start("run", "--config", fresh_worker, "--until-end")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert records(fresh_worker, "metrics")[: len(before)] == before
    ids = [json.loads(line)["id"] for line in records(fresh_worker, "metrics")]
    assert len(set(ids)) == len(ids)


def test_a_second_daemon_on_the_same_logs_is_refused(start, fresh_worker, call):
    process = start("run", "--config", fresh_worker)
    process.stderr.readline()  # it has started
    result = call("run", "--config", fresh_worker, "--until-end")
    assert result.exit_code == 7
    assert "already" in result.stderr
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_fresh_begins_a_new_lineage(call, fresh_worker):
    assert call("run", "--config", fresh_worker, "--until-end").exit_code == 0
    assert call("run", "--config", fresh_worker, "--until-end", "--fresh").exit_code == 0
    assert json.loads(records(fresh_worker, "commits")[-1])["lineage"] == "2"


def test_the_log_level_is_obeyed(call, fresh_worker):
    result = call("run", "--config", fresh_worker, "--until-end", "--log-level", "error")
    assert (result.exit_code, result.stderr) == (0, "")
