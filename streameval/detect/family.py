"""The family of monitors of a binary model, on merged score bins of the reference.

Four functions of (score, label), each in [0, 1]:

==================  =======================  ========================================================================
label               y                        prevalence
residual            (y - p + 1) / 2          calibration in the large
weighted_residual   (1 + g(p)(y - p)) / 2    g = +1 where p is above a limit, else -1: a ranking that lost its grip
cost                FP, FN at the threshold  what a person pays, scaled by the dearer of the two
==================  =======================  ========================================================================

p is the reference's own map from score to probability, frozen at its end, so that a champion's progress is no drift. A
plain residual alone sees concept drift in 4 of 30 streams, cost and weighted residual in 30.

Invariant: cells are merged bins times label; the threshold in force is always an edge, so the cost is exact. Splitting
a merged bin at a new threshold leaves the other monitors the same functions.
Source: METHODS, section 1, "Family of a binary model".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from streameval.detect.bands import BAND_OF, BANDS, MIDDLE
from streameval.detect.bounds import betting, clopper_pearson
from streameval.detect.label_counts import Histogram
from streameval.evidence.bins import BINS, bin_of, threshold_bin
from streameval.order import distinct, union

Floats = npt.NDArray[np.float64]

MONITORS: Final = ("label", "residual", "weighted_residual", "cost")
LABEL, RESIDUAL, WEIGHTED_RESIDUAL, COST = range(4)

_HALF: Final = 30  # edges by quantiles of all, and again by those of the positives: 62 bins and one for the threshold
_TOLERANCE: Final = 0.05
_NORMAL: Final = 3.09  # 99.9 %, one side


@dataclass(slots=True)
class Family:
    """The monitors' cells and values.

    `base` is int64[b + 1], the merged bins' edges as bin numbers; `p` float64[b], their frozen probabilities; `costs`
    the price of a false positive and of a false negative; `threshold` the bin from which scores are positive.
    """

    base: npt.NDArray[np.int64]
    p: Floats
    costs: tuple[float, float]
    sign_weight_above: float
    threshold: int

    edges: npt.NDArray[np.int64] = field(init=False)
    """int64[cells / 2 + 1]: `base` with the threshold in it."""
    values: Floats = field(init=False)
    """float64[4, cells]: each monitor's value of a cell."""
    _cell: npt.NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        self._lay()

    def _lay(self) -> None:
        self.edges = union(self.base, np.array([self.threshold]))
        parent = np.searchsorted(self.base, self.edges[:-1], side="right") - 1
        p = self.p[parent]
        flagged = (self.edges[:-1] >= self.threshold).astype(np.float64)
        fp, fn = self.costs
        scale = max(fp, fn)
        sign = np.where(p > self.sign_weight_above, 1.0, -1.0)
        one, zero = np.ones_like(p), np.zeros_like(p)
        negative = [zero, (1.0 - p) / 2.0, (1.0 - sign * p) / 2.0, flagged * fp / scale]
        positive = [one, (2.0 - p) / 2.0, (1.0 + sign * (1.0 - p)) / 2.0, (1.0 - flagged) * fn / scale]
        self.values = np.concatenate([np.array(negative), np.array(positive)], axis=1)
        self._cell = np.repeat(np.arange(p.size), np.diff(self.edges))

    def move(self, threshold: float) -> bool:
        """Put another threshold in force; whether it differs, as bins go."""
        start = threshold_bin(threshold)
        if start == self.threshold:
            return False
        self.threshold = start
        self._lay()
        return True

    def cells_of(
        self, bins: npt.NDArray[np.int16], label: npt.NDArray[np.int8], part: npt.NDArray[np.intp], parts: int
    ) -> npt.NDArray[np.int64]:
        """int64[parts, 2 * merged bins]: examples by part and cell, label 0 first; all are [n]."""
        size = self.edges.size - 1
        cell = self._cell[bins] + size * label.astype(np.intp)
        return np.bincount(part * (2 * size) + cell, minlength=parts * 2 * size).reshape(parts, 2 * size)

    def cells(self, evidence: Histogram) -> Floats:
        """float64[2 * merged bins]: the evidence's events by cell, label 0 first."""
        cell = self._cell[evidence.bins]
        size = self.edges.size - 1
        negative = np.bincount(cell, weights=evidence.counts[0], minlength=size)
        return np.concatenate([negative, np.bincount(cell, weights=evidence.counts[1], minlength=size)])

    def bounds(self, monitor: int, cells: Floats, phi: Floats | None) -> tuple[float, float]:
        """The bounds of a monitor's mean without change, from the reference.

        Args:
            monitor: its place in `MONITORS`.
            cells: float64[cells], the reference.
            phi: float64[monitors], over-dispersion; None for independent events.

        Returns:
            `(up, down)`: 99.9 % bounds and the tolerance beyond them, .05 of the prevalence for the label, half of it
            for the residuals (they move half as far), .05 of the mean for the cost.
        """
        events = float(cells.sum())
        values = self.values[monitor]
        mean = float(values @ cells) / events
        tolerance = self.tolerance(monitor, mean, float(self.values[LABEL] @ cells) / events)
        if phi is not None:
            width = _NORMAL * float(np.sqrt(self.variance(monitor, cells) * phi[monitor] / events))
            low, high = mean - width, mean + width
        elif monitor == LABEL:
            low, high = clopper_pearson(mean * events, events)
        else:
            low, high = betting(values, cells)
        return min(high + tolerance, 1.0), max(low - tolerance, 0.0)

    @staticmethod
    def tolerance(monitor: int, mean: float, prevalence: float) -> float:
        """How far a mean may lie beyond its bound before that is a change worth an alarm."""
        return _TOLERANCE * mean if monitor in (LABEL, COST) else _TOLERANCE / 2.0 * prevalence

    def variance(self, monitor: int, cells: Floats) -> float:
        """The variance of a monitor's value over float64[cells] events."""
        values, events = self.values[monitor], float(cells.sum())
        return max(float(values**2 @ cells) / events - (float(values @ cells) / events) ** 2, 0.0)

    def by_band(self, counts: Histogram) -> Floats:
        """float64[4, 2 * BANDS]: each monitor's mean value by label and band, over a histogram.

        Where the histogram has no event of a label and band, the value in the middle of the band.
        """
        size = self.edges.size - 1
        middle = self._cell[bin_of(MIDDLE)]
        band, cell = BAND_OF[counts.bins], self._cell[counts.bins]
        parts = []
        for label in (0, 1):
            values = self.values[:, label * size : (label + 1) * size]
            n = np.bincount(band, weights=counts.counts[label], minlength=BANDS)
            sums = np.stack(
                [np.bincount(band, weights=counts.counts[label] * of[cell], minlength=BANDS) for of in values]
            )
            parts.append(np.where(n > 0.0, sums / np.maximum(n, 1.0), values[:, middle]))
        return np.concatenate(parts, axis=1)

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "base": self.base,
            "p": self.p,
            "fp": self.costs[0],
            "fn": self.costs[1],
            "sign_weight_above": self.sign_weight_above,
            "threshold": self.threshold,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Family:
        """The family that `state` described."""
        return cls(
            np.array(state["base"], dtype=np.int64),
            np.array(state["p"], dtype=np.float64),
            (float(state["fp"]), float(state["fn"])),
            float(state["sign_weight_above"]),
            int(state["threshold"]),
        )


