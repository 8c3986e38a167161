"""``demo``: the whole loop on real data, twice into the same folder, and never over someone else's files."""

import json

import pytest


def test_the_demo_closes_the_loop_and_can_be_repeated(start, tmp_path):
    seen = []
    for _ in range(2):
        process = start("demo", "--out", tmp_path / "d")
        out, err = process.communicate(timeout=60)
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


def test_a_story_is_played_and_its_truth_stands_beside_what_was_said(start, tmp_path):
    process = start("demo", "--story", "label-shift", "--events", "30000", "--seed", "3", "--out", tmp_path / "d")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "What truly happened" in out
    assert "three times as many default" in " ".join(out.split())
    assert "What truly happened" in (tmp_path / "d" / "report.html").read_text()
    truth = json.loads((tmp_path / "d" / "truth.json").read_text())
    assert (truth["story"], truth["seed"]) == ("label_shift", 3)
    process = start("demo", "--story", "stalled", "--events", "20000", "--out", tmp_path / "d")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "no labels flow since" in " ".join(out.split())


def test_the_stories_can_be_listed(call):
    result = call("demo", "--list")
    assert result.exit_code == 0
    assert "label_shift" in result.stdout
    assert "own_action" in result.stdout


@pytest.mark.parametrize("given", [["--story", "no such"], ["--seed", "3"], ["--events", "5000"]])
def test_what_is_no_story_is_refused(call, tmp_path, given):
    result = call("demo", "--out", tmp_path / "d", *given)
    assert result.exit_code == 2
    assert not (tmp_path / "d").exists()
