"""Offline against online: what a version reached on its validation set, and how far it is from that now.

A report's scored examples are kept as a histogram, so that its metrics can be computed at whatever threshold is in
force; a report of bare metrics is compared as it is, those that depend on the threshold only while the configured one
is in force.

Invariant: a gap is online less offline; its interval is that of a difference of independent estimates. One event a
metric is told when its gap is beyond doubt and beyond tolerance, and again only after it had closed.

Source: METHODS section 1 (a given reference); Howard (1996) and Newcombe (1998) for intervals of differences from the
two estimates' own limits (MOVER).
"""

from __future__ import annotations

import base64
import zlib
from math import hypot
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from streameval import records
from streameval.engine.identity import Identity
from streameval.engine.rows import Output
from streameval.evaluate.calibration_error import calibration_error
from streameval.evaluate.estimate import Estimate
from streameval.evaluate.metrics import binary_metrics
from streameval.evidence.binary import BinaryEvidence

if TYPE_CHECKING:
    from streameval.config import OfflineReport

TOLERANCE: Final = 0.02
"""A gap is told when it is, beyond doubt, more than this share of the offline value."""
AT_THRESHOLD: Final = frozenset({"precision", "recall", "f1", "cost"})
_NEEDS_SUMS: Final = frozenset({"log_loss", "brier", "calibration_error"})
"""Of single scores: the histogram does not give them, so the report's own values serve."""


def pack(evidence: BinaryEvidence) -> str:
    """The histogram of scored examples as text for `OfflineReport.examples`.

    >>> e = BinaryEvidence.of(np.array([0.1, 0.7]), np.array([0, 1]))
    >>> unpack(pack(e)).counts.tolist() == e.counts.tolist()
    True
    """
    plain = msgspec.msgpack.encode([evidence.bins.tolist(), evidence.counts.tolist()])
    return base64.b85encode(zlib.compress(plain, 9)).decode()


def unpack(text: str) -> BinaryEvidence:
    """The inverse of `pack`: counts alone, all sums are zero."""
    bins, counts = msgspec.msgpack.decode(zlib.decompress(base64.b85decode(text)))
    known = np.array(counts, dtype=np.int64).reshape(2, -1)
    return BinaryEvidence(np.array(bins, dtype=np.int16), known, np.zeros_like(known))


def measured(
    evidence: BinaryEvidence, threshold: float, costs: tuple[float, float] | None, scales: dict[str, float]
) -> dict[str, Estimate]:
    """The metrics of a validation set: those that a metrics record carries."""
    found = binary_metrics(evidence, threshold, costs, scales)
    error = calibration_error(evidence)
    if error is not None:
        found["calibration_error"] = error
    return found


class OfflineGap:
    """One cell's gap.

    Args:
        identity: Whose it is; segments have no report.
        costs: The price of a false positive and of a false negative, if the objective has one.
    """

    def __init__(self, identity: Identity, costs: tuple[float, float] | None) -> None:
        self.identity = identity
        self.costs = costs
        self.report = report_of(identity)
        text = "" if self.report is None else self.report.examples
        self.examples = unpack(text) if text else None
        self.told: list[str] = []
        """Metrics whose gap has been told and has not closed since."""
        self._at: tuple[float, dict[str, Estimate]] | None = None

    def gap(self, online: dict[str, Estimate], threshold: float) -> dict[str, Estimate]:
        """Online less offline, by metric that both have."""
        if self.report is None:
            return {}
        offline = self._offline(self.report, threshold)
        return {name: _difference(online[name], offline[name]) for name in offline if name in online}

    def events(
        self, at: int, gap: dict[str, Estimate], online: dict[str, Estimate], threshold: float, window: records.Window
    ) -> list[Output]:
        """The drift records of gaps that have opened."""
        if self.report is None:
            return []
        offline = self._offline(self.report, threshold)
        outputs: list[Output] = []
        for name, known in gap.items():
            limit = TOLERANCE * abs(offline[name].value)
            open_ = known.low > limit or known.high < -limit
            if open_ and name not in self.told:
                self.told.append(name)
                outputs.append(self._record(at, name, known, offline[name], online[name], window))
            elif not open_ and name in self.told and known.low <= 0.0 <= known.high:
                self.told.remove(name)
        return outputs

    def _offline(self, report: OfflineReport, threshold: float) -> dict[str, Estimate]:
        if self._at is None or self._at[0] != threshold:
            self._at = (threshold, self._computed(report, threshold))
        return self._at[1]

    def _computed(self, report: OfflineReport, threshold: float) -> dict[str, Estimate]:
        said = {
            name: Estimate(m.value, m.value if m.low is None else m.low, m.value if m.high is None else m.high)
            for name, m in report.metrics.items()
        }
        if self.examples is not None:
            computed = binary_metrics(self.examples, threshold, self.costs)
            known = {name: e for name, e in computed.items() if name not in _NEEDS_SUMS}
            return said | known
        if threshold != self.identity.config.threshold:
            return {name: e for name, e in said.items() if name not in AT_THRESHOLD}
        return said

    def _record(
        self, at: int, name: str, gap: Estimate, offline: Estimate, online: Estimate, window: records.Window
    ) -> Output:
        data = records.Drift(
            **self.identity.named,
            monitor="offline_gap",
            tier="advisory",
            statistic=gap.value,
            direction="up" if gap.value > 0.0 else "down",
            change_at=None,
            diagnosis=None,
            detector=name,
            before=records.Interval(*offline),
            after=records.Interval(*online),
            window=window,
        )
        return self.identity.output(at, "drift", data)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {"told": list(self.told)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.told = list(state["told"])


def report_of(identity: Identity) -> OfflineReport | None:
    """The report of a version: its own, else the one of every version; segments have none."""
    reports = identity.config.reference.offline if identity.whole else ()
    own = [report for report in reports if report.version == identity.version]
    return next(iter([*own, *(report for report in reports if report.version is None)]), None)


def _difference(online: Estimate, offline: Estimate) -> Estimate:
    value = online.value - offline.value
    below = hypot(online.value - online.low, offline.high - offline.value)
    above = hypot(online.high - online.value, offline.value - offline.low)
    return Estimate(value, value - below, value + above)
