"""A threshold moves only where every filling of the missing labels asks for it."""

from __future__ import annotations

import numpy as np
import pytest

from streameval.decide.gate import Gate
from streameval.decide.objectives import Cost, FBeta, Objective, Precision, Recall, Value
from streameval.decide.selective import selective_move
from streameval.detect.label_counts import LabelCounts, total
from streameval.evaluate.selective import Selection
from streameval.evidence.binary import BinaryEvidence

N = 40_000


def selection(seen_from: float, seen_to: float = 1.0, seed: int = 0) -> Selection:
    """Calibrated scores; labels are seen from one score to another."""
    rng = np.random.default_rng(seed)
    score = rng.beta(0.6, 6, N)
    label = (rng.random(N) < score).astype(np.int8)
    gain = np.where(label == 1, 20.0, -1.0)
    seen = (score >= seen_from) & (score < seen_to)
    labelled = BinaryEvidence.of(score[seen], label[seen], {"gain": gain[seen]}, None, ("gain",))
    return Selection(labelled, BinaryEvidence.of(score[~seen], np.zeros((~seen).sum(), np.int8)))


def test_inside_the_range_of_labels_a_move_is_made_as_ever() -> None:
    # The best threshold, 1/3, lies where labels are seen; that in force is far too low.
    move = selective_move(Gate(Cost(1.0, 2.0)), selection(0.1), 0.12, 10**6)
    assert move is not None
    assert move.threshold == pytest.approx(1 / 3, abs=0.08)
    assert move.expected_gain.low > 0.0


def test_no_threshold_is_proposed_where_labels_are_not_seen() -> None:
    # The best, 1/51, lies below them.
    for seed in range(5):
        known = selection(0.2, seed=seed)
        move = selective_move(Gate(Cost(1.0, 50.0), max_step=50.0), known, 0.5, 10**6)
        if move is not None:
            assert known.range is not None
            assert known.range[0] <= move.threshold <= known.range[1]


def test_where_labels_stop_above_a_threshold_it_is_not_raised() -> None:
    # Refused above .2: no one knows whether the refused would have paid.
    known = selection(0.0, 0.2)
    assert known.range is not None
    move = selective_move(Gate(Cost(1.0, 1.0), max_step=50.0), known, 0.15, 10**6)
    assert move is None or move.threshold <= known.range[1]


@pytest.mark.parametrize("missing", [0.0, 0.02, 0.1, 0.4])
@pytest.mark.parametrize(("in_force", "fn"), [(0.12, 2.0), (0.6, 10.0)])
def test_a_move_wins_whatever_the_missing_labels_are(missing: float, in_force: float, fn: float) -> None:
    """By filling them in at random, from none to all of them positive, and each against the move."""
    rng, cost = np.random.default_rng(3), Cost(1.0, fn)
    score = rng.beta(0.6, 6, N)
    label = (rng.random(N) < score).astype(np.int8)
    seen = (score >= 0.05) & (rng.random(N) >= missing)
    unseen = BinaryEvidence.of(score[~seen], np.zeros((~seen).sum(), np.int8))
    known = Selection(BinaryEvidence.of(score[seen], label[seen]), unseen)
    move = selective_move(Gate(cost, max_step=50.0), known, in_force, 10**6)
    # Of two in five labels in the band it could be that all are positives, and the gain is lost.
    assert (move is None) == (missing == 0.4 and in_force < 0.5)
    if move is None:
        return
    n = unseen.counts.sum(axis=0)
    against = n if move.threshold > in_force else np.zeros_like(n)
    for k in [against, *(rng.binomial(n, share) for share in rng.random(30))]:
        truth = total([known.labelled, LabelCounts(unseen.bins, np.stack([n - k, k]))])
        assert cost.gain(truth, in_force, move.threshold).value > 0.0


def test_a_move_across_a_band_without_labels_is_not_made() -> None:
    assert selective_move(Gate(Cost(1.0, 2.0), max_step=50.0), selection(0.3), 0.05, 10**6) is None


@pytest.mark.parametrize("objective", [FBeta(), Recall(0.8)], ids=lambda o: o.kind)
def test_objectives_of_all_positives_move_nothing(objective: Objective) -> None:
    assert selective_move(Gate(objective), selection(0.2), 0.9, 10**6) is None


def test_a_precision_is_held_where_flagged_labels_are_seen() -> None:
    move = selective_move(Gate(Precision(0.5)), selection(0.1), 0.15, 10**6)
    assert move is not None
    assert move.reason == "target_missed"


@pytest.mark.parametrize(("seen_from", "in_force", "moves"), [(0.01, 0.3, True), (0.2, 0.3, False), (0.2, 0.01, False)])
def test_a_value_moves_only_over_a_band_that_is_seen(seen_from: float, in_force: float, moves: bool) -> None:
    # The best threshold for gains of 20 and losses of 1 is 1/21.
    move = selective_move(Gate(Value("gain"), max_step=50.0), selection(seen_from), in_force, 10**6)
    assert (move is not None) == moves or (move is not None and move.threshold >= 0.19)


def test_with_all_labels_seen_it_is_the_gate() -> None:
    known = selection(0.0)
    gate = Gate(Cost(1.0, 10.0))
    assert selective_move(gate, known, 0.5, 10**6) == gate.propose(known.labelled, 0.5, 10**6)
