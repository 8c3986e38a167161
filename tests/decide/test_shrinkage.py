"""Shrinkage: the less segments differ, the more the whole counts; and no move without the segment's own evidence."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from binary_streams import step
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.decide.gate import Gate
from streameval.decide.objectives import Capacity, Cost, FBeta, Objective, Precision, Recall, Value
from streameval.decide.shrinkage import ALIKE, Distance, Pooled, distance, pseudo_events, shrunk
from streameval.evidence.binary import BinaryEvidence

bench = runpy.run_path(str(Path(__file__).with_name("bench_shrinkage.py")))
ALL: list[Objective] = [Cost(1.0, 10.0), FBeta(), Precision(0.4), Recall(0.8), Capacity(0.05)]

rows = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 1)), min_size=1, max_size=60)


def evidence(examples: list[tuple[float, int]]) -> BinaryEvidence:
    score, label = zip(*examples, strict=True)
    return BinaryEvidence.of(np.array(score), np.array(label), {"gain": 2.0 * np.array(label)}, None, ("gain",))


def drawn(rng: np.random.Generator, whole: BinaryEvidence, events: int, concentration: float) -> BinaryEvidence:
    """A segment whose shares of bins and labels are Dirichlet around the whole's."""
    cells = rng.dirichlet(concentration * whole.counts.ravel() / whole.events)
    counts = rng.multinomial(events, cells).reshape(2, -1)
    held = counts.any(axis=0)
    return BinaryEvidence(whole.bins[held], counts[:, held], np.zeros_like(counts[:, held]))


@pytest.mark.parametrize("concentration", [30.0, 300.0, 3000.0])
def test_the_concentration_of_the_segments_is_found_from_how_much_they_differ(concentration: float) -> None:
    rng = np.random.default_rng(0)
    whole = step(rng, 50_000)
    found = []
    for _ in range(20):
        segments = (drawn(rng, whole, int(n), concentration) for n in rng.integers(500, 10_000, 20))
        found.append(pseudo_events(d for s in segments if (d := distance(s, whole)) is not None))
    assert np.median(found) == pytest.approx(concentration, rel=0.25)


def test_segments_that_differ_by_chance_alone_are_the_whole() -> None:
    rng = np.random.default_rng(1)
    parts = [step(rng, 2000) for _ in range(20)]
    whole = sum(parts[1:], parts[0])
    assert pseudo_events(d for p in parts if (d := distance(p, whole)) is not None) > 10_000


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0.0, 1e4)), max_size=20))
def test_the_order_of_segments_does_not_matter_and_the_whole_never_counts_less_than_nothing(
    known: list[tuple[int, float]],
) -> None:
    distances = [Distance(*d) for d in known]
    worth = pseudo_events(distances)
    assert 0.0 <= worth <= ALIKE
    assert pseudo_events(reversed(distances)) == pytest.approx(worth, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(rows, rows, st.floats(0.0, 1e6))
def test_pooled_evidence_is_the_segment_and_a_multiple_of_the_whole(
    own: list[tuple[float, int]], other: list[tuple[float, int]], events: float
) -> None:
    segment, whole = evidence(own), evidence(other)
    pooled = Pooled.of(segment, whole, events)
    assert pooled.events == pytest.approx(segment.events + events)
    assert pooled.counts[1].sum() == pytest.approx(segment.positives + events * whole.positives / whole.events)
    assert pooled.value_sums("gain").sum() == pytest.approx(2 * pooled.counts[1].sum())
    assert pooled.kpis["gain"][0] == pytest.approx(pooled.events)


@pytest.mark.parametrize("objective", [*ALL, Value("gain")], ids=lambda o: o.kind)
@settings(max_examples=25, deadline=None)
@given(own=rows, other=rows)
def test_without_pseudo_events_the_pooled_solution_is_the_segments_own(
    objective: Objective, own: list[tuple[float, int]], other: list[tuple[float, int]]
) -> None:
    segment, whole = evidence(own), evidence(other)
    alone, pooled = objective.solve(segment), objective.solve(Pooled.of(segment, whole, 0.0))
    if alone is None or pooled is None:
        assert alone is pooled is None
    else:
        assert pooled.value == pytest.approx(alone.value)
        # A bin that only the whole fills is no threshold of its own: between two of the segment's bins nothing changes.
        assert objective.value_at(segment, pooled.threshold) == objective.value_at(segment, alone.threshold)


@pytest.mark.parametrize("objective", ALL, ids=lambda o: o.kind)
def test_a_small_segment_like_the_whole_keeps_the_wholes_threshold_and_a_large_other_one_leaves_it(
    objective: Objective,
) -> None:
    rng = np.random.default_rng(2)
    gate = Gate(objective, max_step=50.0)
    whole = step(rng, 100_000)
    solution = objective.solve(whole)
    assert solution is not None
    small, other = step(rng, 3000), step(rng, 20_000, prevalence=0.2)
    assert shrunk(gate, small, whole, 2000.0, solution.threshold, 10**6) is None
    if isinstance(objective, Recall):
        # Where positives score as they did, so does the recall: nothing is to be won.
        return
    move = shrunk(gate, other, whole, 2000.0, solution.threshold, 10**6)
    own = objective.solve(other)
    assert move is not None
    assert own is not None
    # It lands between the whole's and its own.
    assert abs(np.log(move.threshold / own.threshold)) < abs(np.log(solution.threshold / own.threshold))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 100),
    worth=st.sampled_from([0.0, 100.0, 10_000.0, ALIKE]),
    in_force=st.floats(0.01, 0.9),
    prevalence=st.sampled_from([0.03, 0.05, 0.15]),
)
def test_no_move_is_made_that_the_segments_own_evidence_does_not_ask_for(
    seed: int, worth: float, in_force: float, prevalence: float
) -> None:
    rng = np.random.default_rng(seed)
    gate = Gate(Cost(1.0, 10.0))
    segment, whole = step(rng, 4000, prevalence=prevalence), step(rng, 20_000)
    move = shrunk(gate, segment, whole, worth, in_force, 10**6)
    if move is not None:
        assert gate.propose(segment, in_force, 10**6) is not None
        assert gate.worth(gate.objective.gain(segment, in_force, move.threshold))


def test_pooled_thresholds_cost_less_than_one_for_all_and_than_each_segments_own() -> None:
    rng = np.random.default_rng(3)
    found = [bench["run"](rng, 0.3)[0] for _ in range(8)]
    mean = {name: np.mean([excess[name] for excess in found]) for name in found[0]}
    assert mean["pooled"] < min(mean["whole"], mean["own"])
    # The gate lets fewer segments move; where it does, shrinkage is no worse.
    assert mean["shrunk"] < 1.05 * mean["gated"]
