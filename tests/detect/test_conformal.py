"""Conformal SR: ranks are uniform without change, whatever the model; a change is found without a reference."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import STEP, scores
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from streameval.detect.bands import BAND_OF, BANDS
from streameval.detect.conformal import FUNCTIONS, SHARES, Conformal, ranked
from streameval.detect.esr import RATIOS, bets
from streameval.detect.examples import Examples
from streameval.evidence.bins import bin_of


def examples(rng: np.random.Generator, n: int = STEP, *, at: int = 0, prevalence: float = 0.05, apart: float = 2.0):
    """One step's examples, all of one cohort."""
    score, y = scores(rng, n, prevalence=prevalence, apart=apart)
    ids = rng.integers(0, 2**63, n).astype(np.uint64)
    return Examples(np.full(n, at), ids, bin_of(score), y).ordered()


def test_ranks_are_those_of_the_definition() -> None:
    rng, guard = np.random.default_rng(0), Conformal(0, 0.2)
    rank, seen = ranked(0.2), []
    for k in range(3):
        part = examples(rng, 40, at=k)
        p, uniform = guard.ranks(part), part.uniform()
        for t, cell in enumerate((BAND_OF[part.bins] + BANDS * part.label).tolist()):
            seen.append(cell)
            for f in range(len(FUNCTIONS)):
                own, all_ = rank[f, cell], rank[f, seen]
                expected = ((all_ > own).sum() + uniform[t] * (all_ == own).sum()) / len(seen)
                assert p[f, t] == pytest.approx(expected, rel=1e-12)


def test_ranks_are_uniform_and_independent_without_change() -> None:
    rng, guard = np.random.default_rng(1), Conformal(0, 0.2)
    p = np.concatenate([guard.ranks(examples(rng, at=k)) for k in range(20)], axis=1)
    for row in p:
        assert kstest(row, "uniform").pvalue > 0.001
        assert abs(np.corrcoef(row[1:], row[:-1])[0, 1]) < 4.0 / np.sqrt(row.size)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_the_order_in_which_rows_come_changes_nothing(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = Conformal(0, 0.2), Conformal(0, 0.2)
    for k in range(3):
        part = examples(rng, n, at=k)
        order = rng.permutation(n)
        mixed = Examples(part.cohort[order], part.id_hash[order], part.bins[order], part.label[order])
        one.step(part, k)
        other.step(mixed.ordered(), k)
    assert np.array_equal(one.recursion.log_m, other.recursion.log_m)
    assert np.array_equal(one.counts, other.counts)


def test_a_uniform_rank_multiplies_each_bet_by_one_on_average() -> None:
    bet = bets(SHARES, SHARES)
    share = SHARES[:, None, None]
    average = share * (1.0 + bet * (1.0 - share)) + (1.0 - share) * (1.0 - bet * share)
    assert average == pytest.approx(np.ones((SHARES.size, 2, RATIOS.size)))


@pytest.mark.parametrize(
    ("prevalence", "apart", "within"), [(0.08, 2.0, 4000), (0.025, 2.0, 4000), (0.05, 1.0, 3500)], ids=str
)
def test_a_change_is_found_without_any_reference(prevalence: float, apart: float, within: int) -> None:
    delays = []
    for seed in range(6):
        rng, guard = np.random.default_rng(seed), Conformal(0, 0.2)
        for k in range(60):
            change = {} if k < 20 else {"prevalence": prevalence, "apart": apart}
            guard.step(examples(rng, at=k, **change), k + 1)
            found = guard.crossings(float(np.log(6e6)))
            if found:
                delays.append((k - 19) * STEP)
                assert abs(found[0].change_at - 20) <= 4
                break
    assert len(delays) == 6
    assert np.median(delays) <= within


def test_false_alarms_stay_within_the_promise() -> None:
    """1M events, c = 1e6 for each function and direction: six at most on average, 16 has a probability of .1 %."""
    rng, guard, alarms = np.random.default_rng(3), Conformal(0, 0.2), 0
    for k in range(2000):
        if k % 100 == 0:
            guard = Conformal(k, 0.2)
        guard.step(examples(rng, at=k), k)
        if guard.crossings(float(np.log(1e6))):
            alarms += 1
            guard = Conformal(k, 0.2)
    assert alarms <= 15
