"""Cells: the 235 coarse bins on which calibrators learn and champions are compared.

A cell is 32 neighbouring score bins, a quarter of an octave of min(s, 1 - s); the two underflow bins and the score .5
keep cells of their own. Inside a cell a score is known by the cell's mean. A logistic curve bends by less than
.004 |b(b-1)| (relative, b its slope) within a cell, and 235 knots are few enough to publish.

Invariant: cells are runs of score bins; counts and sums are only added up. Those who share faded cells see the same.

Source: METHODS, section 2 (fits on the bins).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.special import logit

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


_MIDDLES: Final[Floats] = 0.5 * (EDGES[:-1] + np.minimum(EDGES[1:], 1.0))


SCORE_CLIP: Final = 1e-6
"""Scores are kept this far from 0 and 1 before a logit is taken: one false "certain" must not outweigh all the rest."""


def logit_of(score: Floats) -> Floats:
    """The logit of scores kept away from 0 and 1."""
    z: Floats = logit(np.clip(score, SCORE_CLIP, 1.0 - SCORE_CLIP))
    return z


class LabelHistogram(Protocol):
    """Counts by score bin and label: all that is kept of examples long past."""

    @property
    def bins(self) -> npt.NDArray[np.int16]:
        """int16[k]: ascending bins."""
        ...

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64[2, k]: examples by label and bin."""
        ...


class Cells(NamedTuple):
    """A step's examples by cell."""

    counts: Floats
    """float64[2, CELLS]: examples by label."""
    scores: Floats
    """float64[CELLS]: sums of scores."""

    @classmethod
    def of(cls, evidence: BinaryEvidence) -> Self:
        """The cells of a binary model's evidence."""
        return cls._of(evidence, (evidence.sums[0] + evidence.sums[1]).astype(np.float64) / UNIT)

    @classmethod
    def of_counts(cls, histogram: LabelHistogram) -> Self:
        """The cells of counts alone: a bin's scores are taken to lie in its middle, at most .4 % of min(s, 1-s) off."""
        return cls._of(histogram, (histogram.counts[0] + histogram.counts[1]) * _MIDDLES[histogram.bins])

    @classmethod
    def _of(cls, histogram: LabelHistogram, sums: Floats) -> Self:
        cell = _CELL_OF[histogram.bins]
        return cls(
            np.stack([np.bincount(cell, weights=c, minlength=CELLS) for c in histogram.counts]).astype(np.float64),
            np.bincount(cell, weights=sums, minlength=CELLS).astype(np.float64),
        )

    @property
    def means(self) -> Floats:
        """float64[CELLS]: mean scores, strictly ascending; an empty cell's centre."""
        n = self.counts[0] + self.counts[1]
        mean = np.where(n > 0.0, self.scores / np.where(n > 0.0, n, 1.0), CENTRES)
        # A mean lies in its cell but for the last bit of its rounding.
        return np.clip(mean, LOWER, np.nextafter(_UPPER, 0.0, where=_UPPER < 1.0, out=_UPPER.copy()))


class Filled(NamedTuple):
    """Of the cells that hold examples: float64[k] mean scores, their logits, examples and positives."""

    scores: Floats
    logits: Floats
    examples: Floats
    positives: Floats


class DecayedCells:
    """Cells whose examples fade: a weight halves with every `half_life` examples that follow.

    Several calibrators may share them, with the logistic curve that more than one of them is made of.
    """

    __slots__ = ("_counts", "_filled", "_scores", "half_life", "latest", "logistic", "logistic_made")

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self._counts: Floats = np.zeros((2, CELLS))
        self._scores: Floats = np.zeros(CELLS)
        self.latest = self.cells
        """What was learnt last, for maps that are moved and not refitted."""
        self._filled: Filled | None = None
        self.logistic = (0.0, 1.0)
        """The latest fitted logistic curve (intercept, slope): the next fit begins there."""
        self.logistic_made = True
        """Whether it is that of the cells as they are now."""

    @property
    def cells(self) -> Cells:
        """The faded examples."""
        return Cells(self._counts, self._scores)

    @property
    def filled(self) -> Filled:
        """What a smooth map is fitted to."""
        if self._filled is None:
            cells = self.cells
            n = cells.counts[0] + cells.counts[1]
            held = np.flatnonzero(n)
            scores = cells.means[held]
            self._filled = Filled(scores, logit_of(scores), n[held], cells.counts[1][held])
        return self._filled

    def learn(self, new: Cells) -> None:
        """Let what is known fade by as many examples as are new, and add the new."""
        fade = 0.5 ** (float(new.counts.sum()) / self.half_life)
        self._counts = self._counts * fade + new.counts
        self._scores = self._scores * fade + new.scores
        self.latest = new
        self._filled = None
        self.logistic_made = False

    def forget(self) -> None:
        """Begin anew, without examples."""
        self._counts, self._scores = np.zeros((2, CELLS)), np.zeros(CELLS)
        self._filled = None
        self.logistic, self.logistic_made = (0.0, 1.0), True

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on bit for bit."""
        return {
            "half_life": self.half_life,
            "counts": self._counts,
            "scores": self._scores,
            "logistic": [*self.logistic, self.logistic_made],
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        new = cls(state["half_life"])
        new._counts = state["counts"]
        new._scores = state["scores"]
        intercept, slope, made = state["logistic"]
        new.logistic, new.logistic_made = (intercept, slope), made
        return new
