"""What the engine costs alone, columns in and records out: examples a second, a step, and the ratio to River's loops.

The model is binary with two segment names of five values each: eleven cells. An example is a prediction with its
outcome, from its columns to its part in every record. The rate is that of stream time, which decides how many examples
share a step: 60,000 at 1,000 events a second, 540 at one.

Run: python tests/engine/bench_engine.py [examples]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict

import numpy as np
import xxhash
from river import drift, linear_model, metrics, optim

from streameval.config import Config, parse
from streameval.engine import Engine
from streameval.engine.cell import Cell
from streameval.engine.publisher import Publisher
from streameval.events.columns import Batch, Outcomes, Predictions, Texts

BATCH = 8192
RIVER = ["F1", "MCC"]


def config(wait: str = "10m") -> Config:
    model = {
        "name": "fraud",
        "objective": {"kind": "cost", "fp": 1, "fn": 5},
        "labels": {"wait": wait, "amend": "10m", "missing": "negative"},
        "segments": ["country", "channel"],
        "evaluate": {"river": RIVER},
    }
    lateness = {"predictions": "1s", "outcomes": "1m"}
    return parse({"transport": {"kind": "logdir", "path": "events"}, "lateness": lateness, "models": [model]})


def stream(n: int, rate: float, seed: int = 1):
    """Scores, labels and segments of n examples at `rate` a second; the prevalence doubles after two thirds."""
    rng = np.random.default_rng(seed)
    ts = (1_700_000_000_000 + np.arange(n) * (1000 / rate)).astype(np.int64)
    score = rng.beta(0.4, 3.0, n)
    odds = score / (1.0 - score) * np.where(np.arange(n) < 2 * n // 3, 1.0, 2.5)
    label = (rng.random(n) < odds / (1.0 + odds)).astype(np.float64)
    return ts, rng.integers(0, 2**64, n, dtype=np.uint64), score, label, rng.integers(0, 25, n).astype(np.int32)


class Columns:
    """Stands where the decoder stands: batches of columns that are ready."""

    def __init__(self, n: int, rate: float) -> None:
        ts, ids, score, label, kind = stream(n, rate)
        model, version = np.zeros(n, np.int16), Texts(np.zeros(n, np.int32), ["1"])
        country = Texts(kind // 5, [f"c{code}" for code in range(5)])
        channel = Texts(kind % 5, [f"d{code}" for code in range(5)])
        offset, none = np.arange(n, dtype=np.int64), np.full(n, -1, np.int64)
        self.logs = {
            "predictions": Predictions(
                "predictions", 0, offset, ts, ids, score, none, model, version, [country, channel]
            ),
            "outcomes": Outcomes(
                "outcomes", 0, offset, ts + 200_000, ids, none, none.astype(np.int16), label, {}, none > 0
            ),
        }
        self.n = n

    def predictions(self, batch: Batch):
        return self._cut(self.logs["predictions"], batch), []

    def outcomes(self, batch: Batch):
        return self._cut(self.logs["outcomes"], batch), []

    @staticmethod
    def _cut(columns, batch: Batch):
        return columns.take(slice(int(batch.offsets[0]), int(batch.offsets[-1]) + 1))


def run(columns: Columns, settings: Config, size: int = BATCH):
    """All batches, the log furthest behind first. Seconds, the engine, and a hash of all records."""
    engine = Engine(settings)
    engine.decoder = columns
    for topic in ("outcomes", "predictions"):
        engine.clocks.add(topic, 0, empty=False)
    at = dict.fromkeys(columns.logs, 0)
    clocks = engine.clocks.partitions
    digest, records = xxhash.xxh3_64(), 0
    began = time.process_time()
    while open_ := [topic for topic in sorted(at) if at[topic] < columns.n]:
        topic = min(open_, key=lambda topic: clocks[topic, 0].now)
        offsets = np.arange(at[topic], min(at[topic] + size, columns.n))
        at[topic] += len(offsets)
        for published in (engine.receive(Batch(topic, 0, offsets, [])), engine.advance()):
            for record in published:
                digest.update(record.value or b"")
                records += 1
    for record in engine.complete():
        digest.update(record.value or b"")
        records += 1
    return time.process_time() - began, engine, f"{records} records {digest.hexdigest()}"


def rates(n: int) -> None:
    for rate, wait in ((1000.0, "10m"), (1.0, "1d")):
        columns = Columns(n, rate)
        for size in (BATCH, 4 * BATCH):
            seconds, engine, records = run(columns, config(wait), size)
            assert engine.models["fraud"].matured == n
            speed = n / seconds / 1e3
            print(f"{rate:6.0f} events/s, batches of {size}: {speed:6.0f} thousand examples a second; {records}")


def steps(n: int) -> None:
    """Each step's time, its records encoded, by whole and segment."""
    costs: dict[tuple[str, bool], list[float]] = defaultdict(list)
    settings = config("1d")
    publisher, original = Publisher(settings, "1"), Cell.step

    def timed(cell, *args):
        began = time.process_time()
        outputs = original(cell, *args)
        for output in outputs:
            publisher.publish("fraud", output)
        costs[("whole" if cell.segment == "*" else "segment"), bool(outputs)].append(time.process_time() - began)
        return outputs

    Cell.step = timed
    try:
        run(Columns(n, 1.0), settings)
    finally:
        Cell.step = original
    for kind in ("whole", "segment"):
        for what, taken in (("all", costs[kind, True] + costs[kind, False]), ("with records", costs[kind, True])):
            if taken:
                low, high = statistics.median(taken), float(np.quantile(taken, 0.99))
                mean = statistics.fmean(taken)
                print(
                    f"step, {kind:8}{what:13}: median {low * 1e3:.3f} ms, mean {mean * 1e3:.3f} ms, "
                    f"99 % {high * 1e3:.3f} ms ({len(taken)} steps)"
                )


