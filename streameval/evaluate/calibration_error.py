"""How far probabilities are from what happens: the debiased calibration error, its tests and its diagram.

Invariant: everything is computed from counts by bin; the bootstrap's weights are made of one fixed table of normal
numbers, so the same evidence always has the same interval.

The bootstrap gives a count n the weight of a gamma law of shape n (Rubin's Bayesian bootstrap, events being Poisson),
by the cube of Wilson and Hilferty (1931): it needs no draws of its own, and is as good from n = 1 on.

Sources: METHODS, section 2 (measures); Spiegelhalter (1986); Rufibach (2010, "Use of Brier score to assess binary
predictions"); Murphy (1973), for the within-bin term Stephenson, Coelho and Jolliffe (2008), for resolution without
bias Ferro and Fricker (2012); Rubin (1981).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from streameval.evaluate.estimate import TAIL, Estimate, proportion, wilsons
from streameval.evidence import BinaryEvidence
from streameval.evidence.merge import MergedBins, merge_starts

Floats = npt.NDArray[np.float64]

_BINS: Final = 30
_PAIRS: Final = 60
_TINY: Final = 1e-9
_LEAST: Final = 50
"""Examples below which no calibration error is given."""


def _table() -> Floats:
    drawn = np.random.Generator(np.random.SFC64(1981)).standard_normal((2, _PAIRS, _BINS))
    # Each with its opposite: what the table leans to by chance cancels.
    return np.concatenate((drawn, -drawn), axis=1)


_NORMAL: Final = _table()


class Test(NamedTuple):
    """A statistic that is standard normal if the probabilities are right, and its two-sided p-value."""

    z: float
    p_value: float

    @classmethod
    def of(cls, z: float) -> Test:
        """The test of a z."""
        return cls(z, float(2.0 * ndtr(-abs(z))))


class CalibrationMeasures(NamedTuple):
    """What is known of how right probabilities are.

    Brier = reliability - resolution + uncertainty + within. Reliability is the squared calibration error. It and the
    resolution are without the bias of counting the noise of small bins; `within` is what remains of the Brier score.
    """

    relative_error: Estimate
    reliability: Estimate
    resolution: Estimate
    uncertainty: Estimate
    within: float
    in_the_large: Test | None
    spiegelhalter: Test | None


class _Bins(NamedTuple):
    """Merged bins: examples by label [2, m]; the mean of y - p and of its square by label [2, m]; the Brier score."""

    counts: Floats
    off: Floats
    off_sq: Floats
    brier: float

    @classmethod
    def of(cls, merged: MergedBins) -> _Bins:
        held = np.maximum(merged.counts, 1.0)
        n1 = merged.counts[1]
        off = np.stack((-merged.probability[0], n1 - merged.probability[1])) / held
        squares = np.stack((merged.squares[0], n1 - 2.0 * merged.probability[1] + merged.squares[1]))
        return cls(merged.counts, off, squares / held, float(squares.sum() / merged.counts.sum()))

    def replicates(self) -> Floats:
        """[2, 120, m]: the counts that might have come."""
        rough = 1.0 / (9.0 * np.maximum(self.counts, 1.0))[:, np.newaxis]
        weight = _NORMAL[:, :, : self.counts.shape[1]] * np.sqrt(rough)
        weight += 1.0 - rough
        np.maximum(weight, 0.0, out=weight)
        cube = weight * weight
        cube *= weight
        cube *= self.counts[:, np.newaxis]
        return cube


def calibration_error(evidence: BinaryEvidence, probability: Floats | None = None) -> Estimate | None:
    """The relative root of the debiased squared calibration error: √max(0, e²) / √(π(1-π)).

    0 is perfect; .05 is small, .1 a typical miscalibration. `probability` is float64[k], one for each of the evidence's
    bins (say a map's values), by default the bins' mean scores. None without both labels or below 50 examples.
    The interval is a percentile interval of the bootstrap.
    """
    squared = squared_calibration_error(evidence, probability)
    return None if squared is None else _relative(squared, evidence.positives / evidence.events)


def _relative(squared: Estimate, prevalence: float) -> Estimate:
    spread = prevalence * (1.0 - prevalence)
    return Estimate(*(math.sqrt(max(0.0, x) / spread) for x in squared))


def squared_calibration_error(evidence: BinaryEvidence, probability: Floats | None = None) -> Estimate | None:
    """The debiased squared calibration error Σ (n_b/N) [(p̄_b - ȳ_b)² - v_b/(n_b - 1)], not cut at 0.

    On perfectly calibrated data its mean is 0, where the usual plug-in reads .022² on 2,000 examples.
    """
    if not _enough(evidence):
        return None
    bins = _Bins.of(MergedBins.of(evidence, _BINS, probability))
    return _interval(*_reliability(bins.counts, bins), _reliability(bins.replicates(), bins)[0])


def _enough(evidence: BinaryEvidence) -> bool:
    return evidence.events >= _LEAST and 0 < evidence.positives < evidence.events


def calibration_measures(
    evidence: BinaryEvidence, probability: Floats | None = None, starts: npt.NDArray[np.intp] | None = None
) -> CalibrationMeasures | None:
    """All measures at once. None without both labels or below 50 examples.

    Args:
        evidence: The labelled examples.
        probability: float64[k], one for each of the evidence's bins; by default the bins' mean scores.
        starts: Where merged bins begin, from `calibration_bins`, if they are at hand.

    >>> e = BinaryEvidence.of(np.tile([0.25, 0.75], 200), np.tile([0, 0, 0, 1, 1, 1, 0, 1], 50))
    >>> found = calibration_measures(e)
    >>> round(found.uncertainty.value, 3), round(found.resolution.value, 3), found.relative_error.low
    (0.25, 0.062, 0.0)
    """
    if not _enough(evidence):
        return None
    p = evidence.mean_scores if probability is None else probability
    bins = _Bins.of(MergedBins.of(evidence, _BINS, p, starts=starts))
    drawn = bins.replicates()
    squared = _interval(*_reliability(bins.counts, bins), _reliability(drawn, bins)[0])
    resolution = _interval(*_resolution(bins.counts), _resolution(drawn)[0])
    n0, n1 = bins.counts.sum(axis=1).tolist()
    share = proportion(n1, n0)
    prevalence = share.value
    ends = [x * (1.0 - x) for x in share[1:]]
    uncertainty = Estimate(
        prevalence * (1.0 - prevalence), min(ends), 0.25 if share.low <= 0.5 <= share.high else max(ends)
    )
    z = (calibration_in_the_large(evidence, p), spiegelhalter(evidence, p))
    return CalibrationMeasures(
        _relative(squared, prevalence),
        squared,
        resolution,
        uncertainty,
        bins.brier - squared.value + resolution.value - uncertainty.value,
        *(None if x is None else Test.of(x) for x in z),
    )


def calibration_bins(evidence: BinaryEvidence) -> npt.NDArray[np.intp]:
    """Where the merged bins of the measures begin: the same for a score and for a map of it."""
    return merge_starts(evidence, _BINS)


def _interval(value: Floats, correction: Floats, replicates: Floats) -> Estimate:
    # A replicate's own correction takes away the noise that resampling adds; that of the data itself is still in it.
    drawn = np.sort(replicates) - correction
    at = TAIL * (len(drawn) - 1)
    below, part = int(at), at - int(at)
    low = drawn[below] + part * (drawn[below + 1] - drawn[below])
    high = drawn[-1 - below] + part * (drawn[-2 - below] - drawn[-1 - below])
    return Estimate(float(value), min(float(low), float(value)), max(float(high), float(value)))


def _reliability(counts: Floats, bins: _Bins) -> tuple[Floats, Floats]:
    """The debiased squared error and the correction in it, over the last axis of counts [2, ..., m]."""
    n0, n1 = counts
    n = n0 + n1
    held = np.maximum(n, _TINY)
    mean = (n0 * bins.off[0] + n1 * bins.off[1]) / held
    mean *= mean
    variance = (n0 * bins.off_sq[0] + n1 * bins.off_sq[1]) / held - mean
    return _debiased(n, mean, variance)


def _resolution(counts: Floats) -> tuple[Floats, Floats]:
    """The debiased resolution and the correction in it, over the last axis of counts [2, ..., m]."""
    n0, n1 = counts
    n = n0 + n1
    share = n1 / np.maximum(n, _TINY)
    total = n.sum(axis=-1)
    base = n1.sum(axis=-1) / total
    off = share - base[..., np.newaxis]
    off *= off
    value, correction = _debiased(n, off, share * (1.0 - share))
    spared = base * (1.0 - base) / np.maximum(total - 1.0, 1.0)
    return value + spared, correction - spared


def _debiased(n: Floats, square: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """The mean of squares of bin means over n examples, less what the variance within bins adds to it; and that."""
    # One example says nothing about its bin's variance: such a bin is left out.
    weight = np.where(n > 1.0, n, 0.0)
    total = n.sum(axis=-1)
    variance *= weight
    variance /= np.maximum(n - 1.0, _TINY)
    correction = variance.sum(axis=-1) / total
    weight *= square
    return weight.sum(axis=-1) / total - correction, correction


def reliability(
    evidence: BinaryEvidence, bins: int = 12, probability: Floats | None = None
) -> list[dict[str, float | int]]:
    """The reliability diagram: mean probability against the observed share, with Wilson's interval, in merged bins.

    >>> e = BinaryEvidence.of(np.array([0.25, 0.25, 0.25, 0.25]), np.array([0, 1, 0, 0]))
    >>> reliability(e)[0]["score"], reliability(e)[0]["observed"], reliability(e)[0]["events"]
    (0.25, 0.25, 4)
    """
    merged = MergedBins.of(evidence, bins, probability)
    events = merged.events
    observed = merged.counts[1] / events
    columns = (merged.mean_probability, observed, *wilsons(observed, events), events.astype(np.int64))
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
