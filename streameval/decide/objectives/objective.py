"""Objective: what a threshold is for.

Free objectives (cost, F-beta, value) have a best threshold. Those with a target (precision, recall, capacity) have a
side on which the target holds, and among the thresholds there the one that gives away least.

Invariant: solutions are candidates of the curve. Among equals the highest threshold is taken, which flags least; where
a target has to hold, METHODS says which end.
Source: METHODS, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy.typing as npt

from streameval.detect.label_counts import Histogram

Standing = Literal["held", "missed", "slack"]


@dataclass(frozen=True, slots=True)
class Solution:
    """A threshold, the objective's value there, and whether its target can be held at all."""

    threshold: float
    value: float
    feasible: bool = True


@dataclass(frozen=True, slots=True)
class Gain:
    """What a move would win: a value, its standard error, and what is paid or won at `present`."""

    value: float
    error: float
    present: float


class Evidence(Histogram, Protocol):
    """What objectives read: counts by bin and label, and sums of KPIs by bin. Counts need not be whole numbers."""

    @property
    def events(self) -> float:
        """How many events."""
        ...

    @property
    def kpis(self) -> Mapping[str, tuple[float, float, float]]:
        """KPI -> (events that have it, total, sum of squares), in units of its scale."""
        ...

    def value_sums(self, name: str) -> npt.NDArray[Any]:
        """[k]: a KPI's sum by bin."""
        ...


class Objective(Protocol):
    """A way to choose thresholds from evidence."""

    @property
    def kind(self) -> str:
        """The objective's name in the configuration."""
        ...

    def solve(self, evidence: Evidence) -> Solution | None:
        """The best threshold; None where the evidence cannot say (no events, no positives)."""
        ...

    def value_at(self, evidence: Evidence, threshold: float) -> float | None:
        """The objective's value at a threshold; None where it is undefined."""
        ...

    def gain(self, evidence: Evidence, in_force: float, proposed: float) -> Gain:
        """What a move from a threshold to another would win."""
        ...


@runtime_checkable
class Targeted(Objective, Protocol):
    """An objective with a target to hold."""

    def standing(self, evidence: Evidence, threshold: float, z: float) -> Standing:
        """How a threshold stands to the target, at z standard errors."""
        ...

    def repair(self, evidence: Evidence, in_force: float, proposed: float) -> Gain:
        """What a move would win in the target's own measure, where that is missed."""
        ...
