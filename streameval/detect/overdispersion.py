"""Over-dispersion: how much more a stream's block means vary than those of independent events.

Real streams have days, bursts and customers: their block means vary more than independence allows, and a detector that
ignores it raises false alarms without end. Where the reference shows it, bounds widen and the detector's evidence is
tempered.

Invariant: a function of the reference's blocks. Nothing is widened or tempered unless over-dispersion is significant,
since tempering an independent stream costs 40 % of delay.
Source: METHODS, section 1, "Over-dispersion".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri

Floats = npt.NDArray[np.float64]

BLOCKS: Final = (250, 500, 1000, 2000)
_FEWEST: Final = 4


def grouped(events: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """The first step of each block: whole consecutive steps of at least `size` events; a rest joins the last block.

    >>> grouped(np.array([100, 200, 300, 100, 100]), 250).tolist()
    [0, 2]
    """
    starts, held = [0], 0
    for step, count in enumerate(events.tolist()):
        if held >= size:
            starts.append(step)
            held = 0
        held += count
    if held < size and len(starts) > 1:
        starts.pop()
    return np.array(starts, dtype=np.int64)


def dispersion(
    cells: Floats, values: Floats, tested: Sequence[int], expected: Floats | None = None
) -> tuple[Floats, bool]:
    """The over-dispersion phi of each monitor, and whether it is significant.

    Args:
        cells: float64[steps, cells], the reference's events by step and cell.
        values: float64[monitors, cells], each monitor's value of a cell.
        tested: the monitors whose over-dispersion counts (y and the residual).
        expected: float64[steps, monitors], the means that a season gives the steps; only what it does not explain is
            over-dispersion. None where the mean is constant.

    Returns:
        float64[monitors]: the largest phi over the block sizes, 0 where there are fewer than four blocks; and whether
        any tested monitor exceeds the 99.5 % quantile of chi-squared by its degrees of freedom.
    """
    events = cells.sum(axis=1)
    whole = cells.sum(axis=0)
    total = whole.sum()
    mean = values @ whole / total
    variance = np.maximum((values - mean[:, None]) ** 2 @ whole / total, 1e-300)
    explained = np.zeros((events.size, mean.size)) if expected is None else (expected - mean) * events[:, None]
    phi = np.zeros(values.shape[0])
    significant = False
    seen: set[int] = set()
    for size in BLOCKS:
        starts = grouped(events.astype(np.int64), size)
        if starts.size < _FEWEST or starts.size in seen:
            continue
        seen.add(starts.size)
        blocks = np.add.reduceat(cells, starts, axis=0)
        n = blocks.sum(axis=1)
        means = (blocks @ values.T - np.add.reduceat(explained, starts, axis=0)) / n[:, None]
        centre = (n @ means) / total
        at_size = (n[:, None] * (means - centre) ** 2).sum(axis=0) / (starts.size - 1) / variance
        limit = float(chdtri(starts.size - 1, 0.005)) / (starts.size - 1)
        significant |= bool((at_size[list(tested)] > limit).any())
        phi = np.maximum(phi, at_size)
    return phi, significant
