"""Columns: what one partition's batch looks like before and after decoding.

Invariant: all arrays of one object have the same length and stay in offset order, so `take` with an ascending index
keeps log order. Times are epoch milliseconds. Source: design, "The way of an event".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

I16: TypeAlias = NDArray[np.int16]
I32: TypeAlias = NDArray[np.int32]
I64: TypeAlias = NDArray[np.int64]
U64: TypeAlias = NDArray[np.uint64]
F64: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.bool_] | NDArray[np.int64]
Kind: TypeAlias = tuple[str, str, tuple[str, ...]]
"""(model, version, segment values in the order of the model's configured segment names; "" = not given)."""

NO_MODEL = -1
"""`Predictions.kind` of a row whose model is not configured here."""

ANY_MODEL = -1
"""`Outcomes.model` of an outcome that names no model: it is meant for every model's prediction."""

OTHER_MODEL = -2
"""`Outcomes.model` of an outcome for a model that is not configured here."""


class Refused(NamedTuple):
    """Messages that a transport has but cannot hand over: so many, from one offset to `last`.

    `reason` and `detail` are a rejection's (see `streameval.events.rejected`), and like it a function of the log.
    """

    reason: str
    detail: str
    last: int
    messages: int


@dataclass(slots=True)
class Batch:
    """Messages of one partition as a transport read them.

    Attributes:
        topic: the topic.
        partition: the partition.
        offsets: int64[n], ascending.
        values: n messages; None is a tombstone.
        timestamps: int64[n] record timestamps in ms (negative: none for this one), or None where the log has none.
        refused: first offset -> messages that could not be handed over; they are one row, whose value is None.
    """

    topic: str
    partition: int
    offsets: I64
    values: list[bytes | None]
    timestamps: I64 | None = None
    refused: Mapping[int, Refused] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def part(self, first: int, end: int) -> Batch:
        """The rows ``first`` up to ``end``."""
        offsets = self.offsets[first:end]
        return Batch(
            self.topic,
            self.partition,
            offsets,
            self.values[first:end],
            None if self.timestamps is None else self.timestamps[first:end],
            {offset: self.refused[offset] for offset in self.refused if offset in offsets},
        )


@dataclass(slots=True)
class Predictions:
    """Decoded predictions of one partition's batch.

    Attributes:
        topic: the topic.
        partition: the partition.
        offset: int64[n].
        ts: int64[n], event time.
        id_hash: uint64[n], xxh3_64 of the id's UTF-8.
        score: float64[n] in [0, 1] (never -0.0); nan where `kind` is -1.
        record_ts: int64[n], -1 where the log has none.
        kind: int32[n], index into `kinds`; -1 = a model that is not configured here (the row still moves the clock).
        kinds: the distinct kinds of this batch, in order of first appearance.
        propensity: float64[n], P(the label will be observed), nan where none is given; None where no model asks for it.
    """

    topic: str
    partition: int
    offset: I64
    ts: I64
    id_hash: U64
    score: F64
    record_ts: I64
    kind: I32
    kinds: list[Kind]
    propensity: F64 | None = None

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: Rows) -> Predictions:
        """The given rows (a mask, or indices); `kinds` stays whole, so codes keep their meaning."""
        return Predictions(
            self.topic,
            self.partition,
            self.offset[rows],
            self.ts[rows],
            self.id_hash[rows],
            self.score[rows],
            self.record_ts[rows],
            self.kind[rows],
            self.kinds,
            None if self.propensity is None else self.propensity[rows],
        )


@dataclass(slots=True)
class Outcomes:
    """Decoded outcomes of one partition's batch.

    Attributes:
        topic: the topic.
        partition: the partition.
        offset: int64[n].
        ts: int64[n], event time.
        id_hash: uint64[n], xxh3_64 of the id's UTF-8.
        record_ts: int64[n], -1 where the log has none.
        model: int16[n], index into the decoder's models; -1 = any model; -2 = one that is not configured here.
        label: float64[n], 0.0 or 1.0; nan = none.
        kpis: every KPI name that some model configures -> float64[n]; nan = not given.
    """

    topic: str
    partition: int
    offset: I64
    ts: I64
    id_hash: U64
    record_ts: I64
    model: I16
    label: F64
    kpis: dict[str, F64]

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: Rows) -> Outcomes:
        """The given rows (a mask, or indices)."""
        return Outcomes(
            self.topic,
            self.partition,
            self.offset[rows],
            self.ts[rows],
            self.id_hash[rows],
            self.record_ts[rows],
            self.model[rows],
            self.label[rows],
            {name: column[rows] for name, column in self.kpis.items()},
        )
