"""Own move: a decision that we published ourselves, and the scores whose decision it changed.

Outcomes may depend on decisions: a payment that is blocked never charges back. After a threshold moves, the labels of
the scores between the old and the new one may change without any change of the world, so tests of labels leave them
out.

Invariant: bands are runs of score bins; a map counts by where it puts the probability of the threshold in force.
Source: METHODS, section 4, "Own actions".
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from streameval.detect.window_pair import Band
from streameval.evidence.bins import BINS, EDGES, threshold_bin


class _Map(Protocol):
    def predict_many(self, score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]: ...


class OwnMove(NamedTuple):
    """At `at` (ms, logical time) the decisions on the bins from `low` up to (not including) `high` changed.

    By a threshold; or, for those who decide by the probability, by a map.
    """

    at: int
    low: int
    high: int
    by_map: bool = False

    @property
    def band(self) -> Band:
        """The bins."""
        return self.low, self.high


def threshold_move(at: int, old: float, new: float) -> OwnMove:
    """A threshold that moved.

    >>> move = threshold_move(0, 0.5, 0.25)
    >>> float(EDGES[move.low]), float(EDGES[move.high])
    (0.25, 0.5)
    """
    low, high = sorted((threshold_bin(old), threshold_bin(new)))
    return OwnMove(at, low, high)


def map_move(at: int, threshold: float, old: _Map | None, new: _Map) -> OwnMove | None:
    """A map that moved while a threshold was in force; None where no decision by the probability changed.

    Args:
        at: ms, logical time.
        threshold: the one in force, on the score.
        old: the map before, None for the identity.
        new: the map from now on.
    """
    score = np.array([min(threshold, 1.0)])
    wanted = score if old is None else old.predict_many(score)
    # Maps never fall: the first bin that the new one puts at or above the probability that was asked for.
    first = int(np.searchsorted(new.predict_many(np.minimum(EDGES[:BINS], 1.0)), wanted[0] - 1e-12))
    low, high = sorted((threshold_bin(threshold), first))
    return OwnMove(at, low, high, by_map=True) if low < high else None
