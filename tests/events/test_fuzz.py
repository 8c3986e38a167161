"""Whatever bytes come, decoding answers: a row within its bounds, a rejection that tells no string, or a tombstone."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from streameval.config import Config
from streameval.engine.publisher import Publisher
from streameval.events import Batch, Decoder, ModelSpec, RejectionLedger, TopicMapping
from streameval.events.contract import NAME_CHARACTERS, OTHER, WHOLE
from streameval.events.rejected import REASONS
from streameval.events.timestamps import EARLIEST, LATEST
from streameval.plain import is_plain
from tests.events.hostile import SECRET, Hostile

SCALE = 0.01
SPECS = [
    ModelSpec("fraud", segments=("country",), kpis={"revenue": SCALE}, propensity=True),
    ModelSpec("churn", kpis={"clicks": 1.0}),
]
MAPPINGS = [
    TopicMapping("mapped", "prediction", fields={"segments.country": "segments.country", "features.x": "features.b"}),
    TopicMapping("mapped", "outcome", fields={"values.revenue": "values.revenue"}),
]
PUBLISHER = Publisher(
    Config.model_validate({"transport": {"kind": "logdir", "path": "e"}, "models": [{"name": "fraud"}]}), "1"
)
BATCH = 200


def decoder() -> Decoder:
    return Decoder(SPECS, MAPPINGS, id_key=b"k" * 32)


def check(seed: int, messages: int) -> Counter[str]:
    """Hostile messages through the decoder, native and mapped; how often each reason was given, and "row"."""
    hostile, found = Hostile(seed), Counter()
    for number in range(0, messages, BATCH):
        event = ("prediction", "outcome")[number // BATCH % 2]
        topic = ("native", "mapped")[number // BATCH // 2 % 2]
        values = [hostile.message(event) for _ in range(BATCH)]
        found += batch(topic, event, values)
    return found


def batch(topic: str, event: str, values: list[bytes | None]) -> Counter[str]:
    reader = decoder()
    read = reader.predictions if event == "prediction" else reader.outcomes
    rows, rejected = read(Batch(topic, 0, np.arange(len(values)), values, None))
    told = [bad.offset for bad in rejected if bad.reason != "unknown_model"]
    gone = [offset for offset, value in enumerate(values) if value is None]
    assert sorted([*rows.offset.tolist(), *told, *gone]) == list(range(len(values)))
    assert {bad.offset for bad in rejected if bad.reason == "unknown_model"} <= set(rows.offset.tolist())
    assert reader.tombstones == len(gone)
    for bad in rejected:
        assert bad.reason in REASONS
        assert SECRET not in bad.detail or bad.reason == "unknown_model", (bad.detail, bad.payload)
        assert is_plain(bad.detail), bad.detail
        assert len(bad.detail) < 400
        assert bad.payload == values[bad.offset]
    assert ((rows.ts >= EARLIEST) & (rows.ts < LATEST)).all()
    if event == "prediction":
        known = rows.model >= 0
        assert ((rows.score >= 0) & (rows.score <= 1))[known].all()
        assert not np.isfinite(rows.score[~known]).any()
        names = [text for column in (rows.version, *rows.segments) for text in column.distinct]
        assert all(len(text) <= NAME_CHARACTERS and is_plain(text) and text != OTHER for text in names)
        given = rows.propensity[~np.isnan(rows.propensity)]
        assert ((given > 0) & (given <= 1)).all()
    else:
        assert np.isin(rows.label[~np.isnan(rows.label)], [0.0, 1.0]).all()
        mine = np.isin(rows.model, [-1, 0])
        assert not (np.abs(rows.kpis["revenue"][mine]) > SCALE * WHOLE).any()
        assert not any(np.isinf(column).any() for column in rows.kpis.values())
        assert (rows.id_hash[rows.heartbeat] == 0).all()
    ledger = RejectionLedger("full", per_interval=1000)
    for data in ledger.add(rejected, [0] * len(rejected)):
        record = PUBLISHER.rejected(data).value
        assert len(record) <= 65_536
        assert json.loads(record)["data"]["reason"] == data["reason"]
    return Counter(bad.reason for bad in rejected) + Counter(row=len(rows))


def alone(topic: str, event: str, values: list[bytes | None]) -> None:
    """Each message of a batch for itself is what it was among the others."""
    reader = decoder()
    read = reader.predictions if event == "prediction" else reader.outcomes
    rows, rejected = read(Batch(topic, 0, np.arange(len(values)), values, None))
    cut_rows, cut_rejected = [], []
    for first, last in pairwise(range(len(values) + 1)):
        part, bad = read(Batch(topic, 0, np.arange(first, last), values[first:last], None))
        cut_rows += plain(part)
        cut_rejected += bad
    assert cut_rows == plain(rows)
    assert cut_rejected == rejected


def plain(rows) -> list[tuple]:
    columns = [rows.offset, rows.ts, rows.id_hash]
    if hasattr(rows, "segments"):
        columns += [rows.model, map(repr, rows.score), map(repr, rows.propensity)]
        names = [[column.distinct[code] for code in column.code] for column in (rows.version, *rows.segments)]
        # A batch has as many columns of segments as its models need.
        columns.append([(*row, *[""] * (4 - len(row))) for row in zip(*names, strict=True)])
    else:
        columns += [
            rows.model,
            map(repr, rows.label),
            *(map(repr, column) for column in rows.kpis.values()),
            rows.heartbeat,
        ]
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_hostile_messages_are_rows_within_bounds_or_rejections_that_tell_nothing_of_people(seed):
    found = check(seed, 4_000)
    assert found["row"] > 500
    assert len(found) > 18, found


@pytest.mark.parametrize("topic", ["native", "mapped"])
@pytest.mark.parametrize("event", ["prediction", "outcome"])
def test_what_a_hostile_message_becomes_depends_on_nothing_beside_it(topic, event):
    hostile = Hostile(99)
    alone(topic, event, [hostile.message(event) for _ in range(600)])


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_million_hostile_messages():
    found = Counter()
    for seed in range(100, 200):
        found += check(seed, 10_000)
    print({reason: found[reason] for reason in sorted(found, key=found.__getitem__, reverse=True)})
    assert sum(found.values()) > 1_000_000
