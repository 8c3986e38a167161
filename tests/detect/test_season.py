"""Season: found where there is one and enough was seen, and bounds that hold hour by hour."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from binary_streams import YEAR
from seasonal_streams import DAY, Rate, bursts, daily, feed, steps

from streameval.detect.examples import HOUR
from streameval.detect.family import COST, LABEL
from streameval.detect.hours import Hours
from streameval.detect.label_counts import LabelCounts
from streameval.detect.life import Watch
from streameval.detect.season import DAY as HOURS_A_DAY
from streameval.detect.season import WEEK, Season, poisson, season_of, waves

LABELS = np.repeat([[0.0, 1.0]], 14, axis=1).reshape(1, 2, 14).reshape(1, -1)
OWN = np.array([0.95])


def flat(ts: np.ndarray) -> np.ndarray:
    return np.full(ts.size, 0.05)


def seen(rng: np.random.Generator, rates: np.ndarray, events: int = 400) -> Hours:
    """Hours of a stream with these rates of positives."""
    hours = Hours()
    for hour, positives in enumerate(rng.binomial(events, rates).tolist()):
        hours.add(hour, LabelCounts(np.array([0], np.int16), np.array([[events - positives], [positives]])))
    return hours


def day(hours: int, amplitude: float = 0.4) -> np.ndarray:
    """A rate of .05 that swings by the hour of the day."""
    return 0.05 * (1.0 + amplitude * np.sin(2 * np.pi * (np.arange(hours) + 0.5) / HOURS_A_DAY))


def test_poisson_regression_is_that_of_its_normal_equations() -> None:
    rng = np.random.default_rng(0)
    x, events = waves(np.arange(72))[:, :5], rng.integers(50, 500, 72).astype(float)
    beta = np.array([-3.0, 0.3, -0.2, 0.1, 0.05])
    sums = rng.poisson(events * np.exp(x @ beta)).astype(float)
    fit = poisson(x, sums, events)
    assert fit is not None
    found, covariance, dispersion = fit
    assert x.T @ (sums - events * np.exp(x @ found)) == pytest.approx(np.zeros(5), abs=1e-6)
    assert np.abs((found - beta) / np.sqrt(np.diag(covariance))).max() < 4.0
    assert 0.5 < dispersion < 1.7


@pytest.mark.parametrize(("hours", "known"), [(47, "unknown"), (48, "day"), (24 * 20, "day")])
def test_two_whole_days_are_needed(hours: int, known: str) -> None:
    assert season_of(seen(np.random.default_rng(0), day(hours)), LABELS, 0, OWN).known == known


def test_a_week_needs_three_of_them() -> None:
    rng = np.random.default_rng(1)
    rates = 0.05 * (1.0 + 0.3 * np.sin(2 * np.pi * np.arange(3 * WEEK) / WEEK)) * day(3 * WEEK) / 0.05
    assert season_of(seen(rng, rates[: 3 * WEEK - 1]), LABELS, 0, OWN).known == "day"
    assert season_of(seen(rng, rates), LABELS, 0, OWN).known == "week"


def test_a_stream_without_season_is_seldom_given_one() -> None:
    rng = np.random.default_rng(2)
    found = [season_of(seen(rng, np.full(60, 0.05)), LABELS, 0, OWN).known for _ in range(200)]
    # .1 % each.
    assert found.count("none") >= 197


def test_bounds_hold_in_every_hour_as_often_as_they_say() -> None:
    """At 3.09 standard errors a side each hour misses .1 % of the time: 24 hours of 100 fits, hours of a fit together.
    Two harmonics hold this season exactly."""
    rng, missed = np.random.default_rng(3), 0
    truth = np.exp(np.log(0.05) + 0.4 * np.sin(2 * np.pi * (np.arange(72) + 0.5) / 24))
    for _ in range(100):
        season = season_of(seen(rng, truth), LABELS, 0, OWN)
        bounds = np.array([season.bounds(hour)[LABEL] for hour in range(24)])
        missed += bool((bounds[:, 0] < truth[:24]).any() or (bounds[:, 1] > truth[:24]).any())
    assert missed <= 5


def test_earlier_hours_give_the_shape_and_the_reference_its_level() -> None:
    rng = np.random.default_rng(4)
    rates = np.concatenate([day(96), 2.0 * day(96)])
    season = season_of(seen(rng, rates), LABELS, 96 * HOUR, OWN)
    at_noon = [season.at(hour)[LABEL][0] for hour in (6, 18)]
    assert at_noon == pytest.approx([0.14, 0.06], rel=0.15)


def test_the_mean_over_a_time_is_that_of_its_hours() -> None:
    season = season_of(seen(np.random.default_rng(5), day(96)), LABELS, 0, OWN)
    constant = np.array([0.05])
    hours = [season.at(hour)[LABEL][0] for hour in (3, 4, 5)]
    assert season.mean(3 * HOUR, 6 * HOUR, constant)[0] == pytest.approx(np.mean(hours))
    assert np.array_equal(Season("none", {}).mean(0, HOUR, constant), constant)


def watch(events: int, rate: Rate, per_day: int, total: int, seed: int) -> tuple[Watch, list]:
    """A watch and the alarms that it raised while it watched."""
    watched, alarms = Watch(events, 250, YEAR, costs=(1.0, 10.0), advisory=()), []
    for stepped in islice(steps(np.random.default_rng(seed), rate, per_day), total // 500):
        alarms += [a for a in feed(watched, stepped) if a.detector == "e_sr"]
    return watched, alarms


def test_a_stream_with_a_daily_season_is_quiet_once_two_days_were_learnt() -> None:
    for seed in range(3):
        watched, alarms = watch(20_000, daily(), 10_000, 150_000, seed)
        assert alarms == []
        assert watched.season == "day"


def test_a_busy_stream_learns_its_season_though_its_reference_is_short() -> None:
    """Learning takes half a day, so the first days raise alarms; what hours they had is kept, and then it is quiet.

    Where the half day looks over-dispersed, its bounds are so wide that there is no alarm and nothing is learnt anew.
    """
    known = []
    for seed in range(3):
        watched, alarms = watch(20_000, daily(), 40_000, 500_000, seed)
        known.append(watched.season)
        assert len(alarms) <= 4
        assert all(alarm.at < 8 * DAY for alarm in alarms)
        assert watched.season == "day" or not alarms
    assert "day" in known


def test_bursts_raise_no_alarm_once_they_were_learnt() -> None:
    for seed in range(3):
        _, alarms = watch(20_000, bursts(np.random.default_rng(seed)), 10_000, 200_000, seed)
        assert alarms == []


def test_a_change_on_top_of_a_season_is_found() -> None:
    for seed in range(3):
        rate = daily()
        _, alarms = watch(
            20_000, lambda ts, rate=rate: rate(ts) * np.where(ts > 8 * DAY, 2.0, 1.0), 10_000, 110_000, seed
        )
        assert len(alarms) == 1
        assert abs(alarms[0].change_at - 8 * DAY) <= DAY / 4
        assert alarms[0].detail["season"] == "day"


def test_parts_of_a_step_are_judged_by_their_own_hours() -> None:
    """Without its examples a step of several hours is judged by the widest bounds: never more evidence than with."""
    rng = np.random.default_rng(6)
    one = Watch(40_000, 250, YEAR, costs=(1.0, 10.0), advisory=())
    stream = steps(rng, daily(), 5000)
    for stepped in islice(stream, 90):
        feed(one, stepped)
    assert one.season == "day"
    other = Watch.restore(one.state())
    evidence, start, end, examples = next(stream)
    assert end // HOUR - start // HOUR >= 2
    one.step(evidence, start, end, 1 / 11, lambda: examples)
    other.step(evidence, start, end, 1 / 11)
    assert one._esr is not None
    assert other._esr is not None
    assert (other._esr.log_statistic <= one._esr.log_statistic + 1e-9).all()


def test_a_threshold_move_gives_the_cost_bounds_of_its_own_by_hour_and_leaves_the_others() -> None:
    watched = Watch(40_000, 250, YEAR, costs=(1.0, 10.0), advisory=())
    for stepped in islice(steps(np.random.default_rng(8), daily(amplitude=0.5), 10_000), 150):
        feed(watched, stepped)
    reference = watched.reference
    assert reference is not None
    assert {LABEL, COST} <= set(reference.season.waves)
    noon, midnight = ([bound.copy() for bound in reference.bounds_at(hour)] for hour in (6, 18))
    assert noon[0][COST] > midnight[0][COST]
    watched.epoch(0.5, 10 * DAY)
    again = reference.bounds_at(6)
    for before, after in zip(noon, again, strict=True):
        assert np.array_equal(before[:COST], after[:COST])
        assert before[COST] != after[COST]
    other = Watch.restore(watched.state())
    assert other.reference is not None
    assert np.array_equal(other.reference.bounds_at(6)[0], again[0])
