"""A join regrown from its core and the retained part of the logs goes on as the join itself would have."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_join import COUNTERS, HEARTBEAT, known, plain, small, worlds

import streameval.join.regrowth as regrowth_module
from streameval.join import Advance, Join, Regrowth

__all__ = ["small"]

MAY_DIFFER = ("matched", "orphans")


def give(join: Join, part: int, log: list) -> None:
    """As `feed` of the join's own law, with offsets."""
    if not log:
        return
    if part % 2 == 0:
        offset, ts, lt, _, h, score, version = zip(*log, strict=True)
        kind = [v * 10 + t % 2 for v, t in zip(version, ts, strict=True)]
        join.put(part, ts, lt, h, score, kind, version, offset)
    else:
        _, ts, lt, _, h, label, value = zip(*log, strict=True)
        revenue = np.array(value)
        kpis = {"revenue": revenue, "clicks": revenue * 3 + np.array(ts) % 2}
        join.match(part, ts, lt, h, label, kpis, np.array(label) == HEARTBEAT)


def advanced(join: Join, until: int, leaps, choose) -> Advance:
    acts = []
    while join.now < until:
        acts.append(join.advance(choose(st.integers(max(join.now, -50) + 1, until)), known(leaps, until)))
    return Advance.join(acts) if acts else Advance()


def regrown(join: Join, logs: dict[int, list], choose) -> Regrowth:
    """From the core, and of each log what begins somewhere before all that is needed."""
    meta = join.core()
    again = Regrowth.of(meta)
    waiting = {}
    for part, log in logs.items():
        needed = [i for i, event in enumerate(log) if event[2] >= join.reaches_back[part % 2]]
        waiting[part] = log[choose(st.integers(0, needed[0] if needed else len(log))) :]
    while any(waiting.values()):
        part = choose(st.sampled_from([p for p, log in waiting.items() if log]))
        n = choose(st.integers(1, len(waiting[part])))
        batch, waiting[part] = waiting[part][:n], waiting[part][n:]
        give(again, part, batch)
        again.regrow(min([again.now, *(min(e[2] for e in log) for log in waiting.values() if log)]))
    again.finish()
    return again


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), at=st.integers(0, 500), data=st.data())
def test_a_regrown_join_goes_on_as_the_join_itself(world, at, data):
    regrowth_module.STRETCH = data.draw(st.sampled_from([3, 2**18]))
    config, ps, os, leaps = world
    logs = {**ps, **os}
    # Of each log a beginning is read, as far as any reader at T = at must have come.
    read = {part: max([0, *(i + 1 for i, e in enumerate(log) if e[2] < at)]) for part, log in logs.items()}
    read = {part: data.draw(st.integers(least, len(logs[part]))) for part, least in read.items()}
    join = Join(**config)
    for part, log in logs.items():
        give(join, part, log[: read[part]])
    advanced(join, at, leaps, data.draw)
    join = Join.restore(*kept(join)) if data.draw(st.booleans()) else join
    again = regrown(join, {part: log[: read[part]] for part, log in logs.items()}, data.draw)
    for one in (join, again):
        for part, log in logs.items():
            give(one, part, log[read[part] :])
    # At any later time, and through another loss: the regrown one's core serves as well.
    later = data.draw(st.integers(max(at, join.now, -50), 700))
    acts = [plain(advanced(one, later, leaps, data.draw), config["kpis"]) for one in (join, again)]
    assert acts[0] == acts[1]
    third = regrown(again, logs, data.draw)
    acts = [plain(advanced(one, 1_000, leaps, data.draw), config["kpis"]) for one in (join, again, third)]
    assert acts[0] == acts[1] == acts[2]
    same = [name for name in COUNTERS if name not in MAY_DIFFER]
    assert [getattr(join, name) for name in same] == [getattr(again, name) for name in same]


def kept(join: Join):
    meta, blobs = join.export(set())
    return meta, blobs.__getitem__


def test_a_core_is_small_whatever_waits():
    join = Join(interval=60_000, wait=86_400_000, amend=0, early=0, give_up=0, missing="drop")
    n = 50_000
    ts = np.arange(n) * 100
    join.put(0, ts, ts, np.arange(n), np.full(n, 0.5), np.zeros(n), np.zeros(n), np.arange(n))
    join.advance(n * 100)
    assert join.waiting == n
    tables = [table for table in join.core().values() if isinstance(table, dict)]
    assert sum(column.nbytes for table in tables for column in table.values() if hasattr(column, "nbytes")) < 10_000


def test_a_duplicate_stays_one_when_the_row_before_it_has_expired():
    join = Join(interval=10, wait=0, amend=30, early=0, give_up=0, missing="negative")
    log = [(0, 5, 5, 5, 1, 0.5, 0), (1, 35, 35, 35, 2, 0.5, 0), (2, 38, 38, 38, 1, 0.5, 0)]
    give(join, 0, log)
    join.advance(50)
    assert (join.taken, join.duplicates, join.expired) == (3, 1, 1)
    again = Regrowth.of(join.core())
    give(again, 0, log[1:])
    again.finish()
    for one in (join, again):
        one.match(1, [51, 52], [51, 52], [1, 2], [1.0, 1.0], {})
        assert one.advance(60).amended.id_hash.tolist() == [2]
        assert (one.taken, one.duplicates, one.orphans) == (3, 1, 1)
