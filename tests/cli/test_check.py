"""``check``: what can be known to go wrong before anything runs."""

import os

import pytest

from streameval.cli import findings
from streameval.cli.rate import measured
from streameval.config import Kafka, load
from streameval.errors import ConnectionFailedError
from streameval.testing.memory import MemoryBroker, MemoryTransport
from tests.cli import stream


def levels(result):
    return [line.split()[0] for line in result.stdout.splitlines()]


def line(result, point):
    return next(text for text in result.stdout.splitlines() if text[5:].startswith(f"{point}:"))


def test_a_sound_worker_passes_and_nothing_is_changed(call, fresh_worker):
    before = sorted(fresh_worker.parent.rglob("*"))
    result = call("check", "-c", fresh_worker)
    assert (result.exit_code, set(levels(result))) == (0, {"ok"})
    assert sorted(fresh_worker.parent.rglob("*")) == before


def test_a_worker_that_runs_may_be_checked(call, worker):
    result = call("check", "-c", worker)
    assert result.exit_code == 0
    assert "holds checkpoint" in line(result, "state")
    assert "lineage 1" in line(result, "commits")


def test_the_rate_is_measured_from_the_logs(worker):
    config = load(worker)
    broker = MemoryBroker()
    for partition, step in ((0, 1), (1, 4)):
        lines = [
            b'{"id":"a","model":"fraud","ts":%d,"score":0.5}' % (stream.START + n * step * 1000) for n in range(400)
        ]
        broker.append("predictions", partition, lines)
    rate = measured(config, MemoryTransport(broker, seed=1))
    assert rate.a_second == pytest.approx(1.25, rel=0.01)
    assert rate.events == 800
    assert measured(config, MemoryTransport(MemoryBroker())) is None


def test_memory_that_does_not_suffice_fails_where_the_rate_is_known(call, fresh_worker):
    text = fresh_worker.read_text()
    fresh_worker.write_text(f"max_rows: 100\n{text}")
    result = call("check", "-c", fresh_worker)
    assert result.exit_code == 1
    assert line(result, "memory").startswith("fail")
    assert "raise max_rows" in line(result, "memory")


def test_memory_is_only_warned_of_where_the_rate_is_supposed(call, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("max_rows: 100\ntransport: {kind: logdir, path: e}\nmodels: [{name: a}]\n")
    result = call("check", "-c", config)
    assert result.exit_code == 0
    assert line(result, "memory").startswith("warn")
    assert "at 1,000 predictions a second" in line(result, "memory")
    assert line(result, "transport").startswith("warn")
    assert line(result, "topic").startswith("warn")


@pytest.mark.parametrize(
    ("section", "name", "point"),
    [("evaluate: {river: [ROCAUK]}", "ROCAUK", "river metrics"), ("drift: {advisory: [ADWON]}", "ADWON", "advisory")],
)
def test_names_of_river_are_checked(call, tmp_path, section, name, point):
    config = tmp_path / "c.yaml"
    config.write_text(f"transport: {{kind: logdir, path: .}}\nmodels:\n  - name: a\n    {section}\n")
    result = call("check", "-c", config)
    assert result.exit_code in (1, 3)
    assert name in result.output


def test_a_state_directory_of_another_worker_or_that_is_damaged_fails(call, fresh_worker):
    call("run", "-c", fresh_worker, "--until-end")
    text = fresh_worker.read_text()
    fresh_worker.write_text(f"worker: other\n{text}")
    result = call("check", "-c", fresh_worker)
    assert result.exit_code == 1
    assert "belongs to worker streameval, not to other" in line(result, "state")
    for path in (fresh_worker.parent / "state" / "checkpoints").glob("*.json"):
        path.write_text("{")
    assert "no checkpoint can be read" in line(call("check", "-c", fresh_worker), "state")


@pytest.mark.parametrize(("create", "level"), [(True, "ok"), (False, "fail")])
def test_missing_output_topics_fail_where_they_may_not_be_created(create, level):
    kafka = Kafka(kind="kafka", bootstrap=("localhost:9092",), create_topics=create)
    assert findings._outputs(kafka, {"drift": [], "metrics": [0]}).level == level
    assert findings._outputs(kafka, {"drift": [0], "metrics": [0]}).level == "ok"


def test_a_transport_that_cannot_be_reached_fails_with_its_cure(call, fresh_worker, monkeypatch):
    def refuse(_):
        raise ConnectionFailedError("no broker answers", where="localhost:1", cure="start it")

    monkeypatch.setattr("streameval.cli.findings.open_transport", refuse)
    result = call("check", "-c", fresh_worker)
    assert result.exit_code == 1
    assert line(result, "transport") == "fail transport: localhost:1: no broker answers (start it)"
    assert line(result, "memory")


def test_a_path_that_is_no_directory_fails(call, tmp_path):
    (tmp_path / "file").write_text("")
    config = tmp_path / "c.yaml"
    config.write_text("state: file\ntransport: {kind: logdir, path: file}\nmodels: [{name: a}]\n")
    result = call("check", "-c", config)
    assert result.exit_code == 1
    assert line(result, "state").startswith("fail")
    assert "not a directory" in result.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_fails(call, fresh_worker):
    (fresh_worker.parent / "events").chmod(0o500)
    result = call("check", "-c", fresh_worker)
    (fresh_worker.parent / "events").chmod(0o700)
    assert result.exit_code == 1
    assert "cannot be written" in line(result, "transport")


def test_the_machine_tells_its_memory():
    assert findings._machine() > 10_000_000
