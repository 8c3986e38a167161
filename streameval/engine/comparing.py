"""Versions against each other: does the one with the lower loss also have the better KPI?

Each version is compared with the oldest live one on buckets of prediction time that both have closed. Where both scored
the same ids (a shadow model) their decisions are compared; KPIs of outcomes would be the same. Where versions were
assigned at random (``alignment.randomised``) the KPIs of outcomes count too. All else is association, and says so.

Invariant: a function of the closed buckets in the order of their closing; each bucket counts in one pair.

Source: METHODS section 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from streameval import records
from streameval.engine.aligning import SAME, Bucket, improvement, prices_of, records_of
from streameval.engine.identity import Identity
from streameval.engine.rows import Output
from streameval.evaluate.alignment import Agreement, Halves, Level, Pair, difference, level

if TYPE_CHECKING:
    from streameval.config import Model

BUCKETS_KEPT = 8
"""A version that lags further behind is compared on later buckets."""


@dataclass(slots=True)
class Comparison:
    """One version against another: the sums that wait for enough examples, and the pairs so far."""

    mine: Halves = field(default_factory=Halves)
    other: Halves = field(default_factory=Halves)
    since: int | None = None
    same: list[int] = field(default_factory=lambda: [0, 0])
    """Sampled ids: those that both versions have, and all."""
    chosen: int | None = None
    """Which the loss chose in the pair before: 0 this version, 1 the other."""
    agreement: dict[str, Agreement] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Plain values for ``restore``."""
        return {
            "mine": self.mine.state(),
            "other": self.other.state(),
            "since": self.since,
            "same": self.same,
            "chosen": self.chosen,
            "agreement": {name: known.state() for name, known in self.agreement.items()},
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Comparison:
        """The inverse of ``state``."""
        return cls(
            Halves.restore(state["mine"]),
            Halves.restore(state["other"]),
            state["since"],
            list(state["same"]),
            state["chosen"],
            {name: Agreement.restore(known) for name, known in state["agreement"].items()},
        )


class Comparing:
    """The comparisons between a model's versions.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: Model) -> None:
        self.config = config
        self.prices = prices_of(config)
        self.closed: dict[str, list[Bucket]] = {}
        """The latest closed buckets of each version, the oldest version first."""
        self.comparisons: dict[str, Comparison] = {}
        self.prevalence: float | None = None

    def close(self, at: int, identity: Identity, bucket: Bucket) -> list[Output]:
        """Take in a version's closed bucket; the records that it brings."""
        known = self.closed.setdefault(identity.version, [])
        known.append(bucket)
        del known[:-BUCKETS_KEPT]
        oldest = next(iter(self.closed))
        outputs: list[Output] = []
        for version, buckets in list(self.closed.items()):
            # Either side may be the one that closed it last.
            if version != oldest and identity.version in (version, oldest):
                theirs = {b.number: b for b in self.closed[oldest]}
                mine = {b.number: b for b in buckets}
                if bucket.number in theirs and bucket.number in mine:
                    of = Identity(self.config, version, identity.segment, identity.interval)
                    outputs += self._pair(at, of, oldest, mine[bucket.number], theirs[bucket.number])
        return outputs

    def end(self, version: str) -> None:
        """A version has retired; what was compared with it begins anew."""
        if self.closed and version == next(iter(self.closed)):
            self.comparisons.clear()
        self.closed.pop(version, None)
        self.comparisons.pop(version, None)

    def _pair(self, at: int, identity: Identity, oldest: str, mine: Bucket, other: Bucket) -> list[Output]:
        comparison = self.comparisons.setdefault(identity.version, Comparison())
        comparison.mine += mine.sums
        comparison.other += other.sums
        comparison.since = mine.number if comparison.since is None else comparison.since
        both = len(np.intersect1d(mine.ids, other.ids, assume_unique=True))
        comparison.same[0] += both
        comparison.same[1] += max(len(mine.ids), len(other.ids))
        if not (comparison.mine.enough and comparison.other.enough):
            return []
        if self.prevalence is None:
            self.prevalence = comparison.other.prevalence
        same = comparison.same[0] >= max(1.0, SAME * comparison.same[1])
        randomised = self.config.alignment.randomised
        (loss, _), (other_loss, _) = (
            level(sums, 0, self.prevalence, self.prices) for sums in (comparison.mine, comparison.other)
        )
        (_, kpis), (_, other_kpis) = (
            level(sums, 1, self.prevalence, self.prices) for sums in (comparison.mine, comparison.other)
        )
        gain = difference(loss, other_loss)
        names: list[str] = [self.prices.kind]
        if randomised and not same:
            names += [name for name in self.config.kpis if name in kpis and name in other_kpis]
        for name in names:
            better = improvement(self.config, name, difference(other_kpis[name], kpis[name]))
            agreement = comparison.agreement.setdefault(name, Agreement())
            agreement.add(Pair(gain, better, _regret(comparison.chosen, better)))
        comparison.chosen = 0 if gain.value > 0.0 else 1
        every = self.config.alignment.every
        events = int(comparison.mine.events.sum() + comparison.other.events.sum())
        span = records.Window.of(comparison.since * every, (mine.number + 1) * every, events)
        comparison.mine, comparison.other, comparison.since = Halves(), Halves(), None
        basis = "same_ids" if same else "randomised" if randomised else "association"
        return records_of(identity, at, comparison.agreement, basis, span, oldest)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "closed": [[version, [b.state() for b in buckets]] for version, buckets in self.closed.items()],
            "comparisons": [[version, known.state()] for version, known in self.comparisons.items()],
            "prevalence": self.prevalence,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.closed = {version: [Bucket.restore(b) for b in buckets] for version, buckets in state["closed"]}
        self.comparisons = {version: Comparison.restore(known) for version, known in state["comparisons"]}
        self.prevalence = state["prevalence"]


def _regret(chosen: int | None, better: Level) -> float | None:
    """What the version that the loss chose one window ago gave away in this one, against the other."""
    if chosen is None:
        return None
    return -better.value if chosen == 0 else better.value
