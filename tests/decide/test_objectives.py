"""Objectives: the best of all thresholds, and what METHODS gives in closed form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from streameval.config import objective as configuration
from streameval.decide.objectives import NOTHING, Objective, objective_of
from streameval.decide.objectives.curve import confusion_at, curve
from streameval.errors import ConfigValueError
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import EDGES, bin_of

CONFIGURED = [
    SimpleNamespace(kind="cost", fp=1.0, fn=10.0),
    SimpleNamespace(kind="cost", fp=3.0, fn=0.0),
    SimpleNamespace(kind="f_beta", beta=1.0),
    SimpleNamespace(kind="f_beta", beta=2.0),
    SimpleNamespace(kind="precision", target=0.6),
    SimpleNamespace(kind="recall", target=0.6),
    SimpleNamespace(kind="capacity", share=0.3),
    SimpleNamespace(kind="value", kpi="profit"),
]
OBJECTIVES = [objective_of(c, {"profit": 0.01}) for c in CONFIGURED]

examples = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.1, 0.25, 0.4, 0.5, 0.7, 0.9, 1.0]) | st.floats(0.0, 1.0),
        st.integers(0, 1),
        st.integers(-500, 500),
    ),
    min_size=1,
    max_size=60,
)


def evidence_of(rows: list[tuple[float, int, int]]) -> BinaryEvidence:
    """Evidence of (score, label, profit in hundredths)."""
    score, y, profit = (np.array(column) for column in zip(*rows, strict=True))
    return BinaryEvidence.of(
        score.astype(float), y, {"profit": profit / 100.0}, {"profit": 0.01}, value_kpis=("profit",)
    )


def brute(configured: Any, rows: list[tuple[float, int, int]], threshold: float) -> float | None:
    """The objective at a threshold, example by example; a threshold acts from its bin's lower edge."""
    bins = bin_of(np.array([s for s, _, _ in rows], dtype=float))
    flagged = EDGES[bins] >= threshold
    y, profit = np.array([y for _, y, _ in rows]), np.array([p for _, _, p in rows])
    tp, fp, fn = (flagged & (y == 1)).sum(), (flagged & (y == 0)).sum(), (~flagged & (y == 1)).sum()
    match configured.kind:
        case "cost":
            return (configured.fp * fp + configured.fn * fn) / len(rows)
        case "f_beta":
            b2 = configured.beta**2
            return (1 + b2) * tp / ((1 + b2) * tp + b2 * fn + fp) if tp + fn else None
        case "precision":
            return tp / (tp + fp) if tp + fp else None
        case "recall":
            return tp / (tp + fn) if tp + fn else None
        case "capacity":
            return flagged.mean()
    return profit[flagged].sum() * 0.01 / len(rows)


def candidates(rows: list[tuple[float, int, int]]) -> list[float]:
    """Every threshold that differs from another one, ascending."""
    return [*EDGES[np.unique(bin_of(np.array([s for s, _, _ in rows], dtype=float)))].tolist(), NOTHING]


def hits(rows: list[tuple[float, int, int]], threshold: float) -> tuple[int, int, int]:
    """tp, fp, fn at a candidate."""
    c = confusion_at(evidence_of(rows), threshold)
    return c.tp, c.fp, c.fn


def expected(configured: Any, rows: list[tuple[float, int, int]]) -> tuple[float, bool] | None:
    """(threshold, feasible) by trying all."""
    tried = {t: brute(configured, rows, t) for t in candidates(rows)}
    known = {t: v for t, v in tried.items() if v is not None}
    match configured.kind:
        case "cost":
            return max(t for t, v in known.items() if v <= min(known.values()) + 1e-12), True
        case "f_beta" | "value":
            return (max(t for t, v in known.items() if v >= max(known.values()) - 1e-12), True) if known else None
        case "capacity":
            return min(t for t, v in known.items() if v <= configured.share), True
        case "precision":
            bound = {t: beta.ppf(0.05, hits(rows, t)[0] + 1, hits(rows, t)[1] + 1) for t in known}
            held = [t for t, b in bound.items() if b >= configured.target]
            return (min(held), True) if held else (min(t for t, b in bound.items() if b == max(bound.values())), False)
    if not known:
        return None
    held = [t for t in known if beta.ppf(0.05, hits(rows, t)[0] + 1, hits(rows, t)[2] + 1) >= configured.target]
    return (max(held), True) if held else (min(known), False)


