"""Columns: what one partition's batch looks like before and after decoding.

Invariant: all arrays of one object have the same length and stay in offset order, so `take` with an ascending index
keeps log order. Times are epoch milliseconds. Source: design, "The way of an event".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

I16: TypeAlias = NDArray[np.int16]
I32: TypeAlias = NDArray[np.int32]
I64: TypeAlias = NDArray[np.int64]
U64: TypeAlias = NDArray[np.uint64]
F64: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = Mask | NDArray[np.int64] | slice

ANY_MODEL = -1
"""`Outcomes.model` of an outcome that names no model: it is meant for every model's prediction."""

OTHER_MODEL = -2
"""The `model` of an event for a model that is not configured here."""


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
class Texts:
    """A column of texts, few of which differ.

    Attributes:
        code: int32[n], index into `distinct`.
        distinct: the texts that stand in the column, in order of first appearance.

    >>> column = Texts.of(["b", "a", "b"])
    >>> column.code.tolist(), column.distinct, column.take(np.array([1, 2])).distinct
    ([0, 1, 0], ['b', 'a'], ['a', 'b'])
    """

    code: I32
    distinct: list[str]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """The column of n texts."""
        distinct = list(dict.fromkeys(texts))
        if len(distinct) < 2:
            return cls(np.zeros(len(texts), np.int32), distinct)
        codes = {text: code for code, text in enumerate(distinct)}
        return cls(np.fromiter(map(codes.__getitem__, texts), np.int32, len(texts)), distinct)

    def take(self, rows: Rows) -> Self:
        """The given rows (a mask, indices or a slice)."""
        code = self.code[rows]
        if len(self.distinct) < 2 and len(code):
            return type(self)(code, self.distinct)
        first = np.full(len(self.distinct), len(code), np.int64)
        # Of several values for one place numpy keeps the last, which backwards is the first.
        first[code[::-1]] = np.arange(len(code))[::-1]
        order = np.argsort(first)[: np.count_nonzero(first < len(code))]
        anew = np.empty(len(first), np.int32)
        anew[order] = np.arange(len(order), dtype=np.int32)
        return type(self)(anew[code], [self.distinct[place] for place in order.tolist()])

    def state(self) -> list[Any]:
        """Plain values for `restore`."""
        return [self.code, self.distinct]

    @classmethod
    def restore(cls, state: list[Any]) -> Self:
        """The inverse of `state`."""
        return cls(*state)


@dataclass(slots=True)
class Predictions:
    """Decoded predictions of one partition's batch.

    Attributes:
        topic: the topic.
        partition: the partition.
        offset: int64[n].
        ts: int64[n], event time.
        id_hash: uint64[n], of the id's UTF-8 (see `streameval.events.ids`).
        score: float64[n] in [0, 1] (never -0.0); nan where `model` is -2.
        record_ts: int64[n], -1 where the log has none.
        model: int16[n], index into the decoder's models; -2 = one that is not configured here (the row still moves the
            clock).
        version: n versions; "" where `model` is -2.
        segments: n values each, of the first, second, ... segment name of the row's own model; "" where it has none.
        propensity: float64[n], P(the label will be observed), nan where none is given; None where no model asks for it.
    """

    topic: str
    partition: int
    offset: I64
    ts: I64
    id_hash: U64
    score: F64
    record_ts: I64
    model: I16
    version: Texts
    segments: list[Texts]
    propensity: F64 | None = None

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: Rows) -> Predictions:
        """The given rows (a mask, indices or a slice)."""
        return Predictions(
            self.topic,
            self.partition,
            self.offset[rows],
            self.ts[rows],
            self.id_hash[rows],
            self.score[rows],
            self.record_ts[rows],
            self.model[rows],
            self.version.take(rows),
            [column.take(rows) for column in self.segments],
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
        id_hash: uint64[n], of the id's UTF-8; 0 for a heartbeat.
        record_ts: int64[n], -1 where the log has none.
        model: int16[n], index into the decoder's models; -1 = any model; -2 = one that is not configured here.
        label: float64[n], 0.0 or 1.0; nan = none.
        kpis: every KPI name that some model configures -> float64[n]; nan = not given.
        heartbeat: bool[n], whether it says nothing but that labels flow up to its time (for its model, or for all).
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
    heartbeat: Mask

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
            self.heartbeat[rows],
        )
