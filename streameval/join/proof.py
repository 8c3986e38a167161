"""Proof that the labels of a time have come: whether predictions got as many as predictions use to get.

After labels were silent nobody knows whether they were late or are lost. Late ones come when the feed comes back; where
far fewer have come than should, for a while or all the time, some are lost or still to come, and predictions around, of
which only some labels are there, would count as negatives. A lack of less than `LACK` cannot be told from a change of
the prevalence, and one that chance explains (in one of a thousand silences) is none.

Source: the number of labels of a stretch is a Poisson one; Chernoff's bound of its lower tail,
P(X <= k) <= exp(-(m - k + k ln(k / m))), over all stretches at scales that double (a scan statistic).
"""

from __future__ import annotations

from math import ceil, log
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

I64 = NDArray[np.int64]

EXPECTED: Final = 12
"""Labels of which a pause makes something to be judged."""
LACK: Final = 0.4
"""Share of the labels expected of a stretch that has to be missing."""
CHANCE: Final = 1e-3
SPAN: Final = 200
"""Labels from which on the share is counted anew, beside the last one."""
KNOWN: Final = 25
"""Labels from which on a share is known."""


class LabelledShare:
    """The share of matured predictions that got a label, of late.

    >>> share = LabelledShare()
    >>> share.count(np.array([100, 100]), np.array([40, 60]))
    >>> share.rows, share.labelled, share.expects(23), share.expects(24)
    (200, 100, False, True)
    """

    __slots__ = ("_earlier", "_now")

    def __init__(self, rows: int = 0, labelled: int = 0) -> None:
        self._earlier = (rows, labelled)
        self._now = (0, 0)

    @property
    def rows(self) -> int:
        """Predictions."""
        return self._earlier[0] + self._now[0]

    @property
    def labelled(self) -> int:
        """Those with a label."""
        return self._earlier[1] + self._now[1]

    @property
    def known(self) -> bool:
        """Whether there are enough labels to speak of a share."""
        return self.labelled >= KNOWN

    def count(self, rows: I64, labelled: I64) -> None:
        """Count cohorts that have matured, one after the other: their predictions and labels, int64[c]."""
        cohorts, labels = np.cumsum(rows), np.cumsum(labelled)
        begun = 0
        while begun < len(rows):
            before = (int(cohorts[begun - 1]), int(labels[begun - 1])) if begun else (0, 0)
            last = int(np.searchsorted(labels, before[1] + SPAN - self._now[1]))
            upto = min(last, len(rows) - 1)
            self._now = (
                self._now[0] + int(cohorts[upto]) - before[0],
                self._now[1] + int(labels[upto]) - before[1],
            )
            if last < len(rows):
                self._earlier, self._now = self._now, (0, 0)
            begun = upto + 1

    def expects(self, rows: int) -> bool:
        """Whether so many predictions should have enough labels to tell whether they came."""
        return rows * self.labelled >= EXPECTED * self.rows > 0

    def state(self) -> list[list[int]]:
        """Plain values for `restore`."""
        return [list(self._earlier), list(self._now)]

    def restore(self, state: list[list[int]]) -> None:
        """Continue from ``state``."""
        (a, b), (c, d) = state
        self._earlier, self._now = (a, b), (c, d)


def lost(rows: I64, labelled: I64, share: LabelledShare) -> bool:
    """Whether there is a stretch of cohorts, ascending in time, whose labels did not all come.

    Args: `rows`, `labelled` int64[c] of each.

    >>> share = LabelledShare(100, 50)
    >>> lost(np.full(9, 10), np.array([5, 5, 5, 0, 0, 0, 5, 5, 5]), share)
    True
    >>> lost(np.full(9, 10), np.array([5, 3, 6, 2, 4, 3, 5, 5, 5]), share)
    False
    """
    if not share.labelled or not len(rows):
        return False
    total, labels = np.concatenate([[0], np.cumsum(rows)]), np.concatenate([[0], np.cumsum(labelled)])
    each = share.labelled / share.rows
    everything = int(total[-1]) * each
    # A stretch can begin at every label.
    beyond = log(max(everything, 1.0) / CHANCE)
    scale = beyond
    while scale <= everything:
        end = np.searchsorted(total, total[:-1] + ceil(scale / each))
        begin = np.flatnonzero(end < len(total))
        expected = (total[end[begin]] - total[begin]) * each
        came = labels[end[begin]] - labels[begin]
        told = expected - came + xlogy(came, came / expected)
        if ((came <= (1.0 - LACK) * expected) & (told >= beyond)).any():
            return True
        scale *= 2.0
    return False
