"""e-SR: the detector behind every confirmed alarm, for many monitors at once.

A monitor maps a cell (score bin and label) to a value x in [0, 1]. Without change E[x | past] <= m_up and >= m_down.
Seven bets a direction multiply up L = prod(1 + bet (x - m)) over a step's events, and the Shiryaev-Roberts recursion
takes L in. A step costs one matrix-vector product for all monitors, directions and bets.

A season gives each hour its own m. An event's hour is known before its label, so with the bounds of that hour each
factor 1 + bet (x - m) still is at most 1 on average given the past, and so is their product over the hours of a step:
the promise holds as it does for a constant m.

Invariant: M and the change point are functions of the cells' counts per step and hour.
Source: METHODS, section 1; Shin, Ramdas & Rinaldo, arXiv 2203.03532.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.detect.shiryaev_roberts import ShiryaevRoberts

Floats = npt.NDArray[np.float64]

RATIOS: Final = np.array([1.1, 1.2, 1.35, 1.6, 2.0, 3.0, 5.0])
DIRECTIONS: Final = ("up", "down")
_CEILING: Final = 1.0 - 1e-9


def bets(up: Floats, down: Floats) -> Floats:
    """The bets of each mean: float64[..., 2, 7], upward first, from its bounds float64[...].

    The factor .95 keeps each 1 + bet (x - m) positive.

    >>> bets(np.array([0.05]), np.array([0.05])).shape
    (1, 2, 7)
    """
    up, down = np.minimum(up, _CEILING)[..., None], np.minimum(down, _CEILING)[..., None]
    upward = np.minimum((RATIOS - 1.0) / (1.0 - up), 0.95 / np.maximum(up, 1e-300))
    downward = np.maximum((1.0 / RATIOS - 1.0) / (1.0 - down), -0.95 / (1.0 - down))
    return np.stack([upward, downward], axis=-2)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A monitor that reached the alarm threshold in this step."""

    monitor: int
    direction: str
    log_statistic: float
    change_at: int


class Esr:
    """e-SR over a finite alphabet of cells.

    Args:
        values: float64[monitors, cells], each cell's value in [0, 1].
        up: float64[monitors], upper bounds of the means without change.
        down: float64[monitors], lower bounds.
        log_threshold: log of c, the least expected number of events to a false alarm.
        start: ms, the change point before anything was seen.
        tempering: float64[monitors], the power eta in (0, 1] of each L, for over-dispersed streams; None is 1.

    >>> esr = Esr(np.array([[0.0, 1.0]]), np.array([0.05]), np.array([0.05]), np.log(1e6), 0)
    >>> esr.step(np.array([470.0, 30.0]), 1), [c.direction for c in esr.step(np.array([300.0, 200.0]), 2)]
    ([], ['up'])
    """

    def __init__(
        self,
        values: Floats,
        up: Floats,
        down: Floats,
        log_threshold: float,
        start: int,
        tempering: Floats | None = None,
    ) -> None:
        self.values = values
        self.up = up
        self.down = down
        self.log_threshold = float(log_threshold)
        self.tempering = np.ones(up.size) if tempering is None else tempering
        self.recursion = ShiryaevRoberts((values.shape[0], 2, RATIOS.size), start)
        self._tabulate()

    def _tabulate(self) -> None:
        bet = bets(self.up, self.down)[..., None]
        mean = np.stack([self.up, self.down], axis=1)[:, :, None, None]
        table = np.log1p(bet * (self.values[:, None, None, :] - mean)) * self.tempering[:, None, None, None]
        self._table = np.ascontiguousarray(table.reshape(-1, self.values.shape[1]))

    @property
    def log_m(self) -> Floats:
        """float64[monitors, 2, 7]: log M of each bet."""
        return self.recursion.log_m

    @property
    def log_statistic(self) -> Floats:
        """float64[monitors, 2]: log of the mean of M over the bets; -inf before the first event."""
        return self.recursion.log_mean()

    def log_ratio(self, counts: Floats) -> Floats:
        """float64[monitors, 2, 7]: log L of float64[cells] events under the present bounds."""
        # Not BLAS: its order of addition may depend on threads, and outputs have to be the same byte for byte.
        product: Floats = np.einsum("rc,c->r", self._table, counts)
        return product.reshape(self.log_m.shape)

    def log_ratio_under(self, up: Floats, down: Floats, counts: npt.NDArray[np.int64]) -> Floats:
        """float64[monitors, 2, 7]: log L of events under bounds that differ: int64[parts, cells] of them by part.

        `up` and `down` are float64[parts, monitors]. Few cells of an hour are filled: only those are looked at.
        """
        part, cell = np.nonzero(counts)
        bet = bets(up, down)[part]
        mean = np.stack([up, down], axis=-1)[part]
        off = self.values[:, cell].T[:, :, None] - mean
        log_l = np.log1p(bet * off[..., None])
        summed: Floats = np.einsum("p,pmdk->mdk", counts[part, cell].astype(np.float64), log_l)
        return summed * self.tempering[:, None, None]

    def step(self, counts: Floats, end: int) -> list[Crossing]:
        """Take in one step.

        Args:
            counts: float64[cells], the step's events by cell.
            end: ms, the step's end.

        Returns:
            The monitors at or above the threshold, strongest first; none for an empty step.
        """
        return self.take(self.log_ratio(counts), float(counts.sum()), end)

    def take(self, log_l: Floats, events: float, end: int) -> list[Crossing]:
        """As `step`, for a step whose log L was added up from parts with bounds of their own."""
        if events == 0.0:
            return []
        self.recursion.step(log_l, events, end)
        statistic = self.log_statistic
        if statistic.max() < self.log_threshold:
            return []
        found = [self._crossing(int(m), int(d), statistic) for m, d in np.argwhere(statistic >= self.log_threshold)]
        return sorted(found, key=lambda c: (-c.log_statistic, c.monitor, c.direction))

    def _crossing(self, monitor: int, direction: int, statistic: Floats) -> Crossing:
        change_at = self.recursion.change_at((monitor, direction))
        return Crossing(monitor, DIRECTIONS[direction], float(statistic[monitor, direction]), change_at)

    def bound(self, up: Floats, down: Floats) -> None:
        """Put other bounds in force, as a season has them: M goes on."""
        if not (np.array_equal(up, self.up) and np.array_equal(down, self.down)):
            self.up, self.down = up.copy(), down.copy()
            self._tabulate()

    def relaid(self, values: Floats) -> None:
        """Give the monitors' values on other cells, where each monitor stays the same function: M goes on."""
        self.values = values
        self._tabulate()

    def restart(self, monitor: int, up: float, down: float, at: int) -> None:
        """Give one monitor new bounds and begin its M anew at `at` (ms); the others go on."""
        self.up[monitor] = up
        self.down[monitor] = down
        self.recursion.restart(monitor, at)
        self._tabulate()

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "cells": self.values.shape[1],
            "values": self.values.flatten(),
            "up": self.up.copy(),
            "down": self.down.copy(),
            "log_threshold": self.log_threshold,
            "tempering": self.tempering.copy(),
            **self.recursion.state(),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Esr:
        """The detector that `state` described; it continues bit for bit."""
        values = np.array(state["values"], dtype=np.float64).reshape(-1, int(state["cells"]))
        up, down = np.array(state["up"], dtype=np.float64), np.array(state["down"], dtype=np.float64)
        out = cls(values, up, down, state["log_threshold"], 0, np.array(state["tempering"], dtype=np.float64))
        out.recursion.resume(state)
        return out
