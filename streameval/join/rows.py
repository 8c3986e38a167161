"""Retained rows: predictions that wait for outcomes or for corrections, in runs.

Invariant: runs hold rows in the order of logical time in which they joined (older run, earlier rows), and within a run
by id hash; rows of cohorts up to `floor` are gone, whether or not their bytes still are. A row takes 36 bytes with its
share of the filter, 12 a KPI (4 more where its times lie further apart than 32 bits of ms) and 1 a tag (2, 4 or 8 where
the run holds tags from 2^8, 2^16 or 2^32 on).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streameval.join.blob import Load
from streameval.join.latest import latest
from streameval.join.pauses import NEVER
from streameval.join.run import Run, narrow, search, smallest
from streameval.join.tiers import due
from streameval.order import chronological, order_by

Column = NDArray[Any]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

_TYPES: dict[str, Any] = {
    "hash": np.uint64,
    "score": np.float64,
    "ts": np.int64,
    "kind": np.int32,
    "version": np.int16,
    "label": np.int8,
}
_BEFORE = 2**30  # label times are kept relative to 12 days before the run, which leaves 37 days after it in 32 bits


class Rows:
    """The retained rows of one model; see the module."""

    def __init__(self, interval: int, kpis: tuple[str, ...], tags: int = 0) -> None:
        self.interval = interval
        self.kpis = kpis
        self.tags = [f"tag{i}" for i in range(tags)]
        self.floor = -NEVER
        self.runs: list[Run] = []
        self._uid = 0
        self._cohorts: dict[int, tuple[I64, I64]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all runs."""
        return sum(run.nbytes for run in self.runs) + sum(a.nbytes + b.nbytes for a, b in self._cohorts.values())

    def add(
        self, columns: dict[str, Column], label: NDArray[np.int8], label_ts: I64, kpis: list[tuple[F64, I64]]
    ) -> None:
        """Add rows (`hash`, `score`, `ts`, `kind`, `version`, tags; sorted by hash) as a run of their own."""
        ts: I64 = columns["ts"]
        base, delta = narrow(ts)
        fixed = {
            "hash": columns["hash"],
            "score": columns["score"],
            "ts": delta,
            "kind": columns["kind"],
            "order": chronological(ts, columns["hash"], columns["kind"]).astype(np.uint32),
            "version": columns["version"],
            **{name: smallest(columns[name]) for name in self.tags},
        }
        live: dict[str, Column] = {}
        origin = base - _BEFORE
        for i, (value, value_ts) in enumerate(kpis):
            live[f"value{i}"] = value
            live[f"value{i}_ts"] = _relative(value_ts, origin, ~np.isnan(value))
        live["label_ts"] = _relative(label_ts, origin, label >= 0)
        live["label"] = label
        self.runs.append(Run(self._uid, {"ts": base, "field": origin}, fixed, live))
        self._uid += 1

    def add_new(self, columns: dict[str, Column]) -> None:
        """Add rows without any outcome."""
        n = len(columns["hash"])
        none = [(np.full(n, np.nan), np.zeros(n, np.int64)) for _ in self.kpis]
        self.add(columns, np.full(n, -1, np.int8), np.zeros(n, np.int64), none)

    def find(self, hashes: NDArray[np.uint64]) -> tuple[I64, I64, I64]:
        """`(needle, run, row)` of the rows with these hashes (ascending) that are not gone."""
        needle, run, row = search(self.runs, hashes)
        if len(needle):
            alive = self.column("ts", run, row) >= self.floor + self.interval
            if not alive.all():
                return needle[alive], run[alive], row[alive]
        return needle, run, row

    def column(self, name: str, run: I64, row: I64) -> Column:
        """One column (`ts` absolute) of the rows named by `run` and `row`, int64[n] each."""
        out: Column = np.zeros(len(run), _TYPES.get(name, np.uint64))
        for position in _distinct(run):
            of = run == position
            one = self.runs[position]
            values = (one.live if name in one.live else one.fixed)[name][row[of]]
            if name == "ts":
                out[of] = values.astype(np.int64) + one.base["ts"]
            else:
                out[of] = values
        return out

    def apply(self, run: I64, row: I64, labels: tuple[F64, I64], kpis: list[F64]) -> tuple[list[F64], list[F64]]:
        """Apply outcomes, sorted by (run, row, order to apply).

        Args: `run`, `row` int64[n]; `labels` = (label float64[n], nan none; ts int64[n]); `kpis` per KPI float64[n].
        Returns per field (label, then KPIs) the values before and after each outcome, float64[n], nan for none.
        """
        value, ts = labels
        before: list[F64] = [np.full(len(run), np.nan) for _ in range(1 + len(kpis))]
        after: list[F64] = [np.full(len(run), np.nan) for _ in range(1 + len(kpis))]
        for position in _distinct(run):
            low, high = np.searchsorted(run, [position, position + 1])
            of = slice(low, high)
            rows = row[of]
            first = np.ones(len(rows), bool)
            first[1:] = rows[1:] != rows[:-1]
            group = np.cumsum(first) - 1
            rows = rows[first]
            one = self.runs[position]
            origin = one.base["field"]
            one.touch(rows)
            for i, given in enumerate([value, *kpis]):
                name = "label" if i == 0 else f"value{i - 1}"
                held = one.live[name][rows].astype(np.float64)
                if i == 0:
                    held[held < 0] = np.nan
                held_ts = one.live[f"{name}_ts"][rows].astype(np.int64) + origin
                old, new, final, final_ts = latest(group, given[of], ts[of], held, held_ts)
                before[i][of], after[i][of] = old, new
                has = ~np.isnan(final)
                one.live[name][rows] = np.where(has, final, -1).astype(np.int8) if i == 0 else final
                _store(one, f"{name}_ts", rows[has], final_ts[has] - origin)
        return before, after

    def cohorts(self, low: int, high: int, but: NDArray[np.bool_] | None = None) -> dict[str, Column]:
        """All rows of the cohorts whose start lies in `low..high` (both included), by (ts, hash, kind).

        `but` bool[rows of the newest run] leaves rows out. Columns: `ts`, `hash`, `score`, `kind`, `label`, `value0`...
        and `tag0`...
        """
        names = ["hash", "score", "kind", "label", *(f"value{i}" for i in range(len(self.kpis))), *self.tags]
        parts: list[dict[str, Column]] = []
        for position, run in enumerate(self.runs):
            starts, bounds = self._cohorts_of(run)
            first, last = np.searchsorted(starts, low, "left"), np.searchsorted(starts, high, "right")
            if first >= last:
                continue
            rows = run.fixed["order"][bounds[first] : bounds[last]]
            if but is not None and position == len(self.runs) - 1:
                rows = rows[~but[rows]]
            if len(rows):
                part = {name: (run.live if name in run.live else run.fixed)[name][rows] for name in names}
                part["ts"] = run.fixed["ts"][rows].astype(np.int64) + run.base["ts"]
                parts.append(part)
        if not parts:
            return {"ts": np.zeros(0, np.int64)}
        if len(parts) == 1:
            return parts[0]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in [*names, "ts"]}
        order = chronological(columns["ts"], columns["hash"], columns["kind"])
        return {name: column[order] for name, column in columns.items()}

    def _cohorts_of(self, run: Run) -> tuple[I64, I64]:
        """Starts of the run's cohorts and the bounds of their rows in its `order`."""
        found = self._cohorts.get(run.uid)
        if found is None:
            ts = run.fixed["ts"][run.fixed["order"]].astype(np.int64) + run.base["ts"]
            number = ts // self.interval
            first = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))
            found = number[first] * self.interval, np.append(first, len(ts))
            self._cohorts[run.uid] = found
        return found

    def settle(self) -> None:
        """Drop runs of which nothing is left, and merge small ones. Positions of rows change."""
        self.runs = [run for run in self.runs if len(run) and self._cohorts_of(run)[0][-1] > self.floor]
        while count := due([len(run) for run in self.runs]):
            parts = self.runs[-count:]
            del self.runs[-count:]
            self._merge(parts)
        if len(self._cohorts) > len(self.runs):
            held = {run.uid for run in self.runs}
            self._cohorts = {uid: found for uid, found in self._cohorts.items() if uid in held}

    def _merge(self, parts: list[Run]) -> None:
        alive = self.floor + self.interval

        def all_of(name: str, base: str | None = None) -> Column:
            columns = []
            for run, keep in zip(parts, kept, strict=True):
                column = (run.live if name in run.live else run.fixed)[name][keep]
                columns.append(column if base is None else column.astype(np.int64) + run.base[base])
            merged: Column = np.concatenate(columns)[order]
            return merged

        kept = [_kept(run.fixed["ts"], alive - run.base["ts"]) for run in parts]
        order: Any = slice(None)
        order = order_by(all_of("hash"), all_of("kind"))
        if len(order):
            columns = {name: all_of(name) for name in ("hash", "score", "kind", "version", *self.tags)}
            columns["ts"] = all_of("ts", "ts")
            kpis = [(all_of(f"value{i}"), all_of(f"value{i}_ts", "field")) for i in range(len(self.kpis))]
            self.add(columns, all_of("label"), all_of("label_ts", "field"), kpis)

    def export(self, known: set[str], blobs: dict[str, Column]) -> dict[str, Any]:
        """Add the blobs that are not in `known` and return what refers to all of them."""
        return {"uid": self._uid, "floor": self.floor, "runs": [run.export("rows", known, blobs) for run in self.runs]}

    def restore(self, meta: dict[str, Any], load: Load) -> None:
        """Take up what `export` described."""
        self._uid, self.floor = meta["uid"], meta["floor"]
        self.runs = [Run.restore(run, load) for run in meta["runs"]]


def _distinct(run: I64) -> list[int]:
    return [int(position) for position in np.flatnonzero(np.bincount(run))] if len(run) else []


def _kept(delta: Column, least: int) -> Any:
    """Rows to keep: all of them as a slice, which copies nothing, in the usual case."""
    keep = delta.astype(np.int64) >= least
    return slice(None) if keep.all() else keep


def _relative(times: I64, origin: int, has: NDArray[np.bool_]) -> Column:
    """Times relative to `origin`, 0 where there is none; uint32 where all fit, else int64."""
    delta = np.where(has, times - origin, 0)
    if len(delta) and (int(delta.min()) < 0 or int(delta.max()) >= 2**32):
        return delta
    return delta.astype(np.uint32)


def _store(run: Run, name: str, rows: I64, delta: I64) -> None:
    column = run.live[name]
    if column.dtype == np.uint32 and len(delta) and (int(delta.min()) < 0 or int(delta.max()) >= 2**32):
        column = run.live[name] = column.astype(np.int64)
        run.rewrite()
    column[rows] = delta
