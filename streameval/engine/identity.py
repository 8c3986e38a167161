"""Whose a cell is, and the envelope of what it says.

Invariant: a cell's identity never changes; every output carries it.

Source: DESIGN "Records out" (keys).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streameval.config.change import digest
from streameval.engine.rows import Output
from streameval.records import Data

if TYPE_CHECKING:
    from streameval.config import Model

WHOLE = "*"
"""The segment of all predictions."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The model's configuration, the version and segment, and the length of a cohort (ms)."""

    config: Model
    version: str
    segment: str
    interval: int
    configuration: str = field(init=False)
    """Digest of the model's configuration, which records of decisions carry."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "configuration", digest(self.config))

    @property
    def whole(self) -> bool:
        """Whether the cell holds all predictions of its version."""
        return self.segment == WHOLE

    @property
    def named(self) -> dict[str, Any]:
        """The fields that every record of a cell begins with."""
        return {"model": self.config.name, "version": self.version, "segment": self.segment}

    def output(self, at: int, topic: str, data: Data | None) -> Output:
        """A record of this cell at a logical time; None makes a tombstone."""
        return Output(at, topic, self.version, self.segment, data)
