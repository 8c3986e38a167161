"""Scores without labels: what the fresh clock knows of a cohort that has not matured.

Invariant: as for evidence, histograms are exact integers that add and subtract in any order.

Source: METHODS, sections 3 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from streameval.evidence.binary import BinaryEvidence, EvidenceError, check_version
from streameval.evidence.bins import BINS, bin_of
from streameval.evidence.exact import UNIT, Integers, fixed, from_plain, minus, plus, sums_by, to_plain
from streameval.order import union

_STATE_VERSION: Final = 1


@dataclass(slots=True, eq=False)
class ScoreHistogram:
    """How many scores lie in each bin, and their sums. k bins hold at least one score.

    >>> h = ScoreHistogram.of(np.array([0.25, 0.25, 1.0]))
    >>> h.counts.tolist(), h.events, h.mean
    ([2, 1], 3, 0.5)
    """

    bins: npt.NDArray[np.int16]
    """int16[k], ascending."""
    counts: npt.NDArray[np.int64]
    """int64[k]."""
    sums: Integers
    """[k]: sums of scores, in units of 2^-32."""

    @classmethod
    def empty(cls) -> Self:
        """The histogram of no score."""
        return cls(np.empty(0, np.int16), np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def of(cls, score: npt.NDArray[np.float64]) -> Self:
        """The histogram of score[n], each in [0, 1]."""
        bin_ = bin_of(score)
        if len(score) * 4 < BINS:
            # Dense accumulators cost their size: few scores are numbered by the bins that they fill.
            bins, code = np.unique(bin_, return_inverse=True)
            return cls(bins, np.bincount(code, minlength=len(bins)), sums_by(code, fixed(score), len(bins)))
        counts = np.bincount(bin_, minlength=BINS)
        held = np.flatnonzero(counts)
        return cls(held.astype(np.int16), counts[held], sums_by(bin_, fixed(score), BINS)[held])

    @classmethod
    def of_evidence(cls, evidence: BinaryEvidence) -> Self:
        """The scores of labelled examples, without their labels."""
        return cls(evidence.bins, evidence.counts.sum(axis=0), plus(evidence.sums[0], evidence.sums[1]))

    @property
    def events(self) -> int:
        """How many scores."""
        return int(self.counts.sum())

    @property
    def mean_scores(self) -> npt.NDArray[np.float64]:
        """float64[k]: the mean score of each bin."""
        mean: npt.NDArray[np.float64] = self.sums.astype(np.float64) / self.counts / UNIT
        return mean

    @property
    def mean(self) -> float:
        """The mean score; nan of no score."""
        return float(self.sums.sum() / UNIT / self.events) if self.events else float("nan")

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        bins = union(self.bins, other.bins)
        a, b = self._spread(bins), other._spread(bins)
        return ScoreHistogram(bins, a[0] + b[0], plus(a[1], b[1]))

    def __sub__(self, other: ScoreHistogram) -> ScoreHistogram:
        """The histogram without the scores of `other`.

        Raises:
            EvidenceError: `other` holds scores that were never added.
        """
        bins = union(self.bins, other.bins)
        a, b = self._spread(bins), other._spread(bins)
        counts, sums = a[0] - b[0], minus(a[1], b[1])
        held = counts != 0
        if (counts < 0).any() or sums[~held].any():
            raise EvidenceError("scores were subtracted that had not been added", cure="report it")
        return ScoreHistogram(bins[held], counts[held], sums[held])

    def _spread(self, bins: npt.NDArray[np.int16]) -> tuple[npt.NDArray[np.int64], Integers]:
        at = np.searchsorted(bins, self.bins)
        counts = np.zeros(len(bins), np.int64)
        sums: Integers = np.zeros(len(bins), self.sums.dtype)
        counts[at], sums[at] = self.counts, self.sums
        return counts, sums

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreHistogram):
            return NotImplemented
        return (
            np.array_equal(self.bins, other.bins)
            and np.array_equal(self.counts, other.counts)
            and np.array_equal(self.sums, other.sums)
        )

    __hash__ = None  # type: ignore[assignment]

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` builds an equal histogram."""
        return {"version": _STATE_VERSION, "bins": self.bins, "counts": self.counts, "sums": to_plain(self.sums)}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`.

        Raises:
            StateVersionError: the state was written by a newer release.
        """
        check_version(state, _STATE_VERSION, "score histogram")
        return cls(state["bins"], state["counts"], from_plain(state["sums"]))
