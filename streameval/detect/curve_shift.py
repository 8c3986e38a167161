"""How far P(y | s) lies from a curve: a relative calibration error, debiased, with its 99 % interval.

Two readings. The smooth one fits level, slope and bend on the logit of the curve to the window after: three numbers, so
it is sharp, and miscalibration and concept drift show in them. The one by merged bins sees any shape, but bluntly: it
counts only where its interval lies higher.

Both windows' sampling is taken into account: the curve comes from the window before, and is least known where that one
has few scores.

Invariant: functions of the two windows; what sampling alone would show is taken away from the error.
Source: METHODS, section 5 ("relative calibration effect"); Cox 1958 (level and slope of a calibration curve).
"""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from scipy.special import chdtrc, chndtrinc, expit, logit

from streameval.detect.window_pair import Floats, WindowPair, merge_until

_TAIL: Final = 0.005
_EACH_LABEL: Final = 20.0
_MOST_BINS: Final = 16.0
_NEWTON_STEPS: Final = 25
_RIDGE: Final = 0.01


class Shift(NamedTuple):
    """A relative calibration error √(Σ n (q' - q)² / N / (π (1 - π))) with its 99 % interval."""

    effect: float
    low: float
    high: float


class Residuals(NamedTuple):
    """By merged bin: after less before of the mean residual, its variance, the share of events after, a place, events.

    The place is the mean logit of the curve; `events` are those before and after.
    """

    difference: Floats
    variance: Floats
    share: Floats
    place: Floats
    events: tuple[Floats, Floats]


def residuals(pair: WindowPair, p: Floats) -> Residuals:
    """Mean residuals of the window after, from the curve `p`, less those of the window before, from its own curve.

    Bins hold 20 of each label in each window. What the window before leaves unexplained is carried over by the ratio of
    the two curves' slopes on the logit. Variances are those that the curves give the scores of each window.
    """
    n0, n1 = pair.before.sum(axis=0), pair.after.sum(axis=0)
    own, other = pair.p * (1.0 - pair.p), p * (1.0 - p)
    information = n1 * own
    rows = np.concatenate([pair.before, pair.after, information[np.newaxis]])
    starts = merge_until(rows, np.array([*[_EACH_LABEL] * 4, float(information.sum()) / _MOST_BINS]))
    off0, off1 = pair.before[1] - n0 * pair.p, pair.after[1] - n1 * p
    stacked = np.stack([n0, n1, off0, off1, n0 * own, n1 * other, n1 * logit(pair.p), information])
    b = np.add.reduceat(stacked, starts, axis=1)
    b0, b1 = np.maximum(b[0], 1.0), np.maximum(b[1], 1.0)
    carried = b[5] / np.maximum(b[7], 1e-300)
    difference = b[3] / b1 - carried * b[2] / b0
    variance = b[5] / b1**2 + carried**2 * b[4] / b0**2
    return Residuals(difference, np.maximum(variance, 1e-300), b[1] / b[1].sum(), b[6] / b1, (b[0], b[1]))


def shift_from(pair: WindowPair, p: Floats, phi: float, *, fitted: int) -> Shift:
    """How far the window after lies from the curve `p`, of which `fitted` numbers (0, or 1: its level) were its own."""
    smooth, by_bin = _smooth(pair, p, phi, fitted), _by_bin(pair, p, phi)
    return by_bin if by_bin.low > smooth.low else smooth


def best_level(pair: WindowPair) -> Floats:
    """The curve moved by the intercept on the logit that gives the window after its number of positives."""
    n1, k1 = pair.after.sum(axis=0), float(pair.after[1].sum())
    z, a = logit(pair.p), 0.0
    for _ in range(_NEWTON_STEPS):
        p = expit(z + a)
        step = (k1 - float(n1 @ p)) / max(float(n1 @ (p * (1.0 - p))), 1e-12)
        # Far from its end Newton's step overshoots.
        a += min(max(step, -1.0), 1.0)
        if abs(step) < 1e-9:
            break
    moved: Floats = expit(z + a)
    return moved


