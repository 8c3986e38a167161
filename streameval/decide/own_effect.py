"""Own effect: whether the outcomes that we see depend on the decisions that we cause.

A payment that is blocked never charges back, so above the threshold labels may say less than what would have happened.
A threshold that follows them rises, sees the positives come back, falls, and so on for ever. But each of its moves is
an experiment: the scores between the old and the new threshold are decided the other way from then on, and no others.
If their positives change with the move while those of all other scores do not, it was the decision.

The measure is the common odds ratio of after and before over narrow groups of scores (Mantel and Haenszel), of the
band against that of all other scores: a difference of differences. A change of the prevalence, a season, or labels that
are late move both alike; a change of clientele moves neither, since only equal scores are compared.

A drift moves some scores more than others, and a band in the midst of one is no experiment. So the other scores are
read in several *regions*. Where these differ from one another by more than chance, a band may differ from them by as
much without any decision: that spread is part of the error, as between the studies of a meta-analysis.

Invariant: a function of the counts before and after the move. Where it says nothing, labels are believed as they are.
Source: METHODS, section 4, "Own actions"; Mantel and Haenszel 1959, with the variance of Robins, Breslow and Greenland
1986, which holds for many thin groups; DerSimonian and Laird 1986 for the spread between regions.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log, sqrt
from typing import Final, NamedTuple

import numpy as np
from scipy.special import chdtrc

from streameval.detect.label_counts import Histogram, LabelCounts, total
from streameval.detect.window_pair import merge_until
from streameval.evidence.bins import BINS

__all__ = ["OwnEffect", "own_effect"]

_Z: Final = 3.09
_GROUP: Final = 16
"""Score bins that are compared together: an eighth of an octave of the odds."""
_LEAST: Final = 20
"""Positives of the band or of a region, before and after the move together; of all other scores in each of the two."""
_REGIONS: Final = 5
"""Other scores are read in about so many: fewer tell little of a spread, more are each too blunt."""
_SPREAD_LEVEL: Final = 0.05
"""Regions that differ no more than this often happens by chance are taken to be alike."""


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
    inside = _grouped(earlier, later, low, high)
    others = [_grouped(earlier, later, 0, low), _grouped(earlier, later, high, BINS)]
    positives = np.sum([table[:, 1].sum(axis=1) for table in others], axis=0)
    if inside[:, 1].sum() < _LEAST or positives.min() < _LEAST:
        return None
    band, band_error = _common_odds(inside)
    usual, error, spread = _pooled(_regions(others, float(positives.sum())))
    return OwnEffect(band - usual, sqrt(band_error**2 + error**2 + spread))


def _regions(others: list[np.ndarray], positives: float) -> list[tuple[float, float]]:
    """`(log odds ratio, standard error)` of runs of scores on either side of the band, alike in positives."""
    least = np.array([max(float(_LEAST), positives / _REGIONS)])
    found = []
    for table in others:
        by_group = table[:, 1].sum(axis=0)
        if by_group.sum() >= _LEAST:
            parts = np.split(table, merge_until(by_group[np.newaxis], least)[1:], axis=2)
            found += [_common_odds(part) for part in parts]
    return found


def _pooled(regions: list[tuple[float, float]]) -> tuple[float, float, float]:
    """The regions' mean, its standard error, and the variance between regions beyond that of sampling."""
    value, error = np.array(regions).T
    weight, freedom = error**-2.0, len(regions) - 1
    mean = float(weight @ value / weight.sum())
    squares = float(weight @ (value - mean) ** 2)
    spread = 0.0
    if freedom and chdtrc(freedom, squares) < _SPREAD_LEVEL:
        spread = max(0.0, (squares - freedom) / float(weight.sum() - (weight**2).sum() / weight.sum()))
        weight = 1.0 / (error**2 + spread)
        mean = float(weight @ value / weight.sum())
    return mean, 1.0 / sqrt(float(weight.sum())), spread


def _grouped(earlier: LabelCounts, later: LabelCounts, low: int, high: int) -> np.ndarray:
    """f64[2, 2, groups]: events before and after, by label and group of scores, of the bins from `low` up to `high`."""
    size = -(-BINS // _GROUP)
    table = np.zeros((2, 2, size))
    for place, counts in enumerate((earlier, later)):
        rows = (counts.bins >= low) & (counts.bins < high)
        group = counts.bins[rows].astype(np.int64) // _GROUP
        table[place] = [np.bincount(group, counts.counts[label, rows], size) for label in (0, 1)]
    return table


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
