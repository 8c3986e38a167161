"""Agreement: over pairs of windows, whether a gain in loss came with a gain in the KPI.

A pair says by how much the loss fell (its *gain*, from one half of the ids) and by how much the KPI got better (from
the other). It is *decided* where the KPI moved by more than 1.64 standard errors, and *disagrees* where the signs
differ.

Invariant: counts are of all pairs ever; the other statistics read the latest 256, tau the latest 128. A function of the
pairs in order: the bootstrap is seeded by them.

Source: METHODS, section 6. Kendall's tau-b with the moving-block bootstrap of Kuensch (1989); the correlation is
corrected for sampling noise as in Spearman (1904).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit
from scipy.stats import linregress
from scipy.stats import t as student

from streameval.evaluate.alignment.halves import Floats
from streameval.evaluate.alignment.rate import anytime_rate
from streameval.evaluate.alignment.standardised import Level
from streameval.evaluate.estimate import TAIL, Estimate, Z
from streameval.evaluate.seed import seed_of

DECIDED: Final = 1.64
"""Standard errors that the KPI must have moved by."""
KEPT: Final = 256
_REPLICATES: Final = 200
_RANKED: Final = 128
_LEAST: Final = 5
_LEAST_IN_THIRD: Final = 30


class Pair(NamedTuple):
    """What happened between two windows, or between two versions; errors are standard errors.

    `loss` is the fall of the loss, `kpi` the KPI's change for the better. `regret` is the KPI that the choice by loss
    gave away in the window after it, where there was a choice.
    """

    loss: Level
    kpi: Level
    regret: float | None = None

    @property
    def decided(self) -> bool:
        """Whether the KPI moved beyond doubt."""
        return abs(self.kpi.value) > DECIDED * self.kpi.error


class Summary(NamedTuple):
    """What the pairs say."""

    pairs: int
    disagreement: Estimate | None
    undecided: float
    tau: Estimate | None
    correlation: float | None
    regret: float | None
    goodhart: bool | None


class Agreement:
    """The pairs of one loss and one KPI.

    >>> a = Agreement()
    >>> for k in range(20):
    ...     a.add(Pair(Level(0.01, 0.001), Level(1.0, 0.1)))
    >>> s = a.summary()
    >>> s.pairs, s.disagreement.value, s.undecided
    (20, 0.0, 0.0)
    """

    def __init__(self) -> None:
        self.pairs = 0
        self.decided = 0
        self.disagreed = 0
        self.regret_sum = 0.0
        self.regrets = 0
        self._latest: list[tuple[float, float, float, float]] = []

    def add(self, pair: Pair) -> None:
        """Count a pair."""
        self.pairs += 1
        if pair.decided:
            self.decided += 1
            self.disagreed += (pair.loss.value > 0.0) != (pair.kpi.value > 0.0)
        if pair.regret is not None:
            self.regret_sum += pair.regret
            self.regrets += 1
        self._latest.append((*pair.loss, *pair.kpi))
        del self._latest[:-KEPT]

    @property
    def latest(self) -> list[Pair]:
        """The latest pairs, oldest first."""
        return [Pair(Level(a, b), Level(c, d)) for a, b, c, d in self._latest]

    def summary(self) -> Summary:
        """All statistics; those that too few pairs cannot carry are None."""
        loss, loss_error, kpi, kpi_error = np.array(self._latest, dtype=np.float64).reshape(-1, 4).T
        enough = len(loss) >= _LEAST
        return Summary(
            self.pairs,
            anytime_rate(self.disagreed, self.decided - self.disagreed),
            1.0 - self.decided / self.pairs if self.pairs else 1.0,
            _tau(loss[-_RANKED:], kpi[-_RANKED:]) if enough else None,
            _correlation(loss, loss_error, kpi, kpi_error) if enough else None,
            self.regret_sum / self.regrets if self.regrets else None,
            _goodhart(loss, kpi),
        )

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "pairs": self.pairs,
            "decided": self.decided,
            "disagreed": self.disagreed,
            "regret_sum": self.regret_sum,
            "regrets": self.regrets,
            "latest": np.array(self._latest, dtype=np.float64).ravel(),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Agreement:
        """The inverse of `state`."""
        out = cls()
        out.pairs, out.decided, out.disagreed = state["pairs"], state["decided"], state["disagreed"]
        out.regret_sum, out.regrets = state["regret_sum"], state["regrets"]
        rows = np.asarray(state["latest"], dtype=np.float64).reshape(-1, 4).tolist()
        out._latest = [(a, b, c, d) for a, b, c, d in rows]
        return out


def _tau(x: Floats, y: Floats) -> Estimate | None:
    """Kendall's tau-b; a resample is a weight for each pair, so all of them are two products of matrices."""
    m = len(x)
    # Small whole numbers: single precision is exact, and twice as quick.
    sx, sy = (np.sign(z[:, None] - z).astype(np.float32) for z in (x, y))
    agree, in_x, in_y = sx * sy, np.abs(sx), np.abs(sy)

    def tau_b(weights: npt.NDArray[np.float32]) -> Floats:
        both, of_x, of_y = (((weights @ matrix) * weights).sum(axis=1) for matrix in (agree, in_x, in_y))
        untied = np.sqrt(of_x.astype(np.float64) * of_y)
        ratio: Floats = np.divide(both, untied, out=np.zeros_like(untied), where=untied > 0.0)
        return ratio

    value = float(tau_b(np.ones((1, m), np.float32))[0])
    if not in_x.any() or not in_y.any():
        return None
    block = max(1, round(m ** (1.0 / 3.0)))
    rng = np.random.Generator(np.random.SFC64(seed_of(x, y)))
    starts = rng.integers(0, m - block + 1, (_REPLICATES, -(-m // block)))
    chosen = (starts[:, :, None] + np.arange(block)).reshape(_REPLICATES, -1)[:, :m]
    weights = np.zeros((_REPLICATES, m), np.float32)
    np.add.at(weights, (np.arange(_REPLICATES)[:, None], chosen), 1.0)
    low, high = np.quantile(tau_b(weights), (TAIL, 1.0 - TAIL)).tolist()
    # What a few blocks show of their own spread is itself uncertain: Student's quantile for the normal one.
    wider = float(stdtrit(max(m / block - 1.0, 1.0), 1.0 - TAIL)) / Z
    low, high = value - wider * max(value - low, 0.0), value + wider * max(high - value, 0.0)
    return Estimate(value, max(-1.0, low), min(1.0, high))


def _correlation(x: Floats, x_error: Floats, y: Floats, y_error: Floats) -> float | None:
    # Loss and KPI come from different ids: their sampling errors are independent.
    true_x = float(np.var(x, ddof=1) - np.mean(x_error**2))
    true_y = float(np.var(y, ddof=1) - np.mean(y_error**2))
    if true_x <= 0.0 or true_y <= 0.0:
        return None
    return min(1.0, max(-1.0, float(np.cov(x, y)[0, 1]) / sqrt(true_x * true_y)))


def _goodhart(loss: Floats, kpi: Floats) -> bool | None:
    """Whether the KPI falls as the loss gains more, where it gains most; None of too few pairs."""
    third = len(loss) // 3
    if third < _LEAST_IN_THIRD:
        return None
    top = np.argsort(loss, kind="stable")[-third:]
    if np.ptp(loss[top]) == 0.0:
        return None
    fit = linregress(loss[top], kpi[top])
    return bool(fit.slope + student.ppf(1.0 - TAIL, third - 2) * fit.stderr < 0.0)
