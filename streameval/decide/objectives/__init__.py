"""Objectives: what a threshold is for. One file each; a further one adds a file and a line here.

Source: METHODS, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from streameval.decide.objectives.capacity import Capacity
from streameval.decide.objectives.cost import Cost
from streameval.decide.objectives.curve import NOTHING
from streameval.decide.objectives.f_beta import FBeta
from streameval.decide.objectives.objective import Gain, Objective, Solution, Targeted
from streameval.decide.objectives.precision import Precision
from streameval.decide.objectives.recall import Recall
from streameval.decide.objectives.value import Value
from streameval.errors import ConfigValueError

__all__ = [
    "NOTHING",
    "Capacity",
    "Cost",
    "FBeta",
    "Gain",
    "Objective",
    "Precision",
    "Recall",
    "Solution",
    "Targeted",
    "Value",
    "objective_of",
]

_KINDS: Final[dict[str, Callable[[Any, Mapping[str, float]], Objective]]] = {
    "cost": lambda c, _: Cost(c.fp, c.fn),
    "f_beta": lambda c, _: FBeta(c.beta),
    "precision": lambda c, _: Precision(c.target),
    "recall": lambda c, _: Recall(c.target),
    "capacity": lambda c, _: Capacity(c.share),
    "value": lambda c, scales: Value(c.kpi, scales.get(c.kpi, 1.0)),
}


def objective_of(configured: Any, scales: Mapping[str, float] | None = None) -> Objective:
    """The objective that a configuration names: anything with `kind` and that kind's parameters.

    `scales` gives the units of KPIs.

    Raises:
        ConfigValueError: the kind is unknown.

    >>> from types import SimpleNamespace
    >>> objective_of(SimpleNamespace(kind="cost", fp=1.0, fn=10.0))
    Cost(fp=1.0, fn=10.0)
    """
    if configured.kind not in _KINDS:
        raise ConfigValueError(
            f"{configured.kind!r} is not an objective", where="objective.kind", cure=f"use one of {', '.join(_KINDS)}"
        )
    return _KINDS[configured.kind](configured, scales or {})
