"""Season: means that follow the hour of the day and of the week, with their bounds.

A plug-in mean for each hour of the week has 168 parameters and alarms on its own noise (2.24 false alarms per 100,000
events). Two harmonics of the day have four, and one of the week, once three whole weeks were seen, two more. They are
fitted by Poisson regression of the hourly sums of a monitor on its hourly events, and only where two whole days were
seen; the bounds of an hour are 3.09 standard errors of its fitted log mean away. A monitor whose harmonics are not
significant keeps its constant mean: needless harmonics only widen bounds.

The standard errors are those of quasi-likelihood: the variance of an hourly sum is its mean times a dispersion, the
larger of what its values' own variance asks for and of what the hours show (Pearson). Hours from before the reference
(those of an earlier regime) help to find the season, with a level of their own.

Invariant: a function of the hours and of the monitors' values by band; fixed when learning ends.
Source: METHODS, section 1, "Season"; McCullagh & Nelder 1989, chapters 6 and 9 (Poisson regression, quasi-likelihood).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri

from streameval.detect.examples import HOUR
from streameval.detect.hours import Hours

Floats = npt.NDArray[np.float64]
Known = Literal["unknown", "none", "day", "week"]
"""Not two whole days seen; nothing significant seen; harmonics of the day; and one of the week as well."""

DAY: Final = 24
WEEK: Final = 7 * DAY
_DAYS: Final = 2
_WEEKS: Final = 3
_PHASES: Final = 12
_SIGNIFICANT: Final = 0.001
_NORMAL: Final = 3.09
_ITERATIONS: Final = 25


def waves(hour: npt.NDArray[np.int64]) -> Floats:
    """float64[n, 7]: constant, two harmonics of the day, one of the week, in the middle of each hour (UTC).

    >>> waves(np.array([5, 5 + WEEK])).round(3).tolist()[1] == waves(np.array([5])).round(3).tolist()[0]
    True
    """
    day, week = (2.0 * np.pi * ((hour % period) + 0.5) / period for period in (DAY, WEEK))
    angles = [f(k * day) for k in (1, 2) for f in (np.cos, np.sin)]
    return np.stack([np.ones(hour.size), *angles, np.cos(week), np.sin(week)], axis=1)


def poisson(x: Floats, sums: Floats, events: Floats) -> tuple[Floats, Floats, float] | None:
    """Poisson regression of sums on events: log E[sum] = log(events) + x @ beta.

    Args:
        x: float64[n, k], of full rank; its first column is 1.
        sums: float64[n], not all zero.
        events: float64[n], positive.

    Returns:
        beta float64[k], the inverse of its information float64[k, k], and Pearson's dispersion; None where the data do
        not determine them.
    """
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(sums.sum() / events.sum())
    for _ in range(_ITERATIONS):
        expected = events * np.exp(np.clip(x @ beta, -700.0, 0.0))
        information = np.einsum("hi,h,hj->ij", x, expected, x)
        if np.linalg.cond(information) > 1e10:
            return None
        move = np.linalg.solve(information, np.einsum("hi,h->i", x, sums - expected))
        beta = beta + np.clip(move, -1.0, 1.0)
        if np.abs(move).max() < 1e-10:
            dispersion = float(((sums - expected) ** 2 / expected).sum()) / max(x.shape[0] - x.shape[1], 1)
            return beta, np.linalg.inv(information), dispersion
    return None


@dataclass(frozen=True, slots=True)
class Wave:
    """One monitor's season: log mean = waves @ `beta`, with the covariance of beta for a dispersion of 1."""

    beta: Floats
    covariance: Floats
    dispersion: float