@pytest.mark.parametrize("configured", CONFIGURED, ids=lambda c: c.kind)
@settings(max_examples=40, deadline=None)
@given(rows=examples)
def test_a_solution_is_the_best_of_all_thresholds(configured: Any, rows: list[tuple[float, int, int]]) -> None:
    objective = objective_of(configured, {"profit": 0.01})
    solution, best = objective.solve(evidence_of(rows)), expected(configured, rows)
    if best is None or solution is None:
        assert best is solution is None
    else:
        assert (solution.threshold, solution.feasible) == best


@pytest.mark.parametrize("configured", CONFIGURED, ids=lambda c: c.kind)
@settings(max_examples=40, deadline=None)
@given(rows=examples, threshold=st.floats(0.0, 1.0))
def test_the_value_at_a_threshold_is_that_of_its_bins_lower_edge(
    configured: Any, rows: list[tuple[float, int, int]], threshold: float
) -> None:
    objective = objective_of(configured, {"profit": 0.01})
    edge = float(EDGES[bin_of(np.array([threshold]))[0]])
    value, direct = objective.value_at(evidence_of(rows), threshold), brute(configured, rows, edge)
    assert value == (None if direct is None else pytest.approx(direct, abs=1e-12))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.kind)
@settings(max_examples=25, deadline=None)
@given(rows=examples)
def test_every_objective_keeps_the_contract(objective: Objective, rows: list[tuple[float, int, int]]) -> None:
    evidence = evidence_of(rows)
    assert objective.solve(BinaryEvidence.empty()) is None
    solution = objective.solve(evidence)
    if solution is None:
        return
    thresholds = curve(evidence).thresholds
    assert solution.threshold in thresholds
    value = objective.value_at(evidence, solution.threshold)
    assert value is None or solution.value == pytest.approx(value)
    # A move there and back wins nothing, and no move is no gain.
    if evidence.positives:
        there = objective.gain(evidence, 0.5, solution.threshold)
        back = objective.gain(evidence, solution.threshold, 0.5)
        assert there.value == pytest.approx(-back.value)
        assert there.error > 0.0
        assert objective.gain(evidence, 0.5, 0.5).value == 0.0


@pytest.mark.parametrize("configured", CONFIGURED[:4] + CONFIGURED[7:], ids=lambda c: c.kind)
@settings(max_examples=25, deadline=None)
@given(rows=examples, ends=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)))
def test_the_gain_of_a_move_is_the_difference_of_the_values(
    configured: Any, rows: list[tuple[float, int, int]], ends: tuple[float, float]
) -> None:
    objective, evidence = objective_of(configured, {"profit": 0.01}), evidence_of(rows)
    before, after = (objective.value_at(evidence, t) for t in ends)
    if before is None or after is None:
        return
    won = before - after if configured.kind == "cost" else after - before
    assert objective.gain(evidence, *ends).value == pytest.approx(won, abs=1e-12)


@pytest.mark.parametrize(
    ("weight", "threshold", "best"), [(1.0, 0.381966, 0.763932), (2.0, 0.17157, 0.85786), (0.5, 0.60961, 0.76201)]
)
def test_f_beta_meets_its_closed_form_on_uniform_calibrated_scores(
    weight: float, threshold: float, best: float
) -> None:
    # Exact shares instead of samples: 2^17 midpoints of 1000 events each.
    score = (np.arange(2**17) + 0.5) / 2**17
    counts = np.stack([np.rint((1.0 - score) * 1000), np.rint(score * 1000)]).astype(np.int64)
    bins = bin_of(score)
    first = np.flatnonzero(np.diff(bins, prepend=-1))
    evidence = BinaryEvidence(bins[first], np.add.reduceat(counts, first, axis=1), np.zeros((2, first.size), np.int64))
    solution = objective_of(SimpleNamespace(kind="f_beta", beta=weight)).solve(evidence)
    assert solution is not None
    assert solution.threshold == pytest.approx(threshold, abs=0.003)
    assert solution.value == pytest.approx(best, abs=1e-4)
    cost = objective_of(SimpleNamespace(kind="cost", fp=1.0, fn=10.0)).solve(evidence)
    assert cost is not None
    assert cost.threshold == pytest.approx(1 / 11, abs=0.001)


def test_every_objective_that_can_be_configured_is_in_this_suite() -> None:
    kinds = {
        get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(configuration.Objective)[0])
    }
    assert {objective.kind for objective in OBJECTIVES} == kinds


def test_nothing_flags_nothing() -> None:
    evidence = BinaryEvidence.of(np.array([0.5, 1.0]), np.array([1, 1]))
    assert confusion_at(evidence, NOTHING).fn == 2
    assert confusion_at(evidence, 1.0).tp == 1


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigValueError, match="f_beta"):
        objective_of(SimpleNamespace(kind="profit"))
