"""Events of a story as columns: predictions with what nature has decided about them, and the outcomes that follow.

Nature and the daemon meet here: whether an outcome is what nature meant, and whether it is seen at all, may depend on
what was decided, and that on the threshold in force. So predictions know everything but the decision, and
`Foreseen.act` adds it.

Invariant: what `act` gives is a function of the drawn columns and the threshold: taking a story in other pieces gives
the same events.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import xxhash

__all__ = ["Acted", "Foreseen", "Reported", "identifier"]

NEVER = np.iinfo(np.int64).max
"""Arrival of an outcome that never comes."""


def identifier(number: int) -> str:
    """The id of a story's event.

    >>> identifier(7)
    'e7'
    """
    return f"e{number}"


class _Columns:
    """Dataclasses whose fields are all arrays of one length."""

    def __len__(self) -> int:
        return len(next(iter(self._all().values())))

    def _all(self) -> dict[str, np.ndarray]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def take(self, rows: np.ndarray | slice) -> Self:
        """The rows at an index, a mask or a slice."""
        return type(self)(**{name: column[rows] for name, column in self._all().items()})

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Rows one after the other."""
        names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(slots=True)
class Foreseen(_Columns):
    """Predictions before anyone has decided; n rows in order of time.

    Attributes:
        number: i64, counts the story's events.
        ts: i64, epoch ms.
        score: f64.
        positive: bool, what happens if nobody acts.
        preventable: bool, an action would prevent it.
        looked_at: bool, its label is seen also where nobody acts (selective labels).
        arrival: i64, when the outcome would be known (epoch ms); the largest int64: never.
        amount: f64, money at stake, in units of the KPI.
    """

    number: np.ndarray
    ts: np.ndarray
    score: np.ndarray
    positive: np.ndarray
    preventable: np.ndarray
    looked_at: np.ndarray
    arrival: np.ndarray
    amount: np.ndarray

    def id_hash(self) -> np.ndarray:
        """u64[n]: the hash of each id, as decoding makes it."""
        return hashes(self.number)

    def act(self, threshold: float, *, selective: float | None, positives_only: bool) -> Acted:
        """What follows from deciding positive at and above a threshold.

        Args:
            threshold: the one in force.
            selective: the share of events that are looked at where nobody acts; None: all.
            positives_only: negatives have no outcome event.
        """
        decision = self.score >= threshold
        label = self.positive & ~(decision & self.preventable)
        arrival = self.arrival
        propensity = np.ones(len(self))
        if selective is not None:
            propensity = np.where(decision, 1.0, selective)
            arrival = np.where(decision | self.looked_at, arrival, NEVER)
        if positives_only:
            arrival = np.where(label, arrival, NEVER)
        # A refused customer brings nothing; one who was let through brings the margin, or costs ten of them.
        revenue = np.where(decision, 0.0, np.where(label, -10.0, 1.0) * self.amount)
        return Acted(decision, propensity, label, arrival, np.round(revenue, 2))


@dataclass(slots=True)
class Acted(_Columns):
    """What was decided about predictions, and what came of it.

    Attributes:
        decision: bool.
        propensity: f64, P(the label is seen).
        label: bool, as an outcome event will say.
        arrival: i64, when it comes (epoch ms); the largest int64: never.
        revenue: f64, what the event brought.
    """

    decision: np.ndarray
    propensity: np.ndarray
    label: np.ndarray
    arrival: np.ndarray
    revenue: np.ndarray


@dataclass(slots=True)
class Reported(_Columns):
    """Outcome events, in order of arrival: number i64, ts i64 (epoch ms), label bool, revenue f64."""

    number: np.ndarray
    ts: np.ndarray
    label: np.ndarray
    revenue: np.ndarray

    @classmethod
    def of(cls, predictions: Foreseen, acted: Acted) -> Reported:
        """The outcomes that will come of predictions."""
        seen = np.flatnonzero(acted.arrival != NEVER)
        told = cls(predictions.number[seen], acted.arrival[seen], acted.label[seen], acted.revenue[seen])
        return told.in_order()

    def in_order(self) -> Reported:
        """In order of arrival; of two at once the earlier prediction's first."""
        return self.take(np.lexsort((self.number, self.ts)))

    def id_hash(self) -> np.ndarray:
        """u64[n]: the hash of each id, as decoding makes it."""
        return hashes(self.number)


def hashes(numbers: np.ndarray) -> np.ndarray:
    """u64[n]: the hash of the id of each number."""
    digest = xxhash.xxh3_64_intdigest
    return np.array([digest(identifier(number).encode()) for number in numbers.tolist()], dtype=np.uint64)
