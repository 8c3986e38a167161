"""What the daemon's decisions are worth on Elec2, in cost: against never moving, always moving, retraining every week.

A cold store waits where P(price goes UP) is at or above a threshold; to wait in vain costs 1, not to wait where the
price is dear costs 2 (see `streameval.demo.elec2`). Every policy decides each half-hour with what was known before it:
a published threshold acts from its record's logical time on, a model from when its last label was known.

Three models: frozen after eight weeks; learnt anew every week from the eight before; and frozen until the daemon asks,
then learnt anew from the window that it suggests, or from eight weeks where that is shorter. The versions of the last
one live their own lives in the daemon.

Run: python tests/demo/bench_worth.py
"""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import numpy as np

from streameval import records
from streameval.config import load
from streameval.daemon.replay import replay
from streameval.demo import elec2
from streameval.transport.opening import open_transport

WEEK = 7 * elec2.DAY
WINDOW = 12 * WEEK
KNOWN = elec2.DAY + 2
"""Rows until a label is known, for certain."""
FP, FN = 1.0, 2.0


def epoch(row: int) -> int:
    return round((elec2.START + row * elec2.STEP).timestamp() * 1000)


def frozen(market):
    return [(row, score, "0") for row, score in elec2.scored(market, lambda _done, _total: None)]


def weekly(market):
    made = []
    for first in range(elec2.TRAINED, len(market), WEEK):
        model = elec2.learnt(market, max(first - KNOWN - 8 * WEEK, elec2.DAY), first - KNOWN)
        last = min(first + WEEK, len(market))
        made += [(row, model.predict_proba_one(elec2.features(market, row))[True], "0") for row in range(first, last)]
    return made


def published(market, made):
    """The data and times of what the daemon publishes about a model: (thresholds, requests for retraining)."""
    with tempfile.TemporaryDirectory() as folder:
        elec2.write(Path(folder), market, made)
        config = load(Path(folder) / "streameval.yaml")
        transport = open_transport(config)
        try:
            replay(config, transport, Path(folder) / "out")
        finally:
            transport.close()
        found = []
        for topic in ("thresholds", "retrain"):
            lines = (Path(folder) / "out" / f"{topic}.jsonl").read_bytes().splitlines()
            events = [records.read(line) for line in lines if b'"data":' in line]
            found.append([(records.epoch_ms(event.time), event.data) for event in events])
        return found


def on_request(market):
    """The predictions of a model that is learnt anew when the daemon asks, and how often it was."""
    made, version, since = frozen(market), 0, 0
    while True:
        _, asked = published(market, made)
        mine = [(at, data) for at, data in asked if data.version == str(version) and at > since]
        if not mine:
            return made, version
        since, request = mine[0]
        first = next(row for row in range(elec2.TRAINED, len(market)) if epoch(row) >= since)
        began = (records.epoch_ms(request.window.from_) - epoch(0)) // (epoch(1) - epoch(0))
        begin = max(min(began, first - KNOWN - 8 * WEEK), elec2.DAY)
        model = elec2.learnt(market, begin, first - KNOWN)
        version += 1
        made = made[: first - elec2.TRAINED] + [
            (row, model.predict_proba_one(elec2.features(market, row))[True], str(version))
            for row in range(first, len(market))
        ]


def prospective(market, made, said, *, segments):
    """The threshold in force at each prediction: the newest of its version (and segment), else the version's first."""
    threshold = np.full(len(made), 0.5)
    keys = {}
    for at, data in said:
        keys.setdefault((data.version, data.segment), []).append((at, data.threshold))
    for place, (row, _, version) in enumerate(made):
        now = epoch(row)
        daytime = f"daytime={elec2.daytime(market[row].period)}"
        for segment in (daytime, "*") if segments else ("*",):
            in_force = [value for at, value in keys.get((version, segment), ()) if at <= now]
            if in_force:
                threshold[place] = in_force[-1]
                break
    return threshold


def always_argmin(score, up):
    """Every week the threshold that cost least over the last window."""
    threshold = np.full(len(score), 0.5)
    for first in range(WEEK, len(score), WEEK):
        rows = slice(max(first - KNOWN - WINDOW, 0), first - KNOWN)
        threshold[first:] = best(score[rows], up[rows])
    return threshold


def best(score, up):
    """The threshold that costs least on these events."""
    order = np.argsort(score)
    ranked, y = score[order], up[order]
    cost = np.concatenate(([FP * (~y).sum()], FP * (~y).sum() + np.cumsum(np.where(y, FN, -FP))))
    at = int(np.argmin(cost))
    return float(ranked[at]) if at < len(ranked) else 1.1


def cost(score, up, threshold):
    positive = score >= threshold
    return float((FP * (positive & ~up) + FN * (~positive & up)).mean())


def rows(market, made):
    score = np.array([round(score, 6) for _, score, _ in made])
    up = np.array([market[row].up for row, _, _ in made])
    said, asked = published(market, made)
    whole = prospective(market, made, said, segments=False)
    own = prospective(market, made, said, segments=True)
    moves = sum(data.segment == "*" and data.previous is not None for _, data in said)
    yield "never move (.5)", cost(score, up, 0.5), ""
    yield "1/3, by the costs alone", cost(score, up, 1 / 3), ""
    yield "always argmin, weekly", cost(score, up, always_argmin(score, up)), f"{(len(score) - 1) // WEEK} moves"
    yield "streameval, the whole", cost(score, up, whole), f"{moves} moves, {len(asked)} requests"
    yield "streameval, by segment", cost(score, up, own), f"{len(said) - 5} records"
    yield "best one threshold, in hindsight", cost(score, up, best(score, up)), "not to be had"


def main() -> None:
    market = elec2.rows()
    requested, times = on_request(market)
    models = {
        "frozen": frozen(market),
        "learnt anew every week": weekly(market),
        f"learnt anew when asked ({times} times)": requested,
    }
    base = None
    print(
        f"Elec2, {len(market) - elec2.TRAINED:,} half-hours; cost per decision, and its share of never moving (frozen)"
    )
    for name, made in models.items():
        print(f"\n{name}")
        for policy, paid, note in rows(market, made):
            base = paid if base is None else base
            print(f"  {policy:34}{paid:8.4f}{paid / base:8.3f}  {note}")


if __name__ == "__main__":
    began = dt.datetime.now(tz=dt.UTC)
    main()
    print(f"\n{(dt.datetime.now(tz=dt.UTC) - began).total_seconds():.0f} s")
