"""Before labels come: when a threshold moves after the prevalence alone has changed, and how often for nothing.

The engine whole, columns in and records out; labels take six days, the wait for them is a week. Beside it the same
streams without any decision on unlabelled scores. Then the coverage of what is published ahead of the labels: the fused
prevalence, the band of the metrics, the provisional prevalence.

Run: python tests/engine/bench_foreseeing.py [streams] [seed]
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from streameval.config import Config, parse
from streameval.engine import Engine
from streameval.engine.foreseeing import Foreseeing
from streameval.evaluate.unlabelled import point_metrics
from streameval.events.columns import Batch, Outcomes, Predictions, Texts
from streameval.evidence import BinaryEvidence, threshold_bin
from streameval.records import epoch_ms

START = 1_700_000_000_000
DAY = 86_400_000
BATCHES = 150


@dataclass
class Stream:
    """Scores of two Gaussian classes two deviations apart, calibrated at `model`; labels after `delay` (ms, each)."""

    ts: np.ndarray
    score: np.ndarray
    label: np.ndarray
    delay: np.ndarray


def stream(seed, days, per_day, prevalence, model=0.05, delay=6.0, spread=0.0, gap=2.0):
    """`prevalence`, `gap` (between the classes) and `delay` (days) are functions of the time in days, or numbers."""
    rng = np.random.default_rng(seed)
    n = int(days * per_day)
    day = np.arange(n) / per_day

    def along(x):
        return np.array([x(d) for d in day]) if callable(x) else np.full(n, float(x))

    y = (rng.random(n) < along(prevalence)).astype(np.int8)
    x = rng.normal(along(gap) * y, 1.0)
    score = expit(logit(model) + 2.0 * (x - 1.0))
    took = along(delay) * np.exp(spread * rng.normal(size=n))
    return Stream((START + day * DAY).astype(np.int64), score, y, (took * DAY).astype(np.int64))


def config(missing="drop", wait="7d", **model) -> Config:
    base = {
        "name": "fraud",
        "threshold": 0.0909,
        "objective": {"kind": "cost", "fp": 1, "fn": 10},
        "labels": {"wait": wait, "amend": "2d", "missing": missing, "give_up": "30d"},
        "evaluate": {"publish_every": "6h"},
    }
    lateness = {"predictions": "1s", "outcomes": "1m"}
    logs = {"kind": "logdir", "path": "events"}
    return parse({"transport": logs, "lateness": lateness, "interval": "10m", "models": [base | model]})


class _Columns:
    def __init__(self, made: Stream, positives_only: bool) -> None:
        n = len(made.ts)
        ids = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        offset, none = np.arange(n, dtype=np.int64), np.full(n, -1, np.int64)
        model, version = np.zeros(n, np.int16), Texts(np.zeros(n, np.int32), ["1"])
        self.predictions_ = Predictions("predictions", 0, offset, made.ts, ids, made.score, none, model, version, [])
        known = np.flatnonzero(made.label == 1) if positives_only else np.arange(n)
        at = made.ts[known] + made.delay[known]
        known = known[np.argsort(at, kind="stable")]
        at, m = np.sort(at, kind="stable"), len(known)
        # A heartbeat keeps the labels' clock going where few come: outcomes of ids that nobody predicted.
        beat = np.arange(START, int(max(at.max(), made.ts[-1])) + 1, 600_000)
        times = np.concatenate([at, beat])
        order = np.argsort(times, kind="stable")
        hashes = np.concatenate([ids[known], np.arange(len(beat), dtype=np.uint64) + np.uint64(1)])[order]
        labels = np.concatenate([made.label[known].astype(float), np.zeros(len(beat))])[order]
        m = len(order)
        unknown = np.full(m, -1, np.int64)
        self.outcomes_ = Outcomes(
            "outcomes",
            0,
            np.arange(m),
            times[order],
            hashes,
            unknown,
            unknown.astype(np.int16),
            labels,
            {},
            unknown > 0,
        )
        self.sizes = {"predictions": n, "outcomes": m}

    def predictions(self, batch: Batch):
        return self.predictions_.take(slice(int(batch.offsets[0]), int(batch.offsets[-1]) + 1)), []

    def outcomes(self, batch: Batch):
        return self.outcomes_.take(slice(int(batch.offsets[0]), int(batch.offsets[-1]) + 1)), []


def run(made: Stream, settings: Config) -> list[tuple[str, int, dict]]:
    """(topic, logical time ms, data) of all records, up to where the shorter of the logs ends."""
    columns = _Columns(made, settings.models[0].labels.missing == "negative")
    engine = Engine(settings)
    engine.decoder = columns
    for topic in ("outcomes", "predictions"):
        engine.clocks.add(topic, 0, empty=False)
    at = dict.fromkeys(columns.sizes, 0)
    clocks = engine.clocks.partitions
    found = []
    while all(at[topic] < columns.sizes[topic] for topic in at):
        topic = min(at, key=lambda topic: clocks[topic, 0].now)
        offsets = np.arange(at[topic], min(at[topic] + columns.sizes[topic] // BATCHES + 1, columns.sizes[topic]))
        at[topic] += len(offsets)
        published = [*engine.receive(Batch(topic, 0, offsets, [])), *engine.advance()]
        for record in published:
            if record.topic in ("thresholds", "metrics", "drift", "retrain") and record.value is not None:
                event = json.loads(record.value)
                found.append((record.topic, epoch_ms(event["time"]), event["data"]))
    return found


def moves(found):
    """(day, reason, threshold) of each threshold after the first."""
    return [
        ((at - START) / DAY, data["reason"], data["threshold"])
        for topic, at, data in found
        if topic == "thresholds" and data["reason"] != "initial"
    ]


def coverage(records, made: Stream, settings: Config, true):
    """What was published ahead of labels against what came: shares of the intervals that held, by name."""
    held = {}
    metrics = [(at, data) for topic, at, data in records if topic == "metrics"]
    costs = settings.models[0].objective
    for at, data in metrics:
        day = (at - START) / DAY
        fused = data["prevalence"]["fused"]
        if fused is not None:
            held.setdefault("fused", []).append(fused["low"] <= true(day) <= fused["high"])
        said = data["provisional"]
        if said is not None:
            low, high = (epoch_ms(said["window"][end]) for end in ("from", "to"))
            rows = slice(*np.searchsorted(made.ts, [low, high]))
            came = float(made.label[rows].mean())
            held.setdefault("provisional", []).append(said["prevalence"]["low"] <= came <= said["prevalence"]["high"])
        said = data["estimated"]
        if said["metrics"]:
            low, high = (epoch_ms(said["window"][end]) for end in ("from", "to"))
            rows = slice(*np.searchsorted(made.ts, [low, high]))
            e = BinaryEvidence.of(made.score[rows], made.label[rows])
            flagged = int(np.searchsorted(e.bins, threshold_bin(data["threshold"])))
            came = point_metrics(*e.counts.astype(float), e.mean_scores, flagged, (costs.fp, costs.fn))
            for name, band in said["metrics"].items():
                if name in came:
                    held.setdefault(name, []).append(band["low"] <= came[name] <= band["high"])
    return held


if __name__ == "__main__":
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for name, change in (("x 3", 0.15), ("x 2", 0.10), ("/ 2", 0.025)):
        for seed in range(first, first + streams):
            made = stream(seed, 36, 10_000, lambda d, c=change: 0.05 if d < 20 else c)
            with_scores = moves(run(made, config()))
            original, Foreseeing.move = Foreseeing.move, lambda *_: None
            try:
                labels_only = moves(run(made, config()))
            finally:
                Foreseeing.move = original
            print(f"prevalence {name} at day 20, labels after 6 days: {with_scores}; by labels alone {labels_only}")
    held = {}
    for seed in range(first, first + streams):
        settings = config()
        made = stream(100 + seed, 60, 10_000, 0.05, spread=0.1, delay=4)
        records = run(made, settings)
        print(f"stationary, 60 days, 30 windows: moves {moves(records)}")
        for name, row in coverage(records, made, settings, lambda _: 0.05).items():
            held.setdefault(name, []).extend(row)
    print("held, stationary:", {name: f"{np.mean(row):.3f} of {len(row)}" for name, row in held.items()})
    held = {}
    for seed in range(first, first + streams):
        season = lambda d: 0.05 * (1 + 0.3 * np.sin(2 * np.pi * d / 14))  # noqa: E731
        made = stream(200 + seed, 60, 10_000, season, spread=0.1, delay=4)
        records = run(made, config())
        print(f"prevalence of a fortnight's wave, 60 days: moves {moves(records)}")
        for name, row in coverage(records, made, config(), season).items():
            held.setdefault(name, []).extend(row)
    print("held, wave:", {name: f"{np.mean(row):.3f} of {len(row)}" for name, row in held.items()})
