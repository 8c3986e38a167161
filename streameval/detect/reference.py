"""Reference: what a cell's monitors take for normal, fixed when learning ends.

Invariant: a function of the learnt blocks and of the threshold in force; bounds hold at 99.9 % a side, widened where
the blocks show over-dispersion.
Source: METHODS, section 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.detect.esr import DIRECTIONS, Esr
from streameval.detect.family import COST, LABEL, MONITORS, RESIDUAL, Family, family_of
from streameval.detect.history import History
from streameval.detect.label_counts import LabelCounts
from streameval.detect.overdispersion import dispersion

Floats = npt.NDArray[np.float64]

LEAST_EVENTS_TO_A_FALSE_ALARM: Final = 1e6


@dataclass(slots=True)
class Reference:
    """The counts of a reference with its family of monitors.

    `phi` is float64[monitors], the over-dispersion that bounds are widened by and that tempers the evidence (to the
    power 1 / phi), or None for independent events; `log_threshold` the log of c; times in ms.
    """

    start: int
    end: int
    counts: LabelCounts
    family: Family
    phi: Floats | None
    log_threshold: float

    def bounds(self, monitor: int) -> tuple[float, float]:
        """`(up, down)` of a monitor's mean without change, at the threshold in force."""
        return self.family.bounds(monitor, self.family.cells(self.counts), self.phi)

    def detector(self) -> Esr:
        """A new detector that watches from the reference's end on."""
        up, down = np.array([self.bounds(monitor) for monitor in range(len(MONITORS))]).T
        tempering = None if self.phi is None else 1.0 / self.phi
        return Esr(self.family.values, up, down, self.log_threshold, self.end, tempering)

    def move(self, threshold: float, esr: Esr, at: int) -> None:
        """Put another threshold in force at `at` (ms): the cost's bounds and M begin anew, the other monitors go on."""
        if self.family.move(threshold):
            esr.relaid(self.family.values)
            up, down = self.bounds(COST)
            esr.restart(COST, up, down, at)

    def smallest_detectable_ratio(self) -> float:
        """The smallest factor of the prevalence that can raise an alarm: its upper bound by its mean."""
        up, _ = self.bounds(LABEL)
        return up * self.counts.events / max(self.counts.positives, 1)

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "start": self.start,
            "end": self.end,
            "counts": self.counts.state(),
            "family": self.family.state(),
            "phi": self.phi,
            "log_threshold": self.log_threshold,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Reference:
        """The reference that `state` described."""
        return cls(
            int(state["start"]),
            int(state["end"]),
            LabelCounts.restore(state["counts"]),
            Family.restore(state["family"]),
            None if state["phi"] is None else np.array(state["phi"], dtype=np.float64),
            float(state["log_threshold"]),
        )


def reference_of(
    history: History,
    threshold: float,
    *,
    costs: tuple[float, float],
    sign_weight_above: float,
    promise_ms: int,
    segments: int,
) -> Reference:
    """Freeze what was learnt.

    The detector's threshold is c = max(1e6, events in `promise_ms`) * segments * monitors * 2, with the reference's own
    rate of events: one false alarm in that time for the whole model. Where over-dispersion is significant,
    twice phi of each monitor widens its bounds and tempers its evidence, also where that one is modest.
    """
    counts = history.total()
    family = family_of(counts, threshold, costs, sign_weight_above)
    steps = np.stack([family.cells(block.counts) for block in history.blocks])
    phi, significant = dispersion(steps, family.values, (LABEL, RESIDUAL))
    widened = 2.0 * np.maximum(1.0, phi) if significant else None
    promised = counts.events * promise_ms / max(history.end - history.start, 1)
    least = max(LEAST_EVENTS_TO_A_FALSE_ALARM, promised) * segments * len(MONITORS) * len(DIRECTIONS)
    return Reference(history.start, history.end, counts, family, widened, float(np.log(least)))
