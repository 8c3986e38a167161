"""Where decisions decide which labels are seen, records carry bounds, and thresholds stay where labels are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from folding import Logs, fold

from streameval.config import Config, parse
from streameval.errors import ConfigError

N, START = 6000, 1_700_000_000_000
SEEN_FROM = 0.2


def config(**labels: Any) -> Config:
    model = {
        "name": "fraud",
        "threshold": 0.3,
        "objective": {"kind": "cost", "fp": 1, "fn": 20},
        "labels": {"wait": "10m", "amend": "10m", "selective": "unknown", **labels},
        "segments": ["country"],
        "evaluate": {"events": 200, "window": 1000, "publish_every": "10m", "river": ["F1"]},
        "thresholds": {"cooldown": 500, "positives": 50},
        "reference": {"events": 500, "positives": 50},
    }
    lateness = {"predictions": "1s", "outcomes": "1m"}
    return parse({"transport": {"kind": "logdir", "path": "events"}, "lateness": lateness, "models": [model]})


@pytest.fixture(scope="module")
def logs() -> Logs:
    """Labels come for scores of at least .2; some come later than the wait, as corrections."""
    rng = np.random.default_rng(0)
    score = rng.beta(0.8, 4, N)
    label = rng.random(N) < score
    predictions, outcomes = [], []
    for i, (s, y) in enumerate(zip(score.tolist(), label.tolist(), strict=True)):
        ts = START + i * 1000
        segments = {"country": "AT" if i % 3 else "DE"}
        predictions.append(
            json.dumps({"id": str(i), "model": "fraud", "ts": ts, "score": s, "segments": segments}).encode()
        )
        if s >= SEEN_FROM:
            late = 700_000 if i % 50 == 0 else 60_000
            outcomes.append((ts + late, json.dumps({"id": str(i), "ts": ts + late, "label": int(y)}).encode()))
    outcomes.sort(key=lambda pair: pair[0])
    return {("predictions", 0): predictions, ("outcomes", 0): [value for _, value in outcomes]}


def said(records: Any, topic: str) -> list[dict[str, Any]]:
    return [json.loads(value)["data"] for value in records.topics[topic] if value]


def test_metrics_carry_bounds_and_no_value_where_missing_labels_could_change_it(logs: Logs) -> None:
    records, _ = fold(config(), logs)
    whole = [data for data in said(records, "metrics") if data["segment"] == "*"]
    assert len(whole) >= 5
    for data in whole:
        open_ = data["selective"]
        assert 0.2 < open_["labelled_share"] < 0.6
        assert open_["labelled_from"] == pytest.approx(SEEN_FROM, abs=0.01)
        assert {"recall", "prevalence", "auc", "F1"} <= set(open_["unidentified"])
        assert data["metrics"]["recall"]["value"] is None
        assert data["metrics"]["recall"]["low"] < data["metrics"]["recall"]["high"]
        assert data["prevalence"]["labelled"]["value"] is None
        assert data["metrics"]["log_loss"]["value"] is not None
        # Flagged labels are seen, but for some that are late: what is open is little.
        precision, recall = data["metrics"]["precision"], data["metrics"]["recall"]
        assert precision["high"] - precision["low"] < 0.5 * (recall["high"] - recall["low"])
        assert data["prevalence"]["labelled"]["low"] < 0.17 < data["prevalence"]["labelled"]["high"]


def test_no_threshold_is_published_below_the_scores_where_labels_are_seen(logs: Logs) -> None:
    records, _ = fold(config(), logs)
    published = said(records, "thresholds")
    # The best threshold on the scores alone is 1/21: it moves as far as labels reach.
    assert published[0]["threshold"] == 0.3
    assert min(data["threshold"] for data in published) < 0.25
    assert all(data["threshold"] >= 0.99 * SEEN_FROM for data in published)


@pytest.mark.parametrize("seed", [1, 2])
def test_records_are_a_function_of_the_logs(logs: Logs, seed: int) -> None:
    one, _ = fold(config(), logs)
    other, _ = fold(config(), logs, seed=seed, largest=2000, restarts=0.2)
    one.assert_equal(other)


def test_missing_labels_cannot_be_selective_and_negative_at_once() -> None:
    with pytest.raises(ConfigError, match="selective"):
        config(missing="negative")
