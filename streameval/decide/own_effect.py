"""Own effect: whether the outcomes that we see depend on the decisions that we cause.

A payment that is blocked never charges back, so above the threshold labels may say less than what would have happened.
A threshold that follows them rises, sees the positives come back, falls, and so on for ever. But each of its moves is
an experiment: the scores between the old and the new threshold are decided the other way from then on, and no others.
If their positives change with the move while those of all other scores do not, it was the decision.

The measure is the common odds ratio of after and before over narrow groups of scores (Mantel and Haenszel), of the
band against that of all other scores: a difference of differences. A change of the prevalence, a season, or labels that
are late move both alike; a change of clientele moves neither, since only equal scores are compared.

Invariant: a function of the counts before and after the move. Where it says nothing, labels are believed as they are.
Source: METHODS, section 4, "Own actions"; Mantel and Haenszel 1959, with the variance of Robins, Breslow and Greenland
1986, which holds for many thin groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import hypot, log, sqrt
from typing import Final, NamedTuple

import numpy as np

from streameval.detect.label_counts import Histogram, LabelCounts, total
from streameval.evidence.bins import BINS

__all__ = ["OwnEffect", "own_effect"]

_Z: Final = 3.09
_GROUP: Final = 16
"""Score bins that are compared together: an eighth of an octave of the odds."""
_LEAST: Final = 20
"""Positives of the band, before and after the move together, and of all other scores in each of the two."""


class OwnEffect(NamedTuple):
    """How a positive's log-odds changed with a decision, beyond what they did elsewhere, and its standard error."""

    change: float
    error: float

    def prevents(self, *, lowered: bool) -> bool:
        """Whether acting keeps positives from happening: they went with a lower threshold, or came with a higher one.

        >>> OwnEffect(-1.5, 0.2).prevents(lowered=True), OwnEffect(-1.5, 0.2).prevents(lowered=False)
        (True, False)
        """
        return (-self.change if lowered else self.change) > _Z * self.error

    def harmless(self, *, lowered: bool) -> bool:
        """Whether acting surely does not as much as halve the odds.

        >>> OwnEffect(0.1, 0.1).harmless(lowered=True), OwnEffect(0.1, 0.3).harmless(lowered=True)
        (True, False)
        """
        return (-self.change if lowered else self.change) + _Z * self.error < log(2.0)


def own_effect(before: Iterable[Histogram], after: Iterable[Histogram], low: int, high: int) -> OwnEffect | None:
    """What a move has done to the labels of its band; None where too few positives can say.

    Args:
        before: evidence of predictions between the last move and this one.
        after: evidence of predictions since this move.
        low: first score bin of the band.
        high: the score bin at which it ends.
    """
    earlier, later = total(before), total(after)
    found = []
    for inside in (True, False):
        table = np.stack([_grouped(counts, low, high, inside=inside) for counts in (earlier, later)])
        positives = table[:, 1].sum(axis=1)
        if positives.sum() < _LEAST or (not inside and positives.min() < _LEAST):
            return None
        found.append(_common_odds(table.astype(np.float64)))
    (band, band_error), (others, others_error) = found
    return OwnEffect(band - others, hypot(band_error, others_error))


def _grouped(counts: LabelCounts, low: int, high: int, *, inside: bool) -> np.ndarray:
    """f64[2, groups]: events by label and group of scores, of the band or of all others."""
    rows = ((counts.bins >= low) & (counts.bins < high)) == inside
    group = counts.bins[rows].astype(np.int64) // _GROUP
    size = -(-BINS // _GROUP)
    return np.stack([np.bincount(group, counts.counts[label, rows], size) for label in (0, 1)])


def _common_odds(table: np.ndarray) -> tuple[float, float]:
    """Log of the common odds ratio, later against earlier, and its standard error, of f64[2, 2, groups]."""
    # Half a count, spread over the groups as the events are, so that no class is certain to be empty.
    seen = table.sum(axis=(0, 1))
    (d, c), (b, a) = table + 0.5 * seen / seen.sum()
    n = np.maximum(a + b + c + d, 1e-300)
    p, q, r, s = (a + d) / n, (b + c) / n, a * d / n, b * c / n
    R, S = r.sum(), s.sum()
    variance = (p * r).sum() / (2 * R * R) + (p * s + q * r).sum() / (2 * R * S) + (q * s).sum() / (2 * S * S)
    return log(R / S), sqrt(variance)
