"""Alignment: the loss against the KPI, on streams whose truth is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from streameval.evaluate.alignment import Agreement, Halves, Level, Pair, difference, level
from streameval.evaluate.alignment.rate import anytime_rate
from streameval.evaluate.alignment.standardised import Prices

COST = Prices("cost", 1.0, 10.0)


def window(rng: np.random.Generator, events: int, prevalence: float, skill: float, bias: float = 0.0) -> Halves:
    """A window of a model whose positives score higher by `skill` on the logit."""
    label = (rng.random(events) < prevalence).astype(np.int8)
    logit = rng.normal(skill * label - 3.0 + bias, 1.0)
    score = 1.0 / (1.0 + np.exp(-logit))
    revenue = np.where(rng.random(events) < 0.5, label * 20.0 + rng.normal(0.0, 5.0, events), np.nan)
    ids = rng.integers(0, 2**63, events, dtype=np.uint64)
    return Halves.of(score, label, ids, 0.1, {"revenue": revenue})


def pairs_of(windows: list[Halves], kpi: str, better: float) -> Agreement:
    """Disjoint pairs of windows, as the engine makes them; better is 1 where up is good, -1 where down is."""
    agreement = Agreement()
    for first, second in zip(windows[::2], windows[1::2], strict=True):
        loss = [level(sums, 0, 0.05, COST)[0] for sums in (second, first)]
        kpis = [level(sums, 1, 0.05, COST)[1][kpi] for sums in (first, second)]
        change = difference(*kpis)
        agreement.add(Pair(difference(*loss), Level(better * change.value, change.error)))
    return agreement


@pytest.mark.parametrize("season", [0.0, 0.6])
@pytest.mark.parametrize(("kpi", "better"), [("cost", -1.0), ("revenue", 1.0)])
def test_a_model_that_never_changes_shows_no_alignment_either_way(season: float, kpi: str, better: float) -> None:
    rng = np.random.default_rng(11)
    prevalences = 0.06 * (1.0 + season * np.sin(np.arange(400) * 2.0 * np.pi / 7.0))
    summary = pairs_of([window(rng, 3000, p, 2.0) for p in prevalences], kpi, better).summary()
    assert summary.disagreement is not None
    assert summary.disagreement.low < 0.5 < summary.disagreement.high
    assert summary.tau is not None
    assert summary.tau.low < 0.0 < summary.tau.high


def test_without_standardising_a_season_alone_makes_loss_and_kpi_disagree() -> None:
    rng = np.random.default_rng(3)
    prevalences = 0.06 * (1.0 + 0.6 * np.sin(np.arange(200) * 2.0 * np.pi / 7.0))
    windows = [window(rng, 3000, p, 2.0) for p in prevalences]
    raw = Agreement()
    for first, second in zip(windows[::2], windows[1::2], strict=True):
        loss = [float(sums.loss[0].sum() / sums.events[0].sum()) for sums in (first, second)]
        revenue = [float(sums.kpis["revenue"][1, 1].sum() / sums.events[1].sum()) for sums in (first, second)]
        raw.add(Pair(Level(loss[0] - loss[1], 0.0), Level(revenue[1] - revenue[0], 0.02)))
    rate = raw.summary().disagreement
    assert rate is not None
    assert rate.low > 0.5


def test_a_model_whose_skill_moves_shows_that_the_loss_tracks_the_cost() -> None:
    rng = np.random.default_rng(5)
    summary = pairs_of([window(rng, 6000, 0.06, s) for s in rng.uniform(1.0, 4.0, 200)], "cost", -1.0).summary()
    assert summary.disagreement is not None
    assert summary.disagreement.high < 0.3
    assert summary.tau is not None
    assert summary.tau.low > 0.3
    assert summary.correlation is not None
    assert summary.correlation > 0.7
    assert summary.goodhart is not True


def test_gains_that_cost_the_kpi_where_they_are_largest_raise_the_flag() -> None:
    rng = np.random.default_rng(8)
    agreement = Agreement()
    for _ in range(200):
        gain = rng.normal()
        # Up to a point the KPI rises with the gain, beyond it falls.
        agreement.add(Pair(Level(gain, 0.1), Level(gain - 3.0 * max(gain - 0.3, 0.0) + rng.normal(0.0, 0.3), 0.3)))
    assert agreement.summary().goodhart is True


@settings(max_examples=30, deadline=None)
@given(st.integers(6, 60), st.integers(0, 2**32 - 1))
def test_tau_is_that_of_scipy_and_lies_in_its_interval(m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 8, m).astype(float), rng.integers(0, 8, m).astype(float)
    agreement = Agreement()
    for a, b in zip(x, y, strict=True):
        agreement.add(Pair(Level(a, 0.0), Level(b, 0.0)))
    tau = agreement.summary().tau
    expected = kendalltau(x, y).statistic
    if np.isnan(expected):
        assert tau is None
    else:
        assert tau is not None
        assert tau.value == pytest.approx(expected)
        assert tau.low <= tau.value <= tau.high


@pytest.mark.parametrize(("pairs", "rho"), [(12, 0.0), (30, 0.7), (60, 0.7)])
def test_the_interval_of_tau_holds_that_of_the_population(pairs: int, rho: float) -> None:
    rng = np.random.default_rng(4)
    truth, held = 2.0 / np.pi * np.arcsin(rho), 0
    for _ in range(100):
        agreement = Agreement()
        for x, y in rng.multivariate_normal([0.0, 0.0], [[1.0, rho], [rho, 1.0]], pairs):
            agreement.add(Pair(Level(x, 0.0), Level(y, 0.0)))
        tau = agreement.summary().tau
        assert tau is not None
        held += tau.low <= truth <= tau.high
    # 95 %, less three standard errors
    assert held / 100 > 0.95 - 3.0 * np.sqrt(0.05 * 0.95 / 100)


def test_the_rates_interval_holds_the_truth_at_all_times_at_once() -> None:
    rng = np.random.default_rng(1)
    missed, said = 0, cache(anytime_rate)
    for _ in range(200):
        successes = np.cumsum(rng.random(300) < 0.5)
        looks = (said(int(s), n - int(s)) for n, s in enumerate(successes, 1))
        missed += any(known is not None and not known.low <= 0.5 <= known.high for known in looks)
    # 5 % promised for all looks together; 22 of 200 would be beyond chance.
    assert missed < 22


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 400))
def test_windows_add_up(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    score, label = rng.random(400), rng.integers(0, 2, 400).astype(np.int8)
    ids = rng.integers(0, 2**63, 400, dtype=np.uint64)
    kpi = np.where(rng.random(400) < 0.5, rng.normal(size=400), np.nan)
    parts = [
        Halves.of(score[at], label[at], ids[at], 0.3, {"revenue": kpi[at]}) for at in (slice(cut), slice(cut, None))
    ]
    both = Halves()
    for part in parts:
        both += part
    whole = Halves.of(score, label, ids, 0.3, {"revenue": kpi})
    assert np.allclose(both.loss, whole.loss)
    assert (both.events == whole.events).all()
    assert np.allclose(both.kpis["revenue"], whole.kpis["revenue"])


def test_state_goes_on_where_it_was() -> None:
    rng = np.random.default_rng(2)
    agreement = pairs_of([window(rng, 1000, 0.2, 2.0) for _ in range(40)], "cost", -1.0)
    assert Agreement.restore(agreement.state()).summary() == agreement.summary()
    sums = window(rng, 500, 0.2, 1.0)
    again = Halves.restore(sums.state())
    assert (again.loss == sums.loss).all()
    assert (again.kpis["revenue"] == sums.kpis["revenue"]).all()
