"""Prevalence without labels: the mixture of the reference's two classes that explains the scores of now.

Under a label shift P(score | label) stays what it was in the reference, so today's scores are q f1 + (1-q) f0, and q is
the prevalence. The likelihood is concave in q, the Fisher information gives its variance for known f1 and f0, and a
Poisson bootstrap of the reference adds V_ref, the variance that comes from estimating them: a floor that no number of
new scores lowers.

For a filter that follows the prevalence from group to group of scores, `observed` gives the *linear* estimate around a
predicted p instead: p + U(p)/I(p), with the likelihood's slope U there and the expected information I. It is unbiased
whatever the prevalence, efficient near p, and has no edge at 0, where the maximum of a small group's likelihood sits.

Before labels come the assumption can only be tested on the scores themselves: `explains` asks whether any q fits them,
`contradicted` whether another estimate of q (PACC) says the same.

Invariant: silent below 250 positives in the reference. f1 and f0 live on merged bins (on the fine bins the +.5 a bin
biases q by 80 to 100 %). The answer is a function of the two histograms: the bootstrap is seeded by the reference.

Source: METHODS, section 3; Saerens, Latinne and Decaestecker (2002) for the likelihood, here never on raw scores;
Bella et al. (2010) for PACC; Hausman (1978) for comparing an efficient estimate with another one.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, logit

from streameval.evaluate.estimate import Estimate, Z
from streameval.evaluate.seed import seed_of
from streameval.evidence import BinaryEvidence, ScoreHistogram
from streameval.evidence.coarse import CENTRES, COARSE, coarse_counts, coarse_of
from streameval.evidence.merge import Floats, MergedBins

REFERENCE_POSITIVES: Final = 250
_BINS: Final = 40
_REPLICATES: Final = 50
_ALPHA: Final = 0.001
_Z_ALPHA: Final = 3.2905267314919255
_EDGE: Final = 1e-9
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
        by_class = np.stack([coarse_counts(reference.bins, counts) for counts in reference.counts])
        held = np.flatnonzero(by_class.any(axis=0))
        coarse = BinaryEvidence(held.astype(np.int16), by_class[:, held], np.zeros((2, len(held)), np.int64))
        merged = MergedBins.of(coarse, _BINS)
        self.positives = reference.positives
        self.negatives = reference.negatives
        # Scores below the lowest of the reference are counted with its lowest.
        self._of_coarse = np.maximum(np.searchsorted(merged.first, np.arange(COARSE), side="right") - 1, 0)
        self._counts = merged.counts
        self._densities = _densities(merged.counts)
        shares = by_class / by_class.sum(axis=1, keepdims=True)
        # PACC on the middles of the coarse bins: any monotone function of the score separates the classes.
        self._means = shares @ CENTRES
        self._spreads = shares @ (CENTRES**2) - self._means**2
        rng = np.random.Generator(np.random.SFC64(seed_of(reference.bins, reference.counts)))
        draws = rng.poisson(merged.counts, (_REPLICATES, *merged.counts.shape))
        self._replicates = _densities(draws.astype(np.float64))
        start = self.positives / (self.positives + self.negatives)
        again = maximum_likelihood(self._replicates, merged.counts.sum(axis=0), start=start)
        self.logit_variance = float(np.var(logit(np.clip(again, _EDGE, 1.0 - _EDGE)), ddof=1))
        """V_ref on the logit, at the reference's own prevalence: where the bias of a filter begins."""

    def counts(self, histogram: ScoreHistogram) -> Floats:
        """float64[m]: how many of the scores lie in each merged bin."""
        merged = self._of_coarse[coarse_of(histogram.bins)]
        return np.bincount(merged, weights=histogram.counts, minlength=self._counts.shape[1]).astype(np.float64)

    def merged(self, coarse: npt.NDArray[np.int64]) -> Floats:
        """float64[m]: the same of counts by coarse bin, int64[COARSE]."""
        return np.bincount(self._of_coarse, weights=coarse, minlength=self._counts.shape[1]).astype(np.float64)

    def observed(self, counts: Floats, p: Floats) -> tuple[Floats, Floats]:
        """The linear estimate of the prevalence of each of g groups of scores, and its variance; float64[g] both.

        `counts` is float64[g, m], `p` float64[g] in (0, 1) the predicted prevalences. An empty group has variance inf.
        """
        f0, f1 = self._densities
        mixed = f0 + p[:, np.newaxis] * (f1 - f0)
        ratio = (f1 - f0) / mixed
        n = counts.sum(axis=1)
        slope = (counts * ratio).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            information = n * (ratio * ratio * mixed).sum(axis=1)
            seen = (counts * ratio * ratio).sum(axis=1) - slope * slope / n
            # What a few scores show of their spread may be nearly nothing.
            variance = np.maximum(1.0 / information, seen / information**2)
            estimate = p + slope / information
        empty = n == 0.0
        return np.where(empty, p, estimate), np.where(empty, np.inf, variance)

    def explains(self, counts: Floats, alpha: float = _ALPHA) -> bool:
        """Whether some mixture of the two classes explains the scores float64[m]: chi-squared, at the level `alpha`.

        The noise of the reference's own counts is part of the variance, as in a two-sample test.
        """
        n = float(counts.sum())
        if not n:
            return True
        q = float(maximum_likelihood(self._densities[np.newaxis], counts)[0])
        f0, f1 = self._counts / self._counts.sum(axis=1, keepdims=True)
        expected = q * f1 + (1.0 - q) * f0
        of_reference = q * q * f1 / self.positives + (1.0 - q) ** 2 * f0 / self.negatives
        variance = n * expected + n * n * of_reference
        held = variance > 0.0
        statistic = float(((counts - n * expected)[held] ** 2 / variance[held]).sum())
        return float(chdtrc(max(int(held.sum()) - 2, 1), statistic)) >= alpha

    def pacc(self, coarse: npt.NDArray[np.int64]) -> Estimate | None:
        """The cross-check of scores by coarse bin, int64[COARSE]: (mean - m0) / (m1 - m0), with its interval."""
        n = int(coarse.sum())
        gap = float(self._means[1] - self._means[0])
        if not n or gap == 0.0:
            return None
        mean = float(coarse @ CENTRES) / n
        q = (mean - float(self._means[0])) / gap
        of_scores = max(float(coarse @ CENTRES**2) / n - mean * mean, 0.0) / n
        of_reference = q * q * self._spreads[1] / self.positives + (1.0 - q) ** 2 * self._spreads[0] / self.negatives
        se = math.sqrt(of_scores + float(of_reference)) / abs(gap)
        inside = min(1.0, max(0.0, q))
        return Estimate(inside, min(max(0.0, q - Z * se), inside), max(min(1.0, q + Z * se), inside))

    def contradicted(self, mixture: Estimate, pacc: Estimate) -> bool:
        """Whether two estimates of the same scores differ beyond chance, at .001.

        The variance of their difference is that of the worse one less that of the better one (Hausman), but no less
        than a tenth of the worse one's.
        """
        worse, better = ((pacc.high - pacc.low) / (2.0 * Z)) ** 2, ((mixture.high - mixture.low) / (2.0 * Z)) ** 2
        variance = max(worse - better, 0.1 * worse)
        return abs(pacc.value - mixture.value) > _Z_ALPHA * math.sqrt(variance)

    def holds(self, evidence: BinaryEvidence) -> bool:
        """Whether labelled evidence still has the reference's score distributions by class, as the mixture assumes.

        Pearson's two-sample chi-squared test within each class, at .001 for both together. Where it rejects, the
        estimate is of no use: a changed P(score | label) reads as a change of prevalence.
        """
        merged = self._of_coarse[coarse_of(evidence.bins)]
        for label in (0, 1):
            now = np.bincount(merged, weights=evidence.counts[label], minlength=self._counts.shape[1])
            if chi_squared(self._counts[label], now.astype(np.float64)) < _ALPHA / 2.0:
                return False
        return True

    def prevalence(self, histogram: ScoreHistogram) -> Estimate | None:
        """The maximum-likelihood prevalence of the scores; None if silent or without scores."""
        return self._estimate(self.counts(histogram))

    def of_coarse(self, coarse: npt.NDArray[np.int64]) -> Estimate | None:
        """The same of scores by coarse bin, int64[COARSE]."""
        return self._estimate(self.merged(coarse))

    def quick(self, coarse: npt.NDArray[np.int64]) -> Estimate | None:
        """The same, without a bootstrap for these scores: the reference's own error is that at its prevalence."""
        return self._estimate(self.merged(coarse), bootstrap=False)

    def _estimate(self, n: Floats, *, bootstrap: bool = True) -> Estimate | None:
        if self.positives < REFERENCE_POSITIVES or not n.any():
            return None
        f = self._densities[np.newaxis]
        q = float(maximum_likelihood(f, n)[0])
        information = float(_curvature(f, n, np.array([q]))[0])
        if information <= 0.0:
            return None
        if bootstrap:
            of_reference = float(np.var(maximum_likelihood(self._replicates, n, start=q), ddof=1))
        else:
            of_reference = self.logit_variance * (q * (1.0 - q)) ** 2
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
