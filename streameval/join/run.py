"""A run: rows sorted by the hash of their id, in columns, found by vectorised search.

Invariant: `fixed` columns never change after the run is made; `live` columns do, and every change is noted in
`touched`, so that a checkpoint writes fixed columns once and of the live ones only what changed.

A bitmap of hash prefixes (8 to 16 bits a row) answers most lookups of absent ids. Needles come sorted, so bitmap and
hashes are read in one direction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streameval.join.blob import Layout, Load, pack, unpack
from streameval.order import distinct

U64 = NDArray[np.uint64]
Index = NDArray[np.int64]
Column = NDArray[Any]

_FILTERED = 512  # below this a search costs less than the filter
_JOURNAL_SHARE = 0.25  # live columns are written anew when their journals hold more than this share of the rows


def narrow(values: NDArray[np.int64]) -> tuple[int, Column]:
    """`(base, values - base)`, as uint32 where the span allows (49 days of ms), else int64.

    >>> base, column = narrow(np.array([1000, 1007]))
    >>> base, column.tolist(), str(column.dtype)
    (1000, [0, 7], 'uint32')
    """
    if not len(values):
        return 0, np.zeros(0, np.uint32)
    base = int(values.min())
    if int(values.max()) - base < 2**32:
        return base, (values - base).astype(np.uint32)
    return base, values - base


def smallest(values: Column) -> Column:
    """Unsigned values in the smallest type that holds them all.

    >>> str(smallest(np.array([7, 255])).dtype), str(smallest(np.array([256])).dtype)
    ('uint8', 'uint16')
    """
    return values.astype(np.min_scalar_type(int(values.max())) if len(values) else np.uint8)


class Run:
    """Rows sorted by `fixed["hash"]`; see the module."""

    __slots__ = (
        "_bits",
        "_generation",
        "_journals",
        "_shift",
        "_stored",
        "_twins",
        "base",
        "fixed",
        "live",
        "touched",
        "uid",
    )

    def __init__(self, uid: int, base: dict[str, int], fixed: dict[str, Column], live: dict[str, Column]) -> None:
        self.uid = uid
        self.base = base
        self.fixed = fixed
        self.live = live
        self.touched: list[Index] = []
        self._generation = -1
        self._stored: list[Any] | None = None  # [name, layout] of the last full write of the live columns
        self._journals: list[list[Any]] = []  # [name, layout, rows] of changes since
        hashes = fixed["hash"]
        self._twins = bool((hashes[1:] == hashes[:-1]).any())
        self._bits: NDArray[np.uint8] | None = None
        self._shift = np.uint64(0)
        if len(hashes) >= _FILTERED:
            size = (16 * len(hashes)).bit_length() - 1
            self._shift = np.uint64(64 - size)
            marks = np.zeros(1 << size, bool)
            marks[hashes >> self._shift] = True
            self._bits = np.packbits(marks, bitorder="little")

    def __len__(self) -> int:
        return len(self.fixed["hash"])

    @property
    def nbytes(self) -> int:
        """Bytes of all columns and of the filter."""
        columns = sum(c.nbytes for c in self.fixed.values()) + sum(c.nbytes for c in self.live.values())
        return columns + (0 if self._bits is None else self._bits.nbytes)

    def find(self, needles: U64) -> tuple[Index, Index]:
        """All rows with one of the hashes.

        Args: `needles` uint64[n], ascending. Returns `(needle, row)`, int64[found] each, in no stated order.
        """
        hashes: U64 = self.fixed["hash"]
        asked: Index | None = None
        if self._bits is not None:
            at = needles >> self._shift
            byte = self._bits[at >> np.uint64(3)]
            asked = np.flatnonzero((byte >> (at & np.uint64(7)).astype(np.uint8)) & np.uint8(1))
            needles = needles[asked]
        row = np.searchsorted(hashes, needles)
        row[row == len(hashes)] = len(hashes) - 1
        hit = np.flatnonzero(hashes[row] == needles)
        row, needle = row[hit], hit if asked is None else asked[hit]
        if not self._twins or not len(row):
            return needle, row
        after = row + 1
        after[after == len(hashes)] = 0
        several = np.flatnonzero((hashes[after] == hashes[row]) & (after > 0))
        if not len(several):
            return needle, row
        first = row[several]
        extra = np.searchsorted(hashes, hashes[first], "right") - first - 1
        offset = np.arange(extra.sum()) - np.repeat(np.cumsum(extra) - extra, extra)
        needle = np.concatenate([needle, np.repeat(needle[several], extra)])
        return needle, np.concatenate([row, np.repeat(first, extra) + 1 + offset])

    def touch(self, rows: Index) -> None:
        """Note that the live columns of these rows changed."""
        self.touched.append(rows.astype(np.uint32))

    def rewrite(self) -> None:
        """Write the live columns in full at the next export (their types changed)."""
        self._stored = None

    def export(self, prefix: str, known: set[str], blobs: dict[str, Column]) -> dict[str, Any]:
        """Add the blobs that are not in `known` and return what refers to all of them."""
        name = f"{prefix}{self.uid}"
        fixed, layout = name, _layout(self.fixed)
        if name not in known:
            blobs[name], _ = pack(self.fixed)
        if self.live:
            self._export_live(name, known, blobs)
        return {
            "uid": self.uid,
            "base": dict(self.base),
            "fixed": [fixed, layout],
            "generation": self._generation,
            "live": self._stored,
            "journals": [list(journal) for journal in self._journals],
        }

    def _export_live(self, name: str, known: set[str], blobs: dict[str, Column]) -> None:
        rows = distinct(np.concatenate(self.touched)) if self.touched else np.zeros(0, np.uint32)
        self.touched = []
        noted = len(rows) + sum(journal[2] for journal in self._journals)
        lost = self._stored is None or self._stored[0] not in known or any(j[0] not in known for j in self._journals)
        if lost or noted > _JOURNAL_SHARE * len(self):
            self._generation += 1
            self._journals = []
            full = f"{name}.{self._generation}"
            blobs[full], layout = pack(self.live)
            self._stored = [full, layout]
        elif len(rows):
            journal = f"{name}.{self._generation}.{len(self._journals)}"
            blobs[journal], layout = pack({"row": rows, **{key: column[rows] for key, column in self.live.items()}})
            self._journals.append([journal, layout, len(rows)])

    @classmethod
    def restore(cls, meta: dict[str, Any], load: Load) -> Run:
        """The run that `export` described."""
        name, layout = meta["fixed"]
        live: dict[str, Column] = {}
        if meta["live"] is not None:
            live = unpack(load(meta["live"][0]), meta["live"][1], writable=True)
            for journal, journal_layout, _ in meta["journals"]:
                changes = unpack(load(journal), journal_layout)
                rows = changes.pop("row")
                for key, column in changes.items():
                    live[key][rows] = column
        run = cls(meta["uid"], dict(meta["base"]), unpack(load(name), layout), live)
        run._generation = meta["generation"]
        run._stored = meta["live"]
        run._journals = [list(journal) for journal in meta["journals"]]
        return run


def _layout(columns: dict[str, Column]) -> Layout:
    return [[name, column.dtype.str, len(column)] for name, column in columns.items()]


def search(runs: list[Run], needles: U64, keep: Callable[[Run], bool] | None = None) -> tuple[Index, Index, Index]:
    """All rows of all runs with one of the hashes.

    Args: `needles` uint64[n], ascending. Returns `(needle, run, row)`, int64[found] each.
    """
    needle_parts, run_parts, row_parts = [], [], []
    if len(needles):
        for position, run in enumerate(runs):
            if not len(run) or (keep is not None and not keep(run)):
                continue
            needle, row = run.find(needles)
            if len(needle):
                needle_parts.append(needle)
                row_parts.append(row)
                run_parts.append(np.full(len(row), position, np.int64))
    if not needle_parts:
        none = np.zeros(0, np.int64)
        return none, none, none
    return np.concatenate(needle_parts), np.concatenate(run_parts), np.concatenate(row_parts)