@dataclass(frozen=True, slots=True)
class Season:
    """The waves of the monitors that have one; `known` says how much was seen.

    >>> Season("unknown", {}).at(0)
    {}
    """

    known: Known
    waves: dict[int, Wave]

    def at(self, hour: int) -> dict[int, tuple[float, float]]:
        """The mean of an hour and the standard error of its logarithm, by the place of the monitor."""
        x = waves(np.array([hour]))[0]
        found = {}
        for monitor, wave in self.waves.items():
            part = x[: wave.beta.size]
            variance = float(np.einsum("i,ij,j->", part, wave.covariance, part)) * wave.dispersion
            found[monitor] = (float(np.exp(min((part * wave.beta).sum(), 0.0))), float(np.sqrt(variance)))
        return found

    def bounds(self, hour: int) -> dict[int, tuple[float, float]]:
        """`(high, low)` of an hour's mean, 99.9 % a side, by the place of the monitor."""
        return {
            monitor: (min(mean * float(np.exp(_NORMAL * error)), 1.0), mean * float(np.exp(-_NORMAL * error)))
            for monitor, (mean, error) in self.at(hour).items()
        }

    def widened(self, least: Floats) -> Season:
        """The same means with bounds for a dispersion of at least float64[monitors]."""
        wider = {
            monitor: Wave(wave.beta, wave.covariance, max(wave.dispersion, float(least[monitor])))
            for monitor, wave in self.waves.items()
        }
        return Season(self.known, wider)

    def mean(self, start: int, end: int, constant: Floats) -> Floats:
        """float64[monitors]: the means over a time [start, end) in ms, `constant` where a monitor has no season."""
        out = constant.copy()
        if self.waves:
            spanned = waves(np.arange(start // HOUR, max(-(-end // HOUR), start // HOUR + 1)))
            for monitor, wave in self.waves.items():
                log_mean = (spanned[:, : wave.beta.size] * wave.beta).sum(axis=1)
                out[monitor] = float(np.exp(np.minimum(log_mean, 0.0)).mean())
        return out


def season_of(hours: Hours, values: Floats, since: int, own: Floats) -> Season:
    """Fit the season of each monitor.

    Args:
        hours: what was seen, up to the end of the reference.
        values: float64[monitors, cells], each monitor's value by label and band.
        since: ms, the beginning of the reference; earlier hours have a level of their own.
        own: float64[monitors], the variance of a single event's value by its mean: the least dispersion.
    """
    seen = hours.counts.any(axis=1)
    hour, counts = hours.hour[seen], hours.counts[seen].astype(np.float64)
    spanned = int(hour[-1] - hour[0]) + 1 if hour.size else 0
    if spanned < _DAYS * DAY or np.unique(hour % DAY).size < _PHASES:
        return Season("unknown", {})
    x, events = waves(hour), counts.sum(axis=1)
    earlier = hour * HOUR < since - since % HOUR
    level = earlier.astype(np.float64)[:, None] if 0 < earlier.sum() < hour.size else np.empty((hour.size, 0))
    found: dict[int, Wave] = {}
    for monitor, by_cell in enumerate(values):
        sums = np.einsum("hc,c->h", counts, by_cell)
        if sums.sum() <= 0.0:
            continue
        wave = _wave(x[:, :5], level, sums, events, float(own[monitor]), 4)
        if wave is not None and spanned >= _WEEKS * WEEK:
            wave = _wave(x, level, sums, events, float(own[monitor]), 2) or wave
        if wave is not None:
            found[monitor] = wave
    if not found:
        return Season("none", {})
    return Season("week" if any(wave.beta.size > 5 for wave in found.values()) else "day", found)


def _wave(x: Floats, level: Floats, sums: Floats, events: Floats, own: float, tested: int) -> Wave | None:
    """The wave whose last `tested` coefficients are significant; None where they are not."""
    k = x.shape[1]
    fit = poisson(np.concatenate([x, level], axis=1), sums, events)
    if fit is None:
        return None
    beta, covariance, pearson = fit
    dispersion = max(pearson, own)
    last = slice(k - tested, k)
    moved = np.linalg.solve(covariance[last, last], beta[last])
    if float((moved * beta[last]).sum()) / dispersion < float(chdtri(tested, _SIGNIFICANT)):
        return None
    return Wave(beta[:k], covariance[:k, :k], dispersion)
