"""A world in closed form: how scores and labels come about, so that what is true can be said and not only guessed.

A latent z is normal within each class, N(+d/2, 1) for positives and N(-d/2, 1) for negatives, so that the log-odds of
a positive are linear in it: logit P(y | z) = d z + logit π. The model has learnt just that, with the separation d₀ and
the prevalence π₀ of its training, and says s = expit(α (d₀ z + logit π₀) + β). From there every change is one number:

- label shift: π. P(s | y) stays.
- concept drift: d. The score orders events worse than it did.
- miscalibration: α, β. The order stays, the number no longer means what it says.
- covariate shift: a share ρ of the events has z from N(m, σ²), with P(y | z) as it was.

Invariant: `scores`, `posterior`, `best_threshold` and `cost` describe one and the same distribution, the one that
`draw` draws from. AUC of the model without covariate shift is Φ(d/√2): .921 at d = 2.

Source: the binormal model (Green and Swets, 1966); METHODS, sections 3 (cost threshold) and 5 (kinds of change).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, logit, ndtr

__all__ = ["World"]

_GRID = np.linspace(-9.0, 9.0, 6001)
_DECIMALS = 9


@dataclass(frozen=True)
class World:
    """One state of nature, and of the model that looks at it.

    Attributes:
        prevalence, separation: π and d.
        trained_prevalence, trained_separation: π₀ and d₀, what the model has learnt.
        slope, offset: α and β, what happens to its score on the logit.
        odd, odd_mean, odd_spread: ρ, m and σ, the events that come from elsewhere.

    >>> World().best_threshold(1, 10), World(prevalence=0.15).best_threshold(1, 10)
    (0.090909..., 0.028960...)
    """

    prevalence: float = 0.05
    separation: float = 2.0
    trained_prevalence: float = 0.05
    trained_separation: float = 2.0
    slope: float = 1.0
    offset: float = 0.0
    odd: float = 0.0
    odd_mean: float = 0.0
    odd_spread: float = 1.0

    def draw(
        self, rng: np.random.Generator, n: int, prevalence: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores f64[n] and labels bool[n] of n events; ``prevalence`` f64[n] stands for π where it varies."""
        chance, latent, elsewhere, where = rng.random(n), rng.standard_normal(n), rng.random(n), rng.standard_normal(n)
        pi = self.prevalence if prevalence is None else prevalence
        positive = chance < pi
        z = latent + np.where(positive, 0.5, -0.5) * self.separation
        if self.odd > 0.0:
            odd = elsewhere < self.odd
            z = np.where(odd, self.odd_mean + self.odd_spread * where, z)
            positive = np.where(odd, chance < expit(self.separation * z + logit(pi)), positive)
        return self.score(z), positive

    def score(self, z: np.ndarray) -> np.ndarray:
        """What the model says of each z: in (0, 1), with nine decimals, as a service would send it."""
        said = expit(self.slope * (self.trained_separation * z + logit(self.trained_prevalence)) + self.offset)
        rounded: np.ndarray = np.round(said, _DECIMALS)
        return rounded

    def posterior(self, score: np.ndarray) -> np.ndarray:
        """P(positive | score): what a perfect calibration map would say."""
        learnt = (logit(score) - self.offset) / self.slope
        z = (learnt - logit(self.trained_prevalence)) / self.trained_separation
        truth: np.ndarray = expit(self.separation * z + logit(self.prevalence))
        return truth

    def best_threshold(self, fp: float, fn: float) -> float:
        """The score from which on a positive decision costs less (Elkan 2001): P(y | s) = fp / (fp + fn) there."""
        wanted = logit(fp / (fp + fn))
        z = (wanted - logit(self.prevalence)) / self.separation
        learnt = self.trained_separation * z + logit(self.trained_prevalence)
        return float(expit(self.slope * learnt + self.offset))

    @cached_property
    def _masses(self) -> tuple[np.ndarray, np.ndarray]:
        """(P(y = 1, z), P(y = 0, z)) on the grid, summing to 1 together."""
        d, pi = self.separation, self.prevalence
        one = pi * np.exp(-0.5 * (_GRID - d / 2) ** 2)
        zero = (1.0 - pi) * np.exp(-0.5 * (_GRID + d / 2) ** 2)
        density = (1.0 - self.odd) * (one + zero) / np.sqrt(2.0 * np.pi)
        strange = np.exp(-0.5 * ((_GRID - self.odd_mean) / self.odd_spread) ** 2) / self.odd_spread
        density = density + self.odd * strange / np.sqrt(2.0 * np.pi)
        density = density / density.sum()
        p = expit(d * _GRID + logit(pi))
        return density * p, density * (1.0 - p)

    @property
    def positives(self) -> float:
        """The share of positives among all events."""
        return float(self._masses[0].sum())

    @property
    def auc(self) -> float:
        """P(a positive scores above a negative).

        >>> round(World().auc, 3)
        0.921
        """
        if self.odd == 0.0:
            return float(ndtr(self.separation / np.sqrt(2.0)))
        one, zero = (mass / mass.sum() for mass in self._masses)
        return float((one * (np.cumsum(zero) - 0.5 * zero)).sum())

    def cost(self, threshold: float, fp: float, fn: float) -> float:
        """Expected cost per event of deciding positive from a threshold on.

        >>> world = World()
        >>> world.cost(0.5, 1, 10) > world.cost(world.best_threshold(1, 10), 1, 10)
        True
        """
        one, zero = self._masses
        positive = self.score(_GRID) >= threshold
        return float(fp * zero[positive].sum() + fn * one[~positive].sum())
