"""What is known, said and done before labels come, over the whole engine."""

import json
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from folding import fold
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from streameval.config import Config
from streameval.testing import streams

bench = runpy.run_path(str(Path(__file__).with_name("bench_foreseeing.py")))
DAY, START, config, moves, run, stream = (bench[name] for name in ("DAY", "START", "config", "moves", "run", "stream"))
QUICK = {
    "reference": {"events": 10_000},
    "thresholds": {"cooldown": 5000},
    "evaluate": {"publish_every": "3h", "window": 10_000},
}
CHANGE = 9.0


def quick(**model):
    return config(wait="2d", **{**QUICK, **model})


@cache
def found(kind):
    """Records of 14 days of 5,000 predictions; labels take 1.6 days; on day 9 something changes."""
    change = {
        "stationary": {"prevalence": 0.05},
        "label": {"prevalence": lambda d: 0.05 if d < CHANGE else 0.2},
        "slow": {"prevalence": 0.05, "delay": lambda d: 0.3 if d < CHANGE else 1.2, "spread": 0.3},
    }[kind]
    days = 20 if kind == "slow" else 14
    return run(stream(3, days, 5000, **({"delay": 1.6} | change)), quick())


def of(records, topic):
    return [(at, data) for name, at, data in records if name == topic]


def test_a_label_shift_moves_the_threshold_long_before_its_labels_come():
    made = moves(found("label"))
    day, reason, threshold = made[0]
    assert reason == "prevalence"
    # Its labels take 1.6 days.
    assert CHANGE < day < CHANGE + 0.8
    assert threshold == pytest.approx(expit(logit(1 / 11) - (logit(0.2) - logit(0.05))), rel=0.2)


def test_old_labels_do_not_move_it_back():
    thresholds = [threshold for _, _, threshold in moves(found("label"))]
    assert max(thresholds) < 0.04


def test_the_record_of_such_a_move_says_what_it_rests_on():
    _, move = next((at, data) for at, data in of(found("label"), "thresholds") if data["reason"] == "prevalence")
    prevalence = move["prevalence"]
    assert prevalence["labelled"]["high"] < 0.07
    assert prevalence["fused"]["low"] > 0.07
    # These read a window that still holds older scores; the filter follows a jump at once.
    assert prevalence["labelled"]["high"] < prevalence["label_free"]["value"]
    assert prevalence["labelled"]["high"] < prevalence["pacc"]["value"]
    assert move["expected_gain"]["low"] > 0


def test_a_stationary_stream_is_left_alone():
    assert moves(found("stationary")) == []
    assert of(found("stationary"), "drift") == []


def test_the_fused_prevalence_is_right_before_and_after_the_change():
    for at, data in of(found("label"), "metrics"):
        fused = data["prevalence"]["fused"]
        day = (at - START) / DAY
        if fused is None or abs(day - CHANGE) < 0.5 or day < 6:
            continue
        true = 0.05 if day < CHANGE else 0.2
        assert fused["value"] == pytest.approx(true, rel=0.25), day
        assert fused["low"] < fused["value"] < fused["high"]


def shaped(change):
    """A stream in which scores of one class change their shape on day 9."""
    made = stream(5, 13, 5000, 0.05, delay=1.6)
    late = made.ts >= START + CHANGE * DAY
    made.score[late] = change(made.score[late], made.label[late])
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda score, _: expit(logit(score) + 1.0),
        lambda score, label: np.where(label == 0, expit(1.7 * logit(score) + 2.2), score),
    ],
    ids=["all scores rise", "negatives spread"],
)
def test_scores_that_no_mixture_explains_move_nothing_before_labels_come(change):
    records = run(shaped(change), quick())
    assert [reason for day, reason, _ in moves(records) if reason == "prevalence"] == []
    # Until labels come; what is learnt from them later explains the scores again.
    unlabelled = [data for at, data in of(records, "metrics") if CHANGE + 0.7 < (at - START) / DAY < CHANGE + 1.5]
    assert len(unlabelled) > 4
    assert all(data["prevalence"]["label_free"] is None for data in unlabelled)


def test_performance_is_said_ahead_of_labels_within_a_band_that_held_before():
    inside, told = 0, 0
    metrics = of(found("stationary"), "metrics")
    first = metrics[0][1]["estimated"]
    assert (first["silent"], first["metrics"]) == ("learning", {})
    final = metrics[-1][1]["metrics"]
    for _, data in metrics:
        for name, said in data["estimated"]["metrics"].items():
            told += 1
            inside += said["low"] <= final[name]["value"] <= said["high"]
    assert told > 50
    # The band is that of a group of a thousand; the truth is known better than that.
    assert inside / told > 0.9


def test_after_an_alarm_it_is_silent_until_the_state_is_known():
    silent = [
        data["estimated"]["silent"]
        for at, data in of(found("label"), "metrics")
        if any(alarm <= at < alarm + 3_600_000 for alarm, drift in of(found("label"), "drift"))
    ]
    assert silent
    assert set(silent) <= {"state", "backtest"}


def test_since_when_the_state_is_unknown_is_said():
    for at, data in of(found("stationary"), "metrics")[5:]:
        assert at - 2.2 * DAY < bench["epoch_ms"](data["estimated"]["since"]) <= at


def test_labels_that_slow_down_are_told_once_and_the_provisional_view_warns():
    told = [data for _, data in of(found("slow"), "drift") if data["monitor"] == "label_delay"]
    assert [(data["tier"], data["direction"]) for data in told] == [("advisory", "up")]
    changed = bench["epoch_ms"](told[0]["change_at"])
    assert abs(changed - START - CHANGE * DAY) < 0.6 * DAY
    cautions = {data["provisional"]["caution"] for _, data in of(found("slow"), "metrics") if data["provisional"]}
    assert cautions == {None, "labels_slower"}
    assert moves(found("slow")) == []


