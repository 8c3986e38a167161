"""The join as its description reads: one event after the other, in the order of logical time, with plain objects."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

Times = Callable[[int], int]


@dataclass
class Prediction:
    lt: int
    part: int
    seq: int
    ts: int
    id_hash: int
    score: float
    kind: int
    version: int


@dataclass
class Outcome:
    lt: int
    part: int
    seq: int
    ts: int
    id_hash: int
    label: float
    kpis: dict[str, float]
    matched: bool = False


@dataclass
class Row:
    p: Prediction
    start: int
    fields: dict[str, tuple[int, float]] = field(default_factory=dict)
    first_label: int | None = None


class Oracle:
    """`run(until)` gives the lists of acts with logical time < until; counters as attributes."""

    def __init__(self, *, interval, wait, amend, early, give_up, missing, kpis=()):
        self.interval, self.wait, self.amend, self.early = interval, wait, amend, early
        self.give_up, self.missing, self.kpis = give_up, missing, kpis
        self.rows: list[Row] = []
        self.maturity: dict[int, int] = {}
        self.gave_up: dict[int, bool] = {}
        self.closed, self.matured, self.amendments, self.late_ones, self.labelled = [], [], [], [], []
        self.seen: list[Outcome] = []
        self.taken = self.duplicates = self.duplicates_differing = self.matched = self.orphans = 0
        self.amended = self.repeated = self.late = self.unlabelled = self.expired = 0
        self.first_label = None
        self.stalled_since = None

    def run(self, predictions: list[Prediction], outcomes: list[Outcome], times: Times, until: int) -> None:
        predictions = sorted((p for p in predictions if p.lt < until), key=lambda p: (p.lt, p.part, p.seq))
        outcomes = sorted((o for o in outcomes if o.lt < until), key=lambda o: (o.lt, o.part, o.seq))
        starts = {p.ts // self.interval * self.interval for p in predictions}
        moments = {p.lt for p in predictions} | {o.lt for o in outcomes}
        moments |= {s + self.interval for s in starts} | {self.deadline(s, times)[0] for s in starts}
        for now in sorted(t for t in moments if t < until):
            for p in predictions:
                if p.lt == now:
                    self.predict(p)
            for o in outcomes:
                if o.lt == now:
                    self.seen.append(o)
                    for row in self.rows:
                        if row.p.id_hash == o.id_hash and self.retained(row, now):
                            self.give(row, o)
            for s in starts:
                if s + self.interval == now:
                    members = self.members(s)
                    if members:
                        self.closed.append((s, now, [(r.p.ts, r.p.id_hash, r.p.score, r.p.kind) for r in members]))
            self.mature(now, times)
        self.orphans = sum(not o.matched and o.lt + self.early < until for o in outcomes)
        self.expired = sum(r.start in self.maturity and self.maturity[r.start] + self.amend < until for r in self.rows)
        waiting = sorted({r.start for r in self.rows} - set(self.maturity))
        if waiting:
            x = waiting[0] + self.interval + self.wait
            if max([x, *self.maturity.values()]) < until:
                self.stalled_since = x

    def members(self, start):
        return sorted((r for r in self.rows if r.start == start), key=lambda r: (r.p.ts, r.p.id_hash, r.p.kind))

    def retained(self, row, t):
        return row.start not in self.maturity or t <= self.maturity[row.start] + self.amend

    def predict(self, p: Prediction) -> None:
        self.taken += 1
        for row in self.rows:
            if (row.p.id_hash, row.p.version) == (p.id_hash, p.version) and self.retained(row, p.lt):
                self.duplicates += 1
                self.duplicates_differing += (row.p.ts, row.p.score, row.p.kind) != (p.ts, p.score, p.kind)
                return
        start = p.ts // self.interval * self.interval
        if self.counts_as_matured(start, p.lt):
            self.late += 1
            self.late_ones.append((p.lt, p.part, p.ts, p.kind))
            return
        row = Row(p, start)
        self.rows.append(row)
        for o in self.seen:
            if o.id_hash == p.id_hash and p.lt <= o.lt + self.early:
                self.give(row, o)

    def counts_as_matured(self, start, t):
        if start in self.maturity:
            return True
        if any(r.start == start for r in self.rows):
            return False
        if any(r.start < start and r.start not in self.maturity for r in self.rows):
            return False
        before = [m for s, m in self.maturity.items() if s < start]
        return max([start + self.interval, *before]) < t

    def give(self, row: Row, o: Outcome) -> None:
        if not o.matched:
            o.matched = True
            self.matched += 1
        given = {"label": o.label, **{k: o.kpis.get(k, math.nan) for k in self.kpis}}
        old = self.visible(row)
        known = set(row.fields)
        for name, value in given.items():
            if math.isnan(value):
                continue
            if name == "label":
                self.first_label = o.lt if self.first_label is None else min(self.first_label, o.lt)
                if row.first_label is None and row.start not in self.maturity:
                    self.labelled.append((max(o.lt, row.p.lt), row.start, row.p.ts, row.p.kind, int(value)))
                row.first_label = o.lt if row.first_label is None else row.first_label
            if name not in row.fields or (o.ts, value) > row.fields[name]:
                row.fields[name] = (o.ts, value)
        new = self.visible(row)
        changed = {name for name in new if old.get(name) != new[name]}
        if not changed:
            self.repeated += 1
        elif row.start in self.maturity:
            self.amended += 1
            self.amendments.append(
                (
                    o.lt,
                    row.start,
                    row.p.ts,
                    row.p.id_hash,
                    row.p.score,
                    row.p.kind,
                    int(old.get("label", -1)),
                    int(new.get("label", -1)),
                    *tuple((old.get(k), new.get(k)) for k in self.kpis),
                )
            )
        elif changed & known:
            self.amended += 1

    def visible(self, row):
        values = {name: value for name, (_, value) in row.fields.items()}
        if self.missing == "negative" and row.start in self.maturity and not self.gave_up[row.start]:
            values.setdefault("label", 0.0)
        return values

    def deadline(self, start, times):
        x = start + self.interval + self.wait
        proof = times(x)
        if proof > x + self.give_up:
            return x + self.give_up, True
        return max(x, proof), False

    def mature(self, now, times):
        while waiting := sorted({r.start for r in self.rows} - set(self.maturity)):
            start = waiting[0]
            deadline, gave_up = self.deadline(start, times)
            members = self.members(start)
            if now < start + self.interval:
                return
            if now < deadline and any(r.first_label is None for r in members):
                return
            self.unlabelled += sum("label" not in r.fields for r in members)
            self.maturity[start], self.gave_up[start] = now, gave_up
            rows = []
            for r in members:
                values = self.visible(r)
                rows.append(
                    (
                        r.p.ts,
                        r.p.id_hash,
                        r.p.score,
                        r.p.kind,
                        int(values.get("label", -1)),
                        *tuple(values.get(k) for k in self.kpis),
                    )
                )
            self.matured.append((start, now, rows))
