"""The fused prevalence: labels that have matured and scores that have not, in one extended Kalman filter.

The state is x, the logit of the prevalence, and b, the bias that the label-free estimate has on the logit. A matured
group of cohorts gives the share of positives (of x) and, from the same rows' scores, what the label-free estimate would
have said of them (of b). An immature group gives the label-free estimate alone: an observation of x + b. So labels
teach the filter how far scores are to be trusted, and scores carry it over the time in which labels wait.

x moves in two ways, as prevalences do: by small steps at every group, whose variance is learnt by its likelihood
from the matured groups, and, once in some thousand groups, by a jump. With the small steps alone a tripled prevalence
is followed over dozens of groups, each of which is many times its own standard error away. Both ways are tried at every
observation and merged by how well they predicted it.

The variance of a share is taken at the prevalence that fits both prediction and share, never at the share alone: the
latter is zero where no positive came, and biases a prevalence of .001 upwards by more than a factor of two.

Invariant: a function of the observations in their order. Variances are positive; each group is used once.

Source: METHODS, section 3; Bell and Cathey (1993) for the iterated update; Harrison and Stevens (1976, "Bayesian
forecasting") for merging a usual and a jumping model, which the methods do not have: see bench_prevalence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import numpy as np

from streameval.evaluate.estimate import Estimate, Z
from streameval.evidence.merge import Floats

NOISE_FLOOR: Final = 1e-5
"""Variance of x's step from one group to the next, at least."""

_NOISES: Final[Floats] = NOISE_FLOOR * np.power(4.0, np.arange(9, dtype=np.float64))
_BIAS_NOISE: Final = 1e-5
_JUMP_VARIANCE: Final = 1.0
_JUMP_CHANCE: Final = 1e-3
_LOG_USUAL, _LOG_JUMP = math.log1p(-_JUMP_CHANCE), math.log(_JUMP_CHANCE)
_MEMORY: Final = 0.5 ** (1.0 / 500.0)
_LEAST_BIAS_SHARE: Final = 0.1
_ITERATIONS: Final = 12
_TOLERANCE: Final = 1e-6
_FARTHEST: Final = 20.0
_LARGEST: Final = 500.0
_NOTHING: Final = 1e-12


class Belief(NamedTuple):
    """What is believed of (x, b): means, variances and covariance."""

    x: float
    b: float
    xx: float
    xb: float
    bb: float

    def later(self, noise: float) -> Belief:
        """After one group's time."""
        return Belief(self.x, self.b, self.xx + noise, self.xb, self.bb + _BIAS_NOISE)

    @property
    def prevalence(self) -> float:
        """The prevalence believed in."""
        return _expit(self.x)

    @property
    def estimate(self) -> Estimate:
        """The prevalence with its interval."""
        reach = Z * math.sqrt(self.xx)
        return Estimate(_expit(self.x), _expit(self.x - reach), _expit(self.x + reach))


@dataclass(slots=True)
class _Noise:
    """A bank of filters of x alone, one for each candidate of the steps' variance, and how well each predicts."""

    x: Floats = field(default_factory=lambda: np.zeros(len(_NOISES)))
    variance: Floats = field(default_factory=lambda: np.zeros(len(_NOISES)))
    likelihood: Floats = field(default_factory=lambda: np.zeros(len(_NOISES)))

    def begin(self, x: float, variance: float) -> None:
        self.x[:], self.variance[:] = x, variance

    def learn(self, events: int, positives: int) -> None:
        """One matured group."""
        predicted = self.variance + _NOISES
        p = 1.0 / (1.0 + np.exp(-self.x))
        slope = p * (1.0 - p)
        innovation = positives / events - p
        spread = slope * slope * predicted + slope / events
        # A jump is none of the small steps' business: beyond four standard errors it counts as four.
        squared = np.minimum(innovation**2 / spread, 16.0)
        self.likelihood = _MEMORY * self.likelihood - 0.5 * (np.log(spread) + squared)
        gain = predicted * slope / spread
        self.x = np.clip(self.x + gain * innovation, -_FARTHEST, _FARTHEST)
        self.variance = predicted * (1.0 - gain * slope)

    @property
    def mean(self) -> float:
        """The candidates' mean, each weighted by its likelihood: the most likely one alone is too sure of itself."""
        weight = np.exp(self.likelihood - self.likelihood.max())
        return float(weight @ _NOISES / weight.sum())


