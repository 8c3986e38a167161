"""The metrics record of a cell.

Invariant: a function of the window's evidence, the threshold in force and the reference.

Source: METHODS sections 0 and 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from streameval import records
from streameval.detect.life import Watch
from streameval.engine.identity import Identity
from streameval.engine.offline import OfflineGap
from streameval.engine.rows import Output
from streameval.engine.selecting import selective_record, without_values
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
from streameval.evaluate.river_metrics import river_metrics
from streameval.evaluate.selective import Selection
from streameval.evidence.binary import BinaryEvidence


class Foreseen(NamedTuple):
    """What the whole's record says of predictions that wait for labels."""

    estimated: records.Estimated | None = None
    provisional: records.Provisional | None = None
    labels: records.LabelFlow | None = None


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

    def record(
        self,
        at: int,
        evidence: BinaryEvidence,
        window: records.Window,
        threshold: float,
        watch: Watch,
        prevalence: records.Prevalence,
        known: CalibrationMap | None = None,
        foreseen: Foreseen | None = None,
        selection: Selection | None = None,
    ) -> list[Output]:
        """The metrics of a window at the threshold in force, and what they say against the offline report.

        ``known`` is the map in force; ``selection`` tells of the predictions whose label is not seen. The parts of the
        calibration error are published of the whole only.
        """
        estimates: dict[str, Estimate] = binary_metrics(evidence, threshold, self.costs, self.scales)
        of_score, of_map = self._calibration(evidence, known) if self.identity.whole else (None, None)
        error = calibration_error(evidence) if of_score is None else of_score.relative_error
        if error is not None:
            estimates["calibration_error"] = error
        metrics = {name: records.Interval(e.value, e.low, e.high) for name, e in estimates.items()}
        for name, value in river_metrics(evidence, threshold, self.identity.config.evaluate.river).items():
            metrics[name] = records.Interval(value)
        of_selection: records.Selective | None = None
        if selection is not None:
            bounds = selection.bounds(threshold, self.costs)
            others = self.identity.config.evaluate.river
            metrics = without_values(metrics, selection, bounds, others)
            of_selection = selective_record(selection, bounds, others)
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
            selective=of_selection,
            gap={name: records.Interval(*known) for name, known in gap.items()} or None,
            **({} if foreseen is None else foreseen._asdict()),
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

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {"offline": self.offline.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.offline.restore(state["offline"])


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
