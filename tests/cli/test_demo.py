"""``demo``: the whole loop on real data, twice into the same folder, and never over someone else's files."""

import json

import pytest


def test_the_demo_closes_the_loop_and_can_be_repeated(start, tmp_path):
    seen = []
    for _ in range(2):
        process = start("demo", "--out", tmp_path / "d")
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        assert "What happened" in out
        assert str(tmp_path / "d" / "report.html") in out
        seen.append((tmp_path / "d" / "events" / "metrics" / "0.jsonl").read_bytes())
        (tmp_path / "d" / "mine.txt").write_text("keep")
    assert seen[0] == seen[1]
    assert (tmp_path / "d" / "mine.txt").exists()
    drift = (tmp_path / "d" / "events" / "drift" / "0.jsonl").read_text().splitlines()
    assert any(json.loads(line)["data"]["tier"] == "confirmed" for line in drift)


@pytest.mark.parametrize("name", ["events", "state", "streameval.yaml", "report.html"])
def test_a_folder_that_holds_other_peoples_files_is_left_alone(call, tmp_path, name):
    (tmp_path / name).write_text("mine")
    result = call("demo", "--out", tmp_path)
    assert result.exit_code == 2
    assert f"holds {name}, which no demo has written" in result.stderr
    assert (tmp_path / name).read_text() == "mine"


def test_the_folder_may_not_be_a_file(call, tmp_path):
    (tmp_path / "f").write_text("")
    assert call("demo", "--out", tmp_path / "f").exit_code == 2
