import numpy as np
import pytest
from scipy.special import expit, logit

from streameval.errors import StateVersionError
from streameval.evaluate.calibration import CALIBRATORS, Champion, Identity, Platt
from streameval.evidence import BinaryEvidence


def stream(seed, *, steps=200, slope=1.0, shift=0.0, prevalence=0.05, change=0, step=500):
    """Steps of evidence; from the step `change` on the score's logit is distorted."""
    rng = np.random.default_rng(seed)
    for i in range(steps):
        y = (rng.random(step) < prevalence).astype(np.int8)
        z = 2 * (rng.normal(size=step) + 2 * y) - 2 + logit(0.05)
        yield BinaryEvidence.of(expit(slope * z + shift if i >= change else z), y)


def switches(champion, evidence):
    found = []
    for i, e in enumerate(evidence):
        switch = champion.step(e)
        if switch:
            found.append((i, switch))
    return found


def test_calibrated_scores_keep_the_identity_in_force():
    for seed in range(8):
        champion = Champion()
        assert switches(champion, stream(seed, steps=100)) == []
        assert champion.method == "identity"


@pytest.mark.parametrize(
    ("change", "fitting"),
    [({"prevalence": 0.15}, {"prior", "platt"}), ({"slope": 0.5, "shift": -2.0}, {"platt", "isotonic"})],
    ids=["prior trebled", "scores flattened"],
)
def test_a_better_map_takes_over_and_its_measures_are_better(change, fitting):
    champion = Champion()
    (at, first), *_ = switches(champion, stream(1, steps=100, **change))
    assert at < 60
    assert first.previous == "identity"
    assert first.method in fitting | {"isotonic"}
    assert first.after.log_loss < first.before.log_loss
    assert first.evidence >= 1e6 * (len(CALIBRATORS) - 1)
    assert champion.method in fitting


def test_an_over_confident_challenger_does_not_win_by_a_clip():
    class Certain(Identity):
        name = "certain"

        def predict_many(self, score):
            return np.where(score > 0.5, 1 - 1e-9, 1e-9)

    champion = Champion(calibrators=(Identity, Certain))
    assert switches(champion, stream(2, steps=100)) == []
    assert champion.measures()["certain"].log_loss > champion.measures()["identity"].log_loss


def test_maps_are_tested_on_a_step_before_they_learn_it():
    champion = Champion(calibrators=(Identity, Platt))
    e = BinaryEvidence.of(np.full(500, 0.5), np.ones(500, np.int8))
    champion.step(e)
    measures = champion.measures()
    assert measures["platt"] == measures["identity"]
    assert measures["identity"].log_loss == pytest.approx(np.log(2))
    champion.step(e)
    assert champion.measures()["platt"].log_loss < measures["platt"].log_loss


def test_the_e_process_grows_by_one_an_example_on_average_when_nothing_is_gained():
    mine, theirs = 0.04, 0.06

    class Equal(Identity):
        name = "equal"

        def predict_many(self, score):
            return np.full(len(score), theirs)

    # The share of positives at which both constants lose the same on average.
    less, more = np.log((1 - mine) / (1 - theirs)), np.log(theirs / mine)
    share = less / (less + more)
    rng = np.random.default_rng(0)
    runs, events = 400, 8 * 500
    ends = np.empty((runs, 3))
    for i in range(runs):
        champion = Champion(calibrators=(Identity, Equal))
        for _ in range(8):
            champion.step(BinaryEvidence.of(np.full(500, mine), (rng.random(500) < share).astype(np.int8)))
        ends[i] = champion._m[1] / events
    se = ends.std(axis=0) / np.sqrt(runs)
    assert (np.abs(ends.mean(axis=0) - 1) < 4 * se).all()
    assert (se < 0.06).all()


def test_a_restored_champion_goes_on_bit_for_bit_through_a_switch():
    evidence = list(stream(3, steps=60, slope=0.5, shift=-2.0))
    one = Champion()
    for e in evidence[:10]:
        one.step(e)
    two = Champion.restore(one.state())
    assert switches(one, evidence[10:]) == switches(two, evidence[10:])
    assert one.method != "identity"
    assert one.method == two.method
    assert np.array_equal(one.map.y, two.map.y)
    assert one.measures() == two.measures()


def test_the_published_map_is_frozen_while_the_calibrator_goes_on_learning():
    champion = Champion()
    switches(champion, stream(4, steps=60, slope=0.5, shift=-2.0))
    frozen = champion.map
    before = frozen.predict_many(np.array([0.01, 0.3]))
    for e in stream(5, steps=5):
        champion.step(e)
    assert np.array_equal(frozen.predict_many(np.array([0.01, 0.3])), before)
    assert not np.array_equal(champion.map.predict_many(np.array([0.01, 0.3])), before)


def test_a_step_without_examples_changes_nothing():
    champion = Champion()
    assert champion.step(BinaryEvidence.empty()) is None
    assert champion.measures() == {}


def test_a_hopeless_champion_is_replaced_without_overflow():
    champion = Champion()
    score = np.full(20_000, 1 - 1e-9)
    champion.step(BinaryEvidence.of(score, np.zeros(20_000, np.int8)))
    switch = champion.step(BinaryEvidence.of(score, np.zeros(20_000, np.int8)))
    assert switch is not None
    assert np.isfinite(switch.evidence)


def test_a_state_with_an_unknown_calibrator_is_refused():
    state = Champion().state()
    with pytest.raises(StateVersionError, match="isotonic"):
        Champion.restore(state, calibrators=(Identity, Platt))
