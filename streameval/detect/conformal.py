"""Conformal SR: the guard while a reference is learnt and nothing is known yet of what is normal.

It asks only whether the events are exchangeable, so it needs no mean and no bound. Each event gets a rank among all
events so far, p_t = (#{a_i > a_t} + u_t #{a_i = a_t}) / t, where a is a function of score and label and u_t comes from
a hash of the id. Without change the p_t are independent and uniform on (0, 1). So `p_t <= q` is a coin of known mean q,
and the bets are those of e-SR with m = q: for several q that are fixed beforehand, because a q chosen from the data
would not be independent of the ranks to come. M is averaged over q and bets.

Three functions of the identity map are ranked: the label y; the residual y - s; the residual weighted by +1 where s is
above a limit, else -1. They are ranked by band of score, which is why nothing of the model need be known.

A guard that has spoken forgets all ranks: exchangeable with what comes next is only what comes next.

Invariant: a function of the set of examples of each step, not of their order.
Source: METHODS, section 1, "Short reference"; Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World; Vovk
2021 (arXiv 2006.02329, conformal test martingales).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.detect.bands import BAND_OF, BANDS, MIDDLE
from streameval.detect.esr import DIRECTIONS, RATIOS, Crossing, bets
from streameval.detect.examples import Examples
from streameval.detect.shiryaev_roberts import ShiryaevRoberts

Floats = npt.NDArray[np.float64]

FUNCTIONS: Final = ("label", "residual", "weighted_residual")
SHARES: Final = 0.5 * 3.0 ** -np.arange(6.0, -1.0, -1.0)
"""float64[7]: the shares q, ascending from .0007 to .5."""

_CELLS: Final = 2 * BANDS


def _tables() -> tuple[Floats, Floats]:
    bet = bets(SHARES, SHARES)
    share = SHARES[:, None, None]
    return np.log1p(-bet * share), np.log1p(bet * (1.0 - share))


_MISS, _HIT = _tables()


def ranked(sign_weight_above: float) -> npt.NDArray[np.int64]:
    """int64[3, cells]: the rank of each cell (label and band) by each function; cells of one value share a rank.

    >>> label, residual, _ = ranked(0.2)
    >>> (int(label.max()), int(residual[0]) > int(residual[BANDS - 1]))
    (1, True)
    """
    y = np.repeat([0.0, 1.0], BANDS)
    s = np.tile(MIDDLE, 2)
    sign = np.where(s > sign_weight_above, 1.0, -1.0)
    return np.stack([np.unique(value, return_inverse=True)[1] for value in (y, y - s, sign * (y - s))])


class Conformal:
    """Conformal SR over the three functions.

    Args:
        start: ms, the change point before anything was seen.
        sign_weight_above: the score from which the weighted residual changes its sign.

    >>> guard = Conformal(0, 0.2)
    >>> ids = np.arange(500, dtype=np.uint64)
    >>> def step(label, k):
    ...     return Examples(np.full(500, k), ids + np.uint64(500 * k), np.full(500, 2000, np.int16), label)
    >>> for k in range(10):
    ...     guard.step(step((ids % np.uint64(20) == 0).astype(np.int8), k), k)
    >>> guard.crossings(16.0)
    []
    >>> guard.step(step((ids % np.uint64(4) == 0).astype(np.int8), 10), 11)
    >>> [(FUNCTIONS[c.monitor], c.direction, c.change_at) for c in guard.crossings(16.0)][0]
    ('label', 'up', 9)
    """

    def __init__(self, start: int, sign_weight_above: float) -> None:
        self.sign_weight_above = sign_weight_above
        self.counts = np.zeros(_CELLS, dtype=np.int64)
        """int64[cells]: all events so far by label and band."""
        self.recursion = ShiryaevRoberts((len(FUNCTIONS), len(DIRECTIONS), SHARES.size * RATIOS.size), start)
        rank = ranked(sign_weight_above)
        self._falling = np.argsort(-rank, axis=1, kind="stable")
        """intp[3, cells]: the cells, those of the highest rank first."""
        self._above = (rank[:, None, :] > rank[:, :, None]).sum(axis=2)
        """intp[3, cells]: how many cells rank above each."""
        self._level = self._above + (rank[:, None, :] == rank[:, :, None]).sum(axis=2)

    @property
    def events(self) -> int:
        """How many events have a rank."""
        return int(self.counts.sum())

    def ranks(self, examples: Examples) -> Floats:
        """float64[3, n]: p of each example by each function, in their order; the counts go on."""
        cell = BAND_OF[examples.bins] + BANDS * examples.label.astype(np.int64)
        n = len(examples)
        at = np.arange(1, n + 1)
        # Half as wide is half the time, and a guard seldom sees two thousand million events.
        dtype = np.int32 if self.events + n < np.iinfo(np.int32).max else np.int64
        so_far = np.zeros((_CELLS, n + 1), dtype=dtype)
        so_far[:, 0] = self.counts
        so_far[cell, at] = 1
        np.cumsum(so_far, axis=1, out=so_far)
        uniform, of = examples.uniform(), at + self.events
        self.counts = so_far[:, n].astype(np.int64)
        p = np.empty((len(FUNCTIONS), n))
        higher = np.zeros((_CELLS + 1, n + 1), dtype=dtype)
        for function, order in enumerate(self._falling.tolist()):
            for place, ranking in enumerate(order):
                np.add(higher[place], so_far[ranking], out=higher[place + 1])
            above = higher[self._above[function, cell], at]
            equal = higher[self._level[function, cell], at] - above
            p[function] = (above + uniform * equal) / of
        return p

    def step(self, examples: Examples, end: int) -> None:
        """Take in the ordered examples of one step, which ends at `end` (ms)."""
        n = len(examples)
        if n == 0:
            return
        p = self.ranks(examples)
        place = np.searchsorted(SHARES, p) + (SHARES.size + 1) * np.arange(len(FUNCTIONS))[:, None]
        found = np.bincount(place.ravel(), minlength=len(FUNCTIONS) * (SHARES.size + 1))
        hits = np.cumsum(found.reshape(len(FUNCTIONS), -1), axis=1)[:, : SHARES.size, None, None]
        log_l = hits * _HIT + (n - hits) * _MISS
        self.recursion.step(log_l.swapaxes(1, 2).reshape(self.recursion.log_m.shape), float(n), end)

    @property
    def log_statistic(self) -> Floats:
        """float64[3, 2]: log of the mean of M over shares and bets; -inf before the first event."""
        return self.recursion.log_mean()

    def crossings(self, log_threshold: float) -> list[Crossing]:
        """The functions at or above a threshold, strongest first."""
        statistic = self.log_statistic
        found = [
            Crossing(int(f), DIRECTIONS[d], float(statistic[f, d]), self.recursion.change_at((int(f), int(d))))
            for f, d in np.argwhere(statistic >= log_threshold)
        ]
        return sorted(found, key=lambda c: (-c.log_statistic, c.monitor, c.direction))

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"sign_weight_above": self.sign_weight_above, "counts": self.counts.copy(), **self.recursion.state()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Conformal:
        """The guard that `state` described; it continues bit for bit."""
        out = cls(0, float(state["sign_weight_above"]))
        out.counts = np.array(state["counts"], dtype=np.int64)
        out.recursion.resume(state)
        return out
