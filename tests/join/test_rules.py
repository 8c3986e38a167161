"""Single rules of the join, each in the smallest world that shows it."""

from __future__ import annotations

import numpy as np
import pytest

from streameval.errors import InvariantError, StateVersionError
from streameval.join import NEVER, Advance, Join

DAY = 86_400_000


class Proof:
    def __init__(self, answer=0):
        self.answer = answer

    def times(self, x):
        return np.full(len(x), self.answer, np.int64)


SETTINGS = {"interval": 10, "wait": 100, "amend": 50, "early": 20, "give_up": 1000, "missing": "negative"}


def make(**changes) -> Join:
    return Join(**{**SETTINGS, **changes})


def put(join, ts, h, *, lt=None, part=0, score=0.5, kind=0, version=0):
    join.put(part, [ts], [ts if lt is None else lt], [h], [score], [kind], [version])


def match(join, ts, h, label=1.0, *, lt=None, part=1, **kpis):
    join.match(part, [ts], [ts if lt is None else lt], [h], [label], {name: [value] for name, value in kpis.items()})


def test_a_complete_cohort_matures_at_its_last_label_and_not_after_the_wait():
    join = make()
    put(join, 3, 1)
    put(join, 4, 2)
    match(join, 30, 1)
    match(join, 40, 2, 0.0)
    acts = join.advance(41, Proof())
    assert acts.matured.at.tolist() == [40]
    assert acts.matured.label.tolist() == [1, 0]
    assert len(join.advance(10_000, Proof()).matured) == 0


def test_an_act_at_the_very_time_of_the_clock_is_not_taken_yet():
    join = make()
    put(join, 3, 1)
    assert len(join.advance(110, Proof()).matured) == 0
    assert join.advance(111, Proof()).matured.at.tolist() == [110]


def test_silent_labels_stop_maturity_and_giving_up_leaves_rows_unlabelled_even_where_missing_is_negative():
    join = make()
    put(join, 3, 1)
    assert len(join.advance(600, Proof(NEVER)).matured) == 0
    assert join.stalled_since == 110
    acts = join.advance(1111, Proof(NEVER))
    assert acts.matured.at.tolist() == [1110]
    assert acts.matured.label.tolist() == [-1]
    assert join.stalled_since is None


def test_labels_that_come_back_prove_the_negatives_of_the_silence():
    join = make()
    put(join, 3, 1)
    assert len(join.advance(600, Proof(NEVER)).matured) == 0
    acts = join.advance(1000, Proof(700))
    assert acts.matured.at.tolist() == [700]
    assert acts.matured.label.tolist() == [0]


def test_one_outcome_serves_every_version_that_scored_its_id():
    join = make()
    put(join, 3, 1, version=0, kind=0)
    put(join, 3, 1, version=1, kind=1)
    match(join, 20, 1)
    acts = join.advance(500, Proof())
    assert acts.matured.label.tolist() == [1, 1]
    assert (join.matched, join.duplicates) == (1, 0)


def test_an_outcome_before_its_prediction_waits_and_else_becomes_an_orphan():
    join = make()
    match(join, 5, 1)
    match(join, 5, 2)
    put(join, 25, 1)
    put(join, 26, 2)
    acts = join.advance(27, Proof())
    assert (join.matched, join.orphans) == (1, 1)
    acts = Advance.join([acts, join.advance(500, Proof())])
    assert acts.matured.label.tolist() == [1, 0]


def test_a_label_after_maturity_amends_the_assumed_negative():
    join = make()
    put(join, 3, 1)
    match(join, 150, 1)
    acts = join.advance(500, Proof())
    assert acts.matured.label.tolist() == [0]
    assert (acts.amended.old_label.tolist(), acts.amended.new_label.tolist()) == ([0], [1])
    assert acts.amended.at.tolist() == [150]


def test_an_outcome_after_the_time_for_amendments_is_an_orphan():
    join = make()
    put(join, 3, 1)
    match(join, 161, 1)
    acts = join.advance(500, Proof())
    assert len(acts.amended) == 0
    assert (join.orphans, join.matched) == (1, 0)


def test_kpi_values_merge_by_name_and_the_latest_time_wins_whatever_came_last():
    join = make(kpis=("clicks", "revenue"))
    put(join, 3, 1)
    match(join, 20, 1, np.nan, clicks=1.0)
    match(join, 30, 1, np.nan, revenue=9.0, lt=40)
    match(join, 25, 1, np.nan, revenue=7.0, lt=50)
    acts = join.advance(500, Proof())
    assert (acts.matured.kpis["clicks"].tolist(), acts.matured.kpis["revenue"].tolist()) == ([1.0], [9.0])


