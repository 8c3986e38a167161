"""Diagnosis: what kind of change a confirmed alarm was. Its place and its types.

Until the tests of METHODS, section 5, are here, every alarm is "undiagnosed": it says that something changed, not what.

Invariant: a diagnosis is made once for an alarm, from its windows before and after.
Source: METHODS, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

State = Literal[
    "undiagnosed",
    "none",
    "covariate_shift",
    "label_shift",
    "miscalibration",
    "concept_drift",
    "inconclusive",
    "confounded",
]


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a diagnosis: its statistic, p-value and effect, and whether it holds."""

    # pytest would take a class of this name for a collection of tests.
    __test__ = False

    name: str
    statistic: float
    p_value: float
    effect: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The state that explains an alarm, and the tests that say so.

    >>> Diagnosis().state
    'undiagnosed'
    """

    state: State = "undiagnosed"
    tests: tuple[Test, ...] = field(default=())