class RiverCell:
    """What a cell keeps, in River's own way: metrics, a logistic map of the logit, a mean and an ADWIN."""

    def __init__(self, *, whole: bool) -> None:
        self.metrics = [metrics.LogLoss(), metrics.ROCAUC(), metrics.MSE()]
        self.decided = [getattr(metrics, name)() for name in (*RIVER, "Precision", "Recall")]
        self.map = linear_model.LogisticRegression(optim.SGD(0.01)) if whole else None
        self.detectors = [drift.ADWIN() for _ in range(4)]

    def learn(self, score: float, label: bool, logit: float) -> None:
        p = {True: score, False: 1.0 - score}
        self.metrics[0].update(label, p)
        self.metrics[1].update(label, p)
        self.metrics[2].update(label, score)
        decided = score >= 0.5
        for metric in self.decided:
            metric.update(label, decided)
        x, known = {"z": logit}, score
        if self.map is not None:
            known = self.map.predict_proba_one(x)[True]
            self.map.learn_one(x, label)
        residual = label - known
        values = (label, (residual + 1) / 2, (residual if known > 0.2 else -residual) / 2 + 0.5, decided != label)
        for detector, value in zip(self.detectors, values, strict=True):
            detector.update(value)


def river(n: int) -> None:
    """River's loop for the same cells: a dict that joins, then every metric, map and detector, example by example."""
    _, ids, score, label, kind = stream(n, 1.0)
    logit = np.log(score / (1 - score))
    cells = {"*": RiverCell(whole=True)}
    began = time.process_time()
    waiting = dict(zip(ids.tolist(), zip(score.tolist(), logit.tolist(), kind.tolist(), strict=True), strict=True))
    for one, y in zip(ids.tolist(), label.tolist(), strict=True):
        s, z, code = waiting.pop(one)
        for name in ("*", f"c{code // 5}", f"d{code % 5}"):
            cell = cells.get(name)
            if cell is None:
                cell = cells[name] = RiverCell(whole=False)
            cell.learn(s, bool(y), z)
    each = (time.process_time() - began) / n
    stepped = _river_at_steps(score, label, kind)
    for rate, wait in ((1000.0, "10m"), (1.0, "1d")):
        seconds, _, _ = run(Columns(10 * n, rate), config(wait))
        ours = seconds / (10 * n)
        print(
            f"{rate:6.0f} events/s: {ours * 1e6:6.2f} us an example; River an example x {each / ours:6.1f}, "
            f"River fed at the same steps (join, calibration and e-SR left out) x {stepped / ours:6.1f}"
        )


def _river_at_steps(score: np.ndarray, label: np.ndarray, kind: np.ndarray) -> float:
    """Seconds an example where River's metrics and ADWIN are fed every 540 examples, from at most 64 weighted bins."""
    began = time.process_time()
    cells = defaultdict(lambda: RiverCell(whole=False))
    for low in range(0, len(score), 540):
        s, y, code = score[low : low + 540], label[low : low + 540], kind[low : low + 540]
        groups = [("*", slice(None))]
        groups += [(f"c{c}", code // 5 == c) for c in range(5)] + [(f"d{c}", code % 5 == c) for c in range(5)]
        for name, rows in groups:
            cell = cells[name]
            bins = np.minimum((s[rows] * 64).astype(int), 63) * 2 + y[rows].astype(int)
            weight = np.bincount(bins, minlength=128)
            for b in np.flatnonzero(weight).tolist():
                p, truth, w = (b // 2 + 0.5) / 64, bool(b % 2), float(weight[b])
                by_class = {True: p, False: 1.0 - p}
                cell.metrics[0].update(truth, by_class, w)
                cell.metrics[1].update(truth, by_class, w)
                cell.metrics[2].update(truth, p, w)
                for metric in cell.decided:
                    metric.update(truth, p >= 0.5, w)
            for detector in cell.detectors:
                detector.update(float(np.mean(y[rows])))
    return (time.process_time() - began) / len(score)


if __name__ == "__main__":
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rates(examples)
    steps(min(examples, 500_000))
    river(min(examples // 10, 20_000))