class PrevalenceFilter:
    """The prevalence as of the last matured group.

    >>> filter = PrevalenceFilter()
    >>> for _ in range(20):
    ...     filter.matured(1000, 50)
    >>> [round(x, 3) for x in filter.belief.estimate]
    [0.05, 0.045, 0.055]
    """

    def __init__(self) -> None:
        self.belief: Belief | None = None
        """None before the first matured group with events."""
        self._noise = _Noise()

    @property
    def noise(self) -> float:
        """The variance of x's step from one group to the next, as learnt."""
        return self._noise.mean

    def trust(self, variance: float) -> None:
        """Label-free estimates have a new reference, whose own error has this variance on the logit."""
        if self.belief is not None:
            self.belief = self.belief._replace(b=0.0, xb=0.0, bb=max(variance, NOISE_FLOOR))

    def matured(self, events: int, positives: int, free: tuple[float, float] | None = None) -> None:
        """Take in a matured group.

        Args:
            events: Labelled events of the group.
            positives: Of which so many are positive.
            free: What the label-free estimate says of the same events, and its variance; None where it is silent.
        """
        if not events:
            return
        if self.belief is None:
            share = (positives + 0.5) / (events + 1.0)
            variance = 1.0 / (events * share * (1.0 - share))
            self.belief = Belief(_logit(share), 0.0, variance, 0.0, 1.0)
            self._noise.begin(self.belief.x, variance)
        else:
            self._noise.learn(events, positives)
            self.belief = _followed(self.belief, positives / events, float(events), None, self.noise)
        if free is not None:
            self._learn_bias(events, positives, free)

    def _learn_bias(self, events: int, positives: int, free: tuple[float, float]) -> None:
        belief = self.belief
        if belief is None or not math.isfinite(free[1]):
            return
        p = belief.prevalence
        slope = p * (1.0 - p)
        # Labels and scores of the same rows share the sampling of positives: it cancels in the difference.
        variance = max(free[1] - slope / events, _LEAST_BIAS_SHARE * free[1]) / slope**2
        total = belief.bb + variance
        innovation = (free[0] - positives / events) / slope - belief.b
        gain_x, gain_b = belief.xb / total, belief.bb / total
        self.belief = Belief(
            belief.x + gain_x * innovation,
            belief.b + gain_b * innovation,
            belief.xx - gain_x * belief.xb,
            belief.xb - gain_x * belief.bb,
            belief.bb - gain_b * belief.bb,
        )

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "belief": None if self.belief is None else list(self.belief),
            "x": self._noise.x,
            "variance": self._noise.variance,
            "likelihood": self._noise.likelihood,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """The inverse of ``state``."""
        new = cls()
        new.belief = None if state["belief"] is None else Belief(*state["belief"])
        new._noise = _Noise(state["x"].copy(), state["variance"].copy(), state["likelihood"].copy())
        return new


def ahead(belief: Belief, free: tuple[float, float] | None, noise: float) -> Belief:
    """One immature group later: with what the label-free estimate says of it (and its variance), or without.

    >>> now = Belief(-3.0, 0.0, 0.001, 0.0, 0.001)
    >>> ahead(now, (0.0474, 1e-4), 1e-5).xx < ahead(now, None, 1e-5).xx
    True
    """
    if free is None or not math.isfinite(free[1]):
        return belief.later(noise + _JUMP_CHANCE * _JUMP_VARIANCE)
    return _followed(belief, free[0], None, free[1], noise)


def _followed(belief: Belief, share: float, events: float | None, variance: float | None, noise: float) -> Belief:
    """The belief after a share was seen: of `events` labels (of x), or with a variance (of x + b)."""
    biased = events is None
    usual = _updated(belief.later(noise), share, events, variance, biased)
    jumped = _updated(belief.later(noise + _JUMP_VARIANCE), share, events, variance, biased)
    odds = _LOG_JUMP + jumped[1] - _LOG_USUAL - usual[1]
    w = 1.0 / (1.0 + math.exp(min(max(-odds, -_LARGEST), _LARGEST)))
    if w < _NOTHING:
        return usual[0]
    u, j = usual[0], jumped[0]
    dx, db = j.x - u.x, j.b - u.b
    v = 1.0 - w
    return Belief(
        v * u.x + w * j.x,
        v * u.b + w * j.b,
        v * u.xx + w * j.xx + v * w * dx * dx,
        v * u.xb + w * j.xb + v * w * dx * db,
        v * u.bb + w * j.bb + v * w * db * db,
    )


def _updated(
    belief: Belief, share: float, events: float | None, variance: float | None, biased: bool
) -> tuple[Belief, float]:
    """The posterior mode's belief, and the logarithm of how well the share was predicted."""
    x, b, xx, xb, bb = belief
    if biased:
        mean, spread, of_x, of_b = x + b, xx + 2.0 * xb + bb, xx + xb, xb + bb
    else:
        mean, spread, of_x, of_b = x, xx, xx, xb
    u = mean
    reach = 8.0 * math.sqrt(spread)
    p = _expit(u)
    slope = p * (1.0 - p)
    noise = slope / events if events is not None else variance or 0.0
    for iteration in range(_ITERATIONS):
        # Gauss and Newton's step to the mode of exp(-(u - mean)^2 / 2 spread - (share - p(u))^2 / 2 noise).
        gain = spread * slope / (slope * slope * spread + noise)
        new = mean + gain * (share - p - slope * (mean - u))
        new = min(max(new, mean - reach), mean + reach)
        done = abs(new - u) < _TOLERANCE
        # Half a step where whole ones might go to and fro.
        u = new if done else 0.5 * (u + new) if iteration > 3 else new
        p = _expit(u)
        slope = max(p * (1.0 - p), 1e-9)
        if events is not None:
            noise = slope / events
        if done:
            break
    total = slope * slope * spread + noise
    miss = share - p
    log_likelihood = -0.5 * ((u - mean) ** 2 / spread + miss * miss / noise + math.log(total))
    moved = (u - mean) / spread
    shrink = slope * slope / total
    after = Belief(
        x + of_x * moved,
        b + of_b * moved,
        xx - of_x * of_x * shrink,
        xb - of_x * of_b * shrink,
        bb - of_b * of_b * shrink,
    )
    return after, log_likelihood


def _expit(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(x, -_FARTHEST), _FARTHEST)))


def _logit(p: float) -> float:
    return math.log(p / (1.0 - p))
