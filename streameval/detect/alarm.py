"""Alarm: that something changed, since when, and what it was read from.

Invariant: plain facts, enough for a person to check the decision from the record alone; counts are bounded by the
merged bins.
Source: DESIGN, "Records out"; METHODS, section 10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Tier = Literal["advisory", "confirmed"]
Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One change of one cell.

    `statistic` is the mean of M for the confirmed tier (so c is what it is compared with), and the step's mean loss for
    an advisory detector. `change_at` and `at` are ms of prediction time: the likely change, and the end of the step
    that revealed it.
    """

    monitor: str
    tier: Tier
    statistic: float
    direction: Direction
    change_at: int
    at: int
    detail: dict[str, Any] = field(default_factory=dict)
    detector: str = "e_sr"
    """`e_sr`, `conformal_sr` (while a reference is learnt), or the class of the River detector."""
