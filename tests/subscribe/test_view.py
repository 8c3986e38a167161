"""Which value answers, and that views never change."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import START, calibration, threshold

from streameval import records
from streameval.errors import InputError
from streameval.subscribe import Calibration, Cell, Threshold
from streameval.subscribe.view import EMPTY


def value(entry):
    return Threshold.of(records.read(entry[1]), received=0.0)


def view_of(*entries):
    values = map(value, entries)
    return EMPTY.updated({(Threshold, made.cell): made for made in values})


def test_a_segment_without_a_threshold_of_its_own_has_that_of_all():
    view = view_of(threshold(0.3), threshold(0.2, segment="country=DE"))
    own = view.threshold("fraud", version="3", segment="country=DE")
    whole = view.threshold("fraud", version="3", segment="country=FR")
    assert (own.value, own.source, own.segment) == (0.2, "segment", "country=DE")
    assert (whole.value, whole.source, whole.segment) == (0.3, "whole", "*")
    assert view.threshold("fraud", version="3").source == "whole"


def test_nothing_in_force_gives_the_default_or_none():
    view = view_of(threshold(0.3))
    missing = view.threshold("churn", default=0.7)
    assert (missing.value, missing.source, missing.age, missing.record_id, missing.version) == (
        0.7, "default", None, None, None,
    )  # fmt: skip
    assert view.threshold("churn") is None
    assert view.threshold("fraud", version="4") is None
    assert view.threshold("fraud", default=0.0).value == 0.0


def test_another_version_answers_only_where_that_was_asked_for_and_it_is_the_newest():
    view = view_of(
        threshold(0.1, version="1", at=START),
        threshold(0.2, version="2", at=START + 2_000, segment="country=DE"),
        threshold(0.3, version="3", at=START + 1_000),
    )
    assert view.threshold("fraud", version="9") is None
    assert view.threshold("fraud", version="9", any_version=True).version == "3"
    assert view.threshold("fraud", version="9", segment="country=DE", any_version=True).version == "2"
    assert view.threshold("fraud", version="1", segment="country=DE", any_version=True).version == "1"


def test_a_decision_is_made_at_the_threshold_itself():
    view = view_of(threshold(0.3))
    assert view.decide("fraud", 0.3, version="3", default=0.9) is True
    assert view.decide("fraud", 0.3, version="4", default=0.9) is False
    scores = np.array([[0.1, 0.3], [np.nan, 1.0]])
    assert view.decide("fraud", scores, version="3", default=0.9).tolist() == [[False, True], [False, True]]
    assert view.decide("fraud", np.float32(0.5), version="3", default=0.9)


def test_scores_are_calibrated_by_linear_interpolation_and_constant_beyond_the_knots():
    made = Calibration.of(records.read(calibration([0.2, 0.4, 0.6], [0.1, 0.3, 0.9])[1]), received=0.0)
    view = EMPTY.updated({(Calibration, made.cell): made})
    assert view.calibrate("fraud", [0.0, 0.3, 0.5, 1.0], version="3") == pytest.approx([0.1, 0.2, 0.6, 0.9])
    assert view.calibrate("fraud", 0.3, version="3", segment="country=DE") == pytest.approx(0.2)
    assert view.calibrate("fraud", 0.3, version="4") == 0.3
    assert np.isnan(view.calibrate("fraud", np.array([np.nan]), version="3")).all()
    assert view.calibration("fraud", version="3").method == "isotonic"


def test_calibrating_without_a_map_gives_a_copy():
    scores = np.array([0.2, 0.4])
    same = EMPTY.calibrate("fraud", scores)
    same[0] = 9.0
    assert scores.tolist() == [0.2, 0.4]


@pytest.mark.parametrize(("x", "y"), [([], []), ([0.1], [0.1, 0.2]), ([0.5, 0.4], [0.1, 0.2])])
def test_knots_that_are_no_function_are_refused(x, y):
    with pytest.raises(InputError, match="no calibration map"):
        Calibration.of(records.read(calibration(x, y)[1]), received=0.0)


def test_values_cannot_be_changed():
    made = Calibration.of(records.read(calibration([0.0, 1.0], [0.0, 1.0])[1]), received=0.0)
    with pytest.raises(ValueError, match="read-only"):
        made.x[0] = 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        value(threshold(0.3)).value = 0.5
    with pytest.raises(TypeError):
        view_of(threshold(0.3)).thresholds.by_cell[Cell("a", "b", "c")] = None


NAMES = st.sampled_from(["a", "b"])
SEGMENTS = st.sampled_from(["*", "s=1", "s=2"])
CHANGES = st.lists(
    st.tuples(st.tuples(NAMES, NAMES, SEGMENTS), st.none() | st.floats(0, 1), st.integers(0, 3)), max_size=20
)


@given(CHANGES, st.lists(st.integers(0, 20)), NAMES, NAMES, SEGMENTS)
def test_however_changes_are_cut_into_updates_the_last_of_each_cell_counts(changes, cuts, model, version, segment):
    view, last = EMPTY, {}
    bounds = sorted({0, len(changes), *(cut for cut in cuts if cut < len(changes))})
    for begin, end in itertools.pairwise(bounds):
        update = {}
        for cell, number, second in changes[begin:end]:
            made = None if number is None else value(threshold(number, *cell, at=START + 1000 * second))
            update[Threshold, Cell(*cell)] = last[cell] = made
        before, held = view, dict(view.thresholds.by_cell)
        view = view.updated(update)
        assert dict(before.thresholds.by_cell) == held
    there = {cell: made for cell, made in last.items() if made is not None}
    assert dict(view.thresholds.by_cell) == there

    expected = there.get((model, version, segment)) or there.get((model, version, "*"))
    assert view.threshold(model, version=version, segment=segment) == expected
    for wanted in (segment, "*"):
        versions = [made for cell, made in there.items() if (cell[0], cell[2]) == (model, wanted)]
        expected = expected or max(versions, key=lambda made: (made.time, made.version), default=None)
    assert view.threshold(model, version=version, segment=segment, any_version=True) == expected
