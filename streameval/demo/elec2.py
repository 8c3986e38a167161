"""The electricity market of New South Wales: 42,624 predictions of a frozen model, with outcomes a day later.

Data: `elec2.csv.gz`, 45,312 half-hours from 7 May 1996 on; M. Harries, "SPLICE-2 comparative evaluation: electricity
pricing", UNSW 1999, in J. Gama's normalised version (OpenML 151, public). The label is 1 (UP) where the price stands
above its average over the last 24 hours; 57.5 % of all labels are 0. It drifts, and nobody has labelled where.

Story: a cold store may put off cooling for half an hour when power is dear. For each half-hour a model gives P(UP), and
at or above the threshold the store waits. To wait without need costs 1 (the cold must be made up later), to run through
a dear half-hour costs 2. The true price is settled a day later, and that is when outcomes come.

The model is River's logistic regression on standardised price and demand, now and a day before, learnt on the first
eight weeks and then *frozen*, as most models in service are. Nothing is tuned to make it fail: in 1997 Victoria's
market joins, prices change their nature, and a model of 1996 gets worse without being told.

Invariant: the same bytes on every run. Outcomes come a day and up to 40 minutes later, in order of their arrival (so
not quite in order of their predictions); 1 in 200 never comes, 1 in 100 is sent twice. One seed decides all of it.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import random
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import msgspec
from river import compose, linear_model, optim, preprocessing

START = dt.datetime(1996, 5, 7, tzinfo=dt.timezone(dt.timedelta(hours=10)))
"""Time of the first row; the market's own time, ten hours ahead of UTC."""
STEP = dt.timedelta(minutes=30)
DAY = 48
"""Rows a day."""
TRAINED = 8 * 7 * DAY
"""Rows that the model learns from: eight weeks."""
SEED = 7

CONFIG = """\
# Written by `streameval demo`: a model of electricity prices, frozen after eight weeks, on real data.
transport: {kind: logdir, path: ./events}
state: ./state
interval: 30m                                # the market's own step
models:
  - name: price-up
    task: binary
    threshold: 0.5                           # in force at the start
    objective: {kind: cost, fp: 1, fn: 2}    # to wait without need costs 1, to run through a dear half-hour 2
    labels: {wait: 2d, missing: drop}        # settled a day later; what has not come after two days never will
    segments: [daytime]
    reference: {events: 4032, positives: 250}          # twelve weeks
    evaluate: {events: 336, every: 14d, window: 4032, river: [GeometricMean]}   # a step a week, windows of twelve
    calibration: {half_life: 4032}
    drift: {own_actions: never}              # a cold store does not move the price of a whole market
    thresholds: {cooldown: 2016}
    retraining: {cooldown: 60d}
"""


class Row(NamedTuple):
    """One half-hour of the market, all numbers scaled to 0..1: time of day, price and demand, and whether it was UP."""

    period: float
    price: float
    demand: float
    up: bool


def rows() -> list[Row]:
    """All 45,312 half-hours in order.

    >>> len(rows()), sum(row.up for row in rows()[:48])
    (45312, 21)
    """
    packed = resources.files("streameval.demo").joinpath("elec2.csv.gz").read_bytes()
    lines = csv.DictReader(io.StringIO(gzip.decompress(packed).decode()))
    return [
        Row(
            period=float(line["period"]),
            price=float(line["nswprice"]),
            demand=float(line["nswdemand"]),
            up=line["class"] == "1",
        )
        for line in lines
    ]


def prepare(directory: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write event logs and a configuration into `directory` and return the configuration's path.

    `events/predictions/0.jsonl`, `events/outcomes/0.jsonl` and `streameval.yaml` are made new. `progress`, if given, is
    called now and then with (rows done, rows in all). Takes a few seconds. Raises `OSError` where it may not write.
    """
    market = rows()
    told = progress or (lambda _done, _total: None)
    write(directory, market, ((number, score, "0") for number, score in scored(market, told)))
    told(len(market), len(market))
    return directory / "streameval.yaml"


def write(directory: Path, market: list[Row], made_by: Iterable[tuple[int, float, str]]) -> None:
    """Write the logs of any model of the market, from (row, P(UP), version), and the configuration.

    Raises `OSError` where it may not write.
    """
    encoder = msgspec.json.Encoder()
    predictions, outcomes = io.BytesIO(), io.BytesIO()
    for number, score, version in made_by:
        made = START + number * STEP
        event = {
            "id": _id(number),
            "model": "price-up",
            "ts": made.isoformat(),
            "score": round(score, 6),
            "segments": {"daytime": daytime(market[number].period)},
        }
        # The first version is the contract's default, which needs no name.
        predictions.write(encoder.encode(event if version == "0" else event | {"version": version}) + b"\n")
    for arrival, number in arrivals(len(market)):
        outcome = {"id": _id(number), "ts": arrival.isoformat(), "label": int(market[number].up)}
        outcomes.write(encoder.encode(outcome) + b"\n")
    for topic, log in (("predictions", predictions), ("outcomes", outcomes)):
        (directory / "events" / topic).mkdir(parents=True, exist_ok=True)
        (directory / "events" / topic / "0.jsonl").write_bytes(log.getvalue())
    (directory / "streameval.yaml").write_text(CONFIG, encoding="utf-8")


def learnt(market: list[Row], first: int, last: int) -> compose.Pipeline:
    """The model that has learnt the rows from `first` >= 48 up to `last`, that one left out."""
    model = compose.Pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(optim.SGD(0.05)))
    for number in range(first, last):
        model.learn_one(features(market, number), market[number].up)
    return model


def scored(market: list[Row], told: Callable[[int, int], None]) -> Iterator[tuple[int, float]]:
    """(row, P(UP)) of every row after those that the model learns from."""
    model = learnt(market, DAY, TRAINED)
    for number in range(TRAINED, len(market)):
        if number % 2000 == 0:
            told(number, len(market))
        yield number, model.predict_proba_one(features(market, number))[True]


def features(market: list[Row], number: int) -> dict[str, float]:
    """What is known at row `number` >= 48: the hour, and price and demand now and a day before."""
    now, before = market[number], market[number - DAY]
    return {
        "hour": now.period,
        "price": now.price,
        "demand": now.demand,
        "price a day before": before.price,
        "demand a day before": before.demand,
    }


def arrivals(total: int) -> list[tuple[dt.datetime, int]]:
    """(time, row) of each outcome in order of arrival; a lost one is not there, one sent twice stands twice."""
    chance = random.Random(SEED)  # noqa: S311 - a story, not a secret
    found = []
    for number in range(TRAINED, total):
        settled = START + (number + DAY) * STEP
        copies = chance.choices((1, 0, 2), (0.985, 0.005, 0.01))[0]
        found += [(settled + dt.timedelta(seconds=chance.randrange(2400)), number) for _ in range(copies)]
    return sorted(found)


def daytime(period: float) -> str:
    """The quarter of the day, from the time of day as a share.

    >>> daytime(0.0), daytime(0.5)
    ('night', 'afternoon')
    """
    return ("night", "morning", "afternoon", "evening")[min(int(period * 4), 3)]


def _id(number: int) -> str:
    return f"nsw-{number}"
