from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streameval.serve.series import Alarm, Bin, History, Key, Measured, Series, Window


def point(at, phase=None):
    return Measured(at=at, window=Window(at, at + 1, 1), metrics={}, phase=phase)


@given(n=st.integers(1, 3000), limit=st.integers(2, 200))
def test_a_history_is_bounded_evenly_spaced_and_keeps_both_ends(n, limit):
    history = History()
    for at in range(n):
        history.add(point(at), limit=limit)
    kept = [p.at for p in history]
    assert len(kept) == len(history) <= limit + 1
    assert kept[0] == 0
    assert kept[-1] == n - 1
    assert kept == sorted(set(kept))
    assert {b - a for a, b in pairwise(kept[:-1])} <= {history.stride}


@given(n=st.integers(1, 500), limit=st.integers(2, 50))
def test_a_history_that_fits_is_kept_whole(n, limit):
    history = History()
    for at in range(min(n, limit)):
        history.add(point(at), limit=limit)
    assert [p.at for p in history] == list(range(min(n, limit)))


def test_only_the_last_point_keeps_what_no_time_line_shows():
    history = History()
    full = Measured(at=0, window=Window(0, 1, 1), metrics={}, reliability=(Bin(0.5, 0.5, None, None, 1),))
    for _ in range(3):
        history.add(full)
    assert [bool(p.reliability) for p in history] == [False, False, True]


def test_rare_records_are_kept_up_to_a_bound_and_those_dropped_are_counted():
    series = Series(key=Key("m", "1"))
    for at in range(700):
        series.alarmed(Alarm(at=at, monitor="ADWIN", tier="advisory"))
    assert len(series.alarms) == 500
    assert series.alarms[-1].at == 699
    assert series.dropped == {"drift": 200}


def test_a_diagnosis_that_comes_later_completes_its_alarm():
    series = Series(key=Key("m", "1"))
    series.alarmed(Alarm(at=10, monitor="cost", tier="confirmed", direction="up", change_at=5))
    series.alarmed(Alarm(at=20, monitor="cost", tier="confirmed", direction="up", change_at=5, diagnosis="label_shift"))
    assert [(a.at, a.diagnosis) for a in series.alarms] == [(10, "label_shift")]


def test_an_alarm_is_over_when_its_monitors_have_learnt_anew():
    series = Series(key=Key("m", "1"))
    series.measured(point(1, "watching"))
    series.alarmed(Alarm(at=2, monitor="cost", tier="confirmed"))
    series.measured(point(2, "watching"))
    assert series.recovered_at is None
    series.measured(point(3, "learning"))
    assert series.recovered_at is None
    series.measured(point(4, "watching"))
    assert series.recovered_at == 4
    series.alarmed(Alarm(at=9, monitor="cost", tier="confirmed"))
    assert series.recovered_at is None
