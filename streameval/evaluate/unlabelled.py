"""Performance without labels: what a model's metrics must be on fresh scores if its calibration map still holds.

With N_b scores in a bin and the calibrated probability q_b there, N_b q_b positives and N_b (1 - q_b) negatives are
expected; metrics are computed of these as of any counts (NannyML's CBPE, in O(bins)). The *band* beside an estimate is
no theory: it is the 90 % quantile of how far earlier estimates, of groups of about the same size, turned out to be off
once their labels had come. It holds sampling error, and calibration error as far as it was usual.

Such an estimate cannot see concept drift. The caller keeps it silent in states that its band knows nothing of.

Invariant: a band needs 20 groups of half to twice the size; without it there is no estimate.

Source: METHODS, section 7; NannyML, confidence-based performance estimation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from scipy.special import expit, logit

from streameval.evaluate.metrics import auc_of
from streameval.evidence.merge import Floats

LEAST_GROUPS: Final = 20
"""So many estimates must have been put to the test."""
KEPT: Final = 60
"""So many are remembered."""
COVERED: Final = 0.9
"""The share of them that the band covers."""

_CLIP: Final = 1e-15
_EDGE: Final = 1e-9


def point_metrics(
    negatives: Floats, positives: Floats, score: Floats, flagged: int, costs: tuple[float, float] | None
) -> dict[str, float]:
    """Metrics of counts by bin, which may be expectations; what is not defined is absent.

    Args:
        negatives: float64[k], by bin, ascending in score.
        positives: float64[k], likewise.
        score: float64[k], the bins' scores.
        flagged: The first bin at or above the threshold.
        costs: The price of a false positive and of a false negative, if the objective has them.

    >>> found = point_metrics(np.array([3.0, 1.0]), np.array([0.0, 4.0]), np.array([0.2, 0.9]), 1, (1.0, 10.0))
    >>> found["precision"], found["recall"], found["cost"], found["auc"]
    (0.8, 1.0, 0.125, 0.875)
    """
    n0, n1 = float(negatives.sum()), float(positives.sum())
    found: dict[str, float] = {}
    if n0 + n1 <= 0.0:
        return found
    tp, fp = float(positives[flagged:].sum()), float(negatives[flagged:].sum())
    fn = n1 - tp
    if tp + fp > 0.0:
        found["precision"] = tp / (tp + fp)
    if n1 > 0.0:
        found["recall"] = tp / n1
    if tp + fp + fn > 0.0:
        found["f1"] = 2.0 * tp / (2.0 * tp + fp + fn)
    if costs is not None:
        found["cost"] = (costs[0] * fp + costs[1] * fn) / (n0 + n1)
    if n0 > 0.0 and n1 > 0.0:
        found["auc"] = auc_of(negatives, positives)
    p = np.clip(score, _CLIP, 1.0 - _CLIP)
    found["log_loss"] = -float(positives @ np.log(p) + negatives @ np.log1p(-p)) / (n0 + n1)
    found["brier"] = float(positives @ (1.0 - p) ** 2 + negatives @ p**2) / (n0 + n1)
    return found


def shifted(probability: Floats, old: float, new: float) -> Floats:
    """float64[k]: calibrated probabilities after the prevalence alone went from `old` to `new`.

    >>> round(float(shifted(np.array([0.2]), 0.05, 0.15)[0]), 4)
    0.456
    """
    moved: Floats = expit(logit(np.clip(probability, _EDGE, 1.0 - _EDGE)) + logit(new) - logit(old))
    return moved


class Backtest:
    """How far estimates of earlier groups were off.

    >>> backtest = Backtest()
    >>> for k in range(20):
    ...     backtest.judge(1000, {"auc": 0.9}, {"auc": 0.9 + 0.001 * k})
    >>> round(backtest.bands(1500)["auc"], 3), backtest.bands(5000)
    (0.018, {})
    """

    def __init__(self) -> None:
        self._errors: deque[tuple[int, dict[str, float]]] = deque(maxlen=KEPT)

    def __len__(self) -> int:
        return len(self._errors)

    def judge(self, events: int, estimated: Mapping[str, float], realised: Mapping[str, float]) -> None:
        """Compare what was said of a group with what came true."""
        errors = {name: abs(value - realised[name]) for name, value in estimated.items() if name in realised}
        self._errors.append((events, errors))

    def bands(self, events: int) -> dict[str, float]:
        """By metric, half the width of the band of a group of this size; absent where too few were judged."""
        alike = [errors for size, errors in self._errors if events <= 2 * size and size <= 2 * events]
        found: dict[str, float] = {}
        for name in sorted({name for errors in alike for name in errors}):
            known = [errors[name] for errors in alike if name in errors]
            if len(known) >= LEAST_GROUPS:
                # Of n errors the one that the next stays below with at least this chance: conformal prediction.
                rank = min(int(np.ceil(COVERED * (len(known) + 1))), len(known))
                found[name] = sorted(known)[rank - 1]
        return found

    def state(self) -> list[Any]:
        """Plain values from which ``restore`` continues exactly."""
        return [[size, errors] for size, errors in self._errors]

    @classmethod
    def restore(cls, state: list[Any]) -> Backtest:
        """The inverse of ``state``."""
        new = cls()
        new._errors.extend((int(size), dict(errors)) for size, errors in state)
        return new
