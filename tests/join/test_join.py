"""The join equals its plain description, whatever the batches, the order of reading, the calls and the restarts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Oracle, Outcome, Prediction

import streameval.join.flow as flow_module
import streameval.join.join as join_module
import streameval.join.proof as proof_module
import streameval.join.run as run_module
import streameval.join.tiers as tiers_module
from streameval.join import NEVER, Advance, Join, Pauses

COUNTERS = (
    "taken",
    "duplicates",
    "duplicates_differing",
    "matched",
    "orphans",
    "amended",
    "repeated",
    "late",
    "unlabelled",
    "unproven",
    "expired",
    "first_label",
    "stalled_since",
)


def nothing(value):
    return None if math.isnan(value) else float(value)


def plain(acts: Advance, kpis):
    """Acts as the oracle writes them."""

    def cohorts(table, matured):
        out = []
        for j in range(len(table)):
            rows = []
            for i in range(table.bounds[j], table.bounds[j + 1]):
                row = (int(table.ts[i]), int(table.id_hash[i]), float(table.score[i]), int(table.kind[i]))
                if matured:
                    row += (int(table.label[i]), *(nothing(table.kpis[k][i]) for k in kpis))
                rows.append(row)
            out.append((int(table.start[j]), int(table.at[j]), rows))
        return out

    a = acts.amended
    amended = [
        (
            int(a.at[i]),
            int(a.start[i]),
            int(a.ts[i]),
            int(a.id_hash[i]),
            float(a.score[i]),
            int(a.kind[i]),
            int(a.old_label[i]),
            int(a.new_label[i]),
            *tuple((nothing(a.old_kpis[k][i]), nothing(a.new_kpis[k][i])) for k in kpis),
        )
        for i in range(len(a))
    ]
    late = [
        tuple(int(v) for v in row)
        for row in zip(acts.late.at, acts.late.part, acts.late.ts, acts.late.kind, strict=True)
    ]
    return cohorts(acts.closed, False), cohorts(acts.matured, True), amended, late, labelled_rows(acts)


def labelled_rows(acts):
    found = acts.labelled
    columns = (found.at, found.start, found.ts, found.kind, found.label)
    return sorted(tuple(int(v) for v in row) for row in zip(*columns, strict=True))


def logs(draw_events, lateness):
    """Partition logs with logical times as a reader would find them: lt = max(ts, clock before)."""
    parts = {}
    for part, events in draw_events.items():
        top, log = -(10**9), []
        for seq, (ts, *rest) in enumerate(events):
            lt = max(ts, top - lateness)
            top = max(top, ts)
            log.append((seq, ts, lt, max(lt, top - lateness), *rest))
        parts[part] = log
    return parts


HEARTBEAT = 9.0
times = st.integers(0, 300)
ids = st.integers(1, 6)
labels = st.sampled_from([0.0, 1.0, 1.0, math.nan, HEARTBEAT])
values = st.sampled_from([math.nan, 1.0, 2.5])
predictions = st.lists(st.tuples(times, ids, st.sampled_from([0.25, 0.5]), st.integers(0, 2)), max_size=14)
outcomes = st.lists(st.tuples(times, ids, labels, values), max_size=14)


@st.composite
def streams(draw):
    """A feed with a name for each prediction, as real ones have it: labels after a while, silent now and then."""
    n = draw(st.integers(10, 60))
    gap, delay = draw(st.integers(1, 6)), draw(st.integers(0, 40))
    silent, back = sorted(draw(st.tuples(times, times)))
    lost, late = draw(st.booleans()), draw(st.booleans())
    only_positives = draw(st.booleans())
    chance = draw(st.randoms(use_true_random=False))
    ps, os = {0: [], 2: []}, {1: [], 3: []}
    for i in range(n):
        at = i * gap
        ps[2 * (i % 2)].append((at, 100 + i, 0.5, 0))
        label = float(chance.random() < 0.6)
        came = at + chance.randint(0, delay)
        if label or not only_positives:
            if silent < came <= back:
                if lost:
                    continue
                came = back + (chance.randint(0, 5) if late else 0)
            os[chance.choice([1, 1, 3])].append((came, 100 + i, label, math.nan))
    if draw(st.booleans()):
        os[1] += [(at, 1, HEARTBEAT, math.nan) for at in range(0, 300, draw(st.integers(5, 60)))]
    return ps, {part: sorted(log) for part, log in os.items()}


@st.composite
def worlds(draw):
    config = {
        "interval": draw(st.sampled_from([1, 7, 20])),
        "wait": draw(st.sampled_from([0, 30, 120])),
        "amend": draw(st.sampled_from([0, 15, 100])),
        "early": draw(st.sampled_from([0, 10, 80])),
        "give_up": draw(st.sampled_from([1, 25, 90])),
        "missing": draw(st.sampled_from(["negative", "drop"])),
        "kpis": draw(st.sampled_from([(), ("revenue",), ("clicks", "revenue")])),
    }
    if draw(st.booleans()):
        ps, os = draw(streams())
    else:
        ps = {part: draw(predictions) for part in (0, 2)}
        os = {part: draw(outcomes) for part in (1, 3)}
        if draw(st.booleans()):
            ps = {k: sorted(v) for k, v in ps.items()}
        if draw(st.booleans()):
            ps = {k: v + v for k, v in ps.items()}
    edges = sorted(draw(st.lists(st.integers(0, 500), max_size=4, unique=True)))
    leaps = list(zip(edges[::2], edges[1::2], strict=False))
    return (
        config,
        logs(ps, draw(st.sampled_from([0, 20, 90]))),
        logs(os, draw(st.sampled_from([0, 40]))),
        leaps,
    )


def expected(world, until):
    config, ps, os, leaps = world
    oracle = Oracle(**config, leaps=leaps)
    oracle.run(
        [
            Prediction(lt, part, seq, ts, h, s, v * 10 + ts % 2, v)
            for part, log in ps.items()
            for seq, ts, lt, _, h, s, v in log
        ],
        [
            Outcome(
                lt,
                part,
                seq,
                ts,
                h,
                label,
                {"revenue": value, "clicks": value * 3 + ts % 2},
                heartbeat=label == HEARTBEAT,
            )
            for part, log in os.items()
            for seq, ts, lt, _, h, label, value in log
        ],
        until,
    )
    return oracle


def known(leaps, now):
    """The leaps that T has begun to pass by then."""
    return Pauses([(begin, end) for begin, end in leaps if begin < now])


def feed(join, part, log):
    """One batch of one partition."""
    if part % 2 == 0:
        _, ts, lt, _, h, score, version = zip(*log, strict=True)
        kind = [v * 10 + t % 2 for v, t in zip(version, ts, strict=True)]
        join.put(part, ts, lt, h, score, kind, version)
    else:
        _, ts, lt, _, h, label, value = zip(*log, strict=True)
        revenue = np.array(value)
        kpis = {"revenue": revenue, "clicks": revenue * 3 + np.array(ts) % 2}
        join.match(part, ts, lt, h, label, kpis, np.array(label) == HEARTBEAT)


def read(world, until, choose):
    """Read all logs in chosen pieces and turns, advancing and restarting at chosen moments."""
    config, ps, os, leaps = world
    join = Join(**config)
    waiting = {part: list(log) for part, log in {**ps, **os}.items()}
    clock = dict.fromkeys(waiting, -100)
    acts, kept = [], {}
    while any(waiting.values()):
        part = choose(st.sampled_from([p for p, log in waiting.items() if log]))
        n = choose(st.integers(1, len(waiting[part])))
        batch, waiting[part] = waiting[part][:n], waiting[part][n:]
        feed(join, part, batch)
        clock[part] = max(clock[part], batch[-1][3])
        if choose(st.booleans()):
            # Logical times still to be read are the bound: T of real clocks is at most this.
            now = min([until, *(min(e[2] for e in log) for log in waiting.values() if log)])
            now = choose(st.integers(min(join.now, now) if join.now > -NEVER else -50, now))
            acts.append(join.advance(now, known(leaps, now)))
        if choose(st.booleans()):
            meta, blobs = join.export(set(kept))
            kept.update(blobs)
            if choose(st.booleans()):
                join = Join.restore(meta, kept.__getitem__)
    while join.now < until:
        now = choose(st.integers(max(join.now, -50) + 1, until))
        acts.append(join.advance(now, known(leaps, now)))
    return join, Advance.join(acts) if acts else Advance()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Sizes at which a few events already fill runs, stretches and journals."""
    monkeypatch.setattr(join_module, "_STRETCH", 7)
    monkeypatch.setattr(run_module, "_FILTERED", 3)
    monkeypatch.setattr(run_module, "_JOURNAL_SHARE", 0.6)
    monkeypatch.setattr(tiers_module, "FAN_OUT", 3)
    monkeypatch.setattr(flow_module, "ESTABLISHED", 4)
    monkeypatch.setattr(flow_module, "TRUSTED", 3)
    monkeypatch.setattr(proof_module, "EXPECTED", 3)
    monkeypatch.setattr(proof_module, "CHANCE", 0.1)
    monkeypatch.setattr(proof_module, "KNOWN", 4)
    monkeypatch.setattr(proof_module, "SPAN", 6)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), until=st.sampled_from([150, 400, 1000]), data=st.data())
def test_any_reading_gives_what_the_description_says(world, until, data):
    oracle = expected(world, until)
    join, acts = read(world, until, data.draw)
    closed, matured, amended, late, labelled = plain(acts, world[0]["kpis"])
    assert late == sorted(oracle.late_ones, key=lambda row: row[:2])
    assert closed == oracle.closed
    assert matured == oracle.matured
    assert labelled == sorted(oracle.labelled)
    assert (np.diff(acts.labelled.at) >= 0).all()
    assert sorted(amended, key=repr) == sorted(oracle.amendments, key=repr)
    assert [row[0] for row in amended] == sorted(row[0] for row in amended)
    assert {name: getattr(join, name) for name in COUNTERS} == {name: getattr(oracle, name) for name in COUNTERS}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), data=st.data())
def test_two_readings_agree_to_the_order_of_every_row(world, data):
    one, two = (plain(read(world, 600, data.draw)[1], world[0]["kpis"]) for _ in range(2))
    assert one == two
