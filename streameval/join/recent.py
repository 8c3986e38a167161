"""Recent outcomes: every outcome, matched or not, until no prediction that may still come could claim it.

An outcome serves all versions that scored its id, and a prediction may come up to `early` after it: so all are kept
until T > logical time + early; what matched nothing by then is an orphan. 20 to 24 bytes each, and 8 a KPI.

Invariant: outcomes of one logical time lie in one run, there by (hash, lt, part, order read).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streameval.join.blob import Load
from streameval.join.run import Run, narrow
from streameval.join.tiers import due
from streameval.order import distinct, order_by

Column = NDArray[Any]
I64 = NDArray[np.int64]


class Recent:
    """Recent outcomes of one model; see the module."""

    def __init__(self, early: int, kpis: int) -> None:
        self.early = early
        self.names = ["part", "label", *(f"value{i}" for i in range(kpis))]
        self.runs: list[Run] = []
        self.now = 0
        self._uid = 0
        self._orphans = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all runs."""
        return sum(run.nbytes for run in self.runs)

    @property
    def orphans(self) -> int:
        """Outcomes that matched nothing and no longer can."""
        return self._orphans + sum(self._lost(run) for run in self.runs)

    def _lost(self, run: Run) -> int:
        if run.base["lt"] + self.early >= self.now:
            return 0
        old = run.fixed["lt"].astype(np.int64) < self.now - self.early - run.base["lt"]
        return int(np.count_nonzero(old & ~run.live["matched"]))

    def count_from(self, orphans: int) -> None:
        """Take the number of orphans for known: what is held now was read anew."""
        self._orphans = 0
        self._orphans = orphans - self.orphans

    def run(self, columns: dict[str, Column]) -> Run:
        """A run of the outcomes given in the order read (`hash`, `lt`, `ts`, `part`, `label`, `value0`...)."""
        order = order_by(columns["hash"], columns["lt"], columns["part"])
        return self._run({name: column[order] for name, column in columns.items()}, np.zeros(len(order), bool))

    def _run(self, columns: dict[str, Column], matched: NDArray[np.bool_]) -> Run:
        lt_base, lt = narrow(columns["lt"])
        ts_base, ts = narrow(columns["ts"])
        fixed = {"hash": columns["hash"], "lt": lt, "ts": ts, **{name: columns[name] for name in self.names}}
        return Run(-1, {"lt": lt_base, "ts": ts_base}, fixed, {"matched": matched})

    @staticmethod
    def column(runs: list[Run], name: str, run: I64, row: I64) -> Column:
        """One column (absolute where it is a time) of the outcomes named by `run` and `row`, int64[n] each."""
        kinds: dict[str, Any] = {
            "lt": np.int64,
            "ts": np.int64,
            "part": np.uint16,
            "label": np.int8,
            "matched": np.bool_,
        }
        out: Column = np.zeros(len(run), kinds.get(name, np.float64))
        for position, one in enumerate(runs):
            of = run == position
            if of.any():
                values = (one.live if name in one.live else one.fixed)[name][row[of]]
                out[of] = values.astype(np.int64) + one.base[name] if name in one.base else values
        return out

    def matched(self, runs: list[Run], run: I64, row: I64) -> int:
        """Mark outcomes as matched; how many were not before."""
        new = 0
        for position, one in enumerate(runs):
            rows = row[run == position]
            rows = distinct(rows[~one.live["matched"][rows]])
            if len(rows):
                one.live["matched"][rows] = True
                one.touch(rows)
                new += len(rows)
        return new

    def settle(self, run: Run, now: int) -> None:
        """Take a run of outcomes in, drop runs whose outcomes are all too old, and merge small ones."""
        self.now = now
        if len(run):
            self._append(run)
        kept = []
        for one in self.runs:
            if one.base["lt"] + int(one.fixed["lt"].max()) + self.early < now:
                self._orphans += self._lost(one)
            else:
                kept.append(one)
        self.runs = kept
        while count := due([len(one) for one in self.runs]):
            parts = self.runs[-count:]
            del self.runs[-count:]
            self._merge(parts)

    def _append(self, run: Run) -> None:
        run.uid = self._uid
        self._uid += 1
        self.runs.append(run)

    def _merge(self, parts: list[Run]) -> None:
        self._orphans += sum(self._lost(part) for part in parts)
        keep = [part.fixed["lt"].astype(np.int64) + part.base["lt"] + self.early >= self.now for part in parts]
        columns: dict[str, Column] = {}
        for name in ("hash", "lt", "ts", *self.names):
            values = [part.fixed[name][kept] for part, kept in zip(parts, keep, strict=True)]
            if name in ("lt", "ts"):
                values = [value.astype(np.int64) + part.base[name] for value, part in zip(values, parts, strict=True)]
            columns[name] = np.concatenate(values)
        matched = np.concatenate([part.live["matched"][kept] for part, kept in zip(parts, keep, strict=True)])
        order = order_by(columns["hash"], columns["lt"], columns["part"])
        if len(order):
            self._append(self._run({name: column[order] for name, column in columns.items()}, matched[order]))

    def export(self, known: set[str], blobs: dict[str, Column]) -> dict[str, Any]:
        """Add the blobs that are not in `known` and return what refers to all of them."""
        runs = [run.export("recent", known, blobs) for run in self.runs]
        return {"uid": self._uid, "now": self.now, "orphans": self._orphans, "runs": runs}

    def restore(self, meta: dict[str, Any], load: Load) -> None:
        """Take up what `export` described."""
        self._uid, self.now, self._orphans = meta["uid"], meta["now"], meta["orphans"]
        self.runs = [Run.restore(run, load) for run in meta["runs"]]
