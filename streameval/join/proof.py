"""Proof that the labels of a time have come: whether predictions got as many as predictions use to get.

After labels were silent nobody knows whether they were late or are lost. Late ones come when the feed comes back; where
nearly none has come, some are lost, and predictions around, of which only some labels are, would count as negatives.

A stretch of predictions tells that if it should have `EXPECTED` labels (more where there are many stretches to look
at) and has no more than an eighth of them: by chance after less than one of a thousand silences. A share of labels that
is lost everywhere alike cannot be told from a change of the prevalence.

Source: Poisson's law: P(X <= 1 | 12) = 8e-5, P(X <= 2 | 21) = 2e-7, P(X <= 3 | 30) = 5e-10.
"""

from __future__ import annotations

from math import ceil, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]

EXPECTED: Final = 12
AT_MOST: Final = 0.125
"""Of the labels expected: with no more, some are lost."""
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
    """Whether there is a stretch of cohorts, ascending in time, whose labels did not come.

    Args: `rows`, `labelled` int64[c] of each.

    >>> share = LabelledShare(100, 50)
    >>> lost(np.full(9, 10), np.array([5, 5, 5, 1, 0, 0, 5, 5, 5]), share)
    True
    >>> lost(np.full(9, 10), np.array([5, 5, 5, 2, 0, 2, 5, 5, 5]), share)
    False
    """
    if not share.labelled or not len(rows):
        return False
    total, labels = np.concatenate([[0], np.cumsum(rows)]), np.concatenate([[0], np.cumsum(labelled)])
    stretches = int(total[-1]) * share.labelled / share.rows / EXPECTED
    expected = EXPECTED + (2.0 * log(stretches) if stretches > 1.0 else 0.0)
    end = np.searchsorted(total, total[:-1] + ceil(expected * share.rows / share.labelled))
    begin = np.flatnonzero(end < len(total))
    found = labels[end[begin]] - labels[begin]
    return bool((found <= expected * AT_MOST).any())
