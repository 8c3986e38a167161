"""Cells: the 235 coarse bins on which calibrators learn and champions are compared.

A cell is 32 neighbouring score bins, a quarter of an octave of min(s, 1 - s); the two underflow bins and the score .5
keep cells of their own. Inside a cell a score is known by the cell's mean. A logistic curve bends by less than
.004 |b(b-1)| (relative, b its slope) within a cell, and 235 knots are few enough to publish.

Invariant: cells are runs of score bins; counts and sums are only added up.

Source: METHODS, section 2 (fits on the bins).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import numpy as np

from streameval.evidence import BINS, EDGES, BinaryEvidence
from streameval.evidence.bins import HALF
from streameval.evidence.exact import UNIT
from streameval.evidence.merge import Floats

_WIDTH: Final = 32

_FIRST: Final = np.concatenate(
    ([0], np.arange(1, HALF, _WIDTH), [HALF], np.arange(HALF + 1, BINS - 1, _WIDTH), [BINS - 1])
)
CELLS: Final = len(_FIRST)
"""How many cells there are."""

_CELL_OF: Final = (np.searchsorted(_FIRST, np.arange(BINS), side="right") - 1).astype(np.int64)

LOWER: Final[Floats] = EDGES[_FIRST]
"""float64[CELLS]: the cells' lower edges."""

_UPPER: Final[Floats] = np.append(LOWER[1:], 1.0)
CENTRES: Final[Floats] = 0.5 * (LOWER + _UPPER)
"""float64[CELLS]: where a cell's scores are taken to be while it has none."""


class Cells(NamedTuple):
    """A step's examples by cell."""

    counts: Floats
    """float64[2, CELLS]: examples by label."""
    scores: Floats
    """float64[CELLS]: sums of scores."""

    @classmethod
    def of(cls, evidence: BinaryEvidence) -> Self:
        """The cells of a binary model's evidence."""
        cell = _CELL_OF[evidence.bins]
        sums = (evidence.sums[0] + evidence.sums[1]).astype(np.float64) / UNIT
        return cls(
            np.stack([np.bincount(cell, weights=c, minlength=CELLS) for c in evidence.counts]).astype(np.float64),
            np.bincount(cell, weights=sums, minlength=CELLS).astype(np.float64),
        )

    @property
    def means(self) -> Floats:
        """float64[CELLS]: mean scores, strictly ascending; an empty cell's centre."""
        n = self.counts[0] + self.counts[1]
        mean = np.where(n > 0.0, self.scores / np.where(n > 0.0, n, 1.0), CENTRES)
        # A mean lies in its cell but for the last bit of its rounding.
        return np.clip(mean, LOWER, np.nextafter(_UPPER, 0.0, where=_UPPER < 1.0, out=_UPPER.copy()))


class DecayedCells:
    """Cells whose examples fade: a weight halves with every `half_life` examples that follow."""

    __slots__ = ("_counts", "_scores", "half_life")

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self._counts: Floats = np.zeros((2, CELLS))
        self._scores: Floats = np.zeros(CELLS)

    @property
    def cells(self) -> Cells:
        """The faded examples."""
        return Cells(self._counts, self._scores)

    def learn(self, new: Cells) -> None:
        """Let what is known fade by as many examples as are new, and add the new."""
        fade = 0.5 ** (float(new.counts.sum()) / self.half_life)
        self._counts = self._counts * fade + new.counts
        self._scores = self._scores * fade + new.scores

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on bit for bit."""
        return {"half_life": self.half_life, "counts": self._counts, "scores": self._scores}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        new = cls(state["half_life"])
        new._counts = state["counts"]
        new._scores = state["scores"]
        return new