def _by_bin(pair: WindowPair, p: Floats, phi: float) -> Shift:
    """With d_b ~ N(delta_b, v_b) and shares w_b: sum w (d² - v) has mean sum w delta²."""
    bins = residuals(pair, p)
    w, variance, squared = bins.share, bins.variance * phi, bins.difference**2
    total = float(w @ squared)
    per_effect = float(w**2 @ (variance * squared)) / total if total > 0.0 else 0.0
    return _interval(pair, total, float(w @ variance), float(w**2 @ variance**2), per_effect)


def _smooth(pair: WindowPair, p: Floats, phi: float, fitted: int) -> Shift:
    n0, n1 = pair.before.sum(axis=0), pair.after.sum(axis=0)
    x = _basis(logit(pair.p), n1 * p * (1.0 - p))
    # Both windows are read by the same three numbers: what these miss of the curve itself is missed in both.
    own, unsure_before = _fit(n0, pair.before[1], logit(pair.p), x)
    new, unsure_after = _fit(n1, pair.after[1], logit(p), x)
    q, expected = expit(logit(p) + x @ new), expit(logit(p) + x @ own)
    events, moved = float(n1.sum()), new - own
    unsure = unsure_before + unsure_after
    form = (x.T * (n1 * (q * (1.0 - q)) ** 2 / events)) @ x
    noise = phi * (form @ unsure)[fitted:, fitted:]
    total = float(n1 @ (q - expected) ** 2) / events
    curved = form @ moved
    plain = float(moved @ curved)
    per_effect = phi * float(curved @ unsure @ curved) / plain if plain > 0.0 else 0.0
    return _interval(pair, total, float(np.trace(noise)), float(np.trace(noise @ noise)), per_effect)


def _fit(n: Floats, k: Floats, offset: Floats, x: Floats) -> tuple[Floats, Floats]:
    """The logistic fit of k positives among n on the columns of x, and its covariance; a weak ridge keeps it finite."""
    beta = np.zeros(x.shape[1])
    ridge = _RIDGE * np.eye(x.shape[1])
    for _ in range(_NEWTON_STEPS):
        q = expit(offset + x @ beta)
        hessian = (x.T * (n * q * (1.0 - q))) @ x + ridge
        step = np.clip(np.linalg.solve(hessian, x.T @ (k - n * q) - _RIDGE * beta), -1.0, 1.0)
        beta = beta + step
        if float(np.abs(step).max()) < 1e-7:
            break
    covariance: Floats = np.linalg.inv(hessian)
    return beta, covariance


def _basis(place: Floats, weight: Floats) -> Floats:
    """float64[k, 3]: level, slope and bend, orthonormal in the weight; fewer where the places do not allow three."""
    share = weight / weight.sum()
    centred = place - float(share @ place)
    columns = [np.ones_like(place)]
    for raw in (centred, centred**2):
        column = raw - sum(known * float(share @ (known * raw)) for known in columns)
        size = sqrt(float(share @ column**2))
        if size > 1e-9:
            columns.append(column / size)
    return np.stack(columns, axis=1)


def _interval(pair: WindowPair, total: float, noise: float, noise_squared: float, per_effect: float) -> Shift:
    """The debiased effect of a quadratic form x'Gx with x ~ N(mu, V), and an interval of mu'G mu.

    The form is taken for b times a non-central chi-squared that has its mean without effect, `noise` = tr GV, and its
    variance, 2 tr (GV)² (Satterthwaite); b is larger where the effect lies in a direction of more noise.
    """
    if noise <= 0.0:
        return Shift(0.0, 0.0, 0.0)  # a single place and its level fitted: there is nothing left to see
    scale = max(noise_squared / noise, per_effect)
    freedom = noise / scale
    seen = total / scale
    # The lower end is 0 where no effect at all would show as much.
    low = float(chndtrinc(seen, freedom, 1.0 - _TAIL)) * scale if chdtrc(freedom, seen) < _TAIL else 0.0
    high = float(chndtrinc(seen, freedom, _TAIL)) * scale
    prevalence = float(pair.after[1].sum() / pair.after.sum())
    spread = max(prevalence * (1.0 - prevalence), 1e-300)
    return Shift(*(sqrt(max(x, 0.0) / spread) for x in (total - noise, low, high)))
