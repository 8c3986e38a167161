"""The calibration map of a whole model: learnt at every step, published when it changes enough.

Invariant: subscribers hold ``published``; it changes only by a record. A map inherited from an earlier lineage stays
until another one proves better.

Source: METHODS section 2.
"""

from __future__ import annotations

from typing import Any

from streameval import records
from streameval.engine.identity import Identity
from streameval.engine.rows import Output
from streameval.evaluate.calibration.cells import LabelHistogram
from streameval.evaluate.calibration.champion import CalibrationMap, Champion, Measures, Switch, competing
from streameval.evidence.binary import BinaryEvidence

MAP_MOVED = 0.05
"""A map is published again when it has moved by more than this: root mean square over the step's scores, relative to
the labels' own spread. It is the effect that a diagnosis takes for one; beyond it lies a fit's own noise (about
sqrt(10 / 14,000) = .03 at a half-life of 10,000 for a map of ten parameters), and each map is an epoch."""


class Calibrating:
    """The champion of one model version and the map in force.

    Args:
        identity: Whose it is.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        config = identity.config.calibration
        self.competing = competing(config.methods)
        self.champion = Champion(config.half_life, self.competing)
        self.published: CalibrationMap | None = None
        self.inherited = False

    def step(self, at: int, evidence: BinaryEvidence, window: records.Window) -> list[Output]:
        """Score and teach the field with a step's evidence; the record of a map that changed enough."""
        switch = self.champion.step(evidence)
        current = self.champion.map
        known = self.published
        if switch is None and self.inherited:
            return []
        self.inherited = False
        if switch is None and known is not None and known.method == current.method:
            # Beside the method, only a map that moved is news.
            return [self._publish(at, current, None, window)] if _moved(known, current, evidence) else []
        return [self._publish(at, current, switch, window)]

    def adopt(self, at: int, method: str | None, histogram: LabelHistogram, window: records.Window) -> list[Output]:
        """Put a map in force at once, fitted to the examples since a change (see `Champion.adopt`); its record."""
        switch = self.champion.adopt(method, histogram)
        if switch is None:
            return []
        self.inherited = False
        return [self._publish(at, self.champion.map, switch, window)]

    def _publish(self, at: int, current: CalibrationMap, switch: Switch | None, window: records.Window) -> Output:
        self.published = current
        own = self.champion.measures().get(current.method)
        before, after = (own, own) if switch is None else (switch.before, switch.after)
        data = records.Calibration(
            **self.identity.named,
            method=current.method,
            knots=records.Knots(current.x.tolist(), current.y.tolist()),
            before=_losses(before),
            after=_losses(after),
            window=window,
            configuration=self.identity.configuration,
        )
        return self.identity.output(at, "calibration", data)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        known = self.published
        return {
            "champion": self.champion.state(),
            "published": None if known is None else [known.method, known.x, known.y],
            "inherited": self.inherited,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.champion = Champion.restore(state["champion"], self.competing, self.identity.config.calibration.half_life)
        known = state["published"]
        self.published = None if known is None else CalibrationMap(*known)
        self.inherited = state["inherited"]


def _moved(old: CalibrationMap, new: CalibrationMap, evidence: BinaryEvidence) -> bool:
    scores, weights = evidence.mean_scores, evidence.counts.sum(axis=0)
    before, after = old.predict_many(scores), new.predict_many(scores)
    share = weights / weights.sum()
    mean = float(share @ after)
    return bool(share @ (after - before) ** 2 > MAP_MOVED**2 * mean * (1.0 - mean))


def _losses(measures: Measures | None) -> records.Losses | None:
    return None if measures is None else records.Losses(measures.log_loss, measures.brier)