def test_a_late_prediction_joins_while_its_cohort_waits_and_else_is_told_as_late():
    join = make()
    put(join, 3, 1)
    put(join, 4, 2, lt=60)
    put(join, 5, 3, lt=120, part=7)
    acts = join.advance(500, Proof())
    assert acts.closed.ts.tolist() == [3]
    assert acts.matured.ts.tolist() == [3, 4]
    assert (acts.late.at.tolist(), acts.late.part.tolist(), acts.late.ts.tolist()) == ([120], [7], [5])


def test_a_late_prediction_for_an_empty_cohort_is_late():
    join = make()
    put(join, 3, 1, lt=60)
    assert len(join.advance(500, Proof()).late) == 1


def test_a_reused_id_is_a_duplicate_until_its_row_has_left_and_then_a_row():
    join = make()
    put(join, 3, 1)
    put(join, 160, 1, score=0.75)
    put(join, 161, 1)
    acts = join.advance(1000, Proof())
    assert (join.duplicates, join.duplicates_differing) == (1, 1)
    assert acts.matured.ts.tolist() == [3, 161]


def test_label_times_far_apart_decide_which_label_wins_before_maturity():
    join = make(wait=400 * DAY)
    put(join, 0, 1)
    put(join, 1, 2)  # never labelled: keeps the cohort open
    match(join, 200 * DAY, 1, 1.0)
    match(join, 200 * DAY - 1, 1, 0.0, lt=201 * DAY)
    for now in (200 * DAY + 1, 202 * DAY):
        join.advance(now, Proof())
        meta, blobs = join.export(set())
        join = Join.restore(meta, blobs.__getitem__)
    match(join, 203 * DAY, 1, 0.0)
    acts = join.advance(500 * DAY, Proof())
    assert acts.matured.label.tolist() == [0, 0]
    assert (join.amended, join.repeated) == (1, 1)


def test_an_event_behind_the_clock_is_refused():
    join = make()
    join.advance(100, Proof())
    with pytest.raises(InvariantError, match="99"):
        put(join, 99, 1)


def test_state_of_another_schema_is_refused():
    meta, blobs = make().export(set())
    with pytest.raises(StateVersionError, match="schema 999"):
        Join.restore({**meta, "schema": 999}, blobs.__getitem__)


def test_rows_take_at_most_40_bytes_and_leave_when_their_time_is_over():
    n = 200_000
    rng = np.random.default_rng(1)
    ts = np.arange(n) * 20
    join = make(interval=60_000, wait=30 * DAY, amend=DAY)
    for low in range(0, n, 10_000):
        s = slice(low, low + 10_000)
        zero = np.zeros(10_000, int)
        join.put(0, ts[s], ts[s], rng.integers(0, 2**63, 10_000), rng.random(10_000), zero, zero)
        join.advance(int(ts[s][-1]) + 1, Proof())
    assert join.waiting == n
    assert join.nbytes <= 40 * n
    join.advance(40 * DAY, Proof())
    assert (join.waiting, join.expired, join.unlabelled) == (0, n, n)
    assert join.nbytes == 0


def test_an_export_writes_what_changed_since_the_last_one():
    n = 50_000
    rng = np.random.default_rng(2)
    hashes = rng.integers(0, 2**63, n).astype(np.uint64)
    join = make(interval=60_000, wait=30 * DAY)
    ts, zero = np.arange(n), np.zeros(n, int)
    join.put(0, ts, ts, hashes, zero, zero, zero)
    join.advance(n, Proof())
    meta, kept = join.export(set())
    assert join.export(set(kept))[1] == {}
    at = np.full(100, n)
    for i in range(0, 20_000, 100):
        join.match(1, at, at + i, hashes[i : i + 100], zero[:100], {})
        join.advance(n + i + 1, Proof())
        meta, blobs = join.export(set(kept))
        assert sum(blob.nbytes for blob in blobs.values()) < 8 * n
        kept.update(blobs)
    again = Join.restore(meta, kept.__getitem__)
    one, two = (j.advance(NEVER, Proof()).matured.label for j in (join, again))
    assert np.count_nonzero(one == 0) == n
    assert again.unlabelled == join.unlabelled == n - 20_000
    assert np.array_equal(one, two)


def test_a_blob_that_was_lost_before_it_was_kept_is_written_again():
    join = make()
    put(join, 3, 1)
    join.advance(5, Proof())
    _, lost = join.export(set())
    match(join, 6, 1)
    join.advance(7, Proof())
    meta, blobs = join.export(set())
    assert lost.keys() & blobs.keys()
    assert Join.restore(meta, blobs.__getitem__).advance(20, Proof()).matured.label.tolist() == [1]
