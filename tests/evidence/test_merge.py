import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.evidence import BinaryEvidence, threshold_bin
from streameval.evidence.merge import MergedBins, merge_starts


def sample(seed, n=3000, a=0.5, b=5.0):
    rng = np.random.default_rng(seed)
    score = rng.beta(a, b, n)
    return BinaryEvidence.of(score, (rng.random(n) < score).astype(np.int8))


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 64), st.floats(0, 1), st.none() | st.floats(0, 1))
def test_merging_keeps_every_count_and_never_exceeds_the_bins_asked_for(seed, bins, share, threshold):
    e = sample(seed, 200)
    at = None if threshold is None else threshold_bin(threshold)
    m = MergedBins.of(e, bins if at is None else bins + 1, positive_share=share, at=at)
    assert len(m.first) <= bins + (at is not None)
    assert m.counts.sum(axis=1).tolist() == e.counts.sum(axis=1).tolist()
    assert m.probability.sum() == pytest.approx(float(e.mean_scores @ e.counts.sum(axis=0)))


def test_half_of_the_edges_are_quantiles_of_the_positives():
    e = sample(1, 20_000)
    m = MergedBins.of(e, 40)
    assert m.counts[1].max() < 0.09 * e.positives
    assert m.events.max() < 0.09 * e.events


def test_no_merged_bin_straddles_the_threshold():
    e = sample(2)
    first = threshold_bin(0.07)
    m = MergedBins.of(e, 10, at=first)
    position = np.searchsorted(e.bins, first)
    assert e.bins[position] in m.first


def test_a_heavy_bin_is_one_merged_bin_and_no_evidence_has_none():
    e = BinaryEvidence.of(np.full(1000, 0.3), np.arange(1000) % 2)
    assert merge_starts(e, 30).tolist() == [0]
    assert MergedBins.of(BinaryEvidence.empty(), 30).counts.shape == (2, 0)