def merged_edges(reference: Histogram, half: int = _HALF) -> npt.NDArray[np.int64]:
    """Edges of merged bins, as bin numbers from 0 to `BINS`: half at quantiles of all, half at the positives'."""
    shares = np.arange(1, half + 1) / (half + 1)
    edges = [np.array([0, BINS], dtype=np.int64)]
    for counts in (reference.counts.sum(axis=0), reference.counts[1]):
        cumulative = np.cumsum(counts)
        if cumulative.size and cumulative[-1] > 0:
            edges.append(reference.bins[np.searchsorted(cumulative, shares * cumulative[-1])].astype(np.int64))
    return distinct(np.concatenate(edges))


def family_of(reference: Histogram, threshold: float, costs: tuple[float, float], sign_weight_above: float) -> Family:
    """The family frozen at the end of a reference.

    p is the isotonic fit of the positive rates, each shrunk by two pseudo-events at the reference's prevalence.
    """
    base = merged_edges(reference)
    cell = np.searchsorted(base, reference.bins, side="right") - 1
    n = np.bincount(cell, weights=reference.counts.sum(axis=0), minlength=base.size - 1)
    k = np.bincount(cell, weights=reference.counts[1], minlength=base.size - 1)
    prevalence = k.sum() / n.sum()
    rate = (k + 2.0 * prevalence) / (n + 2.0)
    p = np.asarray(isotonic_regression(rate, weights=n + 2.0).x, dtype=np.float64)
    return Family(base, p, costs, sign_weight_above, threshold_bin(threshold))
