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

from streameval.evaluate.calibration.cells import LOWER, Cells, DecayedCells
from streameval.evidence import BinaryEvidence
from streameval.evidence.binary import check_version
from streameval.evidence.merge import Floats

_STATE_VERSION: Final = 1

KNOTS: Final[Floats] = np.append(LOWER, 1.0)
"""float64[236]: the scores at which a smooth map is published; see `Calibrator.knots`."""


class Calibrator(ABC):
    """A map from scores to probabilities that learns from labelled scores, the recent ones most.

    `half_life` is how many later examples halve an example's weight. Calibrators that learn the same examples may share
    the faded cells, `learnt`: whoever shares them lets them learn once, and then calls `follow` on each.
    """

    name: ClassVar[str]
    """What the map is called in records and configurations."""

    def __init__(self, half_life: float = 10_000.0, learnt: DecayedCells | None = None) -> None:
        self._learnt = DecayedCells(half_life) if learnt is None else learnt

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
        """Learn a step's labelled scores, given in cells."""
        self._learnt.learn(cells)
        self._fit()

    def follow(self) -> None:
        """Make the map anew: the shared cells have learnt a step."""
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
        return {**self.state_of_map(), "learnt": self._learnt.state()}

    def state_of_map(self) -> dict[str, Any]:
        """The state without the faded cells, for those who share them."""
        return {"version": _STATE_VERSION, "name": self.name, "parameters": self._parameters()}

    @classmethod
    def restore(cls, state: Mapping[str, Any], learnt: DecayedCells | None = None) -> Self:
        """The inverse of `state`, or of `state_of_map` given the shared cells.

        Raises:
            StateVersionError: the state was written by a newer release, or by another calibrator.
        """
        check_version(state, _STATE_VERSION, cls.name)
        learnt = DecayedCells.restore(state["learnt"]) if learnt is None else learnt
        new = cls(learnt.half_life, learnt)
        new._set_parameters(state["parameters"])
        return new
