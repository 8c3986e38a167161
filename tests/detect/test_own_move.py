"""The band of an own move is exactly where decisions changed, found by asking every bin."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.detect.own_move import map_move, threshold_move
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.evidence.bins import BINS, EDGES, threshold_bin

LOWER = np.minimum(EDGES[:BINS], 1.0)
thresholds = st.floats(0.0, 1.0) | st.sampled_from([0.0, 1e-12, 0.5, 1.0 - 1e-12, 1.0])


def differing(one: np.ndarray, other: np.ndarray) -> list[int]:
    return np.flatnonzero(one != other).tolist()


@settings(max_examples=100, deadline=None)
@given(old=thresholds, new=thresholds)
def test_a_threshold_changes_the_decisions_of_its_band_and_no_others(old: float, new: float) -> None:
    move = threshold_move(7, old, new)
    bins = np.arange(BINS)
    changed = differing(bins >= threshold_bin(old), bins >= threshold_bin(new))
    assert list(range(*move.band)) == changed
    assert (move.at, move.by_map) == (7, False)
    assert threshold_move(7, new, old).band == move.band


@st.composite
def maps(draw: st.DrawFn) -> CalibrationMap:
    """Rising piecewise linear maps, some with flat parts."""
    inner = sorted(draw(st.lists(st.floats(0.001, 0.999), max_size=6, unique=True)))
    y = sorted(draw(st.lists(st.floats(0.0, 1.0), min_size=len(inner) + 2, max_size=len(inner) + 2)))
    return CalibrationMap("isotonic", np.array([0.0, *inner, 1.0]), np.array(y))


@settings(max_examples=60, deadline=None)
@given(threshold=st.floats(0.0, 0.999), old=st.none() | maps(), new=maps())
def test_a_map_changes_the_decisions_by_the_probability_of_its_band_and_no_others(
    threshold: float, old: CalibrationMap | None, new: CalibrationMap
) -> None:
    """Who decides by the probability acts where it reaches that of the threshold in force."""
    at = np.array([threshold])
    wanted = (at if old is None else old.predict_many(at))[0]
    changed = differing(np.arange(BINS) >= threshold_bin(threshold), new.predict_many(LOWER) >= wanted - 1e-12)
    move = map_move(7, threshold, old, new)
    assert (list(range(*move.band)) if move is not None else []) == changed
    assert move is None or (move.at, move.by_map) == (7, True)
