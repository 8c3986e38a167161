import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from streameval.decide.gate import Gate
from streameval.decide.objectives import Capacity, Cost, FBeta, Precision, Recall, Value
from streameval.decide.prior_move import PriorMoves, prior_moved, prior_threshold, widened
from streameval.detect.label_counts import LabelCounts
from streameval.evaluate.estimate import Estimate, Z
from streameval.evaluate.prevalence import prevalence
from streameval.evidence import BinaryEvidence
from streameval.evidence.bins import EDGES, threshold_bin


def stream(rng, n, share, model_share=0.05):
    """Two Gaussian classes; the score is the probability at `model_share`."""
    y = (rng.random(n) < share).astype(np.int8)
    x = rng.normal(2.0 * y, 1.0)
    return expit(logit(model_share) + 2.0 * (x - 1.0)), y


def evidence(seed, n, share, model_share=0.05):
    return BinaryEvidence.of(*stream(np.random.default_rng(seed), n, share, model_share))


def sure(value, width=0.03):
    return Estimate(value, value * (1 - width), value * (1 + width))


REFERENCE = evidence(1, 100_000, 0.05)


def test_the_closed_form_of_the_methods():
    assert prior_threshold(1, 10, 0.05, 0.05) == pytest.approx(1 / 11)
    assert prior_threshold(1, 10, 0.05, 0.15) == pytest.approx(0.02896, abs=5e-6)


def test_a_tripled_prevalence_moves_the_cost_threshold_to_the_closed_form():
    move = prior_moved(Gate(Cost(1, 10)), REFERENCE, sure(0.15), 0.0909)
    assert move.threshold == pytest.approx(0.02896, rel=0.08)
    assert (move.previous, move.reason) == (0.0909, "prevalence")
    assert move.expected_gain.low > 0
    assert move.threshold == EDGES[threshold_bin(move.threshold)]


def test_the_move_wins_on_the_stream_itself_what_it_promises():
    gate = Gate(Cost(1, 10))
    move = prior_moved(gate, REFERENCE, sure(0.15), 0.0909, "label_shift")
    after = evidence(2, 200_000, 0.15)
    won = gate.objective.value_at(after, 0.0909) - gate.objective.value_at(after, move.threshold)
    assert move.expected_gain.low < won < move.expected_gain.high
    assert move.reason == "label_shift"


def test_what_is_not_known_of_the_prevalence_is_not_known_of_the_gain():
    gate, after = Gate(Cost(1, 10)), evidence(2, 200_000, 0.15)
    known, doubtful = (prior_moved(gate, REFERENCE, sure(0.15, width), 0.0909) for width in (0.01, 0.1))
    assert known.threshold == doubtful.threshold
    assert known.expected_gain.value == doubtful.expected_gain.value
    # At the ends of the interval the move would win so much.
    ends = [
        gate.objective.gain(PriorMoves.of(REFERENCE).thinned(p), 0.0909, known.threshold).value for p in (0.135, 0.165)
    ]
    assert doubtful.expected_gain.low < ends[0] + 1e-3 < ends[1] - 1e-3 < doubtful.expected_gain.high
    assert known.expected_gain.low > ends[0]
    assert gate.objective.gain(after, 0.0909, known.threshold).value < doubtful.expected_gain.high


def test_it_moves_back_when_the_prevalence_comes_back():
    gate = Gate(Cost(1, 10))
    there = prior_moved(gate, REFERENCE, sure(0.15), 0.0909)
    back = prior_moved(gate, REFERENCE, sure(0.05), there.threshold)
    assert back.threshold == pytest.approx(0.0909, rel=0.08)


def test_an_uncertain_prevalence_moves_nothing():
    assert prior_moved(Gate(Cost(1, 10)), REFERENCE, Estimate(0.08, 0.03, 0.15), 0.0909) is None


