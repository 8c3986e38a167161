"""``run --port``: probes, metrics and the page of a real process, and how fast it stops."""

import json
import re
import signal
import time
import urllib.error
import urllib.request

import pytest

from tests.cli import stream


def port_of(process):
    """The port that a daemon's log names."""
    for line in process.stderr:
        said = json.loads(line)
        if said["event"] == "serving":
            return said["port"]
    raise AssertionError("it never served")


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(what, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)
    return found


def settled(port):
    """The page's models, once nothing more is published."""
    one = json.loads(get(port, "/snapshot.json")[1])["models"]
    time.sleep(2)
    return one if one == json.loads(get(port, "/snapshot.json")[1])["models"] else None


def stopped(process):
    """Stop it; seconds that it took, and its log."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    log = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    return time.monotonic() - began, [json.loads(line) for line in log.splitlines()]


def test_a_daemon_is_looked_at_while_it_runs_and_after_a_restart(start, fresh_worker):
    process = start("run", "--config", fresh_worker, "--port", "0")
    port = port_of(process)
    assert get(port, "/healthz")[0] == 200
    until(lambda: get(port, "/readyz")[0] == 200)
    until(
        lambda: 'streameval_drift_alarms_total{model="fraud",segment="*",tier="confirmed"' in get(port, "/metrics")[1]
    )
    until(lambda: f'streameval_events_read_total{{topic="predictions"}} {stream.EVENTS}.0' in get(port, "/metrics")[1])
    before = until(lambda: settled(port))
    assert [model["segment"] for model in before] == ["*", "country=DE", "country=FR"]
    stopped(process)
    process = start("run", "--config", fresh_worker, "--port", "0")
    port = port_of(process)
    after = until(lambda: json.loads(get(port, "/snapshot.json")[1])["models"])
    assert {model["sentence"] for model in before} <= {model["sentence"] for model in after}
    metrics = get(port, "/metrics")[1]
    # The page knows the past; counters begin with the process.
    assert re.search(
        r'streameval_drift_alarms_total\{model="fraud",segment="\*",tier="confirmed",version="0"\} 0', metrics
    )
    stopped(process)


def test_nothing_is_served_unless_a_port_is_named(start, fresh_worker):
    process = start("run", "--config", fresh_worker, "--until-end")
    assert "serving" not in {json.loads(line)["event"] for line in process.communicate(timeout=60)[1].splitlines()}


def test_the_configuration_names_the_port_and_an_option_wins(start, fresh_worker):
    fresh_worker.write_text(fresh_worker.read_text() + "serve: {port: 1}\n")
    process = start("run", "--config", fresh_worker, "--port", "0")
    assert port_of(process) > 1024
    stopped(process)


def test_a_port_that_is_taken_ends_it_before_anything_is_read(start, call, fresh_worker, tmp_path):
    process = start("run", "--config", fresh_worker, "--port", "0")
    port = port_of(process)
    (tmp_path / "other").mkdir()
    result = call("run", "--config", stream.write(tmp_path / "other"), "--port", str(port), "--until-end")
    assert result.exit_code == 9
    assert "another process listens there" in result.stderr
    assert not (tmp_path / "other" / "state").exists()
    stopped(process)


@pytest.mark.parametrize("moment", ["while it starts", "in the middle of its work", "while it waits"])
def test_sigterm_ends_it_within_five_seconds_with_a_commit(start, fresh_worker, moment):
    more = fresh_worker.parent / "events" / "predictions" / "0.jsonl"
    if moment == "in the middle of its work":
        lines = more.read_text().splitlines(keepends=True)
        for copy in range(12):
            with more.open("a") as log:
                log.writelines(line.replace('"id": "e', f'"id": "c{copy}-') for line in lines)
    process = start("run", "--config", fresh_worker, "--port", "0")
    port = port_of(process)
    if moment != "while it starts":
        until(lambda: "streameval_events_read_total" in get(port, "/metrics")[1])
    if moment == "while it waits":
        until(lambda: get(port, "/readyz")[0] == 200)
    seconds, log = stopped(process)
    assert seconds < 5
    assert log[-1]["event"] == "ended"
    commit = json.loads((fresh_worker.parent / "events/commits/0.jsonl").read_text().splitlines()[-1])
    read = sum(sum(partitions.values()) for partitions in commit["positions"].values())
    assert read >= log[-1]["predictions"] + log[-1]["outcomes"]
    assert log[-1]["commits"] > 0
