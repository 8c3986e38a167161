"""Labels that are missing for a time: a constant stream stays constant in all that is published, whatever they do.

What is scored never changes here; only the feed of labels has its troubles. So every window must hold the prevalence,
no monitor may alarm beyond advice, and what cannot be proved leaves whole.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from folding import fold

from streameval import records
from streameval.config import Config
from streameval.engine import Engine

START = 1_767_225_600_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
DAYS = 30
GAP = 10 * MINUTE
PREVALENCE = 0.3

Delay = Callable[[random.Random, int], float]


def within_two_days(chance: random.Random, label: int) -> float:
    return chance.uniform(0, 2 * DAY)


def by_class(chance: random.Random, label: int) -> float:
    """Positives are found at once; that nothing happened is known late."""
    return chance.uniform(0, 4 * HOUR) if label else chance.uniform(1 * DAY, 1.9 * DAY)


@dataclass
class Feed:
    """How labels come: both or positives alone, silent from a day to another, then late or lost."""

    missing: str = "negative"
    both: bool = False
    silent: tuple[float, float] = (0.0, 0.0)
    lost: bool = False
    stamped: str = "arrival"
    delay: Delay = within_two_days
    burst: float = 2 * HOUR
    parts: int = 1
    heartbeats: bool = False
    wait: str = "2d"
    give_up: str = "7d"
    prevalence: float = PREVALENCE


def logs(feed: Feed, seed: int = 1) -> dict[tuple[str, int], list[bytes]]:
    chance, scores = random.Random(seed), np.random.default_rng(seed)
    predictions, outcomes = [], []
    begin, end = (START + int(day * DAY) for day in feed.silent)
    for i in range(DAYS * DAY // GAP):
        at = START + i * GAP + chance.randrange(GAP // 2)
        label = int(chance.random() < feed.prevalence)
        score = float(np.clip(scores.normal(0.75 if label else 0.3, 0.2), 0.001, 0.999))
        predictions.append((at, {"id": f"x{i}", "model": "m", "ts": at, "score": score}))
        known = at + int(feed.delay(chance, label))
        if not (label or feed.both):
            continue
        came = known
        if begin < known <= end:
            if feed.lost:
                continue
            came = end + int(chance.uniform(0, feed.burst))
        outcomes.append((came, {"id": f"x{i}", "ts": known if feed.stamped == "before" else came, "label": label}))
    if feed.heartbeats:
        outcomes += [(at, {"ts": at}) for at in range(START, START + DAYS * DAY, HOUR) if not begin < at <= end]
    # What comes after the end of the stream is not there yet.
    lines = [
        [json.dumps(event).encode() for at, event in sorted(events, key=lambda e: e[0]) if at < START + DAYS * DAY]
        for events in (predictions, outcomes)
    ]
    return {("predictions", 0): lines[0]} | {("outcomes", p): lines[1][p :: feed.parts] for p in range(feed.parts)}


def config(feed: Feed) -> Config:
    labels = {"wait": feed.wait, "missing": feed.missing, "give_up": feed.give_up}
    return Config.model_validate(
        {
            "transport": {"kind": "logdir", "path": "/nowhere"},
            "state": "/nowhere",
            "models": [
                {
                    "name": "m",
                    "threshold": 0.5,
                    "objective": {"kind": "cost", "fp": 1, "fn": 1},
                    "labels": labels,
                    "reference": {"events": 800, "positives": 200},
                    "evaluate": {"events": 50, "window": 400, "publish_every": "1m"},
                }
            ],
        }
    )


def folded(feed: Feed) -> tuple[list[dict], list[dict], Engine]:
    found, engine = fold(config(feed), logs(feed))
    data = [
        [json.loads(value)["data"] for value in found.topics[topic] if value is not None]
        for topic in ("metrics", "drift")
    ]
    return *data, engine


FEEDS = {
    "in order": Feed(),
    "in order, heartbeats": Feed(heartbeats=True),
    "late": Feed(silent=(10, 20)),
    "late, with the times of before": Feed(silent=(10, 20), stamped="before"),
    "late, on two partitions": Feed(silent=(10, 20), parts=2),
    "late, of both classes": Feed(silent=(10, 20), both=True),
    "late, for a day": Feed(silent=(10, 11)),
    "late, some for days more than their wait": Feed(silent=(10, 20), burst=5 * DAY),
    "late beyond give_up, dropped": Feed(silent=(10, 20), both=True, missing="drop"),
    "late, dropped, negatives known last": Feed(silent=(10, 20), both=True, missing="drop", delay=by_class),
    "lost for half of the time": Feed(silent=(8, 23), lost=True),
    "lost for a day": Feed(silent=(10, 11), lost=True),
    "lost, of both classes, dropped": Feed(silent=(8, 23), lost=True, both=True, missing="drop"),
    "lost, all at one delay": Feed(silent=(10, 12), lost=True, delay=lambda chance, label: 1 * DAY),
    "dead for good": Feed(silent=(12, 30), lost=True),
    "dead for good, dropped, negatives known last": Feed(
        silent=(12, 30), lost=True, both=True, missing="drop", delay=by_class
    ),
    "a longer wait": Feed(silent=(12, 17), wait="7d"),
    "a longer wait, lost": Feed(silent=(12, 17), lost=True, wait="7d"),
    "one in a hundred": Feed(silent=(10, 20), prevalence=0.01),
    "one in a hundred, lost": Feed(silent=(8, 23), lost=True, prevalence=0.01),
}


@pytest.mark.parametrize("name", FEEDS)
def test_a_constant_stream_stays_constant_whatever_its_labels_do(name):
    feed = FEEDS[name]
    metrics, drift, engine = folded(feed)
    windows = [
        (m["window"]["events"], m["prevalence"]["labelled"])
        for m in metrics
        if m["prevalence"]["labelled"] and m["window"]["events"] >= 200
    ]
    assert windows
    for events, prevalence in windows:
        spread = (feed.prevalence * (1 - feed.prevalence) / events) ** 0.5
        assert abs(prevalence["value"] - feed.prevalence) < 5 * spread, (events, prevalence)
    assert [d["monitor"] for d in drift if d["tier"] != "advisory"] == []
    join = engine.models["m"].join
    counted = join.taken - (join.unproven if feed.missing == "negative" else join.unlabelled)
    if not feed.lost:
        # All but the last wait counts, and what was later than the wait after labels came back.
        assert join.unproven <= (14 if "more than" in name else 8 if "7d" in feed.wait else 3) * DAY // GAP
    else:
        silent = feed.silent[1] - feed.silent[0]
        wait = 7 if "7d" in feed.wait else 2
        assert counted >= (DAYS - silent - 3 * wait) * DAY // GAP


def test_what_left_is_said_in_the_record_and_nothing_of_it_counts():
    metrics, _, engine = folded(FEEDS["lost for half of the time"])
    said = [m["labels"]["unproven"] for m in metrics if m.get("labels")]
    assert said[10] == 0
    assert max(said) > 2 * DAY // GAP
    assert engine.models["m"].unlabelled == engine.models["m"].join.unproven > 15 * DAY // GAP


def test_a_feed_of_one_positive_in_days_is_no_silent_one_and_its_negatives_count():
    feed = Feed(prevalence=0.004, wait="1d", give_up="1d", delay=lambda chance, label: chance.uniform(0, DAY))
    metrics, drift, engine = folded(feed)
    join = engine.models["m"].join
    # Two or three labels come in a week.
    assert join.matched < 25
    assert join.unproven < 0.4 * join.taken
    assert [d for d in drift if d["tier"] != "advisory"] == []
    beating = folded(Feed(**{**feed.__dict__, "heartbeats": True}))[2].models["m"].join
    assert beating.unproven <= 2 * DAY // GAP
    assert metrics[-1]["prevalence"]["labelled"]["value"] < 0.02


def test_a_prevalence_that_falls_to_a_tenth_is_told_though_labels_become_rare():
    before, after = (logs(Feed(prevalence=share), seed) for share, seed in ((0.3, 1), (0.03, 2)))
    split = DAYS * DAY // GAP // 2

    def id_of(line: bytes) -> int:
        return int(json.loads(line)["id"][1:])

    made = {
        place: [line for line in before[place] if id_of(line) < split]
        + [line for line in after[place] if id_of(line) >= split]
        for place in before
    }
    made["outcomes", 0].sort(key=lambda line: json.loads(line)["ts"])
    found, _ = fold(config(Feed()), made)
    drift = [json.loads(value)["data"] for value in found.topics["drift"] if value is not None]
    label = [d for d in drift if d["tier"] == "confirmed" and d["monitor"] == "label" and d["direction"] == "down"]
    assert label
    assert abs(records.epoch_ms(label[0]["change_at"]) - START - DAYS * DAY // 2) < 2 * DAY
