"""Matured rows on their way into a cell, and the outputs that come out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streameval.detect.examples import Examples
from streameval.evidence.binary import BinaryEvidence, split
from streameval.evidence.bins import bin_of
from streameval.records import Data

if TYPE_CHECKING:
    from streameval.config import Model


PARTITIONS = 1 << 10
"""Partitions a topic may have: (topic, partition) is one small number in a row."""


@dataclass(slots=True)
class Output:
    """One decided output before it has an id.

    ``at`` is its logical time (ms), ``topic`` a key of the configuration's topics, ``version`` and ``segment`` are
    parts of its key; data of None make a tombstone.
    """

    at: int
    topic: str
    version: str
    segment: str
    data: Data | None


@dataclass(slots=True)
class TooLate:
    """A prediction that came when its cohort had matured: logical time, place, event time (ms)."""

    at: int
    part: int
    offset: int
    ts: int


@dataclass(slots=True)
class Rows:
    """Matured rows of one cell, in order of their cohorts. All arrays have n rows."""

    at: np.ndarray
    """i64: maturity of the row's cohort (ms)."""
    cohort: np.ndarray
    """i64: start of the row's cohort (ms)."""
    id_hash: np.ndarray
    """u64: the hash of the row's id: an order and a split that owe nothing to arrival."""
    score: np.ndarray
    """f64 in [0, 1]."""
    label: np.ndarray
    """i8: 1, 0, or -1 for a row that stayed unlabelled."""
    kpis: dict[str, np.ndarray]
    """f64, nan where the row has none."""

    def __len__(self) -> int:
        return len(self.score)

    def take(self, index: np.ndarray | slice) -> Rows:
        """The rows at an index, a mask or a slice."""
        kpis = {name: x[index] for name, x in self.kpis.items()}
        return Rows(self.at[index], self.cohort[index], self.id_hash[index], self.score[index], self.label[index], kpis)

    @staticmethod
    def join(parts: list[Rows]) -> Rows:
        """Rows one after the other."""
        if len(parts) == 1:
            return parts[0]
        return Rows(
            np.concatenate([part.at for part in parts]),
            np.concatenate([part.cohort for part in parts]),
            np.concatenate([part.id_hash for part in parts]),
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.label for part in parts]),
            {name: np.concatenate([part.kpis[name] for part in parts]) for name in parts[0].kpis},
        )

    def examples(self) -> Examples:
        """The labelled rows, for detectors that need them one by one."""
        known = self.label >= 0
        return Examples(self.cohort[known], self.id_hash[known], bin_of(self.score[known]), self.label[known])

    def evidence(self, model: Model, group: np.ndarray, groups: int) -> list[BinaryEvidence]:
        """The evidence of the labelled rows by group: entry g is that of the rows where group[n], int64, is g."""
        scales = {name: kpi.scale for name, kpi in model.kpis.items()}
        value = (model.objective.kpi,) if model.objective.kind == "value" else ()
        labelled = np.where(self.label >= 0, group, -1)
        return split(self.score, self.label, labelled, groups, self.kpis, scales, value)

    def unlabelled(self, group: np.ndarray, groups: int) -> list[BinaryEvidence]:
        """The rows without a label by group, as if they were negatives."""
        unknown = np.where(self.label < 0, group, -1)
        return split(self.score, np.zeros(len(self), np.int8), unknown, groups)

    def without_label(self) -> BinaryEvidence:
        """All rows without a label, as if they were negatives."""
        return self.unlabelled(np.zeros(len(self), np.int64), 1)[0]

    def state(self) -> dict[str, Any]:
        """Plain values for ``restore``."""
        return {
            "at": self.at,
            "cohort": self.cohort,
            "id_hash": self.id_hash,
            "score": self.score,
            "label": self.label,
            "kpis": self.kpis,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Rows:
        """The inverse of ``state``."""
        return cls(**state)
