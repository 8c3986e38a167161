"""All that is in force at one moment, and which value answers a question about a model, version and segment.

Invariant: a view never changes; `View.updated` makes a new one. So a reader that holds one sees thresholds and maps of
the same moment, and needs no lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from streameval.subscribe.in_force import WHOLE, Calibration, Cell, Scores, Threshold

__all__ = ["EMPTY", "Cells", "Key", "Kind", "Questions", "View"]

Value = TypeVar("Value", Threshold, Calibration)

Kind: TypeAlias = type[Threshold] | type[Calibration]

Key: TypeAlias = tuple[Kind, Cell]
"""What a change is about: which kind of value, and of which cell."""


class Questions(ABC):
    """What can be asked of a view, and of whatever has a present one."""

    @property
    @abstractmethod
    def view(self) -> View:
        """The view that answers; it does not change while it is held."""

    @overload
    def threshold(
        self, model: str, *, version: str = ..., segment: str = ..., any_version: bool = ..., default: float
    ) -> Threshold: ...
    @overload
    def threshold(
        self, model: str, *, version: str = ..., segment: str = ..., any_version: bool = ..., default: None = ...
    ) -> Threshold | None: ...
    def threshold(
        self,
        model: str,
        *,
        version: str = "0",
        segment: str = WHOLE,
        any_version: bool = False,
        default: float | None = None,
    ) -> Threshold | None:
        """The threshold in force.

        Args:
            model: name of the model.
            version: its version; ``"0"`` where events carry none.
            segment: ``name=value``, or ``*`` for all predictions; where it has no threshold, that of ``*`` answers.
            any_version: whether, where the version has none, the newest one of the model's other versions may answer.
            default: the answer where nothing is in force.

        Returns:
            The threshold, or one with the default as its value; None if no default was given.

        >>> EMPTY.threshold("fraud", default=0.5).source
        'default'
        """
        found = self.view.thresholds.find(model, version, segment, any_version=any_version)
        if found is None and default is not None:
            return Threshold(value=default)
        return found

    def calibration(
        self, model: str, *, version: str = "0", segment: str = WHOLE, any_version: bool = False
    ) -> Calibration:
        """The calibration map in force, found as `threshold` finds; the identity where there is none.

        >>> EMPTY.calibration("fraud").method
        'identity'
        """
        return self.view.calibrations.find(model, version, segment, any_version=any_version) or _IDENTITY

    @overload
    def calibrate(
        self, model: str, score: float, *, version: str = ..., segment: str = ..., any_version: bool = ...
    ) -> float: ...
    @overload
    def calibrate(
        self, model: str, score: Scores, *, version: str = ..., segment: str = ..., any_version: bool = ...
    ) -> NDArray[np.float64]: ...
    def calibrate(
        self,
        model: str,
        score: float | Scores,
        *,
        version: str = "0",
        segment: str = WHOLE,
        any_version: bool = False,
    ) -> float | NDArray[np.float64]:
        """Calibrated probabilities of scores, by the map that `calibration` finds.

        Args:
            model: name of the model.
            score: one of the model's own scores, or an array of them, of any shape.
            version: see `threshold`.
            segment: see `threshold`.
            any_version: see `threshold`.

        >>> EMPTY.calibrate("fraud", [0.2, 0.9])
        array([0.2, 0.9])
        """
        return self.calibration(model, version=version, segment=segment, any_version=any_version)(score)

    @overload
    def decide(
        self,
        model: str,
        score: float,
        *,
        default: float,
        version: str = ...,
        segment: str = ...,
        any_version: bool = ...,
    ) -> bool: ...
    @overload
    def decide(
        self,
        model: str,
        score: Scores,
        *,
        default: float,
        version: str = ...,
        segment: str = ...,
        any_version: bool = ...,
    ) -> NDArray[np.bool_]: ...
    def decide(
        self,
        model: str,
        score: float | Scores,
        *,
        default: float,
        version: str = "0",
        segment: str = WHOLE,
        any_version: bool = False,
    ) -> bool | NDArray[np.bool_]:
        """Whether the model's own (not calibrated) scores reach the threshold that `threshold` finds.

        Args:
            model: name of the model.
            score: a score, or an array of them, of any shape.
            default: the threshold where none is in force: a service always has to decide.
            version: see `threshold`.
            segment: see `threshold`.
            any_version: see `threshold`.

        >>> EMPTY.decide("fraud", 0.7, default=0.5)
        True
        """
        found = self.threshold(model, version=version, segment=segment, any_version=any_version, default=default)
        return found.decide(score)


@dataclass(frozen=True, slots=True)
class Cells(Generic[Value]):
    """Values of one kind, by cell; and the newest of each (model, segment) over the model's versions."""

    by_cell: Mapping[Cell, Value] = field(default_factory=lambda: MappingProxyType({}))
    newest: Mapping[tuple[str, str], Value] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, model: str, version: str, segment: str, *, any_version: bool) -> Value | None:
        """The segment's own, else that of all predictions; then, if allowed, the same of the newest version."""
        for wanted in (segment, WHOLE):
            if (found := self.by_cell.get(Cell(model, version, wanted))) is not None:
                return found
        for wanted in (segment, WHOLE) if any_version else ():
            if (found := self.newest.get((model, wanted))) is not None:
                return found
        return None

    def updated(self, changes: Mapping[Cell, Value | None]) -> Cells[Value]:
        """These with changes applied; None removes."""
        cells = {cell: value for cell, value in {**self.by_cell, **changes}.items() if value is not None}
        # Of two of one logical time that counts whose version sorts last: a function of the records alone.
        ordered = sorted(cells.items(), key=lambda item: (item[1].time or 0, item[0].version))
        newest = {(cell.model, cell.segment): value for cell, value in ordered}
        return Cells(MappingProxyType(cells), MappingProxyType(newest))


@dataclass(frozen=True, slots=True)
class View(Questions):
    """Thresholds and calibration maps of one moment."""

    thresholds: Cells[Threshold] = field(default_factory=Cells)
    calibrations: Cells[Calibration] = field(default_factory=Cells)

    @property
    def view(self) -> View:
        """Itself."""
        return self

    def held(self) -> list[Key]:
        """Kind and cell of all that is in force."""
        return [
            *((Threshold, cell) for cell in self.thresholds.by_cell),
            *((Calibration, cell) for cell in self.calibrations.by_cell),
        ]

    def get(self, key: Key) -> Threshold | Calibration | None:
        """The value of exactly this kind and cell."""
        kind, cell = key
        return self.thresholds.by_cell.get(cell) if kind is Threshold else self.calibrations.by_cell.get(cell)

    def updated(self, changes: Mapping[Key, Threshold | Calibration | None]) -> View:
        """This view with changes applied; None removes."""
        thresholds: dict[Cell, Threshold | None] = {}
        calibrations: dict[Cell, Calibration | None] = {}
        for (kind, cell), value in changes.items():
            if kind is Threshold and not isinstance(value, Calibration):
                thresholds[cell] = value
            elif kind is Calibration and not isinstance(value, Threshold):
                calibrations[cell] = value
        return View(
            self.thresholds.updated(thresholds) if thresholds else self.thresholds,
            self.calibrations.updated(calibrations) if calibrations else self.calibrations,
        )


_IDENTITY = Calibration()
EMPTY = View()
"""Nothing is in force."""