def test_scores_off_the_logit_line_by_slope_and_shift_still_find_the_best_threshold():
    rng = np.random.default_rng(4)
    score, y = stream(rng, 100_000, 0.05)
    wrong = expit(0.6 * logit(score) - 0.7)
    move = prior_moved(Gate(Cost(1, 10)), BinaryEvidence.of(wrong, y), sure(0.15), expit(0.6 * logit(0.0909) - 0.7))
    assert move.threshold == pytest.approx(expit(0.6 * logit(0.02896) - 0.7), rel=0.08)


@pytest.mark.parametrize("objective", [Cost(1, 10), FBeta(1), FBeta(2), Recall(0.8), Precision(0.5), Capacity(0.1)])
def test_every_objective_of_counts_is_better_off_after_its_move(objective):
    gate = Gate(objective)
    in_force = objective.solve(REFERENCE).threshold
    after = evidence(5, 200_000, 0.2)
    move = prior_moved(gate, REFERENCE, sure(0.2), in_force)
    if move is None:
        assert isinstance(objective, Recall)  # under a label shift the recall stays as it is
        return
    best = objective.solve(after)
    old, new = (abs(objective.value_at(after, t) - best.value) for t in (in_force, move.threshold))
    assert new < old


def test_a_value_objective_knows_no_class_and_does_not_move():
    assert prior_moved(Gate(Value("profit")), REFERENCE, sure(0.2), 0.5) is None


def test_the_largest_step_holds_here_too():
    move = prior_moved(Gate(Cost(1, 10), max_step=0.5), REFERENCE, sure(0.15), 0.0909)
    assert logit(move.threshold) == pytest.approx(logit(0.0909) - 0.5, abs=0.02)


def test_a_reference_with_one_class_or_few_positives_says_nothing():
    gate = Gate(Cost(1, 10))
    one = BinaryEvidence.of(np.array([0.2, 0.3]), np.array([0, 0]))
    assert prior_moved(gate, one, sure(0.2), 0.5) is None
    assert prior_moved(gate, evidence(6, 1000, 0.05), sure(0.3), 0.0909) is None


@settings(max_examples=40)
@given(st.floats(0.001, 0.999), st.integers(0, 1000))
def test_the_thinned_reference_has_the_prevalence_and_no_more_events_than_there_were(share, seed):
    counts = np.random.default_rng(seed).integers(0, 40, (2, 200))
    counts[:, 0] += 50
    held = counts.any(axis=0)
    moves = PriorMoves.of(LabelCounts(np.flatnonzero(held).astype(np.int16), counts[:, held]))
    thin = moves.thinned(share)
    full = np.zeros((2, 200), np.int64)
    full[:, thin.bins] = thin.counts
    assert (full <= counts).all()
    assert (full >= 0).all()
    negatives, positives = full.sum(axis=1)
    odds = share / (1 - share)
    assert min(abs(positives - odds * negatives), abs(negatives - positives / odds)) <= 0.5 + 1e-6
    assert (full == counts).all(axis=1).any()


def test_an_interval_is_widened_on_the_logit():
    low, value, high = widened(Estimate(0.05, 0.04, 0.07), 2 * Z)
    assert value == 0.05
    assert logit(low) - logit(0.05) == pytest.approx(2 * (logit(0.04) - logit(0.05)))
    assert logit(high) - logit(0.05) == pytest.approx(2 * (logit(0.07) - logit(0.05)))


def test_a_stationary_stream_does_not_move_from_the_best_threshold():
    rng = np.random.default_rng(7)
    gate = Gate(Cost(1, 10))
    moves = 0
    for seed in range(40):
        reference = evidence(100 + seed, 20_000, 0.05)
        # In force is what an earlier window of its own found best.
        in_force = gate.objective.solve(evidence(200 + seed, 20_000, 0.05)).threshold
        positives = rng.binomial(20_000, 0.05)
        now = prevalence(positives, 20_000 - positives)
        moves += prior_moved(gate, reference, now, in_force) is not None
    assert moves == 0
