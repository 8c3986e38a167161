"""Evidence of a binary model: a sparse score histogram by label, with exact sums of scores, losses and KPIs.

Invariant: evidence is a commutative group of exact integers. ``a + b`` is the evidence of both sets of examples, in any
order and any split, and ``(a + b) - b == a``. Bins that hold no example are not stored.

Source: METHODS, section 0; log loss is clipped at 1e-15 as in scikit-learn and river.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from streameval.errors import InvariantError, StateVersionError
from streameval.evidence.bins import BINS, bin_of
from streameval.evidence.exact import (
    UNIT,
    Integers,
    canonical,
    fixed,
    from_plain,
    minus,
    narrow,
    plus,
    squares,
    sums_by,
    to_plain,
)
from streameval.order import union

_STATE_VERSION: Final = 1
_LOG_CLIP: Final = 1e-15
_LOSSES: Final = tuple(
    f"{loss}_{label}" for loss in ("log_loss", "log_loss_sq", "brier", "brier_sq") for label in (0, 1)
)


class EvidenceError(InvariantError):
    """Evidence was subtracted that had never been added, or examples are not what their columns promise."""


def _no_losses() -> dict[str, int]:
    return dict.fromkeys(_LOSSES, 0)


@dataclass(slots=True, eq=False)
class BinaryEvidence:
    """The examples of one cell (model, version, segment, interval), as sums. k bins hold at least one example.

    >>> e = BinaryEvidence.of(np.array([0.1, 0.8, 0.8]), np.array([0, 1, 0]))
    >>> e.counts.tolist(), e.events, e.positives
    ([[1, 1], [0, 1]], 3, 1)
    >>> e + e - e == e
    True
    """

    bins: npt.NDArray[np.int16]
    """int16[k], ascending: the bins that hold an example."""
    counts: npt.NDArray[np.int64]
    """int64[2, k]: examples by label and bin."""
    sums: Integers
    """[2, k]: sums of scores by label and bin, in units of 2^-32."""
    values: dict[str, Integers] = field(default_factory=dict)
    """KPI of a `value` objective -> [k]: its sum by bin, in units of its scale. A missing name means zeros."""
    losses: dict[str, int] = field(default_factory=_no_losses)
    """Sums of the losses within each class (``log_loss_0`` ...) and of their squares (``log_loss_sq_0`` ...), in units
    of 2^-32; of single examples, not of bins."""
    kpis: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """KPI -> (how many examples have it, their total, the sum of squares), in units of its scale and its square."""

    @classmethod
    def empty(cls) -> Self:
        """Evidence of no example."""
        return cls(np.empty(0, np.int16), np.empty((2, 0), np.int64), np.empty((2, 0), np.int64))

    @classmethod
    def of(
        cls,
        score: npt.NDArray[np.float64],
        label: npt.NDArray[np.integer[Any]],
        kpis: Mapping[str, npt.NDArray[np.float64]] | None = None,
        scales: Mapping[str, float] | None = None,
        value_kpis: Sequence[str] = (),
    ) -> BinaryEvidence:
        """Evidence of the examples with score[n] in [0, 1], label[n] in {0, 1} and KPIs[n] (nan: it has none).

        A KPI is counted in units of ``scales[name]`` (1 by default). Those in `value_kpis` are also summed by bin.
        """
        return split(score, label, np.zeros(len(score), np.int32), 1, kpis, scales, value_kpis)[0]

    @property
    def events(self) -> int:
        """How many examples."""
        return int(self.counts.sum())

    @property
    def negatives(self) -> int:
        """How many examples with label 0."""
        return int(self.counts[0].sum())

    @property
    def positives(self) -> int:
        """How many examples with label 1."""
        return int(self.counts[1].sum())

    @property
    def mean_scores(self) -> npt.NDArray[np.float64]:
        """float64[k]: the mean score of the examples of each bin."""
        total = self.sums[0] + self.sums[1] if self.sums.dtype != object else plus(self.sums[0], self.sums[1])
        mean: npt.NDArray[np.float64] = total.astype(np.float64) / (self.counts[0] + self.counts[1]) / UNIT
        return mean

    def value_sums(self, name: str) -> Integers:
        """[k]: a value KPI's sum by bin, zeros where no example had it."""
        return self.values.get(name, np.zeros(len(self.bins), np.int64))

    def __add__(self, other: BinaryEvidence) -> BinaryEvidence:
        return self._combined(other, plus, operator.add)

    def __sub__(self, other: BinaryEvidence) -> BinaryEvidence:
        """The evidence without the examples of `other`.

        Raises:
            EvidenceError: `other` holds examples that were never added.
        """
        rest = self._combined(other, minus, operator.sub)
        held = (rest.counts != 0).any(axis=0)
        if (rest.counts < 0).any() or rest.sums[:, ~held].any() or any(c[0] < 0 for c in rest.kpis.values()):
            raise EvidenceError(
                "evidence was subtracted that had not been added", cure="report it; the state of this model is unsafe"
            )
        if not held.all():
            rest.bins, rest.counts, rest.sums = rest.bins[held], rest.counts[:, held], rest.sums[:, held]
            rest.values = {name: v[held] for name, v in rest.values.items()}
        return rest

    def _combined(
        self, other: BinaryEvidence, arrays: Callable[[Integers, Integers], Integers], ints: Callable[[int, int], int]
    ) -> BinaryEvidence:
        bins = union(self.bins, other.bins)
        mine, theirs = np.searchsorted(bins, self.bins), np.searchsorted(bins, other.bins)

        def spread(x: Integers, at: npt.NDArray[np.intp]) -> Integers:
            wide: Integers = np.zeros((*x.shape[:-1], len(bins)), dtype=x.dtype)
            wide[..., at] = x
            return wide

        names = sorted(self.values.keys() | other.values.keys())
        none = (0, 0, 0)
        kpis: dict[str, tuple[int, int, int]] = {}
        for name in sorted(self.kpis.keys() | other.kpis.keys()):
            a, b = self.kpis.get(name, none), other.kpis.get(name, none)
            kpis[name] = (ints(a[0], b[0]), ints(a[1], b[1]), ints(a[2], b[2]))
        return BinaryEvidence(
            bins,
            arrays(spread(self.counts, mine), spread(other.counts, theirs)),
            arrays(spread(self.sums, mine), spread(other.sums, theirs)),
            {n: arrays(spread(self.value_sums(n), mine), spread(other.value_sums(n), theirs)) for n in names},
            {name: ints(self.losses[name], other.losses[name]) for name in _LOSSES},
            kpis,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BinaryEvidence):
            return NotImplemented
        names = self.values.keys() | other.values.keys()
        kpis = self.kpis.keys() | other.kpis.keys()
        none = (0, 0, 0)
        return (
            np.array_equal(self.bins, other.bins)
            and np.array_equal(self.counts, other.counts)
            and np.array_equal(self.sums, other.sums)
            and all(np.array_equal(self.value_sums(n), other.value_sums(n)) for n in names)
            and self.losses == other.losses
            and all(self.kpis.get(n, none) == other.kpis.get(n, none) for n in kpis)
        )

    __hash__ = None  # type: ignore[assignment]

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` builds equal evidence; sums of no example are left out."""
        return {
            "version": _STATE_VERSION,
            "bins": self.bins,
            "counts": narrow(self.counts),
            "sums": to_plain(self.sums[self.counts > 0]),
            "values": {name: to_plain(self.values[name]) for name in sorted(self.values)},
            "losses": {name: self.losses[name] for name in _LOSSES},
            "kpis": {name: list(self.kpis[name]) for name in sorted(self.kpis)},
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`.

        Raises:
            StateVersionError: the state was written by a newer release.
        """
        check_version(state, _STATE_VERSION, "evidence")
        counts = state["counts"].astype(np.int64)
        held = from_plain(state["sums"])
        sums: Integers = np.zeros(counts.shape, held.dtype)
        sums[counts > 0] = held
        return cls(
            state["bins"],
            counts,
            sums,
            {name: from_plain(v) for name, v in state["values"].items()},
            dict(state["losses"]),
            {name: (c, total, sq) for name, (c, total, sq) in state["kpis"].items()},
        )


def check_version(state: Mapping[str, Any], known: int, what: str) -> None:
    """Raise StateVersionError unless the state's version is the known one."""
    if state.get("version") != known:
        raise StateVersionError(
            f"{what} of version {state.get('version')}, this release reads version {known}",
            cure="run the release that wrote the state, or start with --fresh",
        )


