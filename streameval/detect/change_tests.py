"""The five tests that tell changes apart: T_S, T_pi, T_{S|Y}, T_{Y|S} and T_AUC, each with an effect and a tolerance.

=========  ==============================================  ==========================================  =========
name       what is compared                                effect                                      tolerance
=========  ==============================================  ==========================================  =========
score      p(s): two-sample chi-squared on merged bins     total variation distance                    none
prior      pi: two proportions                             difference of logit pi                      .1
score|y    p(s | y): chi-squared within each class, x 2    relative calibration error that is left     .05
                                                           after the best intercept
y|s        P(y | s): the smaller of a residual test by     relative calibration error against the      .05
           bin and of level and trend (2 df), x 2          curve before
auc        AUC, by DeLong's variance on bins               fall of the AUC                             .01
=========  ==============================================  ==========================================  =========

A test *holds* when it does not reject, or when its effect is within tolerance: with enough events everything rejects.
Residuals y - p(s) are compared and not shares of positives, and their variances are those that the curve before gives
each window's own scores, so that a covariate shift inside a bin is no change of P(y | s). Effects are debiased: what
sampling alone would show is taken away.

Invariant: functions of the two windows. `phi` divides every statistic: in an over-dispersed stream events count for
less.
Source: METHODS, section 5; DeLong, DeLong & Clarke-Pearson 1988; Mantel 1963 for level and trend.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from scipy.special import chdtrc, logit, ndtr

from streameval.detect.curve_shift import Residuals, Shift, best_level, residuals, shift_from
from streameval.detect.window_pair import Floats, WindowPair
from streameval.order import distinct

ALPHA: Final = 0.001
"""The level of each test."""

SCORE, PRIOR, SCORE_GIVEN_LABEL, LABEL_GIVEN_SCORE, AUC = "score", "prior", "score|y", "y|s", "auc"

TOLERANCE: Final = {PRIOR: 0.1, SCORE_GIVEN_LABEL: 0.05, LABEL_GIVEN_SCORE: 0.05, AUC: 0.01}
"""Effects up to these change no decision."""

_EXPECTED: Final = 10.0
_EDGE: Final = 1e-6
_MOST_BINS: Final = 24


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a diagnosis: its statistic, p-value and effect, and whether it holds."""

    # pytest would take a class of this name for a collection of tests.
    __test__ = False

    name: str
    statistic: float
    p_value: float
    effect: float
    holds: bool

    @property
    def rejects(self) -> bool:
        """Whether it rejects at the level, whatever the effect."""
        return self.p_value < ALPHA


def score_test(pair: WindowPair, phi: float = 1.0) -> Test:
    """T_S: whether the scores are distributed as before."""
    statistic, p_value, distance = _two_samples(pair.before.sum(axis=0), pair.after.sum(axis=0), phi)
    return Test(SCORE, statistic, p_value, distance, p_value >= ALPHA)


def prior_test(pair: WindowPair, phi: float = 1.0) -> Test:
    """T_pi: whether the prevalence is as before; its effect is the difference of logit pi, after less before."""
    (n0, k0), (n1, k1) = ((float(w.sum()), float(w[1].sum())) for w in (pair.before, pair.after))
    pooled = (k0 + k1) / (n0 + n1)
    se = sqrt(max(pooled * (1.0 - pooled) * (1.0 / n0 + 1.0 / n1) * phi, 1e-300))
    z = (k1 / n1 - k0 / n0) / se
    p_value = 2.0 * float(ndtr(-abs(z)))
    effect = float(logit((k1 + 0.5) / (n1 + 1.0)) - logit((k0 + 0.5) / (n0 + 1.0)))
    return _judged(PRIOR, z, p_value, effect)


def score_given_label_test(pair: WindowPair, phi: float = 1.0) -> Test:
    """T_{S|Y}: whether each class has its scores as before. Its effect is what no intercept on the logit explains."""
    found = [_two_samples(pair.before[label], pair.after[label], phi) for label in (0, 1)]
    statistic, p_value, _ = min(found, key=lambda one: one[1])
    shift = shift_from(pair, best_level(pair), phi, fitted=1)
    return _judged(SCORE_GIVEN_LABEL, statistic, min(1.0, 2.0 * p_value), shift.effect)


def label_given_score_test(pair: WindowPair, phi: float = 1.0) -> tuple[Test, Shift]:
    """T_{Y|S}: whether a score means what it meant; with the 99 % interval of its effect."""
    bins = residuals(pair, pair.p)
    z_squared = bins.difference**2 / bins.variance / phi
    by_bin = float(z_squared.sum())
    p_by_bin = float(chdtrc(z_squared.size, by_bin))
    trend, p_trend = _level_and_trend(bins, phi)
    statistic, p_value = (by_bin, p_by_bin) if p_by_bin <= p_trend else (trend, p_trend)
    shift = shift_from(pair, pair.p, phi, fitted=0)
    return _judged(LABEL_GIVEN_SCORE, statistic, min(1.0, 2.0 * p_value), shift.effect), shift


