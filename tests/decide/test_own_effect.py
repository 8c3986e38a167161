"""A move of the threshold shows whether decisions change outcomes, and is not fooled by what else may change."""

import numpy as np
import pytest

from streameval.decide.own_effect import own_effect
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import threshold_bin
from streameval.stories.world import World

OLD, NEW = 0.5, 0.09
AS_TRAINED = World()
BAND = sorted((threshold_bin(OLD), threshold_bin(NEW)))


def evidence(rng, n, world=AS_TRAINED, *, threshold=None, prevented=0.0):
    score, positive = world.draw(rng, n)
    if threshold is not None:
        positive &= ~((score >= threshold) & (rng.random(n) < prevented))
    return BinaryEvidence.of(score, positive.astype(np.int8))


def found(seed, *, old=OLD, new=NEW, prevented=0.0, then=AS_TRAINED, n=10_000):
    rng = np.random.default_rng(seed)
    before = [evidence(rng, n // 2, threshold=old, prevented=prevented) for _ in range(2)]
    after = [evidence(rng, n, then, threshold=new, prevented=prevented)]
    effect = own_effect(before, after, *BAND)
    return effect is not None and effect.prevents(lowered=new < old)


@pytest.mark.parametrize("prevented", [0.5, 0.8])
@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (NEW, OLD)])
def test_actions_that_prevent_what_they_catch_are_seen_when_a_threshold_moves_either_way(prevented, old, new):
    assert sum(found(seed, old=old, new=new, prevented=prevented) for seed in range(20)) >= 19


@pytest.mark.parametrize(
    "then",
    [World(), World(prevalence=0.1), World(prevalence=0.025), World(odd=0.3, odd_mean=0.5, odd_spread=0.7)],
    ids=["nothing", "twice as many", "half as many", "others ask"],
)
@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (NEW, OLD)])
def test_decisions_that_change_nothing_are_not_blamed_whatever_becomes_of_the_prevalence(then, old, new):
    # One-sided 3.09: one in a thousand.
    assert sum(found(seed, old=old, new=new, then=then) for seed in range(40)) <= 1


def test_too_few_positives_say_nothing():
    rng = np.random.default_rng(0)
    assert own_effect([evidence(rng, 200)], [evidence(rng, 200)], *BAND) is None
    assert own_effect([], [evidence(rng, 5000)], *BAND) is None


def test_how_the_evidence_is_cut_changes_nothing():
    rng = np.random.default_rng(1)
    parts = [evidence(rng, 1000) for _ in range(10)]
    whole = own_effect(parts[:5], parts[5:], *BAND)
    joined = own_effect([sum(parts[1:5], parts[0])], [sum(parts[6:], parts[5])], *BAND)
    assert whole == joined
