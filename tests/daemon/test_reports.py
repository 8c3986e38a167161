"""Offline against online: reading reference reports, and what the loop says of the gap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streameval.config import Config, parse
from streameval.daemon import replay
from streameval.daemon.reports import with_reports
from streameval.errors import InputError
from streameval.transport.files import Files

START = 1_704_067_200_000


def logs(folder: Path, events: int = 6000, skill: float = 1.0) -> None:
    """A calibrated model's predictions and outcomes; `skill` below 1 pulls the truth towards a coin."""
    rng = np.random.default_rng(4)
    score = rng.beta(1.0, 3.0, events)
    label = rng.random(events) < skill * score + (1.0 - skill) * 0.25
    for name in ("predictions", "outcomes"):
        lines = []
        for n in range(events):
            event = {"id": f"e{n}", "ts": START + n * 60_000}
            event |= {"model": "fraud", "score": float(score[n])} if name == "predictions" else {"label": int(label[n])}
            lines.append(json.dumps(event))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def validation(path: Path, events: int = 6000) -> None:
    """Examples of the same model on its validation set."""
    rng = np.random.default_rng(9)
    score = rng.beta(1.0, 3.0, events)
    label = rng.random(events) < score
    lines = [json.dumps({"score": float(s), "label": int(y)}) for s, y in zip(score, label, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def config(folder: Path, *reports: Path) -> Config:
    """A model with reports."""
    return parse(
        {
            "transport": {"kind": "logdir", "path": str(folder / "events")},
            "labels": {"wait": "1h"},
            "thresholds": {"cooldown": 1000},
            "evaluate": {"events": 250, "window": 2000},
            "models": [
                {
                    "name": "fraud",
                    "objective": {"kind": "cost", "fp": 1, "fn": 3},
                    "reference": {"events": 1000, "positives": 100, "reports": [str(path) for path in reports]},
                }
            ],
        }
    )


def published(folder: Path, chosen: Config) -> dict[str, list[dict]]:
    """The records of a replay, by topic."""
    files = Files([folder / "predictions.jsonl"], [folder / "outcomes.jsonl"], chosen.topics)
    replay(chosen, files, folder / "out", complete=True)
    return {
        topic: [json.loads(line) for line in (folder / "out" / f"{topic}.jsonl").read_text().splitlines()]
        for topic in ("metrics", "drift")
    }


def test_a_model_as_good_as_on_its_validation_set_has_gaps_that_hold_0_and_no_event(tmp_path: Path) -> None:
    logs(tmp_path)
    validation(tmp_path / "valid.jsonl")
    told = published(tmp_path, config(tmp_path, tmp_path / "valid.jsonl"))
    gap = told["metrics"][-1]["data"]["gap"]
    assert {"auc", "log_loss", "brier", "cost", "calibration_error"} <= gap.keys()
    for name in ("auc", "log_loss", "brier"):
        assert gap[name]["low"] < 0.0 < gap[name]["high"], name
    assert not [record for record in told["drift"] if record["data"]["monitor"] == "offline_gap"]


def test_a_model_worse_than_on_its_validation_set_is_told_once_a_metric(tmp_path: Path) -> None:
    logs(tmp_path, skill=0.5)
    validation(tmp_path / "valid.jsonl")
    told = published(tmp_path, config(tmp_path, tmp_path / "valid.jsonl"))
    assert told["metrics"][-1]["data"]["gap"]["auc"]["high"] < 0.0
    events = [record["data"] for record in told["drift"] if record["data"]["monitor"] == "offline_gap"]
    assert sorted({event["detector"] for event in events} & {"auc", "log_loss"}) == ["auc", "log_loss"]
    assert len(events) == len({event["detector"] for event in events})
    auc = next(event for event in events if event["detector"] == "auc")
    assert auc["tier"] == "advisory"
    assert auc["direction"] == "down"
    assert auc["before"]["value"] > auc["after"]["value"]


def test_without_a_report_there_is_no_gap(tmp_path: Path) -> None:
    logs(tmp_path, events=1500)
    assert all(record["data"]["gap"] is None for record in published(tmp_path, config(tmp_path))["metrics"])


def test_bare_metrics_are_compared_too_those_of_a_threshold_only_at_theirs(tmp_path: Path) -> None:
    logs(tmp_path)
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"metrics": {"auc": 0.99, "precision": 0.5}}))
    told = published(tmp_path, config(tmp_path, report))
    moved = [record["data"] for record in told["metrics"] if record["data"]["threshold"] != 0.5]
    assert moved
    assert all(set(data["gap"]) == {"auc"} for data in moved)
    assert moved[-1]["gap"]["auc"]["high"] < 0.0


def test_a_version_has_its_own_report_and_the_others_the_one_of_all(tmp_path: Path) -> None:
    validation(tmp_path / "valid.jsonl", 200)
    (tmp_path / "3.json").write_text(json.dumps({"version": "3", "examples": "valid.jsonl"}))
    offline = with_reports(config(tmp_path, tmp_path / "valid.jsonl", tmp_path / "3.json")).models[0].reference.offline
    assert [report.version for report in offline] == [None, "3"]
    assert offline[0].metrics == offline[1].metrics
    assert offline[0].events == 200


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.json", "{", "not a reference report"),
        ("r.json", '{"metric": {}}', "unknown field"),
        ("r.json", "{}", "neither metrics nor examples"),
        ("r.json", '{"version": "3\\u202e", "metrics": {"auc": 0.9}}', "version: "),
        ("r.json", '{"version": "", "metrics": {"auc": 0.9}}', "version: "),
        ("r.json", '{"metrics": {"a\\u001bb": 0.9}}', "metrics.a�b"),
        ("r.json", '{"examples": [{"score": 2, "label": 1}]}', "example 1"),
        ("r.jsonl", '{"score": 0.5, "label": 1}\n{"score": 0.5}\n', "line 2"),
        ("r.jsonl", '{"score": 0.5, "label": 1}\n', "no reference"),
        ("r.csv", "score,truth\n0.5,1\n", "no column label"),
        ("r.txt", "", "suffix"),
    ],
)
def test_a_bad_report_is_an_error_that_names_the_file_and_the_cure(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        with_reports(config(tmp_path, tmp_path / name))
    assert said in str(caught.value)
    assert name in caught.value.where
    assert caught.value.cure


def test_a_missing_report_and_two_of_one_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        with_reports(config(tmp_path, tmp_path / "none.json"))
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"version": "1", "metrics": {"auc": 0.9}}')
    with pytest.raises(InputError, match="two reports of version 1"):
        with_reports(config(tmp_path, tmp_path / "a.json", tmp_path / "b.json"))
