"""The metrics of a binary model, each with an interval, from its evidence.

Invariant: a metric that is not defined (no positives, nothing predicted positive, one example) is absent, never nan.

Rare positives make sums lopsided: a mean loss or cost stands on a handful of large amounts, and the next one may be
missing only by chance. Such sums have gamma intervals, in which one more event is reckoned with.

Sources: AUC with the variance of DeLong, DeLong and Clarke-Pearson (1988), ties counted half, on bins, its interval
for few events shaped as that of Newcombe (2006: the variance of Hanley and McNeil at the truth that is tried); average
precision as scikit-learn defines it, on bins; Jeffreys intervals for precision and recall; Fay and Feuer (1997) for
losses, costs and KPIs; METHODS, sections 0 and 4.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from streameval.evaluate.estimate import (
    Estimate,
    normal,
    on_logit,
    proportion,
    score_interval,
    summed,
    together,
    wilson,
)
from streameval.evidence import BinaryEvidence, threshold_bin
from streameval.evidence.exact import UNIT
from streameval.evidence.merge import Floats

_PRIOR: Final = 5.0
"""With how many observations' weight a variance that was seen leans on the one that its form predicts."""
_FEW: Final = 100
"""Of so many events of the rarer class on, what a further one might cost is told by those that were seen."""

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
    # In an order that owes nothing to when each was first seen, or to a restart.
    for name, (count, total, square) in sorted(evidence.kpis.items()):
        scale = (scales or {}).get(name, 1.0)
        found[name] = _kpi(count, total, square, scale)
    n0, n1 = evidence.counts.sum(axis=1).tolist()
    if n0 + n1 > 1:
        for name in ("log_loss", "brier"):
            found[name] = _loss(evidence, name, n0, n1)
    if n1:
        ranked = _Ranked.of(evidence)
        found["average_precision"] = _average_precision(ranked, n0, n1)
        if n0:
            found["auc"] = _auc(ranked, n0, n1)
    found |= decision_metrics(confusion(evidence, threshold), objective_cost)
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def decision_metrics(c: Confusion, objective_cost: tuple[float, float] | None = None) -> dict[str, Estimate]:
    """Those of the metrics that count right and wrong decisions; `cost` where costs are given.

    >>> round(decision_metrics(Confusion(30, 10, 10, 50))["f1"].value, 3)
    0.75
    """
    found = {}
    if c.tp + c.fp:
        found["precision"] = proportion(c.tp, c.fp)
    if c.tp + c.fn:
        found["recall"] = proportion(c.tp, c.fn)
    if c.tp + c.fp + c.fn:
        found["f1"] = _f1(c)
    if objective_cost is not None and any(c):
        found["cost"] = _cost(c, *objective_cost)
    return found


def auc_of(negatives: np.ndarray, positives: np.ndarray) -> float:
    """The AUC of counts (or weights) by bin, ascending in score; both must have a sum above 0.

    >>> auc_of(np.array([1, 1]), np.array([0, 2]))
    0.75
    """
    below = np.cumsum(negatives) - 0.5 * negatives
    return float(np.dot(positives, below) / (positives.sum() * negatives.sum()))


def _kpi(count: int, units: int, squares: int, scale: float) -> Estimate | None:
    if count < 2:
        return None
    total = units * scale
    mean = total / count
    # In whole numbers, so that it is 0 just where all are alike.
    variance = (count * squares - units * units) / count * scale * scale
    if variance == 0.0:
        # Another one may differ, and nothing tells by how much.
        return Estimate(mean, -math.inf, math.inf)
    symmetric = normal(mean, math.sqrt(variance / (count - 1) / count))
    # Where few make up the sum (most events without revenue, say), it is lopsided: one more might weigh as much as
    # those that were seen, by their own weight.
    size = abs(total)
    further = math.sqrt(variance) if size == 0.0 else min(variance / size, math.sqrt(variance))
    reach = summed(size, variance, further).high / count
    if total < 0.0:
        return Estimate(mean, min(symmetric.low, -reach), symmetric.high)
    return Estimate(mean, symmetric.low, max(symmetric.high, reach))


def _loss(evidence: BinaryEvidence, name: str, n0: int, n1: int) -> Estimate:
    """A mean loss, from what the rarer class loses more than the other.

    The loss is that of the common class, c, for all, and x - c more for each event of the rarer one. The former is a
    mean of many, the latter a sum that may be of few.
    """
    n = n0 + n1
    count = (n0, n1)
    rare = int(n1 <= n0)
    total, square = ([evidence.losses[f"{name}{kind}_{label}"] / UNIT for label in (0, 1)] for kind in ("", "_sq"))
    common, many = total[1 - rare] / count[1 - rare], count[1 - rare]
    spread = max(0.0, square[1 - rare] / many - common * common) / max(1, many - 1)
    base = normal(common, math.sqrt(spread), floor=0.0)
    k = count[rare]
    more = total[rare] - k * common
    variance = max(0.0, square[rare] - 2.0 * common * total[rare] + k * common * common - more * more / n)
    if more >= 0.0:
        further = _further(evidence, name, rare, k, square[rare]) - common
        extra = summed(more, variance, max(0.0, further))
    else:
        extra = normal(more, math.sqrt(variance))
    value = (total[0] + total[1]) / n
    low, high = together([base, Estimate(*(x / n for x in extra))])[1:]
    return Estimate(value, min(value, max(0.0, low)), max(value, high))


