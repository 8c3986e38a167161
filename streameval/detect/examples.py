"""Examples: the labelled events of one step one by one, for what a histogram cannot say: their order and their hours.

The order in which events arrive is no function of the data, so there is none here: within a cohort examples are put in
the order of a hash of their id, and a number that a test needs to break ties is drawn from another hash.

Invariant: whatever the order of the rows, `ordered` and `uniform` are functions of the set of examples.
Source: METHODS, section 1, "Short reference"; Steele, Lea & Flood 2014 (the mixing function of SplitMix64).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

HOUR: Final = 3_600_000
"""ms."""

_ORDER: Final = 0x9E3779B97F4A7C15
_UNIFORM: Final = 0xD1B54A32D192ED03


def mixed(ids: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.uint64]:
    """A hash of each id, uint64[n], independent for each salt.

    >>> [int(x) % 1000 for x in mixed(np.array([1, 2], np.uint64), 1)]
    [0, 856]
    """
    x = ids ^ np.uint64(salt)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Examples:
    """n labelled events: `cohort` int64[n] ms, `id_hash` uint64[n], `bins` int16[n] (of the score), `label` int8[n]."""

    cohort: npt.NDArray[np.int64]
    id_hash: npt.NDArray[np.uint64]
    bins: npt.NDArray[np.int16]
    label: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.cohort)

    def ordered(self) -> Examples:
        """By cohort, and within one by a hash of the id; then by score and label: versions in a cell may share ids."""
        order = np.lexsort((self.label, self.bins, mixed(self.id_hash, _ORDER), self.cohort))
        return Examples(self.cohort[order], self.id_hash[order], self.bins[order], self.label[order])

    def uniform(self) -> npt.NDArray[np.float64]:
        """float64[n] in (0, 1): a number of each id."""
        return ((mixed(self.id_hash, _UNIFORM) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    @property
    def hour(self) -> npt.NDArray[np.int64]:
        """int64[n]: hours since the epoch."""
        return self.cohort // HOUR