def split(
    score: npt.NDArray[np.float64],
    label: npt.NDArray[np.integer[Any]],
    group: npt.NDArray[np.integer[Any]],
    groups: int,
    kpis: Mapping[str, npt.NDArray[np.float64]] | None = None,
    scales: Mapping[str, float] | None = None,
    value_kpis: Sequence[str] = (),
) -> list[BinaryEvidence]:
    """Evidence by group in one pass: entry g is that of the examples with ``group == g``; a negative group is left out.

    score[n] is in [0, 1], label[n] in {0, 1}, group[n] below `groups`; the KPIs as in `BinaryEvidence.of`.

    Raises:
        EvidenceError: a label is neither 0 nor 1.

    >>> [e.events for e in split(np.array([0.1, 0.2, 0.3]), np.array([0, 1, 0]), np.array([1, 1, -1]), 2)]
    [0, 2]
    """
    kpis, scales = kpis or {}, scales or {}
    if len(group) and group.min() < 0:
        inside = group >= 0
        score, label, group = score[inside], label[inside], group[inside]
        kpis = {name: x[inside] for name, x in kpis.items()}
    if len(label) and not 0 <= label.min() <= label.max() <= 1:
        raise EvidenceError("a label is neither 0 nor 1", cure="leave unlabelled rows out of evidence")
    wide_group = group.astype(np.int64)
    cell = wide_group * BINS + bin_of(score)
    size = groups * BINS
    if len(score) * 4 < size:
        # Dense accumulators cost their size: few examples are numbered by the cells that they fill.
        cells, code = np.unique(cell, return_inverse=True)
    else:
        filled = np.bincount(cell, minlength=size) > 0
        cells = np.flatnonzero(filled)
        code = (np.cumsum(filled) - 1)[cell]
    k = len(cells)
    labelled = code + label.astype(np.int64) * k
    counts = np.bincount(labelled, minlength=2 * k).reshape(2, k)
    sums = sums_by(labelled, fixed(score), 2 * k).reshape(2, k)
    units = {name: _units(x, scales.get(name, 1.0)) for name, x in kpis.items()}
    values = {name: sums_by(code[units[name][0]], units[name][1], k) for name in value_kpis if name in units}

    losses = _losses(score, label, wide_group, groups)
    tallies = {name: _tallies(wide_group[has], x, groups) for name, (has, x) in units.items()}
    bins = (cells % BINS).astype(np.int16)
    bounds = np.searchsorted(cells, np.arange(groups + 1) * BINS).tolist()
    # Copies, so that the evidence of a small group does not keep the whole batch alive.
    return [
        BinaryEvidence(
            bins[a:b].copy(),
            counts[:, a:b].copy(),
            sums[:, a:b].copy(),
            {name: canonical(v[a:b]).copy() for name, v in values.items()},
            losses[g],
            {name: tally[g] for name, tally in tallies.items() if tally[g][0]},
        )
        for g, (a, b) in enumerate(itertools.pairwise(bounds))
    ]


