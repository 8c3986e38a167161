"""Thinning: labels that were seen with known, unequal probabilities, made a fair sample.

Where a label is seen with probability P, it is kept with probability least / P: every prediction's label is then seen
and kept with the same probability, `least`, whatever the decision was. What is kept is a plain random sample of all
predictions, so every count, interval, monitor and gate downstream is as right as on complete labels, with no weights to
carry (a count of weights 1/P is not a number of events: sequential tests and bounds on counts would not hold).

The price is that a label that was sure to be seen counts only as often as the rarest. What comes of all predictions
(recall, prevalence, cost) is known hardly less well than with weights, for there the rarely seen labels are what is
uncertain; what comes of flagged predictions alone (precision) is known less well.

A prediction without a propensity, or whose label falls out, counts as unlabelled. A propensity below `least` is taken
for `least`: such predictions are under-represented.

Invariant: what is kept is a function of the id and the propensity alone: not of the label, the order or the batch.

Source: METHODS, section 4 (selective labels); von Neumann (1951, rejection sampling); Horvitz and Thompson (1952) for
the weights that it replaces. Mixing of the id's hash: SplitMix64 (Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from streameval.join.acts import Amendments, Cohorts, Labelled

if TYPE_CHECKING:
    from streameval.config import Model

OUT: Final = np.int32(1 << 30)
"""The bit of a row's kind that says that its label has fallen out."""
_KIND: Final = np.int32(OUT - 1)
_SEED: Final = np.uint64(0x9E3779B97F4A7C15)


def falls_out(
    id_hash: npt.NDArray[np.uint64], propensity: npt.NDArray[np.float64], least: float
) -> npt.NDArray[np.bool_]:
    """bool[n]: whose label is not kept. `propensity` float64[n] in (0, 1], nan where none was given.

    >>> ids, given = np.arange(3, dtype=np.uint64), np.array([0.1, np.nan, 0.05])
    >>> falls_out(ids, given, 0.1).tolist()
    [False, True, False]
    """
    # The hash itself splits ids in halves and orders them elsewhere: this choice must not go with those.
    x = id_hash + _SEED
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    chance = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return ~(chance * propensity < least)


def marked(
    config: Model, id_hash: npt.NDArray[np.uint64], kind: npt.NDArray[np.int32], propensity: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """The rows' kinds, i32[n], with the bit of those whose label falls out."""
    least = config.labels.least_propensity
    out = falls_out(id_hash, propensity, 1.0 if least is None else least)
    return kind | np.where(out, OUT, np.int32(0))


def thin(matured: Cohorts, amended: Amendments, others: list[Cohorts | Labelled]) -> None:
    """Take the bits off all rows, and the labels off the matured rows that have one."""
    out = matured.kind & OUT != 0
    if out.any():
        matured.label = np.where(out, np.int8(-1), matured.label)
    out = amended.kind & OUT != 0
    if out.any():
        amended.old_label = np.where(out, np.int8(-1), amended.old_label)
        amended.new_label = np.where(out, np.int8(-1), amended.new_label)
    for rows in (matured, amended, *others):
        rows.kind = rows.kind & _KIND
