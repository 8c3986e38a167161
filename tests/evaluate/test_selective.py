"""Bounds hold whatever the missing labels are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.evaluate.metrics import binary_metrics
from streameval.evaluate.selective import Selection
from streameval.evidence import BinaryEvidence

COSTS = (1.0, 5.0)
rows = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1), st.booleans()), min_size=1, max_size=60)


def split(examples):
    score, label, seen = (np.array(column) for column in zip(*examples, strict=True))
    labelled = BinaryEvidence.of(score[seen], label[seen])
    return score, label, Selection(labelled, BinaryEvidence.of(score[~seen], np.zeros((~seen).sum(), np.int8)))


@settings(max_examples=150, deadline=None)
@given(rows, st.floats(0, 1))
def test_whatever_the_missing_labels_are_the_truth_lies_within_the_bounds(examples, threshold):
    score, label, selection = split(examples)
    bounds = selection.bounds(threshold, COSTS)
    truth = binary_metrics(BinaryEvidence.of(score, label), threshold, COSTS)
    known = binary_metrics(selection.labelled, threshold, COSTS)
    for name in ("precision", "recall", "f1", "cost"):
        if name in bounds:
            if name in truth:
                assert bounds[name].low <= truth[name].value <= bounds[name].high, name
        elif name in truth and name in known and name != "cost":
            # What the missing labels cannot change is what the labelled ones say.
            assert truth[name].value == pytest.approx(known[name].value)
    if "prevalence" in bounds:
        assert bounds["prevalence"].low <= label.mean() <= bounds["prevalence"].high


@settings(max_examples=50, deadline=None)
@given(rows)
def test_a_filling_holds_all_predictions(examples):
    score, label, selection = split(examples)
    seen = np.array([e[2] for e in examples])
    none, all_ = selection.filled(0), selection.filled(1)
    assert none.events == all_.events == len(score)
    assert none.positives == label[seen].sum()
    assert all_.positives == label[seen].sum() + (~seen).sum()
    assert np.array_equal(none.bins, all_.bins)
    assert selection.share == pytest.approx(seen.mean())


def test_where_every_flagged_label_is_seen_the_precision_is_identified_and_the_recall_is_not():
    rng = np.random.default_rng(0)
    score = rng.beta(1, 4, 5000)
    label = (rng.random(5000) < score).astype(np.int8)
    seen = score >= 0.3
    selection = Selection(
        BinaryEvidence.of(score[seen], label[seen]), BinaryEvidence.of(score[~seen], np.zeros((~seen).sum(), np.int8))
    )
    bounds = selection.bounds(0.4, COSTS)
    assert "precision" not in bounds
    assert {"recall", "f1", "cost", "prevalence"} <= bounds.keys()
    assert bounds["recall"].high - bounds["recall"].low > 0.2
    low, high = selection.range
    assert low == pytest.approx(0.3, abs=0.01)
    assert high > 0.7


def test_stray_labels_do_not_widen_the_range():
    score = np.append(np.linspace(0.5, 0.9, 5000), 0.001)
    labelled = BinaryEvidence.of(score, np.zeros(len(score), np.int8))
    assert Selection(labelled, BinaryEvidence.empty()).range[0] > 0.49
    assert Selection(BinaryEvidence.empty(), labelled).range is None


def test_with_all_labels_seen_nothing_is_open():
    e = BinaryEvidence.of(np.array([0.2, 0.7, 0.9]), np.array([0, 1, 1]))
    assert Selection(e, BinaryEvidence.empty()).bounds(0.5, COSTS) == {}
