"""What is in force for one model, version and segment: a threshold and a calibration map, as immutable values.

Invariant: a value never changes after it was made, so any thread may keep it; only its age grows.

Source: DESIGN, "Records out"; the map is that of `streameval.records.Knots`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from streameval import records
from streameval.errors import InputError

__all__ = ["WHOLE", "Calibration", "Cell", "Change", "InForce", "Scores", "Source", "Threshold"]

WHOLE: Final = "*"
"""The segment of all predictions."""

Scores: TypeAlias = Sequence[float] | NDArray[np.floating[Any]]
"""Scores of any shape."""

Source: TypeAlias = Literal["segment", "whole", "default"]
"""Where a value comes from: the segment's own record, that of all predictions, or the caller's default."""


class Cell(NamedTuple):
    """What a record is about; ``segment`` is ``name=value``, or ``*`` for all predictions."""

    model: str
    version: str
    segment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What a threshold and a map have in common: where they come from, and how old they are.

    Attributes:
        source: ``"segment"``, ``"whole"`` or ``"default"``.
        cell: model, version and segment of the record; None for a default.
        record_id: the record's CloudEvents id; None for a default.
        time: logical time of the decision, epoch ms; None for a default.
        received: when it was read, epoch s; None for a default.
    """

    source: Source = "default"
    cell: Cell | None = None
    record_id: str | None = None
    time: int | None = None
    received: float | None = None

    @property
    def version(self) -> str | None:
        """Version of the model in the record; another than asked for where a fallback to it was allowed."""
        return None if self.cell is None else self.cell.version

    @property
    def segment(self) -> str | None:
        """Segment of the record."""
        return None if self.cell is None else self.cell.segment

    @property
    def age(self) -> float | None:
        """Seconds since the record's time, by this machine's clock: how long it is in force. None for a default."""
        return None if self.time is None else time.time() - self.time / 1000

    @property
    def received_age(self) -> float | None:
        """Seconds since it was read here. None for a default."""
        return None if self.received is None else time.time() - self.received


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold(InForce):
    """A threshold: positive where the model's own score >= ``value``.

    Attributes:
        value: the threshold, 0 to 1.
        record: the whole record's data (objective, window, ...); None for a default.

    >>> Threshold(value=0.5).decide([0.2, 0.5])
    array([False,  True])
    """

    TYPE: ClassVar[str] = records.Threshold.TYPE

    value: float
    record: records.Threshold | None = None

    @overload
    def decide(self, score: float) -> bool: ...
    @overload
    def decide(self, score: Scores) -> NDArray[np.bool_]: ...
    def decide(self, score: float | Scores) -> bool | NDArray[np.bool_]:
        """Whether scores are positive; NaN is not. A number gives a bool, an array an array of its shape."""
        if isinstance(score, float | int):
            return score >= self.value
        return np.asarray(score, np.float64) >= self.value

    @classmethod
    def of(cls, event: records.CloudEvent, received: float) -> Threshold:
        """The threshold of a record that has the type `TYPE`."""
        return cls(value=event.data.threshold, record=event.data, **_origin(event, received))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration(InForce):
    """A calibration map: linear between its knots, constant beyond them.

    Attributes:
        method: how it was made; ``"identity"`` for the default.
        x: scores of the knots, float64[k], ascending; not writable.
        y: probabilities there, float64[k]; not writable. Without knots (the default) a score is its own probability.
        record: the whole record's data; None for the default.

    >>> Calibration(method="platt", x=np.array([0.0, 1.0]), y=np.array([0.0, 0.5]))([0.5, 2.0])
    array([0.25, 0.5 ])
    """

    TYPE: ClassVar[str] = records.Calibration.TYPE

    method: str = "identity"
    x: NDArray[np.float64] = field(default_factory=lambda: _knots([]))
    y: NDArray[np.float64] = field(default_factory=lambda: _knots([]))
    record: records.Calibration | None = None

    @overload
    def __call__(self, score: float) -> float: ...
    @overload
    def __call__(self, score: Scores) -> NDArray[np.float64]: ...
    def __call__(self, score: float | Scores) -> float | NDArray[np.float64]:
        """Probabilities of scores; a number gives a number, an array an array of its shape; NaN stays NaN."""
        if isinstance(score, float | int):
            return float(np.interp(score, self.x, self.y)) if self.x.size else float(score)
        scores = np.array(score, np.float64)
        return np.interp(scores, self.x, self.y) if self.x.size else scores

    @classmethod
    def of(cls, event: records.CloudEvent, received: float) -> Calibration:
        """The map of a record that has the type `TYPE`.

        Raises:
            InputError: its knots are no function.
        """
        data = event.data
        x, y = _knots(data.knots.x), _knots(data.knots.y)
        if not 0 < x.size == y.size or np.any(np.diff(x) < 0):
            what = f"{x.size} x and {y.size} y that ascend in x are no calibration map"
            raise InputError(what, where=event.subject, cure="nobody else may write to this topic")
        return cls(method=data.method, x=x, y=y, record=data, **_origin(event, received))


class Change(NamedTuple):
    """One change of what is in force: at least one of both is given; ``after`` is None where a record was withdrawn."""

    cell: Cell
    before: Threshold | Calibration | None
    after: Threshold | Calibration | None


def _origin(event: records.CloudEvent, received: float) -> dict[str, Any]:
    """The arguments of `InForce` for a record."""
    cell = Cell(event.data.model, event.data.version, event.data.segment)
    return {
        "source": "whole" if cell.segment == WHOLE else "segment",
        "cell": cell,
        "record_id": event.id,
        "time": records.epoch_ms(event.time),
        "received": received,
    }


def _knots(values: list[float]) -> NDArray[np.float64]:
    knots = np.array(values, np.float64)
    knots.flags.writeable = False
    return knots
