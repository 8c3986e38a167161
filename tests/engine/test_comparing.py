"""Versions against each other, through the whole loop: what may be claimed of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streameval.config import parse
from streameval.daemon import replay
from streameval.transport.files import Files

START = 1_704_067_200_000
HOUR = 3_600_000


def alignments(folder: Path, *, shadow: bool, randomised: bool) -> list[dict[str, Any]]:
    """The records of 60 days with two versions, of which "2" ranks better in some weeks and worse in others."""
    rng = np.random.default_rng(6)
    predictions, outcomes = [], []
    for day in range(60):
        skill = {"1": 2.0, "2": 2.0 + 1.5 * np.sin(day * 2.0 * np.pi / 20.0)}
        for n in range(120):
            name, ts = f"d{day}-{n}", START + day * 24 * HOUR + n * 60_000
            positive = bool(rng.random() < 0.3)
            arm = "1" if rng.random() < 0.5 else "2"
            versions = ("1", "2") if shadow else (arm,)
            for version in versions:
                logit = rng.normal(skill[version] * (positive - 0.5), 1.0) - 0.8
                score = float(1.0 / (1.0 + np.exp(-logit)))
                event = {"id": name, "model": "m", "version": version, "ts": ts, "score": score}
                predictions.append(json.dumps(event))
            worth = 10.0 * positive + (skill[arm] - 2.0) * 4.0 + rng.normal()
            outcome = {"id": name, "ts": ts + 1000, "label": int(positive), "values": {"revenue": worth}}
            outcomes.append(json.dumps(outcome))
    (folder / "p.jsonl").write_text("\n".join(predictions))
    (folder / "o.jsonl").write_text("\n".join(outcomes))
    config = parse(
        {
            "transport": {"kind": "logdir", "path": str(folder)},
            "labels": {"wait": "1h"},
            "evaluate": {"events": 50, "every": "6h", "window": 500},
            "alignment": {"every": "1d", "randomised": randomised},
            "models": [{"name": "m", "kpis": {"revenue": {"scale": 0.01}}, "objective": {"kind": "cost", "fn": 2}}],
        }
    )
    replay(config, Files([folder / "p.jsonl"], [folder / "o.jsonl"], config.topics), folder / "out", complete=True)
    found = [json.loads(line)["data"] for line in (folder / "out" / "alignment.jsonl").read_text().splitlines()]
    return [data for data in found if data["against"] is not None]


@pytest.mark.parametrize(
    ("shadow", "randomised", "basis", "kpis"),
    [
        (True, False, "same_ids", {"cost"}),
        (False, True, "randomised", {"cost", "revenue"}),
        (False, False, "association", {"cost"}),
    ],
)
def test_versions_are_compared_by_what_their_assignment_allows(
    tmp_path: Path, *, shadow: bool, randomised: bool, basis: str, kpis: set[str]
) -> None:
    found = alignments(tmp_path, shadow=shadow, randomised=randomised)
    assert {data["basis"] for data in found} == {basis}
    assert {data["kpi"] for data in found} == kpis
    assert {(data["version"], data["against"]) for data in found} == {("2", "1")}
    last = {data["kpi"]: data for data in found}
    assert last["cost"]["disagreement"]["high"] < 0.5
    assert last["cost"]["window"]["events"] > 0
    if randomised:
        # Revenue was made to follow the version's skill.
        assert last["revenue"]["disagreement"]["high"] < 0.5
        assert last["revenue"]["regret"] is not None
