"""Hours: a histogram and its examples count the same, and the past is bounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.detect.bands import BAND_OF, BANDS, MIDDLE, band_counts
from streameval.detect.examples import HOUR, Examples
from streameval.detect.hours import KEPT, Hours
from streameval.detect.label_counts import LabelCounts
from streameval.evidence.bins import BINS, bin_of


def test_each_score_bin_has_a_band_and_bands_ascend() -> None:
    assert BAND_OF.size == BINS
    assert set(np.diff(BAND_OF).tolist()) == {0, 1}
    assert BAND_OF[bin_of(MIDDLE)].tolist() == list(range(BANDS))


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 300))
def test_examples_and_histograms_by_hour_count_the_same(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    cohort = np.sort(rng.integers(0, 5 * HOUR, n))
    label = rng.integers(0, 2, n).astype(np.int8)
    examples = Examples(cohort, np.arange(n, dtype=np.uint64), rng.integers(0, BINS, n).astype(np.int16), label)
    one, other = Hours(), Hours()
    one.add_examples(examples)
    for hour in sorted(set(examples.hour.tolist())):
        counts = np.zeros((2, BINS), np.int64)
        mine = examples.hour == hour
        np.add.at(counts, (examples.label[mine], examples.bins[mine]), 1)
        other.add(hour, LabelCounts(np.arange(BINS, dtype=np.int16), counts))
    assert np.array_equal(one.hour, other.hour)
    assert np.array_equal(one.counts, other.counts)
    assert one.counts.sum() == n
    again = Hours.restore(one.state())
    assert np.array_equal(again.counts, one.counts)
    assert np.array_equal(again.hour, one.hour)


def test_only_the_latest_weeks_are_kept() -> None:
    hours, part = Hours(), LabelCounts(np.array([7], np.int16), np.array([[2], [1]]))
    for hour in range(3 * KEPT):
        hours.add(hour, part)
    assert hours.hour[-1] == 3 * KEPT - 1
    assert KEPT <= hours.hour.size <= KEPT + 1
    hours.add(9 * KEPT, part)
    assert hours.hour.tolist() == [9 * KEPT]
    assert np.array_equal(hours.counts[0], band_counts(part))
