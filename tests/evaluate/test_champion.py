import numpy as np
import pytest
from scipy.special import expit, logit

from streameval.errors import ConfigValueError, StateVersionError
from streameval.evaluate.calibration import CALIBRATORS, Champion, Identity, Platt, PriorShift, competing
from streameval.evaluate.calibration.cells import CELLS, Cells
from streameval.evaluate.calibration.halves import halves
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
    class Later(Platt):
        name = "later"

    state = Champion(calibrators=(Identity, Later)).state()
    with pytest.raises(StateVersionError, match="later"):
        Champion.restore(state)


def since_the_change(seed, steps=10, **change):
    return sum(stream(seed, steps=steps, **change), BinaryEvidence.empty())


def test_a_diagnosis_puts_its_map_in_force_at_once_fitted_to_the_events_since_the_change_alone():
    champion = Champion()
    switches(champion, stream(6, steps=40))
    after = since_the_change(7, steps=20, prevalence=0.15)
    switch = champion.adopt("prior", after)
    assert (switch.previous, switch.method, switch.reason) == ("identity", "prior", "diagnosis")
    assert champion.method == champion.map.method == "prior"
    assert champion.calibrator.intercept == pytest.approx(logit(0.15) - logit(0.05), abs=0.15)
    alone = PriorShift()
    alone.learn_cells(Cells.of_counts(after))
    assert champion.calibrator.intercept == pytest.approx(alone.intercept, abs=1e-6)
    assert switch.after.log_loss < switch.before.log_loss


def test_after_an_adopted_map_all_maps_begin_anew_and_none_is_ahead():
    champion = Champion()
    switches(champion, stream(8, steps=40, slope=0.5, shift=-2.0))
    champion.adopt("prior", since_the_change(9, prevalence=0.15))
    assert (champion._m == 0).all()
    assert champion.measures() == {}
    for c in champion._calibrators:
        # What stood before the change, a flattened score, would give a slope of two.
        assert c.name == "identity" or c.predict_one(0.5) == pytest.approx(0.76, abs=0.12)


def test_the_best_map_is_chosen_by_predicting_each_half_of_the_events_from_the_other():
    champion = Champion()
    switch = champion.adopt(None, since_the_change(10, steps=40, slope=0.5, shift=-2.0))
    assert switch.method in {"platt", "beta", "online_platt"}
    assert switch.after.log_loss < 0.85 * switch.before.log_loss


def test_a_method_that_does_not_compete_gives_way_to_the_best_that_does():
    champion = Champion(calibrators=competing(["platt"]))
    assert champion.adopt("prior", since_the_change(11, prevalence=0.15)).method == "platt"


def test_without_events_or_challengers_nothing_is_adopted():
    assert Champion().adopt("prior", BinaryEvidence.empty()) is None
    assert Champion(calibrators=competing([])).adopt("prior", since_the_change(12, steps=1)) is None


def test_an_adopted_map_is_restored_bit_for_bit():
    one = Champion()
    one.adopt(None, since_the_change(13, slope=0.5, shift=-2.0))
    two = Champion.restore(one.state())
    assert switches(one, stream(14, steps=20)) == switches(two, stream(14, steps=20))
    assert np.array_equal(one.map.y, two.map.y)


def test_halves_add_up_and_are_cut_the_same_way_each_time():
    cells = Cells(np.random.default_rng(15).poisson(3, (2, CELLS)).astype(float), np.zeros(CELLS))
    (one, other), (again, _) = halves(cells), halves(cells)
    assert np.array_equal(one.counts + other.counts, cells.counts)
    assert np.array_equal(one.counts, again.counts)
    assert one.counts.sum() == pytest.approx(cells.counts.sum() / 2, rel=0.1)


def test_a_method_without_a_calibrator_is_refused_by_name():
    with pytest.raises(ConfigValueError, match="spline"):
        competing(["platt", "spline"])


def test_a_map_that_joins_a_stored_contest_begins_with_what_is_known():
    champion = Champion(calibrators=competing(["prior"]))
    switches(champion, stream(16, steps=40, slope=0.5, shift=-2.0))
    joined = Champion.restore(champion.state(), competing(["prior", "platt"]))
    assert joined.method == champion.method
    assert joined.methods == ("identity", "prior", "platt")
    assert joined._calibrators[2].slope == pytest.approx(2.0, abs=0.4)
    assert joined.measures()["prior"] == champion.measures()["prior"]
