"""What a world says of itself in closed form is what its draws show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from streameval.stories.world import World

WORLDS = {
    "as trained": World(),
    "label shift": World(prevalence=0.15),
    "covariate": World(odd=0.4, odd_mean=0.5, odd_spread=0.7),
    "miscalibration": World(slope=0.6, offset=0.2),
    "concept": World(separation=1.0),
    "all at once": World(prevalence=0.1, separation=1.4, slope=1.5, offset=-0.3, odd=0.2, odd_mean=1.0, odd_spread=0.5),
}
N = 400_000


@pytest.fixture(scope="module", params=WORLDS.values(), ids=WORLDS.keys())
def drawn(request):
    score, positive = request.param.draw(np.random.default_rng(5), N)
    return request.param, score, positive


def test_prevalence_and_auc_are_as_said(drawn):
    world, score, positive = drawn
    assert abs(positive.mean() - world.positives) < 4 * np.sqrt(world.positives / N)
    assert roc_auc_score(positive, score) == pytest.approx(world.auc, abs=0.005)


def test_the_posterior_is_the_share_of_positives_at_each_score(drawn):
    world, score, positive = drawn
    p = world.posterior(score)
    for low, high in ((0.0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 0.7), (0.7, 1.0)):
        rows = (p >= low) & (p < high)
        if rows.sum() > 100:
            spread = np.sqrt((p[rows] * (1 - p[rows])).sum()) / rows.sum()
            assert abs(positive[rows].mean() - p[rows].mean()) < 4.5 * spread


def test_a_threshold_costs_what_is_said_and_none_costs_less_than_the_best(drawn):
    world, score, positive = drawn
    best = world.best_threshold(1, 10)
    for threshold in (0.03, 0.1, 0.5, best):
        paid = np.where(score >= threshold, ~positive * 1.0, positive * 10.0)
        assert abs(paid.mean() - world.cost(threshold, 1, 10)) < 4.5 * paid.std() / np.sqrt(N)
    grid = 1 / (1 + np.exp(-np.linspace(-8, 6, 200)))
    assert min(world.cost(float(t), 1, 10) for t in grid) >= world.cost(best, 1, 10) * (1 - 1e-3)


@settings(max_examples=40)
@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(1.0, 30.0), st.floats(0.5, 2.0), st.floats(-1.0, 1.0))
def test_the_best_threshold_is_where_the_posterior_says_so(prevalence, trained, fn, slope, offset):
    world = World(prevalence=prevalence, trained_prevalence=trained, slope=slope, offset=offset)
    threshold = world.best_threshold(1.0, fn)
    assert world.posterior(np.array([threshold]))[0] == pytest.approx(1 / (1 + fn), rel=1e-6)


def test_the_closed_form_of_a_label_shift_is_the_published_one():
    assert World(prevalence=0.15).best_threshold(1, 10) == pytest.approx(0.02896, abs=1e-5)
