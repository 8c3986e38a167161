"""What a threshold is for: the six objectives that METHODS section 4 solves on the score histogram.

Each is one mapping with ``kind``; the other keys are its parameters, all with a range in which it has a solution.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streameval.config.quantities import Name, Number
from streameval.config.section import RefusedError, Section, setting

__all__ = ["Capacity", "Cost", "FBeta", "Objective", "Precision", "Recall", "Value"]

_RESTARTS = "the threshold's epoch and the monitors of cost"


class Cost(Section):
    """Least cost: ``fp · false positives + fn · false negatives``."""

    kind: Literal["cost"] = setting("least cost", change="restarts", restarts=_RESTARTS, default="cost")
    fp: Number = setting(
        "cost of one false positive, in any unit, > 0 unless fn is",
        change="restarts",
        restarts=_RESTARTS,
        default=1.0,
        ge=0,
        le=1e9,
    )
    fn: Number = setting(
        "cost of one false negative, in the same unit",
        change="restarts",
        restarts=_RESTARTS,
        default=1.0,
        ge=0,
        le=1e9,
    )

    @model_validator(mode="after")
    def _some_cost(self) -> Cost:
        if self.fp == 0 and self.fn == 0:
            raise RefusedError("both costs are zero, so every threshold is best", "give fp or fn a cost above 0")
        return self


class FBeta(Section):
    """Greatest F-beta score; beta = 1 weighs precision and recall alike, beta = 2 favours recall."""

    kind: Literal["f_beta"] = setting("greatest F-beta score", change="restarts", restarts=_RESTARTS)
    beta: Number = setting(
        "weight of recall against precision", change="restarts", restarts=_RESTARTS, default=1.0, ge=0.01, le=100
    )


class Precision(Section):
    """The lowest threshold whose precision is, with confidence, at least the target."""

    kind: Literal["precision"] = setting("at least this precision", change="restarts", restarts=_RESTARTS)
    target: Number = setting("precision to hold, in (0, 1)", change="restarts", restarts=_RESTARTS, gt=0, lt=1)


class Recall(Section):
    """The highest threshold whose recall is, with confidence, at least the target."""

    kind: Literal["recall"] = setting("at least this recall", change="restarts", restarts=_RESTARTS)
    target: Number = setting("recall to hold, in (0, 1)", change="restarts", restarts=_RESTARTS, gt=0, lt=1)


class Capacity(Section):
    """At most this share of the predictions is positive: what a team can look at."""

    kind: Literal["capacity"] = setting("at most this share positive", change="restarts", restarts=_RESTARTS)
    share: Number = setting(
        "largest share of predictions above the threshold, in (0, 1)", change="restarts", restarts=_RESTARTS, gt=0, lt=1
    )


class Value(Section):
    """Greatest sum of a KPI over the predictions above the threshold."""

    kind: Literal["value"] = setting("greatest sum of a KPI", change="restarts", restarts=_RESTARTS)
    kpi: Name = setting("name of the KPI, declared under the model's kpis", change="restarts", restarts=_RESTARTS)


Objective = Annotated[Cost | FBeta | Precision | Recall | Capacity | Value, Field(discriminator="kind")]
"""One of the six objectives, told apart by ``kind``."""
