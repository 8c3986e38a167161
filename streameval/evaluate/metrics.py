"""The metrics of a binary model, each with an interval, from its evidence.

Invariant: a metric that is not defined (no positives, nothing predicted positive, one example) is absent, never nan.

Sources: AUC with the variance of DeLong, DeLong and Clarke-Pearson (1988), ties counted half, on bins; average
precision as scikit-learn defines it, on bins, with the logit interval of Boyd, Eng and Page (2013, "Area under the
precision-recall curve"); Jeffreys intervals for precision and recall; METHODS, sections 0 and 4.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from streameval.evaluate.estimate import Estimate, normal, on_logit, proportion
from streameval.evidence import BinaryEvidence, threshold_bin
from streameval.evidence.exact import UNIT

METRICS: Final = (
    "log_loss",
    "brier",
    "auc",
    "average_precision",
    "precision",
    "recall",
    "f1",
    "cost",
    "calibration_error",
)
"""The names under which metrics are published; a KPI must have another one."""


class Confusion(NamedTuple):
    """How many examples were decided how at a threshold: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


def confusion(evidence: BinaryEvidence, threshold: float) -> Confusion:
    """Decisions at "positive iff score >= threshold"; a threshold inside a bin acts from that bin's lower edge.

    >>> e = BinaryEvidence.of(np.array([0.2, 0.6, 0.9]), np.array([0, 0, 1]))
    >>> confusion(e, 0.5)
    Confusion(tp=1, fp=1, fn=0, tn=1)
    """
    first = int(np.searchsorted(evidence.bins, threshold_bin(threshold)))
    (tn, fn), (fp, tp) = evidence.counts[:, :first].sum(axis=1), evidence.counts[:, first:].sum(axis=1)
    return Confusion(int(tp), int(fp), int(fn), int(tn))


def binary_metrics(
    evidence: BinaryEvidence,
    threshold: float,
    objective_cost: tuple[float, float] | None = None,
    scales: dict[str, float] | None = None,
) -> dict[str, Estimate]:
    """All metrics that are defined, by name, and the mean of each KPI per example that has it.

    `threshold` is the one in force (on the score), `objective_cost` the costs of a false positive and of a false
    negative; without them there is no `cost`. `scales` are those of the KPIs in the evidence (1 by default).
    The calibration error has a module of its own.

    >>> e = BinaryEvidence.of(np.array([0.2, 0.4, 0.6, 0.9]), np.array([0, 1, 0, 1]))
    >>> m = binary_metrics(e, 0.5, (1.0, 10.0))
    >>> m["auc"].value, m["precision"].value, m["cost"].value
    (0.75, 0.5, 2.75)
    """
    found: dict[str, Estimate | None] = {}
    for name, (count, total, square) in evidence.kpis.items():
        scale = (scales or {}).get(name, 1.0)
        found[name] = _mean(count, total * scale, square * scale * scale)
    n0, n1 = evidence.counts.sum(axis=1).tolist()
    for name in ("log_loss", "brier"):
        loss, loss_sq = (
            (evidence.losses[f"{name}{kind}_0"] + evidence.losses[f"{name}{kind}_1"]) / UNIT for kind in ("", "_sq")
        )
        found[name] = _mean(n0 + n1, loss, loss_sq, floor=0.0)
    if n1:
        found["average_precision"] = _average_precision(evidence, n1)
        if n0:
            found["auc"] = _auc(evidence, n0, n1)
    c = confusion(evidence, threshold)
    if c.tp + c.fp:
        found["precision"] = proportion(c.tp, c.fp)
    if c.tp + c.fn:
        found["recall"] = proportion(c.tp, c.fn)
    if c.tp + c.fp + c.fn:
        found["f1"] = _f1(c)
    if objective_cost is not None and n0 + n1:
        found["cost"] = _cost(c, *objective_cost)
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def auc_of(negatives: np.ndarray, positives: np.ndarray) -> float:
    """The AUC of counts (or weights) by bin, ascending in score; both must have a sum above 0.

    >>> auc_of(np.array([1, 1]), np.array([0, 2]))
    0.75
    """
    below = np.cumsum(negatives) - 0.5 * negatives
    return float(np.dot(positives, below) / (positives.sum() * negatives.sum()))


def _mean(count: int, total: float, square: float, floor: float = -math.inf) -> Estimate | None:
    if count < 2:
        return None
    mean = total / count
    variance = max(0.0, square - total * mean) / (count - 1)
    return normal(mean, math.sqrt(variance / count), floor)


def _auc(evidence: BinaryEvidence, n0: int, n1: int) -> Estimate:
    negatives, positives = evidence.counts.astype(np.float64)
    beaten = (np.cumsum(negatives) - 0.5 * negatives) / n0
    beaten_by = (n1 - np.cumsum(positives) + 0.5 * positives) / n1
    auc = float(positives @ beaten) / n1
    # The spread of the placements, DeLong's components.
    of_positives = max(0.0, float(positives @ (beaten - auc) ** 2)) / max(1, n1 - 1)
    of_negatives = max(0.0, float(negatives @ (beaten_by - auc) ** 2)) / max(1, n0 - 1)
    se = math.sqrt(of_positives / n1 + of_negatives / n0)
    if se > 0.0 and 0.0 < auc < 1.0 and min(n0, n1) > 1:
        return on_logit(auc, se)
    # Without spread DeLong's variance says nothing. Whatever the scores' law, the variance is at most
    # AUC (1 - AUC) / min(n0, n1) (Birnbaum and Klose, 1957): that of as many independent comparisons.
    pairs = min(n0, n1)
    bound = proportion(auc * pairs, (1.0 - auc) * pairs)
    return Estimate(auc, bound.low, bound.high)


def _average_precision(evidence: BinaryEvidence, n1: int) -> Estimate:
    positives = evidence.counts[1, ::-1]
    caught = np.cumsum(positives)
    flagged = caught + np.cumsum(evidence.counts[0, ::-1])
    ap = min(1.0, float(positives @ (caught / flagged)) / n1)
    if 0.0 < ap < 1.0:
        return on_logit(ap, math.sqrt(ap * (1.0 - ap) / n1))
    return Estimate(ap, proportion(n1, 0).low, 1.0)


def _f1(c: Confusion) -> Estimate:
    # F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), which given its denominator is a proportion: its interval, carried
    # over, stays in [0, 1] where the delta method's leaves it.
    jaccard = proportion(c.tp, c.fp + c.fn)
    return Estimate(*(2.0 * j / (1.0 + j) for j in jaccard))


def _cost(c: Confusion, fp: float, fn: float) -> Estimate:
    n = sum(c)
    # One more of each: a kind of mistake that was not seen is not one that cannot happen.
    se = math.sqrt(fp * fp * (c.fp + 1) + fn * fn * (c.fn + 1)) / n
    return normal((fp * c.fp + fn * c.fn) / n, se, floor=0.0)