def test_delays_are_published():
    flow = of(found("stationary"), "metrics")[-1][1]["labels"]
    assert flow["delay_p50"] == pytest.approx(1.6 * DAY, rel=0.15)
    assert flow["share_labelled"] == 1.0
    assert 7000 < flow["waiting"] < 10_000


def doubled(seed):
    """Only positives are labelled; on day 9 there is twice the traffic."""
    one = stream(seed, 14, 5000, 0.05, delay=0.8, spread=0.2)
    two = stream(seed + 1, 14, 5000, 0.05, delay=0.8, spread=0.2)
    late = two.ts >= START + CHANGE * DAY
    columns = [np.concatenate([getattr(one, n), getattr(two, n)[late]]) for n in ("ts", "score", "label", "delay")]
    order = np.argsort(columns[0], kind="stable")
    return type(one)(*(column[order] for column in columns))


def test_traffic_that_doubles_is_no_change_of_the_prevalence():
    records = run(doubled(8), quick(labels={"wait": "2d", "amend": "2d", "missing": "negative", "give_up": "30d"}))
    assert moves(records) == []
    assert [data["monitor"] for _, data in of(records, "drift")] == []
    seen = 0
    for at, data in of(records, "metrics"):
        if at < START + 6 * DAY:
            continue
        assert data["prevalence"]["fused"]["value"] == pytest.approx(0.05, rel=0.3)
        if data["provisional"] is not None:
            seen += 1
            assert data["provisional"]["prevalence"]["value"] == pytest.approx(0.05, rel=0.35)
    assert seen > 20


@pytest.mark.slow
def test_positives_that_come_after_maturity_are_counted_and_told():
    made = stream(9, 26, 4000, 0.1, delay=lambda d: 1.0 if d < CHANGE else 1.7, spread=0.25, model=0.1)
    labels = {"wait": "2d", "amend": "2d", "missing": "negative", "give_up": "30d"}
    records = run(made, quick(labels=labels, threshold=0.0909))
    told = [data["monitor"] for _, data in of(records, "drift")]
    assert "late_positives" in told
    shares = [data["labels"]["share_late_positives"] for _, data in of(records, "metrics") if data["labels"]]
    assert max(share for share in shares[:20] if share is not None) < 0.02
    assert shares[-1] > 0.1


# -- the laws, where all of it speaks ----------------------------------------------------------------------------------

MINUTE = 60_000
LAWS = Config.model_validate(
    streams.settings(
        "events",
        "state",
        labels={"wait": "4h", "early": "1h", "amend": "3h", "give_up": "12h"},
        evaluate={"events": 25, "every": "4h", "window": 500, "publish_every": "1h"},
        reference={"events": 700, "positives": 40},
        thresholds={"positives": 20, "cooldown": 150, "z": 1.0},
        retire_after="7d",
        models=[
            {
                "name": "fraud",
                "objective": {"kind": "cost", "fp": 1, "fn": 4},
                "labels": {"missing": "drop"},
                "segments": ["country"],
            }
        ],
    )
)


@cache
def logs(seed):
    """3,400 predictions over some three days; the prevalence falls and comes back; labels take up to five hours."""
    rng = np.random.default_rng(seed)
    places = {(topic, p): [] for topic in ("predictions", "outcomes") for p in (0, 1)}
    outcomes = []
    for number in range(3400):
        ts = streams.START + number * 75_000 + int(rng.integers(0, 60_000))
        prevalence = 0.2 if 2400 <= number < 3000 else 0.5
        label = int(rng.random() < prevalence)
        score = float(expit(2.0 * rng.normal(1.6 * label - 0.8, 1.0)))
        late = rng.random() < 0.02
        event = {"id": f"e{number}", "model": "fraud", "ts": ts, "score": score, "segments": {"country": "DE"}}
        places["predictions", int(rng.integers(2))].append((ts + 3_600_000 * late, event))
        if rng.random() < 0.9:
            took = int(rng.choice([5, 40, 150, 230, 290]) * MINUTE * rng.uniform(0.9, 1.0))
            outcomes.append((ts + took, {"id": f"e{number}", "ts": ts + took, "label": label}))
        if rng.random() < 0.05:
            outcomes.append((ts + 2_000_000, {"id": f"e{number}", "ts": ts + 2_000_000, "label": 1 - label}))
    for at, event in outcomes:
        places["outcomes", int(rng.integers(2))].append((at, event))
    return {
        place: [json.dumps(event).encode() for _, event in sorted(events, key=lambda one: one[0])]
        for place, events in places.items()
    }


@cache
def one_pass(seed):
    return fold(LAWS, logs(seed))[0]


def test_the_stream_of_the_law_reaches_what_it_is_about():
    records = [json.loads(value)["data"] for value in one_pass(0).topics["metrics"]]
    whole = [data for data in records if data["segment"] == "*"]
    assert any(data["prevalence"]["label_free"] for data in whole)
    assert any(data["estimated"]["metrics"] for data in whole)
    assert any(data["provisional"] for data in whole)
    reasons = {json.loads(value)["data"]["reason"] for value in one_pass(0).topics["thresholds"]}
    assert "prevalence" in reasons


@settings(deadline=None, max_examples=3, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1]))
def test_no_batch_interleaving_or_restart_changes_what_is_said_ahead_of_labels(seed, restarts):
    fold(LAWS, logs(0), seed=seed, restarts=restarts)[0].assert_equal(one_pass(0))
