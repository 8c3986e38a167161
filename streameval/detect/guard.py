"""The guard: conformal SR while a reference is learnt, and when it may speak.

Events of a stream with days, bursts and customers are not exchangeable, so conformal SR alone would call each of its
swings a change. Over-dispersion is therefore judged as for a reference, from the blocks learnt so far: with a mean of
its own on either side of the change in question and without the blocks that touch it, because the change itself is no
unrest. Where what remains is significant, the evidence is tempered by twice that over-dispersion. So the guard has
nothing to say before there are blocks enough to judge.

Invariant: a function of the steps in their order.
Source: METHODS, section 1 ("Short reference", "Over-dispersion").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.detect.bands import BANDS, MIDDLE, band_counts
from streameval.detect.conformal import FUNCTIONS, Conformal
from streameval.detect.esr import DIRECTIONS, Crossing
from streameval.detect.examples import Examples
from streameval.detect.history import History
from streameval.detect.overdispersion import dispersion
from streameval.detect.reference import log_threshold_of

Floats = npt.NDArray[np.float64]

FEWEST_BLOCKS: Final = 8
_TESTED: Final = (0, 1)  # the label and the residual


@dataclass(frozen=True, slots=True)
class Caught:
    """What made the guard speak: the functions, strongest first, log of the threshold, over-dispersion of the first."""

    crossings: list[Crossing]
    log_threshold: float
    phi: float


class Guard:
    """Conformal SR of one cell from `start` (ms) on; `sign_weight_above` is that of the weighted residual."""

    def __init__(self, start: int, sign_weight_above: float) -> None:
        self.conformal = Conformal(start, sign_weight_above)

    @property
    def log_statistic(self) -> Floats:
        """float64[3, 2]: log of the mean of M, before any tempering."""
        return self.conformal.log_statistic

    def step(self, examples: Examples, history: History, end: int, promise_ms: int, cells: int) -> Caught | None:
        """Take in the ordered examples of one step that ends at `end` (ms).

        Args:
            examples: the step's.
            history: what was learnt so far, this step included.
            end: ms.
            promise_ms: one false alarm in this time is promised, over so many `cells`.
            cells: see there.

        Returns:
            The strongest function that reached its threshold.
        """
        self.conformal.step(examples, end)
        if len(history.blocks) < FEWEST_BLOCKS:
            return None
        monitors = cells * len(FUNCTIONS) * len(DIRECTIONS)
        limit = log_threshold_of(history.events, history.end - history.start, promise_ms, monitors)
        crossings = self.conformal.crossings(limit)
        if not crossings:
            return None
        phi = self._unrest(history, crossings[0].change_at)
        lasting = [c for c in crossings if c.log_statistic / phi[c.monitor] >= limit]
        return Caught(lasting, limit, float(phi[lasting[0].monitor])) if lasting else None

    def _unrest(self, history: History, change_at: int) -> Floats:
        """float64[3]: what each function's evidence is to be divided by."""
        blocks = history.blocks
        # Where the change falls between blocks, those on either side may hold some of it.
        apart = [k for k, b in enumerate(blocks) if not b.start <= change_at <= b.end]
        counts = np.stack([band_counts(blocks[k].counts) for k in apart]).astype(np.float64)
        values = self._values()
        expected = np.empty((len(apart), len(FUNCTIONS)))
        before = np.array([blocks[k].end < change_at for k in apart])
        for side in (before, ~before):
            if side.any():
                whole = counts[side].sum(axis=0)
                expected[side] = values @ whole / whole.sum()
        phi, significant = dispersion(counts, values, _TESTED, expected)
        return 2.0 * np.maximum(phi, 1.0) if significant else np.ones(len(FUNCTIONS))

    def _values(self) -> Floats:
        y, s = np.repeat([0.0, 1.0], BANDS), np.tile(MIDDLE, 2)
        sign = np.where(s > self.conformal.sign_weight_above, 1.0, -1.0)
        return np.stack([y, (y - s + 1.0) / 2.0, (sign * (y - s) + 1.0) / 2.0])

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return self.conformal.state()

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Guard:
        """The guard that `state` described; it continues bit for bit."""
        out = cls(0, float(state["sign_weight_above"]))
        out.conformal = Conformal.restore(state)
        return out
