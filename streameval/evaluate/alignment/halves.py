"""Halves: the sums of one window, by half of the ids and by label.

The loss is read from one half and the KPI from the other, so that they share no label and no label noise: otherwise a
single surprising label moves both, and loss and KPI agree by construction.

Invariant: sums of a window; adding two windows' sums is the sum of both. Which half an id is in owes nothing to when or
where it arrived.

Source: METHODS, section 6 (class-standardised, split ids).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from streameval.evidence.bins import bin_of, threshold_bin

Floats = npt.NDArray[np.float64]

HALVES: Final = 2
"""Of the ids."""
_CELLS: Final = 2 * HALVES
_CLIP: Final = 1e-15
_LEAST: Final = 10
"""Examples of each label that each half must hold before it says anything."""


def _zeros() -> Floats:
    return np.zeros((HALVES, 2))


@dataclass(slots=True)
class Halves:
    """All arrays are float64[half, label].

    >>> h = Halves.of(np.array([0.2, 0.7]), np.array([0, 1]), np.array([2, 3], np.uint64), 0.5, {})
    >>> h.events.tolist(), h.flagged.tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]])
    """

    events: Floats = field(default_factory=_zeros)
    flagged: Floats = field(default_factory=_zeros)
    """Those at or above the threshold that was in force."""
    loss: Floats = field(default_factory=_zeros)
    """Sums of the log loss (nats)."""
    loss_sq: Floats = field(default_factory=_zeros)
    kpis: dict[str, Floats] = field(default_factory=dict)
    """KPI -> float64[3, half, label]: how many examples have it, its sum, its sum of squares."""

    @classmethod
    def of(
        cls,
        score: Floats,
        label: npt.NDArray[np.integer[Any]],
        id_hash: npt.NDArray[np.uint64],
        threshold: float,
        kpis: Mapping[str, Floats],
    ) -> Halves:
        """The sums of labelled examples: score[n] in [0, 1], label[n] in {0, 1}, KPIs[n] (nan: none)."""
        cell = ((id_hash & np.uint64(1)).astype(np.int64) << 1) | (label == 1)
        probability = np.where(label == 1, score, 1.0 - score)
        loss = -np.log(np.clip(probability, _CLIP, 1.0))
        flagged = (bin_of(score) >= threshold_bin(threshold)).astype(np.float64)
        out = cls(_sum(cell), _sum(cell, flagged), _sum(cell, loss), _sum(cell, loss * loss))
        for name, values in kpis.items():
            has = ~np.isnan(values)
            mine, known = cell[has], values[has]
            out.kpis[name] = np.stack([_sum(mine), _sum(mine, known), _sum(mine, known * known)])
        return out

    def __iadd__(self, other: Halves) -> Self:
        self.events = self.events + other.events
        self.flagged = self.flagged + other.flagged
        self.loss = self.loss + other.loss
        self.loss_sq = self.loss_sq + other.loss_sq
        for name, sums in other.kpis.items():
            self.kpis[name] = self.kpis[name] + sums if name in self.kpis else sums
        return self

    @property
    def enough(self) -> bool:
        """Whether each half holds enough examples of each label."""
        return bool((self.events >= _LEAST).all())

    @property
    def prevalence(self) -> float:
        """The share of positives; of no example, nan."""
        return float(self.events[:, 1].sum() / self.events.sum())

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "sums": np.stack([self.events, self.flagged, self.loss, self.loss_sq]).ravel(),
            "kpis": {name: sums.ravel() for name, sums in self.kpis.items()},
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Halves:
        """The inverse of `state`."""
        sums = np.asarray(state["sums"], dtype=np.float64).reshape(4, HALVES, 2)
        kpis = {name: np.asarray(x, dtype=np.float64).reshape(3, HALVES, 2) for name, x in state["kpis"].items()}
        return cls(sums[0], sums[1], sums[2], sums[3], kpis)


def _sum(cell: npt.NDArray[np.int64], weights: Floats | None = None) -> Floats:
    return np.bincount(cell, weights=weights, minlength=_CELLS).astype(np.float64).reshape(HALVES, 2)
