"""What people do with a daemon's log: the README's pipes work on a real one, and it ends with the reason."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
PIPES = re.findall(r"^kubectl logs \S+ \| (jq .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def log(start, fresh_worker):
    """The log of a run that decides something, with a line of somebody else's in it."""
    err = start("run", "--config", fresh_worker, "--until-end").communicate(timeout=60)[1]
    return f"Defaulted container\n{err}"


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq on this machine")
def test_the_readmes_pipes_find_the_decisions_with_their_ids(log, fresh_worker):
    assert len(PIPES) == 2
    drift = fresh_worker.parent / "events" / "drift" / "0.jsonl"
    ids = [json.loads(line)["id"] for line in drift.read_text().splitlines()]
    assert ids
    for pipe in PIPES:
        done = subprocess.run(["bash", "-c", pipe], input=log, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(sum(one in line for line in done.stdout.splitlines()) == 1 for one in ids)


def test_a_decision_is_one_line_and_no_event_of_anybody_is_named(log):
    lines = [json.loads(line) for line in log.splitlines()[1:]]
    told = [line["record"]["id"] for line in lines if "record" in line]
    assert len(told) == len(set(told)) > 0
    assert {line["level"] for line in lines if line["event"] in ("drift", "retrain")} == {"warning"}
    assert not re.search(r'"e\d+"', log)


def test_what_ends_a_daemon_is_the_last_line_of_its_log(start, fresh_worker):
    fresh_worker.write_text(fresh_worker.read_text().replace("task", "taks") + "wrong: 1\n")
    process = start("run", "--config", fresh_worker)
    out, err = process.communicate(timeout=60)
    (line,) = [json.loads(line) for line in err.splitlines()]
    assert (process.returncode, out) == (3, "")
    assert (line["event"], line["level"], line["exit_code"]) == ("failed", "error", 3)
    assert "wrong" in line["where"] + line["what"]
    assert line["cure"]
