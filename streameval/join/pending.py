"""Pending: events that were read ahead of the clock T, until T passes their logical time.

Invariant: `take(t)` gives exactly the events with logical time < t that were not given before, those of one
partition with one logical time in the order they were read. Nothing is given early: what the join does is thereby a
function of the events and of T, whatever partition was read first.

Holding them costs no more than the rows they become. Chunks are sorted by logical time, so taking is slicing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streameval.join.blob import Layout, Load, pack, unpack
from streameval.join.tiers import due

Column = NDArray[Any]
Columns = dict[str, Column]


class _Chunk:
    __slots__ = ("at", "columns", "lt", "uid")

    def __init__(self, uid: int, columns: Columns, at: int = 0) -> None:
        self.uid = uid
        self.columns = columns
        self.lt = columns["lt"]
        self.at = at

    def left(self) -> Columns:
        return {name: column[self.at :] for name, column in self.columns.items()}


def _by_time(columns: Columns) -> Columns:
    lt = columns["lt"]
    if (lt[1:] >= lt[:-1]).all():
        return columns
    order = np.argsort(lt, kind="stable")
    return {name: column[order] for name, column in columns.items()}


class Pending:
    """A queue of columns by logical time `lt`; see the module."""

    def __init__(self, empty: Columns) -> None:
        self._empty = empty
        self._chunks: list[_Chunk] = []
        self._uid = 0

    def __len__(self) -> int:
        return sum(len(chunk.lt) - chunk.at for chunk in self._chunks)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns held."""
        return sum(column.nbytes for chunk in self._chunks for column in chunk.columns.values())

    def add(self, columns: Columns) -> None:
        """Queue events in the order read (`lt` int64[n] among the columns, all the same length)."""
        if not len(columns["lt"]):
            return
        self._append(_by_time(columns))
        while count := due([len(chunk.lt) - chunk.at for chunk in self._chunks]):
            parts = [chunk.left() for chunk in self._chunks[-count:]]
            del self._chunks[-count:]
            self._append(_by_time({name: np.concatenate([part[name] for part in parts]) for name in self._empty}))

    def _append(self, columns: Columns) -> None:
        self._chunks.append(_Chunk(self._uid, columns))
        self._uid += 1

    def limit(self, until: int, most: int) -> int:
        """A time <= `until` before which about `most` events wait at the utmost (more only where times tie)."""
        share = max(1, most // max(1, len(self._chunks)))
        for chunk in self._chunks:
            if chunk.at + share < len(chunk.lt):
                until = min(until, int(chunk.lt[chunk.at + share]))
        return until

    def earliest(self) -> int | None:
        """The smallest logical time that waits."""
        return min((int(chunk.lt[chunk.at]) for chunk in self._chunks), default=None)

    def peek(self, until: int) -> Columns:
        """The events with lt < `until`, in the order read within one partition and logical time."""
        parts = []
        for chunk in self._chunks:
            if chunk.lt[chunk.at] < until:
                end = int(np.searchsorted(chunk.lt, until))
                parts.append({name: column[chunk.at : end] for name, column in chunk.columns.items()})
        if not parts:
            return self._empty
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._empty}

    def drop(self, until: int) -> None:
        """Forget the events with lt < `until`."""
        kept = []
        for chunk in self._chunks:
            if chunk.lt[chunk.at] < until:
                chunk.at = int(np.searchsorted(chunk.lt, until))
            if chunk.at < len(chunk.lt):
                kept.append(chunk)
        self._chunks = kept

    def export(self, prefix: str, known: set[str], blobs: dict[str, Column]) -> dict[str, Any]:
        """Add the blobs that are not in `known` and return what refers to all of them."""
        chunks: list[list[Any]] = []
        for chunk in self._chunks:
            name = f"{prefix}{chunk.uid}"
            layout: Layout = [[key, column.dtype.str, len(column)] for key, column in chunk.columns.items()]
            if name not in known:
                blobs[name], _ = pack(chunk.columns)
            chunks.append([chunk.uid, name, layout, chunk.at])
        return {"uid": self._uid, "chunks": chunks}

    def restore(self, meta: dict[str, Any], load: Load) -> None:
        """Take up what `export` described."""
        self._uid = meta["uid"]
        self._chunks = [_Chunk(uid, unpack(load(name), layout), at) for uid, name, layout, at in meta["chunks"]]