def _losses(
    score: npt.NDArray[np.float64], label: npt.NDArray[np.integer[Any]], group: npt.NDArray[np.int64], groups: int
) -> list[dict[str, int]]:
    right = np.where(label == 1, score, 1.0 - score)
    log_loss = -np.log(np.clip(right, _LOG_CLIP, 1.0 - _LOG_CLIP))
    brier = (1.0 - right) ** 2
    code = group * 2 + label
    columns = [sums_by(code, fixed(x), 2 * groups).reshape(groups, 2) for x in (log_loss, log_loss**2, brier, brier**2)]
    table = np.concatenate(columns, axis=1).tolist()
    return [dict(zip(_LOSSES, map(int, row), strict=True)) for row in table]


def _units(x: npt.NDArray[np.float64], scale: float) -> tuple[npt.NDArray[np.bool_], Integers]:
    """Which examples have the KPI, and theirs in units of its scale."""
    has = ~np.isnan(x)
    return has, fixed(x[has] / scale, 1.0)


def _tallies(group: npt.NDArray[np.int64], units: Integers, groups: int) -> list[tuple[int, int, int]]:
    count = np.bincount(group, minlength=groups)
    total = sums_by(group, units, groups)
    square = sums_by(group, squares(units), groups)
    return [(int(c), int(t), int(s)) for c, t, s in zip(count, total, square, strict=True)]
