"""What the join hands on: closed and matured cohorts, first labels, amendments, late predictions.

Invariant: each table ascends in logical time, rows within a cohort by (ts, id hash, kind), so the whole is a function
of the events and of T.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


def _column(dtype: Any) -> Any:
    return field(default_factory=lambda: np.zeros(0, dtype))


@dataclass(slots=True)
class Cohorts:
    """Rows grouped by cohort, cohorts ascending by start.

    `start` int64[c] ms; `at` int64[c] logical time of the act; rows of cohort j are `bounds[j]:bounds[j + 1]`.
    Rows: `ts` int64[n] ms, `id_hash` uint64[n], `score` float64[n], `kind` int32[n], `label` int8[n] (1, 0, -1
    unlabelled), `kpis` name -> float64[n] (nan: none), `tags` unsigned [n] each. `unproven` bool[c] of matured cohorts:
    left whole, unlabelled.
    """

    start: NDArray[np.int64] = _column(np.int64)
    at: NDArray[np.int64] = _column(np.int64)
    bounds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    ts: NDArray[np.int64] = _column(np.int64)
    id_hash: NDArray[np.uint64] = _column(np.uint64)
    score: NDArray[np.float64] = _column(np.float64)
    kind: NDArray[np.int32] = _column(np.int32)
    label: NDArray[np.int8] = _column(np.int8)
    kpis: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    tags: list[NDArray[Any]] = field(default_factory=list)
    unproven: NDArray[np.bool_] = _column(bool)

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """All cohorts of the parts, one after the other."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls()
        columns = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(cls)
            if f.name not in ("bounds", "kpis", "tags")
        }
        bounds = np.concatenate([[0], *(np.diff(part.bounds) for part in parts)]).cumsum()
        kpis = {name: np.concatenate([part.kpis[name] for part in parts]) for name in parts[0].kpis}
        tags = [np.concatenate(columns) for columns in zip(*(part.tags for part in parts), strict=True)]
        return cls(**columns, bounds=bounds, kpis=kpis, tags=tags)


@dataclass(slots=True)
class Amendments:
    """Values that changed after their row matured, by (at, ts, id hash, kind).

    `at` int64[n] logical time; `start` int64[n] the cohort; `ts`, `id_hash`, `score`, `kind`, `tags` the row;
    `old_label`, `new_label` int8[n] (-1 none; an assumed negative is 0); `old_kpis`, `new_kpis` name -> float64[n]
    (nan: none).
    """

    at: NDArray[np.int64] = _column(np.int64)
    start: NDArray[np.int64] = _column(np.int64)
    ts: NDArray[np.int64] = _column(np.int64)
    id_hash: NDArray[np.uint64] = _column(np.uint64)
    score: NDArray[np.float64] = _column(np.float64)
    kind: NDArray[np.int32] = _column(np.int32)
    old_label: NDArray[np.int8] = _column(np.int8)
    new_label: NDArray[np.int8] = _column(np.int8)
    old_kpis: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    new_kpis: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    tags: list[NDArray[Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.at)

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """All rows of the parts, one after the other."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls()
        columns: dict[str, Any] = {}
        for f in fields(cls):
            values = [getattr(part, f.name) for part in parts]
            if isinstance(values[0], dict):
                columns[f.name] = {name: np.concatenate([value[name] for value in values]) for name in values[0]}
            elif isinstance(values[0], list):
                columns[f.name] = [np.concatenate(of_one) for of_one in zip(*values, strict=True)]
            else:
                columns[f.name] = np.concatenate(values)
        return cls(**columns)


@dataclass(slots=True)
class Labelled:
    """First labels of rows, as they came before their cohort matured, by `at`.

    `at` int64[n] logical time at which row and label were both there; `start` int64[n] the cohort; `ts` int64[n] ms,
    `kind` int32[n] the row's; `label` int8[n] 0 or 1.
    """

    at: NDArray[np.int64] = _column(np.int64)
    start: NDArray[np.int64] = _column(np.int64)
    ts: NDArray[np.int64] = _column(np.int64)
    kind: NDArray[np.int32] = _column(np.int32)
    label: NDArray[np.int8] = _column(np.int8)

    def __len__(self) -> int:
        return len(self.at)

    @property
    def columns(self) -> list[NDArray[Any]]:
        """The columns, in the order of the arguments."""
        return [getattr(self, f.name) for f in fields(self)]

    def take(self, rows: NDArray[Any]) -> Self:
        """The rows at an index or a mask."""
        return type(self)(*(column[rows] for column in self.columns))

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """All rows of the parts, one after the other."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls()
        return cls(*(np.concatenate(columns) for columns in zip(*(part.columns for part in parts), strict=True)))


@dataclass(slots=True)
class Late:
    """Predictions that came after their cohort had matured, by (at, part, order read).

    `at` int64[n] logical time, `part` int32[n], `ts` int64[n] ms, `kind` int32[n], `offset` int64[n] in the log.
    """

    at: NDArray[np.int64] = _column(np.int64)
    part: NDArray[np.int32] = _column(np.int32)
    ts: NDArray[np.int64] = _column(np.int64)
    kind: NDArray[np.int32] = _column(np.int32)
    offset: NDArray[np.int64] = _column(np.int64)

    def __len__(self) -> int:
        return len(self.at)

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """All rows of the parts, one after the other."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls()
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


@dataclass(slots=True)
class Advance:
    """All acts of one `Join.advance`.

    Of acts with equal logical time, `late` come first, then `amended` (its cohorts matured before), then `labelled`,
    `closed` and `matured`.
    """

    closed: Cohorts = field(default_factory=Cohorts)
    matured: Cohorts = field(default_factory=Cohorts)
    amended: Amendments = field(default_factory=Amendments)
    late: Late = field(default_factory=Late)
    labelled: Labelled = field(default_factory=Labelled)

    @classmethod
    def join(cls, parts: list[Advance]) -> Advance:
        """All acts of consecutive stretches of time."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            Cohorts.join([part.closed for part in parts]),
            Cohorts.join([part.matured for part in parts]),
            Amendments.join([part.amended for part in parts]),
            Late.join([part.late for part in parts]),
            Labelled.join([part.labelled for part in parts]),
        )
