"""Whatever decoding admits never breaks the fold: extremes of every value, between messages that are nearly events."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from folding import Logs, Records, fold

from streameval.config import Config
from streameval.events.contract import WHOLE
from streameval.testing import streams
from tests.events.hostile import Hostile

MINUTE, DAY, YEAR = 60_000, 86_400_000, 365 * 86_400_000
START = 1_714_564_800_000
FINE, COARSE = 1e-12, 1e9
SCORES = [0.0, 1.0, 5e-324, 2.3e-308, 1e-16, 1 - 2**-53, 0.5, 0.5 + 2**-53, 1 / 3]
NAMES = ["DE", "other", "*", "a=b", "a/b", "é" * 200, "x" * 200, "<b>", "می\u200cخواهم", '"', "\\", "nan", "0", " "]
OBJECTIVES = [
    {"kind": "value", "kpi": "fine"},
    {"kind": "value", "kpi": "coarse"},
    {"kind": "cost", "fp": 1e9, "fn": 1e-300},
    {"kind": "cost", "fp": 5e-324, "fn": 1e9},
    {"kind": "f_beta", "beta": 100},
    {"kind": "capacity", "share": 1e-9},
]


def config(objective: dict[str, Any]) -> Config:
    model = {
        "name": "fraud",
        "objective": objective,
        "labels": {"missing": "drop", "selective": "propensity", "least_propensity": 1e-300},
        "segments": ["country", "channel"],
        "kpis": {"fine": {"scale": FINE}, "coarse": {"scale": COARSE, "better": "lower"}},
        "alignment": {"every": "1h", "randomised": True},
    }
    other = {"name": "churn", "labels": {"missing": "negative"}, "kpis": {"revenue": {}}, "threshold": 0}
    evaluate = {"events": 100, "every": "4h", "window": 500, "publish_every": "2h"}
    return Config.model_validate(streams.settings("events", "state", models=[model, other], evaluate=evaluate))


def extremes(choose: random.Random, scale: float) -> float:
    largest = scale * WHOLE
    return choose.choice([largest, -largest, 0.0, -0.0, 5e-324, -scale / 2, scale, choose.uniform(-largest, largest)])


def logs(seed: int, events: int) -> Logs:
    """Predictions and their outcomes with extreme values, one in six a hostile message; at the end decades pass."""
    choose, hostile = random.Random(seed), Hostile(seed)
    predictions: list[bytes] = []
    outcomes: list[bytes] = []
    ts = START
    for n in range(events):
        ts += choose.choice([0, 1, 1000, MINUTE, MINUTE, 10 * MINUTE])
        score = choose.choice([*SCORES, choose.random(), choose.random()])
        model = choose.choice(["fraud", "fraud", "churn"])
        version = choose.choice(["1"] * 8 + [NAMES[seed % len(NAMES)], NAMES[n % len(NAMES)]])
        segments = {
            "country": choose.choice(NAMES[:8]),
            "channel": choose.choice([1, True, 1.5, None, -1e-7]),
        }
        propensity = choose.choice([1, 5e-324, 0.5, 1e-300])
        one = {"id": n, "model": model, "ts": ts, "score": score, "version": version, "segments": segments}
        predictions.append(json.dumps(one | {"propensity": propensity}).encode())
        values = {"fine": extremes(choose, FINE), "coarse": extremes(choose, COARSE), "revenue": extremes(choose, 0.01)}
        label = int(choose.random() < (score if n < events / 2 else 1 - score))
        told = {"id": float(n), "ts": ts + choose.choice([0, 1, MINUTE, 60 * MINUTE]), "label": label, "values": values}
        outcomes.append(json.dumps(told).encode())
        if choose.random() < 0.05:
            outcomes.append(json.dumps(told | {"ts": ts + 2 * 60 * MINUTE, "label": 1 - label}).encode())
        if choose.random() < 1 / 6:
            predictions.append(hostile.message("prediction") or b"")
            outcomes.append(hostile.message("outcome") or b"")
    for years in (1, 10, 70):
        for n in range(4):
            later = ts + years * YEAR + n
            predictions.append(b'{"id":"l%d","model":"fraud","ts":%d,"score":1}' % (later, later))
            outcomes.append(b'{"ts":%d}' % (later + DAY))
    return {("predictions", 0): predictions, ("outcomes", 0): outcomes}


def no_number(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


def check(records: Records) -> None:
    for (topic, _), values in records.keys.items():
        for value in values:
            if value is not None:
                assert json.loads(value, parse_constant=no_number)["data"], topic


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: "-".join(map(str, objective.values())))
def test_extreme_values_are_folded_into_records_of_finite_numbers(objective: dict[str, Any]) -> None:
    records, engine = fold(config(objective), logs(OBJECTIVES.index(objective), 1_000))
    check(records)
    assert records.topics["metrics"]
    assert engine.models["fraud"].join.matched > 500


def test_hostile_logs_are_folded_alike_whatever_the_cuts_and_restarts() -> None:
    settings, given = config(OBJECTIVES[0]), logs(77, 300)
    once, _ = fold(settings, given)
    for seed in (1, 2):
        fold(settings, given, seed=seed, largest=50, restarts=0.05)[0].assert_equal(once)
