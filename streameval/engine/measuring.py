"""The metrics record of a cell, and its estimates of prevalence.

Invariant: a function of the window's evidence, the threshold in force, the reference and the fresh scores.

Source: METHODS sections 0, 2 and 3.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from streameval import records
from streameval.detect.label_counts import LabelCounts
from streameval.detect.life import Watch
from streameval.detect.reference import Reference
from streameval.engine.fresh import FreshScores
from streameval.engine.identity import Identity
from streameval.engine.offline import OfflineGap
from streameval.engine.rows import Output
from streameval.evaluate.calibration_error import calibration_error, reliability
from streameval.evaluate.estimate import Estimate
from streameval.evaluate.metrics import binary_metrics, confusion
from streameval.evaluate.mixture import MixtureReference
from streameval.evaluate.prevalence import windowed
from streameval.evaluate.river_metrics import river_metrics
from streameval.evidence.binary import BinaryEvidence


class Measuring:
    """What a cell publishes of its window.

    Args:
        identity: Whose it is.
        costs: The price of a false positive and of a false negative; None where the objective has none.
    """

    def __init__(self, identity: Identity, costs: tuple[float, float] | None) -> None:
        self.identity = identity
        self.costs = costs
        self.scales = {name: kpi.scale for name, kpi in identity.config.kpis.items()}
        self.offline = OfflineGap(identity, costs)
        self.mixture: tuple[Reference, MixtureReference | None] | None = None

    def record(
        self,
        at: int,
        evidence: BinaryEvidence,
        window: records.Window,
        threshold: float,
        watch: Watch,
        prevalence: records.Prevalence,
    ) -> list[Output]:
        """The metrics of a window at the threshold in force, and what they say against the offline report."""
        estimates: dict[str, Estimate] = binary_metrics(evidence, threshold, self.costs, self.scales)
        error = calibration_error(evidence)
        if error is not None:
            estimates["calibration_error"] = error
        metrics = {name: records.Interval(e.value, e.low, e.high) for name, e in estimates.items()}
        for name, value in river_metrics(evidence, threshold, self.identity.config.evaluate.river).items():
            metrics[name] = records.Interval(value)
        gap = self.offline.gap(estimates, threshold)
        at_threshold = confusion(evidence, threshold)
        data = records.Metrics(
            **self.identity.named,
            window=window,
            metrics=metrics,
            prevalence=prevalence,
            threshold=min(threshold, 1.0),
            confusion=records.Confusion(*at_threshold),
            reliability=[msgspec.convert(point, records.ReliabilityPoint) for point in reliability(evidence)],
            phase=watch.phase,
            detectable=watch.smallest_detectable_ratio,
            season=watch.season,
            gap={name: records.Interval(*known) for name, known in gap.items()} or None,
        )
        told = self.offline.events(at, gap, estimates, threshold, window)
        return [self.identity.output(at, "metrics", data), *told]

    def prevalence(
        self, at: int, evidence: BinaryEvidence, watch: Watch, fresh: FreshScores | None
    ) -> records.Prevalence:
        """The prevalence of a window by its labels, and that of the fresh scores without labels (for the whole)."""
        labelled = windowed(evidence)
        free = None
        reference = watch.reference
        if self.identity.whole and fresh is not None and reference is not None:
            if self.mixture is None or self.mixture[0] is not reference:
                self.mixture = (reference, _mixture(reference.counts))
            mixture = self.mixture[1]
            if mixture is not None and mixture.holds(evidence):
                free = mixture.prevalence(fresh.histogram(at))
        return records.Prevalence(_interval(labelled), _interval(free))

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {"offline": self.offline.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.offline.restore(state["offline"])


def _interval(estimate: Estimate | None) -> records.Interval | None:
    return None if estimate is None else records.Interval(*estimate)


def _mixture(counts: LabelCounts) -> MixtureReference | None:
    reference = BinaryEvidence(counts.bins, counts.counts, np.zeros_like(counts.counts))
    return MixtureReference(reference) if reference.positives and reference.negatives else None
