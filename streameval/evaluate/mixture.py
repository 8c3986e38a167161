"""Prevalence without labels: the mixture of the reference's two classes that explains the scores of now.

Under a label shift P(score | label) stays what it was in the reference, so today's scores are q f1 + (1-q) f0, and q is
the prevalence. The likelihood is concave in q, the Fisher information gives its variance for known f1 and f0, and a
Poisson bootstrap of the reference adds V_ref, the variance that comes from estimating them: a floor that no number of
new scores lowers.

Invariant: silent below 250 positives in the reference. f1 and f0 live on merged bins (on the fine bins the +.5 a bin
biases q by 80 to 100 %). The answer is a function of the two histograms: the bootstrap is seeded by the reference.

Source: METHODS, section 3; Saerens, Latinne and Decaestecker (2002) for the likelihood, here never on raw scores.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.special import chdtrc

from streameval.evaluate.estimate import Estimate, Z
from streameval.evaluate.seed import seed_of
from streameval.evidence import BinaryEvidence, ScoreHistogram
from streameval.evidence.merge import Floats, MergedBins

REFERENCE_POSITIVES: Final = 250
_BINS: Final = 40
_REPLICATES: Final = 50
_ALPHA: Final = 0.001
_SMOOTHING: Final = 0.5
_NEWTON_STEPS: Final = 40
_TOLERANCE: Final = 1e-9
_SMALLEST: Final = 1e-300


class MixtureReference:
    """The reference's class histograms on merged bins, and replicates of them. Made once, used at every step.

    Raises:
        ValueError: the reference lacks one of the classes.
    """

    def __init__(self, reference: BinaryEvidence) -> None:
        if not reference.positives or not reference.negatives:
            raise ValueError("a reference without both classes has no mixture")
        merged = MergedBins.of(reference, _BINS)
        self.positives = reference.positives
        self._first = merged.first
        self._counts = merged.counts
        self._densities = _densities(merged.counts)
        rng = np.random.Generator(np.random.SFC64(seed_of(reference.bins, reference.counts)))
        draws = rng.poisson(merged.counts, (_REPLICATES, *merged.counts.shape))
        self._replicates = _densities(draws.astype(np.float64))

    def counts(self, histogram: ScoreHistogram) -> Floats:
        """float64[m]: how many of the scores lie in each merged bin."""
        merged = np.maximum(np.searchsorted(self._first, histogram.bins, side="right") - 1, 0)
        return np.bincount(merged, weights=histogram.counts, minlength=len(self._first)).astype(np.float64)

    def holds(self, evidence: BinaryEvidence) -> bool:
        """Whether labelled evidence still has the reference's score distributions by class, as the mixture assumes.

        Pearson's two-sample chi-squared test within each class, at .001 for both together. Where it rejects, the
        estimate is of no use: a changed P(score | label) reads as a change of prevalence.
        """
        merged = np.maximum(np.searchsorted(self._first, evidence.bins, side="right") - 1, 0)
        for label in (0, 1):
            now = np.bincount(merged, weights=evidence.counts[label], minlength=len(self._first))
            if chi_squared(self._counts[label], now.astype(np.float64)) < _ALPHA / 2.0:
                return False
        return True

    def prevalence(self, histogram: ScoreHistogram) -> Estimate | None:
        """The maximum-likelihood prevalence of the scores; None if silent or without scores."""
        if self.positives < REFERENCE_POSITIVES or not histogram.events:
            return None
        n = self.counts(histogram)
        f = self._densities[np.newaxis]
        q = float(maximum_likelihood(f, n)[0])
        information = float(_curvature(f, n, np.array([q]))[0])
        if information <= 0.0:
            return None
        of_reference = float(np.var(maximum_likelihood(self._replicates, n, start=q), ddof=1))
        se = math.sqrt(1.0 / information + of_reference)
        return Estimate(q, max(0.0, q - Z * se), min(1.0, q + Z * se))


def chi_squared(a: Floats, b: Floats) -> float:
    """The p-value of Pearson's two-sample test on counts by bin; 1 where a sample is empty.

    >>> chi_squared(np.array([50.0, 50.0]), np.array([10.0, 10.0]))
    1.0
    """
    total_a, total_b = float(a.sum()), float(b.sum())
    filled = a + b > 0.0
    if not total_a or not total_b or filled.sum() < 2:
        return 1.0
    difference = math.sqrt(total_b / total_a) * a[filled] - math.sqrt(total_a / total_b) * b[filled]
    statistic = float((difference**2 / (a + b)[filled]).sum())
    return float(chdtrc(int(filled.sum()) - 1, statistic))


def label_free(reference: BinaryEvidence, histogram: ScoreHistogram) -> Estimate | None:
    """The prevalence of unlabelled scores, by the mixture of the reference's classes; None while it must be silent.

    It holds under label shift and no other: a changed P(score | label) biases it.
    """
    if reference.positives < REFERENCE_POSITIVES or not reference.negatives:
        return None
    return MixtureReference(reference).prevalence(histogram)


def pacc(reference: BinaryEvidence, histogram: ScoreHistogram) -> float | None:
    """The cross-check (probabilistic adjusted classify-and-count): (mean score - m0) / (m1 - m0), cut to [0, 1].

    m1 and m0 are the mean scores of the reference's classes. None where they are equal or something is empty.
    """
    n0, n1 = reference.negatives, reference.positives
    if not (n0 and n1 and histogram.events):
        return None
    # The means of raw scores serve as well as those of probabilities: any monotone score separates the classes.
    total0, total1 = (float(x) / 2.0**32 for x in reference.sums.sum(axis=1))
    m0, m1 = total0 / n0, total1 / n1
    if m1 == m0:
        return None
    return min(1.0, max(0.0, (histogram.mean - m0) / (m1 - m0)))


def _densities(counts: Floats) -> Floats:
    """Class densities over the last axis, no bin impossible."""
    smooth: Floats = counts + _SMOOTHING
    density: Floats = smooth / smooth.sum(axis=-1, keepdims=True)
    return density


def _curvature(f: Floats, n: Floats, q: Floats) -> Floats:
    f0, f1 = f[:, 0], f[:, 1]
    ratio = (f1 - f0) / (f0 + q[:, np.newaxis] * (f1 - f0))
    return (ratio * ratio) @ n


def maximum_likelihood(f: Floats, n: Floats, start: float = 0.5) -> Floats:
    """float64[r]: argmax over q in [0, 1] of Σ n log(q f1 + (1-q) f0), for each of f[r, 2, m] and the counts n[m].

    The EM steps q <- Σ n w / N climb the same concave likelihood; Newton's, kept inside a bracket, get there in few.
    `start` is where they begin.
    """
    f0, gap = f[:, 0], f[:, 1] - f[:, 0]
    # Where the likelihood falls from 0 on, or rises up to 1, that end is the answer; else it lies between.
    at_zero, at_one = (gap / f0) @ n <= 0.0, (gap / f[:, 1]) @ n >= 0.0
    low, high = np.zeros(len(f)), np.ones(len(f))
    q = np.full(len(f), min(max(start, 0.01), 0.99))
    for _ in range(_NEWTON_STEPS):
        ratio = gap / (f0 + q[:, np.newaxis] * gap)
        slope = ratio @ n
        step = slope / np.maximum((ratio * ratio) @ n, _SMALLEST)
        settled = (np.abs(step) < _TOLERANCE) | at_zero | at_one
        if settled.all():
            break
        low, high = np.where(slope > 0.0, q, low), np.where(slope > 0.0, high, q)
        moved = q + step
        moved = np.where((moved <= low) | (moved >= high), 0.5 * (low + high), moved)
        q = np.where(settled, q, moved)
    return np.where(at_zero, 0.0, np.where(at_one, 1.0, q))
