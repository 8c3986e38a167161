"""What the report says of loss and KPI."""

from __future__ import annotations

import pytest

from streameval.serve.alignment import sentence, title, traces
from streameval.serve.figures import drawing
from streameval.serve.series import Comparison, Estimate, Key
from streameval.serve.snapshot import Snapshot
from tests.serve.records import metrics, record, week_of


def known(**changes: object) -> Comparison:
    """Fifty comparisons of which ten are too close."""
    facts = {
        "at": 0,
        "loss": "log_loss",
        "kpi": "revenue",
        "basis": "randomised",
        "disagreement": Estimate(0.1, 0.05, 0.3),
        "undecided": 0.2,
        "pairs": 50,
        "recent": ((0.1, 2.0, True), (-0.1, 0.5, False)),
    }
    return Comparison(**(facts | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Yes, mostly"),
        ({"disagreement": Estimate(0.9, 0.7, 0.97)}, "No, the opposite"),
        ({"disagreement": Estimate(0.5, 0.3, 0.7)}, "It cannot be told from chance"),
        ({"disagreement": Estimate(0.5, 0.1, 0.9), "pairs": 10}, "Too early to say"),
        ({"disagreement": None, "undecided": 1.0}, "Too early to say: 50 comparisons, none of them decided"),
        ({"goodhart": True}, "where the loss gained most, the KPI fell"),
        ({"basis": "association"}, "An association only"),
        ({"basis": "across_time"}, "not what caused it"),
    ],
)
def test_the_sentence_says_what_the_interval_allows(changes: dict[str, object], said: str) -> None:
    assert said in sentence(known(**changes))


def test_a_randomised_comparison_carries_no_warning() -> None:
    assert "association" not in sentence(known())
    assert title(known(against="1")).endswith("(against version 1)")


def test_decided_pairs_and_close_ones_are_told_apart() -> None:
    assert [(trace["name"], trace["x"], trace["y"]) for trace in traces(known())] == [
        ("decided", [0.1], [2.0]),
        ("too close", [-0.1], [0.5]),
    ]


def test_the_latest_record_of_a_kpi_is_drawn() -> None:
    key = {"model": "m", "version": "1", "segment": "*"}
    snapshot = Snapshot()
    snapshot.feed(*metrics(key, 0))
    for pairs in (5, 6):
        data = key | {
            "loss": "log_loss",
            "kpi": "cost",
            "basis": "across_time",
            "disagreement": {"value": None},
            "undecided": 1.0,
            "pairs": pairs,
            "recent": [{"loss": 0.1, "kpi": 1.0, "decided": False}],
        }
        snapshot.feed("alignment", record("alignment", week_of(pairs), data, pairs))
    series = snapshot.get(Key("m", "1"))
    assert series is not None
    shown = [figure for figure in drawing(series).figures if figure.name.startswith("alignment")]
    assert [figure.summary for figure in shown] == [sentence(series.comparisons["cost/"])]
    assert "6 comparisons" in shown[0].summary
