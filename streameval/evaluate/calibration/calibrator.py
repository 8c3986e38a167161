"""What every calibrator is: a monotone map from scores to probabilities that learns as labels mature.

River has no calibrators; these follow its habits (`learn_one`, `predict_one`), and add the batch forms that the daemon
uses: learn a step's evidence at once, predict an array, and give the map as knots to publish.

Invariant: a prediction depends only on what was learnt, in order, and on nothing between; it rises (weakly) with the
score and stays in [0, 1]. `state` and `restore` go on bit for bit.

Source: METHODS, section 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
from scipy.special import logit

from streameval.evaluate.calibration.cells import LOWER, Cells, DecayedCells
from streameval.evidence import BinaryEvidence
from streameval.evidence.binary import check_version
from streameval.evidence.merge import Floats

_STATE_VERSION: Final = 1

SCORE_CLIP: Final = 1e-6
"""Scores are kept this far from 0 and 1 before a logit is taken: one false "certain" must not outweigh all the rest."""

KNOTS: Final[Floats] = np.append(LOWER, 1.0)
"""float64[236]: the scores at which a smooth map is published; see `Calibrator.knots`."""


def logit_of(score: Floats) -> Floats:
    """The logit of scores kept away from 0 and 1."""
    z: Floats = logit(np.clip(score, SCORE_CLIP, 1.0 - SCORE_CLIP))
    return z


class Calibrator(ABC):
    """A map from scores to probabilities that learns from labelled scores, the recent ones most.

    `half_life` is how many later examples halve an example's weight.
    """

    name: ClassVar[str]
    """What the map is called in records and configurations."""

    def __init__(self, half_life: float = 10_000.0) -> None:
        self.half_life = half_life
        self._learnt = DecayedCells(half_life)

    def learn_one(self, score: float, y: int | bool) -> Self:
        """Learn one labelled score, as River's estimators do. A fit for every example: batches are far cheaper."""
        self.learn_evidence(BinaryEvidence.of(np.array([score]), np.array([int(y)])))
        return self

    def predict_one(self, score: float) -> float:
        """The probability that an example of this score is positive."""
        return float(self.predict_many(np.array([score]))[0])

    def learn_evidence(self, evidence: BinaryEvidence) -> None:
        """Learn a step's labelled scores at once."""
        self.learn_cells(Cells.of(evidence))

    def learn_cells(self, cells: Cells) -> None:
        """Learn a step's labelled scores, given in cells (which several calibrators can share)."""
        self._learnt.learn(cells)
        self._fit()

    @abstractmethod
    def predict_many(self, score: Floats) -> Floats:
        """float64[n] probabilities of float64[n] scores in [0, 1]."""

    def knots(self) -> tuple[Floats, Floats]:
        """At most 256 points (score, probability) whose linear interpolation is the map.

        Smooth maps are published at the cells' edges: between two of them the line is off by less than
        .005 |b(b-1)| of the probability, b being the map's slope on the logit.
        """
        return KNOTS.copy(), self.predict_many(KNOTS)

    @abstractmethod
    def _fit(self) -> None:
        """Make the map of what has been learnt."""

    @abstractmethod
    def _parameters(self) -> dict[str, Any]:
        """What the map is made of, as plain values."""

    @abstractmethod
    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """The inverse of `_parameters`."""

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on bit for bit."""
        return {
            "version": _STATE_VERSION,
            "name": self.name,
            "learnt": self._learnt.state(),
            "parameters": self._parameters(),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`.

        Raises:
            StateVersionError: the state was written by a newer release, or by another calibrator.
        """
        check_version(state, _STATE_VERSION, cls.name)
        new = cls(state["learnt"]["half_life"])
        new._learnt = DecayedCells.restore(state["learnt"])
        new._set_parameters(state["parameters"])
        return new
