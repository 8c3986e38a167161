"""The life of a watch while it learns: the guard, a given reference, and a reference that grows."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from binary_streams import STEP, YEAR, as_examples, frozen, step
from seasonal_streams import DAY, bursts, daily, feed, steps

from streameval.detect.alarm import Alarm
from streameval.detect.family import LABEL
from streameval.detect.life import Watch

MINUTE = 60_000


def watch(events: int = 40_000, **kwargs: object) -> Watch:
    return Watch(events, 250, YEAR, **{"costs": (1.0, 10.0), "advisory": (), **kwargs})  # type: ignore[arg-type]


def run(watched: Watch, rng: np.random.Generator, spans: list[tuple[int, float, float]], at: int = 0) -> list[Alarm]:
    """Feed spans of (steps, prevalence, distance of the classes), a step a minute."""
    alarms: list[Alarm] = []
    for count, prevalence, apart in spans:
        for _ in range(count):
            evidence = step(rng, prevalence=prevalence, apart=apart)
            alarms += watched.step(evidence, at, at + MINUTE, 1 / 11, lambda e=evidence, t=at: as_examples(e, t))
            at += MINUTE
    return alarms


@pytest.mark.parametrize(("prevalence", "apart"), [(0.1, 2.0), (0.02, 2.0), (0.05, 1.0)])
def test_a_change_while_learning_is_an_alarm_and_the_reference_begins_after_it(prevalence: float, apart: float) -> None:
    for seed in range(3):
        watched = watch()
        alarms = run(watched, np.random.default_rng(seed), [(30, 0.05, 2.0), (30, prevalence, apart)])
        (alarm,) = alarms
        assert (alarm.tier, alarm.detector) == ("confirmed", "conformal_sr")
        assert abs(alarm.change_at - 30 * MINUTE) <= 5 * MINUTE
        assert alarm.statistic >= alarm.detail["threshold"]
        assert watched.phase == "learning"
        assert watched.history.start == alarm.change_at
        assert watched.before is not None
        assert watched.before.events + watched.history.events == 60 * STEP


def test_a_guards_alarm_can_be_checked_from_its_record_alone() -> None:
    watched = watch()
    (alarm,) = run(watched, np.random.default_rng(1), [(40, 0.05, 2.0), (20, 0.12, 2.0)])
    detail = alarm.detail
    assert detail["phase"] == "learning"
    assert sum(detail["counts"]["positives_before"]) == detail["positives_before"]
    assert np.log(alarm.statistic) == pytest.approx(detail["path"][-1][1], rel=1e-5)
    assert detail["path"][-1][0] == alarm.at
    assert detail["mean_after"] != detail["mean_before"]


def test_a_reference_is_learnt_from_one_regime_where_without_the_guard_it_held_two() -> None:
    spans = [(20, 0.05, 2.0), (45, 0.12, 2.0)]
    guarded, plain, rng = watch(20_000), watch(20_000), np.random.default_rng(2)
    run(guarded, rng, spans)
    rng = np.random.default_rng(2)
    for k, prevalence in enumerate(np.repeat([0.05, 0.12], [20, 45])):
        plain.step(step(rng, prevalence=float(prevalence)), k * MINUTE, (k + 1) * MINUTE, 1 / 11)
    assert guarded.reference is not None
    assert plain.reference is not None
    prevalence = [w.reference.counts.positives / w.reference.counts.events for w in (guarded, plain)]
    assert prevalence[0] == pytest.approx(0.12, abs=0.01)
    assert prevalence[1] < 0.1


def test_a_guard_stands_down_after_two_alarms_and_learning_comes_to_its_end() -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        watched, alarms = watch(20_000), []
        for stepped in islice(steps(rng, bursts(rng), 10_000), 300):
            alarms += feed(watched, stepped)
        assert 1 <= sum(alarm.detector == "conformal_sr" for alarm in alarms) <= 2
        assert watched.phase == "watching"
        assert watched.interruptions == 0


def test_unrest_that_comes_and_goes_from_step_to_step_is_no_change() -> None:
    """Each step has a prevalence of its own: far from exchangeable, and nothing ever changes."""
    for seed in range(4):
        rng, watched = np.random.default_rng(seed), watch()
        spans = [(1, float(rate), 2.0) for rate in rng.choice([0.03, 0.05, 0.08], 79)]
        assert run(watched, rng, spans) == []
        assert watched.phase == "learning"


def test_given_examples_set_bins_and_maps_and_what_is_normal_is_learnt() -> None:
    rng = np.random.default_rng(3)
    complete = step(rng, 50_000, prevalence=0.06)
    watched = watch(20_000)
    watched.given(complete)
    assert watched.phase == "learning"
    assert run(watched, rng, [(140, 0.05, 2.0)]) == []
    assert watched.reference is not None
    up, down = watched.reference.bounds(LABEL)
    assert down < 0.05 < up < 0.06
    other = watch(20_000)
    run(other, np.random.default_rng(3), [(140, 0.05, 2.0)])
    assert other.reference is not None
    assert not np.array_equal(watched.reference.family.p, other.reference.family.p)


def test_given_examples_that_matured_as_live_data_do_are_a_reference_at_once() -> None:
    rng = np.random.default_rng(4)
    watched = watch(20_000)
    watched.given(step(rng, 25_000), 1 / 11, matured_over=(-60 * MINUTE, 0))
    assert watched.phase == "watching"
    assert run(watched, rng, [(60, 0.05, 2.0)]) == []
    (alarm,) = run(watched, rng, [(12, 0.12, 2.0)], at=60 * MINUTE)
    assert alarm.detector == "e_sr"
    few = watch(20_000)
    few.given(step(rng, 2_000), 1 / 11, matured_over=(-60 * MINUTE, 0))
    assert few.phase == "learning"


def test_a_reference_of_minutes_grows_to_two_days_while_all_is_calm() -> None:
    """Over the first two days the monitors know one hour, afterwards all, and the bounds are as narrow as that."""
    rng, watched = np.random.default_rng(5), watch(10_000)
    ratios = []
    for stepped in islice(steps(rng, daily(amplitude=0.0), 60_000), 300):
        assert feed(watched, stepped) == []
        ratios.append(watched.smallest_detectable_ratio)
    assert watched.reference is not None
    assert watched.reference.end - watched.reference.start >= 2 * DAY
    assert watched.season == "none"
    assert ratios[30] is not None
    assert ratios[-1] is not None
    assert ratios[-1] < 1.1 < ratios[30]


@pytest.mark.parametrize("cut", [5, 21, 33, 47, 70, 130])
def test_a_restored_watch_continues_exactly_on_guard_too(cut: int) -> None:
    rng, one = np.random.default_rng(7), watch(20_000, advisory=("ADWIN", "KSWIN"))
    one.given(step(np.random.default_rng(8), 5000))
    other, found = one, []
    stream = steps(rng, lambda ts: daily()(ts) * np.where(ts > 6 * DAY, 1.6, np.where(ts > DAY, 1.0, 2.0)), 10_000)
    for k, stepped in enumerate(islice(stream, 160)):
        if k == cut:
            other = Watch.restore(one.state())
        alarms = feed(one, stepped)
        if k >= cut:
            assert feed(other, stepped) == alarms
        found += [alarm.detector for alarm in alarms]
    assert {"conformal_sr", "e_sr"} <= set(found)
    assert frozen(one.state()) == frozen(other.state())
