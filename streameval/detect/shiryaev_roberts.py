"""The Shiryaev-Roberts recursion that both confirmed detectors share: M <- L (M + n), and where the change began.

L is a product over a step's n events, each factor at most 1 on average given the past. Then M - sum(n) is a
supermartingale, so the expected number of events to mean(M) >= c is at least c: whatever the steps are, provided that
their sizes are known before their labels. The change is where the sum of log L of the strongest bet was lowest.

Invariant: M and the change point are functions of log L and n per step; logarithms are kept, so nothing overflows.
Source: METHODS, section 1; Shin, Ramdas & Rinaldo, arXiv 2203.03532.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class ShiryaevRoberts:
    """M of many bets side by side; the last axis is averaged.

    >>> sr = ShiryaevRoberts((1, 2), 0)
    >>> sr.step(np.log([[1.0, 3.0]]), 5, 1)
    >>> np.exp(sr.log_mean()).round(6).tolist()
    [10.0]
    """

    __slots__ = ("_log_mean", "log_m", "minimum_at", "rise")

    def __init__(self, shape: tuple[int, ...], start: int) -> None:
        self.log_m = np.full(shape, -np.inf)
        self.rise = np.zeros(shape)
        """The sum of log L less its minimum so far."""
        self.minimum_at = np.full(shape, start, dtype=np.int64)
        """ms: the end of the step in which that sum was lowest."""
        self._log_mean: Floats | None = None

    def step(self, log_l: Floats, events: float, end: int) -> None:
        """Take in one step's log L, of the shape of M, its events, and its end in ms."""
        self.log_m = log_l + np.logaddexp(self.log_m, np.log(events))
        # A minimum is where the rise returns to zero; so it never grows without need.
        self.rise += log_l
        fallen = self.rise <= 0.0
        self.rise[fallen] = 0.0
        self.minimum_at[fallen] = end
        self._log_mean = None

    def log_mean(self) -> Floats:
        """Log of the mean of M over the last axis; -inf before the first event. The same array until M changes."""
        if self._log_mean is None:
            self._log_mean = self._mean()
        return self._log_mean

    def _mean(self) -> Floats:
        top = self.log_m.max(axis=-1)
        if top.flat[0] == -np.inf:
            return np.asarray(top)
        summed = np.exp(self.log_m - top[..., None]).sum(axis=-1)
        out: Floats = top + np.log(summed) - np.log(self.log_m.shape[-1])
        return out

    def change_at(self, place: tuple[int, ...]) -> int:
        """ms: the change as the bet with the largest M at a place of the other axes sees it."""
        return int(self.minimum_at[place][np.argmax(self.log_m[place])])

    def restart(self, place: Any, at: int) -> None:
        """Begin anew at `at` (ms) at a place."""
        self.log_m[place] = -np.inf
        self.rise[place] = 0.0
        self.minimum_at[place] = at
        self._log_mean = None

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "log_m": self.log_m.flatten(),
            "rise": self.rise.flatten(),
            "minimum_at": self.minimum_at.flatten(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from `state`, of the same shape."""
        shape = self.log_m.shape
        self.log_m = np.array(state["log_m"], dtype=np.float64).reshape(shape)
        self.rise = np.array(state["rise"], dtype=np.float64).reshape(shape)
        self.minimum_at = np.array(state["minimum_at"], dtype=np.int64).reshape(shape)
        self._log_mean = None
