"""Columns of numbers that events hold beside scores: KPI values of outcomes, propensities of predictions.

Invariant: what leaves here is a number within its bounds, or nan. A KPI's value that is none is a fault of its outcome;
a propensity that is none counts as not given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import NoneType
from typing import Any, Final

import numpy as np
from msgspec import UNSET

from streameval.events.columns import F64
from streameval.events.contract import WHOLE
from streameval.events.malformed import shown
from streameval.events.rejected import OUT_OF_RANGE, WRONG_TYPE
from streameval.events.repeated import Fault

_NUMBERS: Final = frozenset({float, int, NoneType})


def kpi_column(name: str, groups: Sequence[dict[str, Any] | None], largest: F64) -> tuple[F64, dict[int, Fault]]:
    """float64[n]: one KPI's values, nan where not given, and the faults of those that are none, by index.

    Args:
        name: the KPI.
        groups: the values of n outcomes.
        largest: float64[n], what each may be, either way; inf where nobody reads it.
    """
    given: list[Any] = [group.get(name) if group else None for group in groups]
    column, odd = _numbers(given)
    faults: dict[int, Fault] = {}
    for index in odd:
        if largest[index] < np.inf:
            text = f"$.values.{name} is no number: send one without quotes, and null or nothing where there is none"
            faults[index] = (WRONG_TYPE, text)
    for index in np.flatnonzero(np.abs(column) > largest).tolist():
        text = (
            f"$.values.{name} is {shown(given[index])}, more than 2^53 units of its scale "
            f"({shown(float(largest[index]) / WHOLE)}): leave it out where there is none, or raise kpis.{name}.scale"
        )
        faults[index] = (OUT_OF_RANGE, text)
    column[~np.isfinite(column)] = np.nan
    return column, faults


def propensity_column(given: Sequence[Any], asked: np.ndarray) -> tuple[F64, int]:
    """float64[n] in (0, 1]: propensities, nan where not given; and how many could not be used.

    Args:
        given: what n predictions hold.
        asked: bool[n], whose model reads it.
    """
    values = [None if value is UNSET else value for value in given]
    column, odd = _numbers(values)
    unusable = ~np.isnan(column) & ~((column > 0) & (column <= 1))
    unusable[odd] = True
    return np.where(asked & ~unusable, column, np.nan), int((unusable & asked).sum())


def _numbers(values: Sequence[Any]) -> tuple[F64, list[int]]:
    """float64[n], nan where there is none, inf beyond a double; and the places of what is neither number nor None."""
    if set(map(type, values)) <= _NUMBERS:
        with contextlib.suppress(OverflowError):
            return np.array(values, dtype=np.float64), []
    odd = [place for place, value in enumerate(values) if type(value) not in _NUMBERS]
    column = np.array([_number(value) for value in values], dtype=np.float64)
    return column, odd


def _number(value: Any) -> float:
    if type(value) is int and value.bit_length() > 1023:
        return np.inf if value > 0 else -np.inf
    return float(value) if type(value) in (float, int) else np.nan