def auc_test(pair: WindowPair, phi: float = 1.0) -> Test:
    """T_AUC: whether the order of scores is worth as much as before; its effect is the fall.

    z is that of the logits, and the window after is taken to vary no less than the one before does by its size: few
    positives that happen to lie close together would otherwise reject twenty times as often as they should.
    """
    before, after = _auc(pair.before), _auc(pair.after)
    variance = _variance(before.value, before, pair.before)
    variance += max(_variance(before.value, before, pair.after), _variance(after.value, after, pair.after))
    z = float(logit(before.value) - logit(after.value)) / sqrt(max(phi * variance, 1e-300))
    return _judged(AUC, z, 2.0 * float(ndtr(-abs(z))), before.value - after.value)


def _judged(name: str, statistic: float, p_value: float, effect: float) -> Test:
    return Test(name, statistic, p_value, effect, p_value >= ALPHA or abs(effect) <= TOLERANCE[name])


def _two_samples(before: Floats, after: Floats, phi: float) -> tuple[float, float, float]:
    """Pearson's two-sample chi-squared, its p-value and the total variation distance on its bins.

    The bins are about equally full before, so few that each is expected to hold some events of either sample, and at
    most so many that the test is not diluted. (0, 1, 0) where there is nothing to compare.
    """
    total_before, total_after = float(before.sum()), float(after.sum())
    both = before + after
    smaller = min(total_before, total_after)
    bins = min(_MOST_BINS, int(smaller / _EXPECTED))
    if bins < 2:
        return 0.0, 1.0, 0.0
    # Cut by the sum of both samples alone: given that sum, neither sample has chosen the bins.
    filled = np.cumsum(both)
    levels = np.arange(1, bins) * (filled[-1] / bins)
    starts = distinct(np.concatenate([[0], np.searchsorted(filled, levels, side="left") + 1]))
    starts = starts[starts < both.size]
    b, a = np.add.reduceat(before, starts), np.add.reduceat(after, starts)
    filled_bins = a + b > 0.0
    b, a = b[filled_bins], a[filled_bins]
    difference = sqrt(total_after / total_before) * b - sqrt(total_before / total_after) * a
    statistic = float((difference**2 / (a + b)).sum()) / phi
    distance = 0.5 * float(np.abs(b / total_before - a / total_after).sum())
    return statistic, float(chdtrc(max(b.size - 1, 1), statistic)), distance


def _level_and_trend(bins: Residuals, phi: float) -> tuple[float, float]:
    """Mantel's score test of a common shift and of a slope on the logit of the curve: chi-squared of 2 df."""
    n0, n1 = bins.events
    weight = n0 * n1 / np.maximum(n0 + n1, 1.0)
    place = bins.place - float(weight @ bins.place) / float(weight.sum())
    x = np.stack([np.ones_like(place), place])
    u = x @ (weight * bins.difference)
    v = (x * (weight**2 * bins.variance)) @ x.T
    if bins.place.size < 2 or np.linalg.det(v) <= 1e-12 * v[0, 0] * v[1, 1]:
        statistic = float(u[0] ** 2 / v[0, 0]) / phi
        return statistic, float(chdtrc(1, statistic))
    statistic = float(u @ np.linalg.solve(v, u)) / phi
    return statistic, float(chdtrc(2, statistic))


class _Auc(NamedTuple):
    """An AUC away from 0 and 1, and the variances of DeLong's placements of positives and of negatives."""

    value: float
    of_positives: float
    of_negatives: float


def _auc(window: Floats) -> _Auc:
    negatives, positives = window
    n0, n1 = float(negatives.sum()), float(positives.sum())
    beaten = (np.cumsum(negatives) - 0.5 * negatives) / n0
    beaten_by = (n1 - np.cumsum(positives) + 0.5 * positives) / n1
    auc = float(positives @ beaten) / n1
    of_positives = float(positives @ (beaten - auc) ** 2) / max(n1 - 1.0, 1.0)
    of_negatives = float(negatives @ (beaten_by - auc) ** 2) / max(n0 - 1.0, 1.0)
    return _Auc(min(max(auc, _EDGE), 1.0 - _EDGE), of_positives, of_negatives)


def _variance(value: float, auc: _Auc, window: Floats) -> float:
    """Of the logit of an AUC of so many events as a window holds."""
    n0, n1 = (float(n) for n in window.sum(axis=1))
    return (auc.of_positives / n1 + auc.of_negatives / n0) / (value * (1.0 - value)) ** 2
