"""The join as its description reads: one event after the other, in the order of logical time, with plain objects."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

import streameval.join.flow as flow_module
import streameval.join.proof as proof_module

FOREVER = 10**15


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
    heartbeat: bool = False
    matched: bool = False


@dataclass
class Row:
    p: Prediction
    start: int
    fields: dict[str, tuple[int, float]] = field(default_factory=dict)
    first_label: int | None = None


@dataclass
class Source:
    last: int
    block: int
    limit: int
    signs: int = 1
    missed: bool = False
    longest: list[int] = field(default_factory=lambda: [0])


class Flow:
    """Pauses of the labels, one sign after the other."""

    def __init__(self, interval, wait, give_up):
        self.interval, self.give_up = interval, give_up
        self.block = max(3 * interval, min(wait // 8, 86_400_000))
        self.sources: dict[str | int, Source] = {}
        self.pauses: list[tuple[int, int]] = []
        self.lasts: list[tuple[int, int, int]] = []

    def hear(self, at, parts):
        """All signs of one moment."""
        for key in ["all"] * len(parts) + sorted(parts):
            source = self.sources.get(key)
            if source is None:
                if key == "all":
                    self.pause(-FOREVER, -FOREVER, at)
                self.sources[key] = Source(at, at // self.block, 3 * self.interval, missed=key == "all")
                continue
            silence = at - source.last
            if silence >= self.interval or at // self.block != source.block:
                if silence > source.limit and source.missed:
                    self.pause(source.last, source.last + source.limit, at)
                taught = silence if len(source.longest) < flow_module.TRUSTED else min(silence, 2 * source.limit)
                for _ in range(source.block + 1, at // self.block + 1):
                    source.longest.append(0)
                source.longest = source.longest[-flow_module.BLOCKS :]
                spanned = at // self.block - source.last // self.block + 1
                source.longest = [
                    max(one, taught) if place >= len(source.longest) - spanned else one
                    for place, one in enumerate(source.longest)
                ]
                source.block = at // self.block
                usual = sorted(source.longest)[3 * len(source.longest) // 4]
                more = 0 if key == "all" else 7 * int(math.log2(len(self.sources) - 1))
                source.limit = max(3 * self.interval, usual * (20 + more) // 10)
                if key != "all":
                    light = self.sources["all"].signs // flow_module.LIGHT
                    source.missed = source.signs + 1 >= max(flow_module.ESTABLISHED, light)
                    self.drop_beside({key, *parts}, at)
            source.last = at
            source.signs += 1

    def drop_beside(self, heard, at):
        for other in [other for other in self.sources if other != "all" and other not in heard]:
            source = self.sources[other]
            if at - source.last > source.limit + self.give_up:
                if source.missed:
                    self.pause(source.last, source.last + source.limit, at)
                del self.sources[other]

    def pause(self, last, begin, end):
        self.pauses.append((begin, end))
        self.lasts.append((last, begin, end))

    def silent(self):
        """Since when the labels are silent (or will be, if nothing is heard), and the last sign before."""
        known = [(s.last + s.limit, s.last) for s in self.sources.values() if s.missed]
        return min(known, default=(-FOREVER, -FOREVER))

    def paused(self, t):
        """Whether the moment up to t does not count."""
        return self.silent()[0] < t or any(begin < t <= end for begin, end in self.pauses)


class Oracle:
    """`run(until)` gives the lists of acts with logical time < until; counters as attributes.

    It lives through every moment, so the times should be small.
    """

    def __init__(self, *, interval, wait, amend, early, give_up, missing, kpis=(), leaps=()):
        self.interval, self.wait, self.amend, self.early = interval, wait, amend, early
        self.give_up, self.missing, self.kpis, self.leaps = give_up, missing, kpis, leaps
        self.rows: list[Row] = []
        self.maturity: dict[int, int] = {}
        self.unproven_ones: set[int] = set()
        self.closed, self.matured, self.amendments, self.late_ones, self.labelled = [], [], [], [], []
        self.seen: list[Outcome] = []
        self.taken = self.duplicates = self.duplicates_differing = self.matched = self.orphans = 0
        self.amended = self.repeated = self.late = self.unlabelled = self.unproven = self.expired = 0
        self.first_label = None
        self.stalled_since = None
        self.flow = Flow(interval, wait, give_up)
        self.signs: list[int] = []
        self.ages: list[int] = []
        self.flowing: list[int] = []  # moments that count as ones in which labels flow
        self.held_to = self.muted_to = self.judged_to = self.held_from = -FOREVER
        self.lacking: set[int] = set()
        self.snapshot: list[tuple[int, int, int]] = []
        self.spans = [[0, 0], [0, 0]]
        self.oldest, self.waited = 0, False
        self.negatives = missing == "drop"

    def run(self, predictions: list[Prediction], outcomes: list[Outcome], until: int) -> None:
        predictions = sorted((p for p in predictions if p.lt < until), key=lambda p: (p.lt, p.part, p.seq))
        outcomes = sorted((o for o in outcomes if o.lt < until), key=lambda o: (o.lt, o.part, o.seq))
        starts = sorted({p.ts // self.interval * self.interval for p in predictions})
        times = [e.lt for e in (*predictions, *outcomes)]
        for now in range(min(times, default=until) - 1, until):
            if not self.flow.paused(now):
                self.flowing.append(now)
            for p in predictions:
                if p.lt == now:
                    self.predict(p)
            for o in outcomes:
                if o.lt == now and o.heartbeat:
                    self.signs.append(o.part)
                elif o.lt == now:
                    self.seen.append(o)
                    for row in self.rows:
                        if row.p.id_hash == o.id_hash and self.retained(row, now):
                            self.give(row, o)
            if self.signs:
                self.flow.hear(now, sorted(self.signs))
                self.signs = []
            self.resume(now)
            for s in starts:
                if s + self.interval == now:
                    members = self.members(s)
                    if members:
                        self.closed.append((s, now, [(r.p.ts, r.p.id_hash, r.p.score, r.p.kind) for r in members]))
            self.mature(now)
            self.oldest = max([self.oldest, *self.ages])
            self.ages = []
            self.remember()
        self.orphans = sum(not o.matched and o.lt + self.early < until for o in self.seen)
        self.expired = sum(r.start in self.maturity and self.maturity[r.start] + self.amend < until for r in self.rows)
        waiting = self.open()
        if waiting:
            x = waiting[0] + self.interval + self.wait
            if max([x, self.flow.silent()[0], *self.maturity.values()]) < until:
                self.stalled_since = x

    def open(self):
        return sorted({r.start for r in self.rows} - set(self.maturity))

    def flowed(self, since, now):
        return bisect_right(self.flowing, now) - bisect_right(self.flowing, since)

    def unleapt(self, since, now):
        return now - since - sum(max(min(end, now) - max(begin, since), 0) for begin, end in self.leaps)

    def resume(self, now):
        """Labels flow again: hold what may have lost some."""
        begun = [begin for begin, end in self.flow.pauses if end == now]
        if not begun or self.flow.silent()[0] <= now:
            return
        begin = min(begun)
        while wider := [b for b, e in self.flow.pauses if b < begin <= e]:
            begin = min(wider)
        last = min(last for last, one, other in self.flow.lasts if begin <= one and other <= now)
        rows = sum(n for start, n, _ in self.snapshot if begin < start + self.interval <= now)
        n, k = (sum(span[i] for span in self.spans) for i in (0, 1))
        muted = self.muted_to == FOREVER
        if muted or k < proof_module.KNOWN or rows * k >= proof_module.EXPECTED * n:
            self.held_from = last if self.held_to == -FOREVER else self.held_from
            self.held_to = now
        if muted:
            self.muted_to = now

    def remember(self):
        """Of the open cohorts: their rows that were there by the end, and how many have a label."""
        self.snapshot = []
        for start in self.open():
            members = [r for r in self.members(start) if r.p.lt <= start + self.interval]
            self.snapshot.append((start, len(members), sum(r.first_label is not None for r in members)))

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
                if row.first_label is None and row.start not in self.maturity:
                    if value == 0 and row.p.lt <= row.start + self.interval:
                        self.negatives = True
                    age = max(o.lt, row.p.lt) - row.start - self.interval
                    if age <= self.wait and row.p.lt <= row.start + self.interval:
                        self.signs.append(o.part)
                        self.ages.append(age)
                row.first_label = o.lt if row.first_label is None else row.first_label
            if name not in row.fields or (o.ts, value) > row.fields[name]:
                row.fields[name] = (o.ts, value)
        new = self.visible(row)
        changed = {name for name in new if old.get(name) != new[name]}
        if not changed:
            self.repeated += 1
        elif row.start in self.maturity:
            self.amended += 1
            if row.start in self.unproven_ones:
                return
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
        if row.start in self.maturity and self.missing == "negative" and row.start not in self.unproven_ones:
            values.setdefault("label", 0.0)
        return values

    def mature(self, now):
        if self.held_to > -FOREVER and self.flowed(self.held_to, now) >= self.wait:
            self.judge()
        muted = self.muted_to == FOREVER
        over = {start for start in self.open() if self.gives_up(start, now)}
        silent = self.flow.silent()[1]
        has_all = {
            start
            for start in self.open()
            if silent - start - self.interval >= self.oldest and start + self.interval > self.held_to and self.waited
        }
        if over - has_all:
            self.muted_to = FOREVER
        while waiting := self.open():
            start = waiting[0]
            end = start + self.interval
            members = self.members(start)
            if now < end:
                return
            recognised = end > self.muted_to and self.negatives
            complete = all(r.first_label is not None for r in members) and recognised
            by_waiting = unproven = False
            if start in self.lacking:
                unproven = True
            elif end <= self.judged_to:
                by_waiting = not complete
            elif complete:
                pass
            elif end > self.held_to and self.flowed(end, now) >= self.wait:
                by_waiting = True
            elif start in over:
                unproven = muted or start not in has_all
                by_waiting = not unproven
            else:
                return
            self.maturity[start] = now
            self.waited |= by_waiting
            if unproven:
                self.unproven_ones.add(start)
                self.unproven += len(members)
            else:
                labels = sum("label" in r.fields for r in members)
                self.spans[1] = [self.spans[1][0] + len(members), self.spans[1][1] + labels]
                if self.spans[1][1] >= proof_module.SPAN:
                    self.spans = [self.spans[1], [0, 0]]
            self.unlabelled += sum("label" not in r.fields or unproven for r in members)
            rows = []
            for r in members:
                values = self.visible(r)
                rows.append(
                    (
                        r.p.ts,
                        r.p.id_hash,
                        r.p.score,
                        r.p.kind,
                        -1 if unproven else int(values.get("label", -1)),
                        *tuple(values.get(k) for k in self.kpis),
                    )
                )
            self.matured.append((start, now, rows))

    def gives_up(self, start, now):
        end, silent = start + self.interval, self.flow.silent()[0]
        if silent >= now or end > now or (end > self.held_to and self.flowed(end, now) >= self.wait):
            return False
        return self.unleapt(end, now) >= self.wait + self.give_up and self.unleapt(silent, now) >= self.give_up

    def judge(self):
        """Labels have flowed for a whole wait since they were silent: which of what is held has too few?"""
        n, k = (sum(span[i] for span in self.spans) for i in (0, 1))
        held = [entry for entry in self.snapshot if entry[0] + self.interval <= self.held_to]
        if k < proof_module.KNOWN:
            n = sum(rows for start, rows, _ in self.snapshot if start + self.interval > self.held_to)
            k = sum(labels for start, _, labels in self.snapshot if start + self.interval > self.held_to)
        share = proof_module.LabelledShare(n, k)
        rows, labelled = (np.array([entry[i] for entry in held], np.int64) for i in (1, 2))
        if proof_module.lost(rows, labelled, share):
            age = self.oldest if self.waited else self.wait
            touched = {start for start in self.open() if start + self.interval <= self.held_to}
            self.lacking |= {start for start in touched if start + self.interval > self.held_from - age}
        self.judged_to = self.held_to
        self.held_to = self.muted_to = -FOREVER
