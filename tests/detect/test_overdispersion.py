"""Over-dispersion is seen where there is some, and seldom where there is none."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streameval.detect.overdispersion import dispersion, grouped

COIN = np.array([[0.0, 1.0]])


def cells(rng: np.random.Generator, rates: np.ndarray, n: int = 250) -> np.ndarray:
    """Steps of n events at the given rates, as cells of a 0/1 monitor."""
    positives = rng.binomial(n, rates)
    return np.stack([n - positives, positives], axis=1).astype(float)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(1, 600))
def test_blocks_are_whole_steps_and_large_enough(events: list[int], size: int) -> None:
    starts = grouped(np.array(events), size)
    blocks = np.add.reduceat(np.array(events), starts)
    assert blocks.sum() == sum(events)
    assert len(blocks) == 1 or (blocks >= size).all()


def test_independent_events_are_seldom_called_overdispersed() -> None:
    rng = np.random.default_rng(2)
    flagged = [dispersion(cells(rng, np.full(80, 0.05)), COIN, (0,))[1] for _ in range(400)]
    # Four block sizes at .5 % each.
    assert np.mean(flagged) <= 0.04


def test_a_daily_season_is_called_overdispersed() -> None:
    rng = np.random.default_rng(2)
    rates = 0.05 * (1.0 + 0.6 * np.sin(np.arange(80) * 2 * np.pi / 16))
    phi, significant = dispersion(cells(rng, rates), COIN, (0,))
    assert significant
    assert phi[0] > 2.0


def test_too_few_blocks_say_nothing() -> None:
    phi, significant = dispersion(cells(np.random.default_rng(0), np.array([0.01, 0.2, 0.4])), COIN, (0,))
    assert (phi[0], significant) == (0.0, False)
