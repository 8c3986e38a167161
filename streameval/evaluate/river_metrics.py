"""River's metrics by class name, fed from the same evidence as our own.

A metric is built with River's defaults. Metrics of decisions are fed the four cells of the confusion at the threshold
in force, with their counts as weights: they know no more, and are exact; those that stand on a confusion matrix alone
share one. Metrics of probabilities are fed at most 64
merged bins, by label, with the bin's mean and its counts. River's `ROCAUC` with its 10 thresholds is therefore never
published as `auc`.

Invariant: only classification metrics whose `update` takes a weight are accepted, and a wrong name is refused before
anything runs.

Source: river 0.26, `river.metrics.base`; METHODS, section 0.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from river import metrics
from river.metrics.base import BinaryMetric, ClassificationMetric

from streameval.errors import ConfigValueError
from streameval.evaluate.metrics import confusion
from streameval.evidence import EDGES, BinaryEvidence, threshold_bin
from streameval.evidence.merge import Floats, MergedBins

_MERGED: Final = 64

Fed: TypeAlias = list[tuple[bool, bool | dict[bool, float], float]]
"""(label, what was predicted, weight)."""


def _usable(found: object) -> bool:
    if not (inspect.isclass(found) and issubclass(found, ClassificationMetric) and not inspect.isabstract(found)):
        return False
    parameters = inspect.signature(found).parameters.values()
    built_alone = all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    weighted = "w" in inspect.signature(found.update).parameters
    return built_alone and weighted and found not in _TABLES + _WEIGHTS_MISCOUNTED


# Tables, not numbers.
_TABLES: Final[tuple[type, ...]] = (metrics.ConfusionMatrix, metrics.ClassificationReport)
# These take a weight but divide by the number of updates (`cm.n_samples`) instead of the weights' sum: on merged bins a
# mutual information of -315, and for AdjustedMutualInfo a read beyond its array, a panic that no `except Exception`
# holds. A test feeds every accepted metric example by example and compares.
_WEIGHTS_MISCOUNTED: Final[tuple[type, ...]] = (
    metrics.AdjustedMutualInfo,
    metrics.AdjustedRand,
    metrics.Completeness,
    metrics.FowlkesMallows,
    metrics.Homogeneity,
    metrics.MutualInfo,
    metrics.NormalizedMutualInfo,
    metrics.Rand,
    metrics.VBeta,
)


def _stands_on_the_matrix(found: Any) -> bool:
    """Whether `update` does nothing but update a confusion matrix, which can then be given."""
    return (
        "cm" in inspect.signature(found).parameters
        and found.update in (ClassificationMetric.update, BinaryMetric.update)
        and found().requires_labels
    )


_MATRIX: Final[Any] = metrics.ConfusionMatrix


AVAILABLE: Final = tuple(sorted(name for name in set(metrics.__all__) if _usable(getattr(metrics, name, None))))
"""The names that can be configured."""
_OF_DECISIONS: Final = frozenset(name for name in AVAILABLE if getattr(metrics, name)().requires_labels)
_OF_THE_MATRIX: Final = frozenset(name for name in AVAILABLE if _stands_on_the_matrix(getattr(metrics, name)))


def validate(names: Iterable[str]) -> None:
    """Check names before anything runs.

    Raises:
        ConfigValueError: one is not a metric of River, or none that can be fed from evidence.

    >>> validate(["F1", "GeometricMean"])
    """
    for name in names:
        if name in AVAILABLE:
            continue
        unfit = "takes no weights, miscounts them, or is no metric of a binary classifier"
        raise ConfigValueError(
            f"river.metrics.{name} {unfit}" if name in metrics.__all__ else f"there is no river.metrics.{name}",
            where="evaluate.river",
            cure=f"choose from {', '.join(AVAILABLE)}",
        )


def river_metrics(
    evidence: BinaryEvidence, threshold: float, names: Iterable[str], probability: Floats | None = None
) -> dict[str, float]:
    """The value of each named metric; one that is not finite is absent.

    `probability` is float64[k], one for each of the evidence's bins, by default the bins' mean scores.

    Raises:
        ConfigValueError: see `validate`.

    >>> import numpy as np
    >>> e = BinaryEvidence.of(np.array([0.2, 0.6, 0.9]), np.array([0, 0, 1]))
    >>> round(river_metrics(e, 0.5, ["F1"])["F1"], 4)
    0.6667
    """
    names = list(names)
    validate(names)
    if not evidence.events or not names:
        return {}
    fed: dict[bool, Fed] = {}
    values = {}
    matrix: Any = None
    for name in names:
        kind: Any = getattr(metrics, name)
        of_decisions = name in _OF_DECISIONS
        if of_decisions not in fed:
            fed[of_decisions] = (
                _decisions(evidence, threshold) if of_decisions else _merged(evidence, threshold, probability)
            )
        if name in _OF_THE_MATRIX:
            if matrix is None:
                matrix = _MATRIX()
                for y, decision, w in fed[of_decisions]:
                    matrix.update(y, decision, w=w)
            metric = kind(cm=matrix)
        else:
            metric = kind()
            for y, predicted, w in fed[of_decisions]:
                metric.update(y, predicted, w=w)
        value = metric.get()
        if math.isfinite(value):
            values[name] = float(value)
    return values


def _decisions(evidence: BinaryEvidence, threshold: float) -> Fed:
    """How often each decision met each label."""
    c = confusion(evidence, threshold)
    cells = ((False, False, c.tn), (True, False, c.fn), (False, True, c.fp), (True, True, c.tp))
    return [(y, decision, float(w)) for y, decision, w in cells if w]


def _merged(evidence: BinaryEvidence, threshold: float, probability: Floats | None) -> Fed:
    """The merged bins' mean probabilities, by label."""
    first = threshold_bin(threshold)
    merged = MergedBins.of(evidence, _MERGED, probability, at=first if first < len(EDGES) - 1 else None)
    fed: Fed = []
    for p, counts in zip(merged.mean_probability.tolist(), merged.counts.T.tolist(), strict=True):
        by_class = {True: p, False: 1.0 - p}
        fed.extend((bool(y), by_class, w) for y, w in enumerate(counts) if w)
    return fed
