"""``--shard`` in commands that look at a worker: the shard's own name, models and state."""

import json

import yaml

from streameval.engine.shard import Shard
from streameval.testing import streams

NAMES = ("fraud", "default")


def sharded(tmp_path):
    """Two models of different shards, and their worker's configuration file."""
    assert {Shard(0, 2).owns(name) for name in NAMES} == {True, False}
    streams.stream(1, events=100).write(tmp_path / "events")
    path = tmp_path / "c.yaml"
    models = [{"name": name} for name in NAMES]
    path.write_text(yaml.safe_dump(streams.settings(tmp_path / "events", tmp_path / "state", models=models)))
    return path


def test_each_shard_is_checked_run_and_shown_as_the_worker_that_it_is(call, tmp_path):
    config = sharded(tmp_path)
    for k in range(2):
        assert call("run", "-c", config, "--until-end", "--shard", f"{k}/2").exit_code == 0
    assert json.loads(call("inspect", "-c", config, "--json").stdout)["commit"] is None
    seen = set()
    for k in range(2):
        told = call("check", "-c", config, "--shard", f"{k}/2")
        assert told.exit_code == 0
        assert f"worker streameval-{k}" in told.stdout
        assert f"shard-{k} holds checkpoint" in told.stdout
        found = json.loads(call("inspect", "-c", config, "--json", "--shard", f"{k}/2").stdout)
        assert found["worker"] == f"streameval-{k}"
        assert found["commit"]["n"] >= 1
        seen |= set(found["state"]["waiting"])
    assert seen == set(NAMES)


def test_a_shard_that_is_none_is_a_clear_error(call, tmp_path):
    config = sharded(tmp_path)
    for text, words in (("one", "write K/N"), ("2/2", "no shard 2 of 2")):
        result = call("check", "-c", config, "--shard", text)
        assert result.exit_code in (2, 3)
        assert words in result.output
