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
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.evaluate.calibration_error import (
    CalibrationMeasures,
    calibration_bins,
    calibration_error,
    calibration_measures,
    reliability,
)
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
        known: CalibrationMap | None = None,
    ) -> list[Output]:
        """The metrics of a window at the threshold in force, and what they say against the offline report.

        ``known`` is the map in force. The parts of the calibration error are published of the whole only.
        """
        estimates: dict[str, Estimate] = binary_metrics(evidence, threshold, self.costs, self.scales)
        of_score, of_map = self._calibration(evidence, known) if self.identity.whole else (None, None)
        error = calibration_error(evidence) if of_score is None else of_score.relative_error
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
            calibration=_measures(of_score),
            calibration_of_map=_measures(of_map),
            gap={name: records.Interval(*known) for name, known in gap.items()} or None,
        )
        told = self.offline.events(at, gap, estimates, threshold, window)
        return [self.identity.output(at, "metrics", data), *told]

    def _calibration(
        self, evidence: BinaryEvidence, known: CalibrationMap | None
    ) -> tuple[CalibrationMeasures | None, CalibrationMeasures | None]:
        """The measures of the score, and of the map in force if that is another than the score."""
        starts, scores = calibration_bins(evidence), evidence.mean_scores
        of_score = calibration_measures(evidence, scores, starts)
        if known is None or known.method == "identity":
            return of_score, None
        return of_score, calibration_measures(evidence, known.predict_many(scores), starts)

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


def _measures(found: CalibrationMeasures | None) -> records.CalibrationMeasures | None:
    if found is None:
        return None
    large, all_ = (None if test is None else records.ZTest(*test) for test in (found.in_the_large, found.spiegelhalter))
    return records.CalibrationMeasures(
        relative_error=records.Interval(*found.relative_error),
        reliability=records.Interval(*found.reliability),
        resolution=records.Interval(*found.resolution),
        uncertainty=records.Interval(*found.uncertainty),
        within=found.within,
        in_the_large=large,
        spiegelhalter=all_,
    )


def _mixture(counts: LabelCounts) -> MixtureReference | None:
    reference = BinaryEvidence(counts.bins, counts.counts, np.zeros_like(counts.counts))
    return MixtureReference(reference) if reference.positives and reference.negatives else None
