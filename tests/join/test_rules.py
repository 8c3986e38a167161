"""Single rules of the join, each in the smallest world that shows it."""

from __future__ import annotations

import numpy as np
import pytest

from streameval.errors import InvariantError, StateVersionError
from streameval.join import NEVER, Advance, Join, Pauses

DAY = 86_400_000


SETTINGS = {"interval": 10, "wait": 100, "amend": 50, "early": 20, "give_up": 1000, "missing": "negative"}


def make(**changes) -> Join:
    return Join(**{**SETTINGS, **changes})


def put(join, ts, h, *, lt=None, part=0, score=0.5, kind=0, version=0):
    join.put(part, [ts], [ts if lt is None else lt], [h], [score], [kind], [version])


def match(join, ts, h, label=1.0, *, lt=None, part=1, **kpis):
    join.match(part, [ts], [ts if lt is None else lt], [h], [label], {name: [value] for name, value in kpis.items()})


def beat(join, *times, part=1):
    """Heartbeats: labels flow."""
    n = len(times)
    join.match(part, times, times, np.zeros(n, int), np.full(n, np.nan), {}, np.ones(n, bool))


def beats(join, first, last, step=10, part=1):
    beat(join, *range(first, last + 1, step), part=part)


def flowing(last=2000, step=10, **changes) -> Join:
    """A join whose labels flow all the time."""
    join = make(**changes)
    beats(join, 0, last, step)
    return join


def test_a_complete_cohort_matures_at_its_last_label_and_not_after_the_wait():
    join = make()
    put(join, 3, 1)
    put(join, 4, 2)
    match(join, 30, 1)
    match(join, 40, 2, 0.0)
    acts = join.advance(41)
    assert acts.matured.at.tolist() == [40]
    assert acts.matured.label.tolist() == [1, 0]
    assert len(join.advance(10_000).matured) == 0


def test_an_act_at_the_very_time_of_the_clock_is_not_taken_yet():
    join = make()
    beats(join, 0, 200)
    put(join, 3, 1)
    assert len(join.advance(110).matured) == 0
    assert join.advance(111).matured.at.tolist() == [110]


def test_where_a_missing_label_is_a_negative_positives_alone_make_no_cohort_complete():
    join = make()
    beats(join, 0, 300)
    put(join, 3, 1)
    match(join, 20, 1)
    assert join.advance(150).matured.at.tolist() == [110]
    put(join, 151, 2)
    match(join, 160, 2)
    put(join, 151, 3)
    match(join, 170, 3, 0.0)
    # Somebody sends negatives too.
    assert join.advance(200).matured.at.tolist() == [170]


def test_silent_labels_stop_the_wait_and_giving_up_leaves_whole_cohorts_unlabelled():
    join = make()
    beats(join, 0, 50)
    put(join, 3, 1)
    put(join, 4, 2)
    match(join, 30, 1)
    assert len(join.advance(600).matured) == 0
    assert join.stalled_since == 110
    acts = join.advance(1111)
    assert acts.matured.at.tolist() == [1110]
    assert acts.matured.label.tolist() == [-1, -1]
    assert acts.matured.unproven.tolist() == [True]
    assert (join.unproven, join.unlabelled) == (2, 2)
    assert join.stalled_since is None


def test_a_correction_of_what_left_unproven_brings_nothing_back():
    join = make()
    beats(join, 0, 50)
    put(join, 3, 1)
    join.advance(1111)
    match(join, 1120, 1)
    beats(join, 1115, 1160)
    assert len(join.advance(1200).amended) == 0
    assert join.matched == 1


def test_what_gives_up_mutes_the_complete_cohorts_behind_it():
    """To count the positives that came before labels fell silent, and not their neighbours, selects on the outcome."""
    join = make(missing="drop")
    beats(join, 0, 50)
    put(join, 3, 1)
    put(join, 13, 2)
    match(join, 40, 2)
    acts = join.advance(1300)
    assert acts.matured.at.tolist() == [1110, 1120]
    assert acts.matured.label.tolist() == [-1, -1]


