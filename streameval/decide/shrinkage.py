"""Shrinkage: a small segment's threshold leans on the evidence of the whole.

A segment's events are taken to fall into groups (score bin and label) with probabilities of its own, drawn around those
of the whole by a Dirichlet law. Its concentration n0 says how many events the whole is worth: the posterior mean is the
segment's counts and n0 *pseudo-events* of the whole, added up, and a threshold solved on these moves away from the
whole's as the segment's own events outnumber n0. n0 is told by how much segments differ: with K groups, the chi-square
distance X² of a segment of N events from the whole's shares is (K - 1)(N + n0)/(1 + n0) on average, so that over m
segments n0 = (ΣN - S)/(S - m), S = ΣX²/(K - 1). Segments that differ by no more than chance (S <= m) are the whole.

Invariant: sums of whole counts and of a multiple of whole counts; the order of segments does not matter. A move has to
be worth its while by the gate on the segment's own evidence: shrinkage chooses where to, never whether.

Source: Mosimann (1962, moments of the compound multinomial); Good (1965) for the whole as pseudo-events; METHODS,
section 4 (the gate).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from streameval.decide.gate import Gate, Move
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.merge import merge_starts
from streameval.order import union

Floats = npt.NDArray[np.float64]

_BINS: Final = 8
ALIKE: Final = 1e9
"""The pseudo-events of the whole where segments do not differ."""


class Distance(NamedTuple):
    """How far a segment is from the whole: its events, and X² by its degrees of freedom (about 1 by chance alone)."""

    events: int
    ratio: float


def distance(segment: BinaryEvidence, whole: BinaryEvidence) -> Distance | None:
    """The distance of a segment's window from the whole's; None where either lacks events or a label.

    >>> rng = np.random.default_rng(0)
    >>> def draw(n, a):
    ...     score = rng.beta(a, 4, n)
    ...     return BinaryEvidence.of(score, (rng.random(n) < score).astype(np.int8))
    >>> whole = draw(20_000, 1)
    >>> bool(distance(draw(2000, 1), whole).ratio < 3 < distance(draw(2000, 2), whole).ratio)
    True
    """
    if not segment.events or not 0 < whole.positives < whole.events:
        return None
    starts = merge_starts(whole, _BINS)
    expected = np.add.reduceat(whole.counts, starts, axis=1).astype(np.float64)
    edges = whole.bins[starts]
    at = np.maximum(np.searchsorted(edges, segment.bins, side="right") - 1, 0)
    seen = np.stack([np.bincount(at, weights=c, minlength=len(starts)) for c in segment.counts])
    # A group that the whole has never seen says nothing about shares.
    held = expected > 0.0
    expected = expected[held] * (seen[held].sum() / expected.sum())
    if len(expected) < 2 or expected.sum() == 0.0:
        return None
    squares = (seen[held] - expected) ** 2 / expected
    return Distance(segment.events, float(squares.sum()) / (len(expected) - 1))


def pseudo_events(distances: Iterable[Distance]) -> float:
    """How many events of its own outweigh the whole for a segment, by how much segments differ; `ALIKE` at most.

    >>> pseudo_events([Distance(1000, 1.0), Distance(2000, 0.9)]) == ALIKE
    True
    >>> round(pseudo_events([Distance(1000, 6.0), Distance(1000, 4.0)]), 1)
    248.8
    """
    known = list(distances)
    total, spread = sum(d.events for d in known), sum(d.ratio for d in known)
    if spread <= len(known):
        return ALIKE
    return min(ALIKE, max(0.0, (total - spread) / (spread - len(known))))


@dataclass(frozen=True, slots=True)
class Pooled:
    """A segment's counts with a multiple of the whole's: what an objective solves. Counts are not whole numbers."""

    bins: npt.NDArray[np.int16]
    counts: npt.NDArray[Any]
    values: Mapping[str, Floats]
    kpis: Mapping[str, tuple[float, float, float]]

    @property
    def events(self) -> float:
        """How many events, pseudo-events included."""
        return float(self.counts.sum())

    def value_sums(self, name: str) -> Floats:
        """[k]: a KPI's sum by bin."""
        return self.values.get(name, np.zeros(len(self.bins)))

    @classmethod
    def of(cls, segment: BinaryEvidence, whole: BinaryEvidence, events: float) -> Pooled:
        """The segment's evidence and so many events of the whole's kind.

        >>> e = BinaryEvidence.of(np.array([0.1, 0.8]), np.array([0, 1]))
        >>> Pooled.of(e, e, 1.0).counts.tolist()
        [[1.5, 0.0], [0.0, 1.5]]
        """
        share = events / whole.events
        bins = union(segment.bins, whole.bins) if share > 0.0 else segment.bins
        if share == 0.0:
            whole = BinaryEvidence.empty()
        mine, theirs = np.searchsorted(bins, segment.bins), np.searchsorted(bins, whole.bins)

        def pooled(own: npt.NDArray[Any], other: npt.NDArray[Any]) -> Floats:
            total = np.zeros((*own.shape[:-1], len(bins)))
            total[..., mine] = own
            total[..., theirs] += share * other.astype(np.float64)
            return total

        names = sorted(segment.values.keys() | whole.values.keys())
        none = (0, 0, 0)
        kpis = {}
        for name in segment.kpis.keys() | whole.kpis.keys():
            own, other = segment.kpis.get(name, none), whole.kpis.get(name, none)
            kpis[name] = (own[0] + share * other[0], own[1] + share * other[1], own[2] + share * other[2])
        return cls(
            bins,
            pooled(segment.counts, whole.counts),
            {name: pooled(segment.value_sums(name), whole.value_sums(name)) for name in names},
            kpis,
        )


def shrunk(
    gate: Gate, segment: BinaryEvidence, whole: BinaryEvidence, events: float, in_force: float, since: int
) -> Move | None:
    """The move of a segment's threshold: solved with the whole's pseudo-events, weighed on the segment's own evidence.

    Args:
        gate: The objective and its bounds.
        segment: The segment's window.
        whole: The whole's window.
        events: What the whole counts for, of `pseudo_events`.
        in_force: The threshold in force for the segment.
        since: Matured events of the segment since its threshold moved.
    """
    own = gate.propose(segment, in_force, since)
    # What is not worth a move by the segment's best threshold is not by a lesser one.
    if own is None or not whole.events or events <= 0.0:
        return own
    if events >= ALIKE:
        solution = gate.objective.solve(whole)
    else:
        solution = gate.objective.solve(Pooled.of(segment, whole, events))
    return None if solution is None else gate.judge(segment, in_force, solution)
