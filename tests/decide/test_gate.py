"""The gate: it moves when the gain is beyond doubt, and seldom else."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import step
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.decide.gate import Gate
from streameval.decide.objectives import NOTHING, Capacity, Cost, FBeta, Objective, Precision, Recall
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import EDGES

WINDOW = 20_000
ALL: list[Objective] = [Cost(1.0, 10.0), FBeta(), Precision(0.5), Recall(0.8), Capacity(0.05)]


@pytest.fixture(scope="module")
def window() -> BinaryEvidence:
    return step(np.random.default_rng(0), WINDOW)


@pytest.mark.parametrize("objective", ALL, ids=lambda o: o.kind)
def test_from_a_poor_threshold_it_moves_to_the_solution_and_stays(objective: Objective, window: BinaryEvidence) -> None:
    gate = Gate(objective, max_step=50.0)
    solution = objective.solve(window)
    assert solution is not None
    for poor in (0.004, 0.9):
        move = gate.propose(window, poor, WINDOW)
        assert move is not None
        assert (move.threshold, move.previous) == (solution.threshold, poor)
        assert move.expected_gain.low < move.expected_gain.value < move.expected_gain.high
        assert gate.propose(window, move.threshold, WINDOW) is None


@pytest.mark.parametrize("objective", ALL, ids=lambda o: o.kind)
def test_another_window_of_the_same_stream_is_no_reason_to_move(objective: Objective, window: BinaryEvidence) -> None:
    solution = objective.solve(window)
    assert solution is not None
    moves = [
        Gate(objective).propose(step(np.random.default_rng(seed), WINDOW), solution.threshold, WINDOW)
        for seed in range(1, 31)
    ]
    assert sum(move is not None for move in moves) <= 1


def test_a_shift_of_the_prevalence_moves_the_cost_threshold_down() -> None:
    shifted = step(np.random.default_rng(3), WINDOW, prevalence=0.15)
    move = Gate(Cost(1.0, 10.0)).propose(shifted, 1 / 11, WINDOW)
    assert move is not None
    # The closed form on the old scores is .02896.
    assert move.threshold == pytest.approx(0.029, abs=0.012)
    assert move.expected_gain.low > 0.0
    assert move.reason == "gain"


def test_a_missed_target_moves_with_that_reason() -> None:
    shifted = step(np.random.default_rng(3), WINDOW, prevalence=0.01)
    move = Gate(Precision(0.5)).propose(shifted, 0.4, WINDOW)
    assert move is not None
    assert (move.reason, move.threshold > 0.4) == ("target_missed", True)
    assert move.expected_gain.value > 0.0


@pytest.mark.parametrize(
    ("since", "positives", "moves"),
    [(WINDOW, 100, True), (9_999, 100, False), (10_000, 100, True), (WINDOW, 10**6, False)],
)
def test_cooldown_and_positives_hold_it_back(window: BinaryEvidence, since: int, positives: int, moves: bool) -> None:
    gate = Gate(Cost(1.0, 10.0), positives=positives, cooldown=5_000)
    assert (gate.propose(window, 0.9, since) is not None) == moves


@settings(max_examples=40, deadline=None)
@given(in_force=st.floats(0.0, 1.0) | st.just(NOTHING), largest=st.floats(0.05, 4.0), objective=st.sampled_from(ALL))
def test_no_move_is_larger_than_the_largest_step(in_force: float, largest: float, objective: Objective) -> None:
    window = step(np.random.default_rng(0), 5_000)
    move = Gate(objective, max_step=largest, positives=1).propose(window, in_force, 10**6)
    if move is not None:

        def logit(t: float) -> float:
            inside = min(max(t, 2.0**-30), 1.0 - 2.0**-30)
            return float(np.log(inside / (1.0 - inside)))

        # A bin is at most 1/128 of an octave wide, and a move ends at its lower edge.
        assert abs(logit(move.threshold) - logit(in_force)) <= largest + 0.02
        assert move.threshold in EDGES


def test_a_target_out_of_reach_moves_nothing(window: BinaryEvidence) -> None:
    assert Gate(Precision(0.9999)).propose(window, 0.5, WINDOW) is None
