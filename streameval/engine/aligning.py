"""Loss against KPI of one model: the windows of each version, in disjoint pairs over time and against other versions.

A version's matured rows are summed by *bucket* of prediction time; buckets are joined until both halves of the ids hold
enough of each label. Over time, window 2k is compared with window 2k + 1. Across versions, the buckets of a version are
compared with the same buckets of the oldest live one: by their decisions where both scored the same ids, by KPIs of
outcomes only where the configuration says that versions were assigned at random.

Invariant: a function of the steps in order. No row counts in two windows of a comparison.

Source: METHODS section 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streameval import records
from streameval.engine.identity import Identity
from streameval.engine.rows import Output, Rows
from streameval.evaluate.alignment import Agreement, Halves, Level, Pair, Summary, difference, level
from streameval.evaluate.alignment.standardised import Prices
from streameval.order import union

if TYPE_CHECKING:
    from streameval.config import Model

SAMPLED: Final = 64
"""One id in so many is kept for a bucket's time, to tell whether two versions scored the same ids."""
SAME: Final = 0.9
"""Share of two versions' ids that must be the same."""
LEAST_PAIRS: Final = 5
SHOWN: Final = 60

LOSS: Final = "log_loss"


@dataclass(slots=True)
class Bucket:
    """What matured of one stretch of prediction time."""

    number: int
    sums: Halves = field(default_factory=Halves)
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    """u64[k], ascending: the sampled ids."""

    def state(self) -> dict[str, Any]:
        """Plain values for ``restore``."""
        return {"number": self.number, "sums": self.sums.state(), "ids": self.ids}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Bucket:
        """The inverse of ``state``."""
        return cls(state["number"], Halves.restore(state["sums"]), state["ids"])


class Aligning:
    """The windows of one version.

    Args:
        identity: Whose they are (the whole's).
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.every = identity.config.alignment.every
        self.prices = prices_of(identity.config)
        self.bucket: Bucket | None = None
        self.window = Halves()
        self.since: int | None = None
        """The bucket in which the window began."""
        self.earlier: Halves | None = None
        """The first window of the pair that is being filled."""
        self.pair_since = 0
        self.prevalence: float | None = None
        """At which everything is standardised: that of the first window."""
        self.agreement: dict[str, Agreement] = {}

    def step(self, at: int, rows: Rows, threshold: float) -> tuple[list[Bucket], list[Output]]:
        """Take in a step's rows; the buckets that it closed, and the records of pairs."""
        labelled = np.flatnonzero(rows.label >= 0)
        if not len(labelled):
            return [], []
        known = rows.take(labelled)
        number = known.cohort // self.every
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
        closed: list[Bucket] = []
        outputs: list[Output] = []
        for a, b in pairwise(cuts):
            part = known if b - a == len(number) else known.take(slice(a, b))
            if self.bucket is not None and self.bucket.number != int(number[a]):
                closed.append(self.bucket)
                outputs += self._close(at, self.bucket)
                self.bucket = None
            if self.bucket is None:
                self.bucket = Bucket(int(number[a]))
            self.bucket.sums += Halves.of(part.score, part.label, part.id_hash, threshold, part.kpis)
            sampled = part.id_hash[part.id_hash // np.uint64(2) % np.uint64(SAMPLED) == 0]
            if len(sampled):
                self.bucket.ids = union(self.bucket.ids, sampled)
        return closed, outputs

    def _close(self, at: int, bucket: Bucket) -> list[Output]:
        self.window += bucket.sums
        self.since = bucket.number if self.since is None else self.since
        if not self.window.enough:
            return []
        window, since = self.window, self.since
        self.window, self.since = Halves(), None
        if self.prevalence is None:
            self.prevalence = window.prevalence
        if self.earlier is None:
            self.earlier, self.pair_since = window, since
            return []
        (loss_before, _), (loss_after, _) = (
            level(sums, 0, self.prevalence, self.prices) for sums in (self.earlier, window)
        )
        (_, before), (_, after) = (level(sums, 1, self.prevalence, self.prices) for sums in (self.earlier, window))
        events = int(self.earlier.events.sum() + window.events.sum())
        self.earlier = None
        gain = difference(loss_after, loss_before)
        for name in [name for name in before if name in after]:
            better = improvement(self.identity.config, name, difference(before[name], after[name]))
            self.agreement.setdefault(name, Agreement()).add(Pair(gain, better))
        span = records.Window.of(self.pair_since * self.every, (bucket.number + 1) * self.every, events)
        return records_of(self.identity, at, self.agreement, "across_time", span)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "bucket": None if self.bucket is None else self.bucket.state(),
            "window": self.window.state(),
            "since": self.since,
            "earlier": None if self.earlier is None else self.earlier.state(),
            "pair_since": self.pair_since,
            "prevalence": self.prevalence,
            "agreement": {name: agreement.state() for name, agreement in self.agreement.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.bucket = None if state["bucket"] is None else Bucket.restore(state["bucket"])
        self.window, self.since = Halves.restore(state["window"]), state["since"]
        self.earlier = None if state["earlier"] is None else Halves.restore(state["earlier"])
        self.pair_since, self.prevalence = state["pair_since"], state["prevalence"]
        self.agreement = {name: Agreement.restore(known) for name, known in state["agreement"].items()}


def prices_of(config: Model) -> Prices:
    """How a model's decisions are judged: by its costs, else by F-beta."""
    objective = config.objective
    if objective.kind == "cost":
        return Prices("cost", objective.fp, objective.fn)
    return Prices("f_beta", objective.beta if objective.kind == "f_beta" else 1.0, 0.0)


def improvement(config: Model, name: str, change: Level) -> Level:
    """A KPI's change, counted so that up is good."""
    lower = name == "cost" if name not in config.kpis else config.kpis[name].better == "lower"
    return Level(-change.value, change.error) if lower else change


def records_of(
    identity: Identity,
    at: int,
    agreement: dict[str, Agreement],
    basis: str,
    span: records.Window,
    against: str | None = None,
) -> list[Output]:
    """The records of the comparisons that have enough pairs; ``span`` is the latest pair's."""
    return [
        identity.output(at, "alignment", _record(identity, name, known, known.summary(), basis, span, against))
        for name, known in agreement.items()
        if known.pairs >= LEAST_PAIRS
    ]


def _record(
    identity: Identity,
    kpi: str,
    agreement: Agreement,
    summary: Summary,
    basis: str,
    span: records.Window,
    against: str | None,
) -> records.Alignment:
    rate, tau = summary.disagreement, summary.tau
    return records.Alignment(
        **identity.named,
        loss=LOSS,
        kpi=kpi,
        basis=basis,  # type: ignore[arg-type]  # one of the constants above and in comparing.py
        disagreement=records.Interval(None) if rate is None else records.Interval(*rate),
        undecided=summary.undecided,
        pairs=summary.pairs,
        tau=None if tau is None else records.Interval(*tau),
        correlation=summary.correlation,
        regret=summary.regret,
        goodhart=summary.goodhart,
        window=span,
        against=against,
        recent=[
            records.AlignmentPair(pair.loss.value, pair.kpi.value, pair.decided) for pair in agreement.latest[-SHOWN:]
        ],
    )
