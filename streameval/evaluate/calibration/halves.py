"""Halves: examples in cells, cut in two at random, so that a map can be tested on what it has not learnt.

Invariant: the two halves add up to the whole; the cut is seeded by the counts, so the same examples are always cut the
same way.

Source: Stone (1974, cross-validation); an example falls into either half with probability 1/2, so a count is binomial.
"""

from __future__ import annotations

import numpy as np

from streameval.evaluate.calibration.cells import Cells
from streameval.evaluate.seed import seed_of


def halves(cells: Cells) -> tuple[Cells, Cells]:
    """Two parts of whole counts; a half's scores have their cell's mean.

    >>> from streameval.evaluate.calibration.cells import CELLS
    >>> one, other = halves(Cells(np.full((2, CELLS), 3.0), np.ones(CELLS)))
    >>> bool((one.counts + other.counts == 3.0).all())
    True
    """
    whole = np.rint(cells.counts).astype(np.int64)
    rng = np.random.Generator(np.random.SFC64(seed_of(whole)))
    part = rng.binomial(whole, 0.5).astype(np.float64)
    means = cells.means
    rest = whole - part
    return Cells(part, part.sum(axis=0) * means), Cells(rest, rest.sum(axis=0) * means)