def _further(evidence: BinaryEvidence, name: str, label: int, count: int, square: float) -> float:
    """What one more event of a class might lose: the root mean square of those seen, and of one as the scores say."""
    if count >= _FEW:
        return math.sqrt(square / count)
    p = np.clip(evidence.mean_scores, 1e-9, 1.0 - 1e-9)
    right = p if label else 1.0 - p
    weight = right * (evidence.counts[0] + evidence.counts[1])
    squares = np.log(right) ** 2 if name == "log_loss" else (1.0 - right) ** 4
    return math.sqrt((square + float(weight @ squares) / float(weight.sum())) / (count + 1))


class _Ranked(NamedTuple):
    """Events by bin, ascending, and the events up to the bin's end; by label."""

    negatives: Floats
    positives: Floats
    negatives_to: Floats
    positives_to: Floats

    @classmethod
    def of(cls, evidence: BinaryEvidence) -> _Ranked:
        counts = evidence.counts.astype(np.float64)
        return cls(*counts, *np.cumsum(counts, axis=1))


def _auc(ranked: _Ranked, n0: int, n1: int) -> Estimate:
    negatives, positives, negatives_to, positives_to = ranked
    beaten = (negatives_to - 0.5 * negatives) / n0
    beaten_by = (n1 - positives_to + 0.5 * positives) / n1
    auc = min(1.0, float(positives @ beaten) / n1)

    def by_form(truth: float) -> float:
        one, other = truth / (2.0 - truth), 2.0 * truth * truth / (1.0 + truth)
        square = truth * truth
        return (truth - square + (n1 - 1) * (one - square) + (n0 - 1) * (other - square)) / (n0 * n1)

    # The spread of the placements, DeLong's components.
    of_positives = max(0.0, float(positives @ (beaten - auc) ** 2)) / max(1, n1 - 1)
    of_negatives = max(0.0, float(negatives @ (beaten_by - auc) ** 2)) / max(1, n0 - 1)
    ratio = _leaning(of_positives / n1 + of_negatives / n0, by_form(auc), min(n0, n1))
    if min(n0, n1) >= _FEW and 0.0 < auc < 1.0:
        return on_logit(auc, math.sqrt(ratio * by_form(auc)))
    return score_interval(auc, lambda truth: ratio * by_form(truth))


def _leaning(seen: float, predicted: float, observations: int) -> float:
    """Seen to predicted variance, leaning on 1 where it was seen on few observations."""
    ratio = seen / predicted if predicted > 0.0 else 1.0
    return ((observations - 1) * ratio + _PRIOR) / (observations - 1 + _PRIOR)


def _average_precision(ranked: _Ranked, n0: int, n1: int) -> Estimate:
    negatives, positives, negatives_to, positives_to = ranked
    caught = n1 - positives_to + positives
    flagged = caught + (n0 - negatives_to + negatives)
    precision = caught / flagged
    ap = min(1.0, float(positives @ precision) / n1)
    # How far one event of each bin moves it: a positive by its own precision and by raising those below it, a negative
    # by lowering them. Events are Poisson by bin and label.
    share = positives / flagged
    lowered = np.cumsum(share * precision)
    raised = np.cumsum(share) - lowered
    variance = float(positives @ (precision - ap + raised) ** 2 + negatives @ (lowered * lowered)) / n1**2
    ratio = _leaning(variance, ap * (1.0 - ap) / n1, n1)
    # Each positive counts in the precision at its own score: of few positives, AP is too high on average, by about what
    # it loses when none counts for itself. The truth may lie lower by as much.
    others = float(positives @ ((caught - 1.0) / np.maximum(flagged - 1.0, 1.0))) / n1
    return Estimate(ap, wilson(max(0.0, min(others, ap)), n1 / ratio).low, wilson(ap, n1 / ratio).high)


def _f1(c: Confusion) -> Estimate:
    # F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), which given its denominator is a proportion: its interval, carried
    # over, stays in [0, 1] where the delta method's leaves it.
    jaccard = proportion(c.tp, c.fp + c.fn)
    return Estimate(*(2.0 * j / (1.0 + j) for j in jaccard))


def _cost(c: Confusion, fp: float, fn: float) -> Estimate:
    # A kind of mistake that was not seen is not one that cannot happen: one more of each is reckoned with.
    n = sum(c)
    mistakes = (summed(price * k, price * price * k * (1.0 - k / n), price) for price, k in ((fp, c.fp), (fn, c.fn)))
    return Estimate(*(x / n for x in together(mistakes)))
