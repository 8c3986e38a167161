"""The family: four functions of score and label in [0, 1], exact at the threshold in force."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import scores, step
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.detect.family import COST, LABEL, MONITORS, RESIDUAL, Family, family_of
from streameval.detect.label_counts import total
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import threshold_bin


@pytest.fixture(scope="module")
def reference() -> BinaryEvidence:
    return step(np.random.default_rng(0), 20_000)


@settings(max_examples=30)
@given(st.floats(0.0, 1.0), st.floats(0.0, 5.0), st.floats(0.1, 5.0))
def test_every_value_is_in_the_unit_interval_and_there_are_at_most_64_merged_bins(
    t: float, fp: float, fn: float
) -> None:
    family = family_of(step(np.random.default_rng(1), 3000), t, (fp, fn), 0.2)
    assert family.values.shape == (len(MONITORS), 2 * (family.edges.size - 1))
    assert family.edges.size - 1 <= 64
    assert (family.values >= 0.0).all()
    assert (family.values <= 1.0).all()


@settings(max_examples=30)
@given(st.floats(0.0, 1.0))
def test_the_cost_monitors_mean_is_the_cost_at_the_threshold(threshold: float) -> None:
    rng = np.random.default_rng(4)
    score, y = scores(rng, 4000)
    evidence = BinaryEvidence.of(score, y)
    family = family_of(evidence, 0.5, (1.0, 10.0), 0.2)
    family.move(threshold)
    edge = threshold_bin(threshold)
    flagged = np.array([threshold_bin(s) >= edge for s in score.tolist()])
    cost = (flagged & (y == 0)).sum() + 10.0 * (~flagged & (y == 1)).sum()
    mean = family.values[COST] @ family.cells(evidence) / evidence.events
    assert mean * 10.0 * evidence.events == pytest.approx(cost)


def test_moving_the_threshold_leaves_the_other_monitors_means(reference: BinaryEvidence) -> None:
    family = family_of(reference, 0.5, (1.0, 10.0), 0.2)
    before = family.values @ family.cells(reference)
    assert family.move(0.07)
    after = family.values @ family.cells(reference)
    assert after[:COST] == pytest.approx(before[:COST])
    assert not family.move(0.07)


def test_the_label_monitors_mean_is_the_prevalence_and_the_residuals_a_half(reference: BinaryEvidence) -> None:
    family = family_of(reference, 0.5, (1.0, 10.0), 0.2)
    means = family.values @ family.cells(reference) / reference.events
    assert means[LABEL] == pytest.approx(reference.positives / reference.events)
    assert means[RESIDUAL] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("phi", [None, np.full(4, 3.0)])
def test_bounds_enclose_the_reference(reference: BinaryEvidence, phi: np.ndarray | None) -> None:
    family = family_of(reference, 0.1, (1.0, 10.0), 0.2)
    cells = family.cells(reference)
    for monitor, mean in enumerate(family.values @ cells / reference.events):
        up, down = family.bounds(monitor, cells, phi)
        assert 0.0 <= down < mean < up <= 1.0


def test_counts_alone_make_the_same_family(reference: BinaryEvidence) -> None:
    one, other = (family_of(e, 0.1, (1.0, 10.0), 0.2) for e in (reference, total([reference])))
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(Family.restore(one.state()).values, one.values)
