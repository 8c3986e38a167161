"""A move of the threshold shows whether decisions change outcomes, and is not fooled by what else may change."""

import numpy as np
import pytest
from scipy.special import expit, logit

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


# Half as many positives are a change of .7 in log-odds, four standard errors: seen nine times in ten.
@pytest.mark.parametrize(("prevented", "least"), [(0.5, 16), (0.8, 19)])
@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (NEW, OLD)])
def test_actions_that_prevent_what_they_catch_are_seen_when_a_threshold_moves_either_way(prevented, least, old, new):
    assert sum(found(seed, old=old, new=new, prevented=prevented) for seed in range(20)) >= least


@pytest.mark.parametrize(
    "then",
    [
        World(),
        World(prevalence=0.1),
        World(prevalence=0.025),
        World(odd=0.3, odd_mean=0.5, odd_spread=0.7),
        World(separation=1.0),
        World(slope=0.7, offset=-0.5),
    ],
    ids=["nothing", "twice as many", "half as many", "others ask", "concept drift", "miscalibration"],
)
@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (NEW, OLD)])
def test_decisions_that_change_nothing_are_not_blamed_whatever_becomes_of_the_world(then, old, new):
    # One-sided 3.09: one in a thousand. A drift moves the odds of some scores more than of others, band or no band.
    assert sum(found(seed, old=old, new=new, then=then) for seed in range(40)) <= 1


def test_without_a_drift_the_effect_is_as_large_as_it_was_made_and_its_error_is_right():
    made, z = -0.7, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        before = evidence(rng, 20_000)
        score, positive = AS_TRAINED.draw(rng, 20_000)
        # The score is the probability: so the odds within the band fall by just as much.
        p, inside = score.clip(1e-9, 1.0 - 1e-9), (score >= NEW) & (score < OLD)
        positive &= ~inside | (rng.random(20_000) < expit(logit(p) + made) / p)
        effect = own_effect([before], [BinaryEvidence.of(score, positive.astype(np.int8))], *BAND)
        z.append((effect.change - made) / effect.error)
    assert abs(np.mean(z)) < 3.0 / np.sqrt(60)
    assert 0.7 < np.std(z) < 1.2


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
