"""How far probabilities are from what happens: the debiased calibration error, its tests and its diagram.

Invariant: everything is computed from counts by bin; the bootstrap is seeded by the counts, so the same evidence always
has the same interval.

Sources: METHODS, section 2 (measures); Spiegelhalter (1986); Rufibach (2010, "Use of Brier score to assess binary
predictions"); Murphy (1973) and, for the within-bin term, Stephenson, Coelho and Jolliffe (2008).
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from streameval.evaluate.estimate import TAIL, Estimate, proportions
from streameval.evaluate.seed import seed_of
from streameval.evidence import BinaryEvidence
from streameval.evidence.merge import MergedBins

Floats = npt.NDArray[np.float64]

_BINS: Final = 30
_REPLICATES: Final = 100


def calibration_error(evidence: BinaryEvidence, probability: Floats | None = None) -> Estimate | None:
    """The relative root of the debiased squared calibration error: √max(0, e²) / √(π(1-π)).

    0 is perfect; .05 is small, .1 a typical miscalibration. `probability` is float64[k], one for each of the evidence's
    bins (say a map's values), by default the bins' mean scores. None without both labels or below 50 examples.
    The interval is a percentile interval of the Poisson bootstrap.
    """
    squared = squared_calibration_error(evidence, probability)
    if squared is None:
        return None
    prevalence = evidence.positives / evidence.events
    spread = prevalence * (1.0 - prevalence)
    return Estimate(*(math.sqrt(max(0.0, x) / spread) for x in squared))


def squared_calibration_error(evidence: BinaryEvidence, probability: Floats | None = None) -> Estimate | None:
    """The debiased squared calibration error Σ (n_b/N) [(p̄_b - ȳ_b)² - v_b/(n_b - 1)], not cut at 0.

    On perfectly calibrated data its mean is 0, where the usual plug-in reads .022² on 2,000 examples.
    """
    if evidence.events < 50 or not 0 < evidence.positives < evidence.events:
        return None
    merged = MergedBins.of(evidence, _BINS, probability)
    n0, n1 = merged.counts
    # Each replicate draws how often a bin's negatives and positives occur. Sums of y - p and of its square are linear
    # in those two counts.
    negatives, positives = np.maximum(merged.counts, 1.0)
    off = np.stack((-merged.probability[0] / negatives, (n1 - merged.probability[1]) / positives))
    off_sq = np.stack(
        (merged.squares[0] / negatives, (n1 - 2.0 * merged.probability[1] + merged.squares[1]) / positives)
    )
    value, correction = _debiased(n0, n1, off, off_sq)
    rng = np.random.Generator(np.random.SFC64(seed_of(evidence.bins, evidence.counts)))
    draws = rng.poisson(merged.counts, (_REPLICATES, *merged.counts.shape)).astype(np.float64)
    replicates, _ = _debiased(draws[:, 0], draws[:, 1], off, off_sq)
    # A replicate's own correction takes away the noise that resampling adds; that of the data itself is still in it.
    low, high = np.quantile(replicates - correction, (TAIL, 1.0 - TAIL)).tolist()
    return Estimate(float(value), min(low, float(value)), max(high, float(value)))


def _debiased(n0: Floats, n1: Floats, off: Floats, off_sq: Floats) -> tuple[Any, Any]:
    """The debiased error and the correction in it, over the last axis."""
    n = n0 + n1
    held = np.maximum(n, 1.0)
    mean = (n0 * off[0] + n1 * off[1]) / held
    mean_sq = mean * mean
    variance = (n0 * off_sq[0] + n1 * off_sq[1]) / held - mean_sq
    # One example says nothing about its bin's variance: such a bin is left out.
    weight = np.where(n > 1.0, n, 0.0) / n.sum(axis=-1, keepdims=True)
    correction = (weight * variance / np.maximum(n - 1.0, 1.0)).sum(axis=-1)
    return (weight * mean_sq).sum(axis=-1) - correction, correction


def reliability(
    evidence: BinaryEvidence, bins: int = 12, probability: Floats | None = None
) -> list[dict[str, float | int]]:
    """The reliability diagram: mean probability against the observed share, with its Jeffreys interval, in merged bins.

    >>> e = BinaryEvidence.of(np.array([0.25, 0.25, 0.25, 0.25]), np.array([0, 1, 0, 0]))
    >>> reliability(e)[0]["score"], reliability(e)[0]["observed"], reliability(e)[0]["events"]
    (0.25, 0.25, 4)
    """
    merged = MergedBins.of(evidence, bins, probability)
    n0, n1 = merged.counts
    columns = (merged.mean_probability, *proportions(n1, n0), merged.events.astype(np.int64))
    names = ("score", "observed", "low", "high", "events")
    return [dict(zip(names, point, strict=True)) for point in zip(*(x.tolist() for x in columns), strict=True)]


def calibration_in_the_large(evidence: BinaryEvidence, probability: Floats | None = None) -> float | None:
    """The z = Σ(y - p) / √Σp(1-p): standard normal if the mean probability is right. None where all p are 0 or 1."""
    p = evidence.mean_scores if probability is None else probability
    n0, n1 = evidence.counts
    variance = float((n0 + n1) @ (p * (1.0 - p)))
    return float(n1.sum() - (n0 + n1) @ p) / math.sqrt(variance) if variance > 0.0 else None


def spiegelhalter(evidence: BinaryEvidence, probability: Floats | None = None) -> float | None:
    """Z = Σ(y-p)(1-2p) / √Σ(1-2p)²p(1-p): standard normal if all probabilities are right.

    >>> round(spiegelhalter(BinaryEvidence.of(np.array([0.2, 0.2]), np.array([1, 0]))), 2)
    1.06
    """
    p = evidence.mean_scores if probability is None else probability
    n0, n1 = evidence.counts
    tilt = 1.0 - 2.0 * p
    variance = float((n0 + n1) @ (tilt * tilt * p * (1.0 - p)))
    return float((n1 - (n0 + n1) * p) @ tilt) / math.sqrt(variance) if variance > 0.0 else None


class BrierDecomposition(NamedTuple):
    """Brier = reliability - resolution + uncertainty + within (what differs inside a merged bin)."""

    reliability: float
    resolution: float
    uncertainty: float
    within: float

    @property
    def brier(self) -> float:
        """The Brier score that the parts add up to."""
        return self.reliability - self.resolution + self.uncertainty + self.within


def brier_decomposition(
    evidence: BinaryEvidence, bins: int = _BINS, probability: Floats | None = None
) -> BrierDecomposition | None:
    """The parts of the Brier score on merged bins, or None of no example."""
    if not evidence.events:
        return None
    merged = MergedBins.of(evidence, bins, probability)
    n, n1 = merged.events, merged.counts[1]
    total = n.sum()
    share, p, base = n1 / n, merged.mean_probability, n1.sum() / total
    reliability_part = float(n @ (p - share) ** 2 / total)
    resolution = float(n @ (share - base) ** 2 / total)
    uncertainty = float(base * (1.0 - base))
    brier = float((merged.squares.sum() - 2.0 * merged.probability[1].sum() + n1.sum()) / total)
    return BrierDecomposition(
        reliability_part, resolution, uncertainty, brier - reliability_part + resolution - uncertainty
    )