def test_labels_that_come_back_late_all_count():
    join = make()
    beats(join, 0, 50)
    for i in range(40):
        put(join, 60 + i, i)
    assert len(join.advance(200).matured) == 0
    for i in range(0, 40, 2):
        match(join, 900 + i // 4, i, lt=900 + i // 4)
    beats(join, 905, 1100)
    acts = join.advance(1101)
    assert acts.matured.label.tolist() == [1, 0] * 20
    assert not acts.matured.unproven.any()
    # They had labels flowing for a whole wait.
    assert set(acts.matured.at.tolist()) == {1005}


def fed(join, first, last, *, silent=(0, 0), lost=False):
    """A prediction a moment, every second one positive and told so after 20; silent in between."""
    for at in range(first, last):
        put(join, at, at)
        came = at + 20
        if at % 2:
            continue
        if silent[0] < came <= silent[1]:
            if lost:
                continue
            came = silent[1] + 1
        match(join, came, at, lt=came)


def test_labels_that_are_lost_are_no_negatives_and_what_the_silence_touched_leaves():
    join = make(missing="negative")
    fed(join, 0, 2000, silent=(800, 1200), lost=True)
    acts = join.advance(1950)
    share = {}
    for j in range(len(acts.matured)):
        label = acts.matured.label[acts.matured.bounds[j] : acts.matured.bounds[j + 1]]
        share[int(acts.matured.start[j])] = None if acts.matured.unproven[j] else float(label.mean())
    assert all(share[start] is None for start in range(790, 1180, 10))
    counted = [value for value in share.values() if value is not None]
    assert set(counted) == {0.5}
    assert len(counted) >= len(share) - 50


def test_the_same_labels_late_count_all():
    join = make(missing="negative")
    fed(join, 0, 2000, silent=(800, 1200))
    acts = join.advance(1950)
    assert not acts.matured.unproven.any()
    assert acts.matured.label.mean() == 0.5


def test_one_label_in_ten_waits_is_no_silence():
    join = make(wait=10, give_up=100)
    for at in range(0, 20_000, 5):
        put(join, at, at)
    for at in range(0, 20_000, 100):
        match(join, at + 5, at, lt=at + 5)
    acts = join.advance(19_000)
    assert not acts.matured.unproven.any()
    assert (int(acts.matured.label.sum()), join.stalled_since) == (190, None)
    # Nor is one twice as long as usual.
    assert acts.matured.at[-1] > 18_900


def test_what_a_clock_leaps_over_is_no_time_to_give_up_in():
    join = make()
    beats(join, 0, 50)
    put(join, 3, 1)
    beats(join, 3000, 3200)
    match(join, 3001, 1)
    acts = join.advance(3150, Pauses([(60, 2990)]))
    assert acts.matured.label.tolist() == [1]
    assert acts.matured.at.tolist() == [3100]


def test_where_one_of_two_feeds_falls_silent_the_other_does_not_speak_for_it():
    join = make(missing="negative", shards=4)
    for at in range(2000):
        put(join, at, at)
        if at % 2 == 0 and not (at % 4 == 0 and 800 < at <= 1200):
            match(join, at + 20, at, lt=at + 20, part=at % 4 * 2)
    acts = join.advance(1150)
    assert acts.matured.start.max() < 800
    assert set(acts.matured.label.reshape(-1, 10).mean(axis=1)) == {0.5}


def test_at_the_end_of_all_logs_only_what_had_its_labels_counts():
    join = make(missing="negative")
    for at in range(2000):
        put(join, at, at)
        if at % 3 == 0 and at + at % 60 < 2000:
            match(join, at + at % 60, at, lt=at + at % 60)
    acts = join.advance(NEVER)
    counted = ~np.repeat(acts.matured.unproven, np.diff(acts.matured.bounds))
    assert acts.matured.ts[counted].max() in range(1920, 1950)
    assert acts.matured.label[counted].mean() == pytest.approx(1 / 3, abs=0.01)
    assert (acts.matured.label[~counted] == -1).all()


def test_one_outcome_serves_every_version_that_scored_its_id():
    join = flowing()
    put(join, 3, 1, version=0, kind=0)
    put(join, 3, 1, version=1, kind=1)
    match(join, 20, 1)
    acts = join.advance(500)
    assert acts.matured.label.tolist() == [1, 1]
    assert (join.matched, join.duplicates) == (1, 0)


def test_an_outcome_before_its_prediction_waits_and_else_becomes_an_orphan():
    join = flowing()
    match(join, 5, 1)
    match(join, 5, 2)
    put(join, 25, 1)
    put(join, 26, 2)
    acts = join.advance(27)
    assert (join.matched, join.orphans) == (1, 1)
    acts = Advance.join([acts, join.advance(500)])
    assert acts.matured.label.tolist() == [1, 0]


def test_a_label_after_maturity_amends_the_assumed_negative():
    join = flowing()
    put(join, 3, 1)
    match(join, 150, 1)
    acts = join.advance(500)
    assert acts.matured.label.tolist() == [0]
    assert (acts.amended.old_label.tolist(), acts.amended.new_label.tolist()) == ([0], [1])
    assert acts.amended.at.tolist() == [150]


def test_an_outcome_after_the_time_for_amendments_is_an_orphan():
    join = flowing()
    put(join, 3, 1)
    match(join, 161, 1)
    acts = join.advance(500)
    assert len(acts.amended) == 0
    assert (join.orphans, join.matched) == (1, 0)


def test_kpi_values_merge_by_name_and_the_latest_time_wins_whatever_came_last():
    join = flowing(kpis=("clicks", "revenue"))
    put(join, 3, 1)
    match(join, 20, 1, np.nan, clicks=1.0)
    match(join, 30, 1, np.nan, revenue=9.0, lt=40)
    match(join, 25, 1, np.nan, revenue=7.0, lt=50)
    acts = join.advance(500)
    assert (acts.matured.kpis["clicks"].tolist(), acts.matured.kpis["revenue"].tolist()) == ([1.0], [9.0])


def test_a_late_prediction_joins_while_its_cohort_waits_and_else_is_told_as_late():
    join = flowing()
    put(join, 3, 1)
    put(join, 4, 2, lt=60)
    put(join, 5, 3, lt=120, part=7)
    acts = join.advance(500)
    assert acts.closed.ts.tolist() == [3]
    assert acts.matured.ts.tolist() == [3, 4]
    assert (acts.late.at.tolist(), acts.late.part.tolist(), acts.late.ts.tolist()) == ([120], [7], [5])


def test_a_late_prediction_for_an_empty_cohort_is_late():
    join = flowing()
    put(join, 3, 1, lt=60)
    assert len(join.advance(500).late) == 1


def test_a_reused_id_is_a_duplicate_until_its_row_has_left_and_then_a_row():
    join = flowing()
    put(join, 3, 1)
    put(join, 160, 1, score=0.75)
    put(join, 161, 1)
    acts = join.advance(1000)
    assert (join.duplicates, join.duplicates_differing) == (1, 1)
    assert acts.matured.ts.tolist() == [3, 161]


def test_label_times_far_apart_decide_which_label_wins_before_maturity():
    join = flowing(450 * DAY, DAY, wait=400 * DAY)
    put(join, 0, 1)
    put(join, 1, 2)  # never labelled: keeps the cohort open
    match(join, 200 * DAY, 1, 1.0)
    match(join, 200 * DAY - 1, 1, 0.0, lt=201 * DAY)
    for now in (200 * DAY + 1, 202 * DAY):
        join.advance(now)
        meta, blobs = join.export(set())
        join = Join.restore(meta, blobs.__getitem__)
    match(join, 203 * DAY, 1, 0.0)
    acts = join.advance(500 * DAY)
    assert acts.matured.label.tolist() == [0, 0]
    assert (join.amended, join.repeated) == (1, 1)


def test_an_event_behind_the_clock_is_refused():
    join = make()
    join.advance(100)
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
        join.advance(int(ts[s][-1]) + 1)
    assert join.waiting == n
    assert join.nbytes <= 40 * n
    join.advance(40 * DAY)
    assert (join.waiting, join.expired, join.unlabelled) == (0, n, n)
    assert join.nbytes == 0


def test_an_export_writes_what_changed_since_the_last_one():
    n = 50_000
    rng = np.random.default_rng(2)
    hashes = rng.integers(0, 2**63, n).astype(np.uint64)
    join = flowing(40 * DAY, DAY, interval=60_000, wait=30 * DAY)
    ts, zero = np.arange(n), np.zeros(n, int)
    join.put(0, ts, ts, hashes, zero, zero, zero)
    join.advance(n)
    meta, kept = join.export(set())
    assert join.export(set(kept))[1] == {}
    at = np.full(100, n)
    for i in range(0, 20_000, 100):
        join.match(1, at, at + i, hashes[i : i + 100], zero[:100], {})
        join.advance(n + i + 1)
        meta, blobs = join.export(set(kept))
        assert sum(blob.nbytes for blob in blobs.values()) < 8 * n
        kept.update(blobs)
    again = Join.restore(meta, kept.__getitem__)
    one, two = (j.advance(NEVER).matured.label for j in (join, again))
    assert np.count_nonzero(one == 0) == n
    assert again.unlabelled == join.unlabelled == n - 20_000
    assert np.array_equal(one, two)


def test_a_blob_that_was_lost_before_it_was_kept_is_written_again():
    join = make(missing="drop")
    put(join, 3, 1)
    join.advance(5)
    _, lost = join.export(set())
    match(join, 6, 1)
    join.advance(7)
    meta, blobs = join.export(set())
    assert lost.keys() & blobs.keys()
    assert Join.restore(meta, blobs.__getitem__).advance(20).matured.label.tolist() == [1]
