"""The champion: which calibration map is in force, and when another one takes its place.

All maps are scored prequentially: tested on a step's matured evidence first, then they learn from it. Against each
challenger runs an e-process of Shiryaev-Roberts form on the difference d of the log losses, M <- L (M + n) with
L = Π (1 + λ d), averaged over three bets λ. While a challenger is no better, M minus the examples seen is a
supermartingale: the expected number of examples to a false change is at least 1e6.

Invariant: maps are frozen within a step. d is bounded by clipping probabilities at 1e-4 (|d| <= 9.22) and by nothing
else: a tighter clip reverses the sign of an over-confident challenger's gain.

Source: METHODS, section 2; Shin, Ramdas and Rinaldo (2022, "E-detectors").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from streameval.errors import StateVersionError
from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evaluate.calibration.cells import Cells
from streameval.evaluate.calibration.identity import Identity
from streameval.evaluate.calibration.isotonic import Isotonic
from streameval.evaluate.calibration.platt import Platt
from streameval.evaluate.calibration.prior import PriorShift
from streameval.evidence import BinaryEvidence
from streameval.evidence.binary import check_version
from streameval.evidence.merge import Floats

_STATE_VERSION: Final = 1
_CLIP: Final = 1e-4
_BETS: Final[Floats] = np.array([0.02, 0.05, 0.1])
_EVENTS_TO_FALSE_SWITCH: Final = 1e6
_LARGEST_EXPONENT: Final = 650.0

CALIBRATORS: Final[tuple[type[Calibrator], ...]] = (Identity, PriorShift, Platt, Isotonic)
"""Those that compete, the first in force at the start; a further calibrator is a file and an entry here."""


@dataclass(frozen=True, slots=True)
class CalibrationMap:
    """A map frozen at some moment, as it is published: probabilities by linear interpolation between knots.

    >>> CalibrationMap("identity", np.array([0.0, 1.0]), np.array([0.0, 1.0])).predict_many(np.array([0.3]))
    array([0.3])
    """

    method: str
    x: Floats
    """float64[<= 256]: scores, ascending from at or above 0."""
    y: Floats
    """The probabilities there, never falling."""

    def predict_many(self, score: Floats) -> Floats:
        """float64[n] probabilities of float64[n] scores."""
        return np.interp(score, self.x, self.y)


@dataclass(frozen=True, slots=True)
class Measures:
    """How well a map predicted, prequentially, the recent examples counting most."""

    log_loss: float
    brier: float


@dataclass(frozen=True, slots=True)
class Switch:
    """Another map has taken the champion's place."""

    previous: str
    method: str
    evidence: float
    """The e-process's value, on the scale of examples to a false alarm."""
    before: Measures
    """Of the map that was in force, since the other began to lead."""
    after: Measures
    """Of the map that now is, over the same examples."""


class Champion:
    """Calibration maps that compete.

    >>> champion = Champion(half_life=10_000)
    >>> champion.method
    'identity'
    """

    def __init__(self, half_life: float = 10_000.0, calibrators: Sequence[type[Calibrator]] = CALIBRATORS) -> None:
        self.half_life = half_life
        self._calibrators = [c(half_life) for c in calibrators]
        self._champion = 0
        self._m: Floats = np.zeros((len(self._calibrators), len(_BETS)))
        # Faded sums: examples, then log losses and Brier losses by calibrator.
        self._weight = 0.0
        self._losses: Floats = np.zeros((2, len(self._calibrators)))
        # Since each calibrator began to lead: its lead, examples, losses of the champion and of itself.
        self._lead: Floats = np.zeros(len(self._calibrators))
        self._lead_weight: Floats = np.zeros(len(self._calibrators))
        self._lead_losses: Floats = np.zeros((2, 2, len(self._calibrators)))

    @property
    def method(self) -> str:
        """The name of the map in force."""
        return self._calibrators[self._champion].name

    @property
    def calibrator(self) -> Calibrator:
        """The calibrator in force; it goes on learning."""
        return self._calibrators[self._champion]

    @property
    def map(self) -> CalibrationMap:
        """The map in force, frozen as it is now."""
        return CalibrationMap(self.method, *self.calibrator.knots())

    def measures(self) -> dict[str, Measures]:
        """How each map has done, by name; empty before the first step."""
        if not self._weight:
            return {}
        log_loss, brier = (self._losses / self._weight).tolist()
        return {c.name: Measures(log_loss[i], brier[i]) for i, c in enumerate(self._calibrators)}

    def step(self, evidence: BinaryEvidence) -> Switch | None:
        """Test all maps on a step's matured evidence, let them learn it, and crown another if it proved better."""
        if not evidence.events:
            return None
        cells = Cells.of(evidence)
        self._test(cells)
        for calibrator in self._calibrators:
            calibrator.learn_cells(cells)
        return self._decide()

    def _test(self, cells: Cells) -> None:
        held = np.flatnonzero(cells.counts[0] + cells.counts[1])
        counts = cells.counts[:, held]
        scores = cells.means[held]
        p = np.clip(np.stack([c.predict_many(scores) for c in self._calibrators]), _CLIP, 1.0 - _CLIP)
        log_loss = np.stack((-np.log1p(-p), -np.log(p)), axis=1)
        brier = np.stack((p * p, (1.0 - p) ** 2), axis=1)
        events = float(counts.sum())
        fade = 0.5 ** (events / self.half_life)
        totals = np.stack([(loss * counts).sum(axis=(1, 2)) for loss in (log_loss, brier)])
        self._weight = self._weight * fade + events
        self._losses = self._losses * fade + totals

        gain = log_loss[self._champion] - log_loss
        exponent = np.log1p(_BETS[:, np.newaxis, np.newaxis] * gain[:, np.newaxis]) * counts
        total = np.minimum(exponent.sum(axis=(2, 3)), _LARGEST_EXPONENT)
        self._m = np.exp(total) * (self._m + events)
        begins = self._lead <= 0.0
        self._lead = np.where(begins, 0.0, self._lead) + total[:, 1]
        self._lead_weight = np.where(begins, 0.0, self._lead_weight) + events
        pair = np.stack((np.broadcast_to(totals[:, [self._champion]], totals.shape), totals))
        self._lead_losses = np.where(begins, 0.0, self._lead_losses) + pair

    def _decide(self) -> Switch | None:
        mixed = self._m.mean(axis=1)
        mixed[self._champion] = 0.0
        best = int(np.argmax(mixed))
        if mixed[best] < _EVENTS_TO_FALSE_SWITCH * max(1, len(self._calibrators) - 1):
            return None
        before, after = (self._lead_losses[:, :, best] / self._lead_weight[best]).tolist()
        previous, self._champion = self.method, best
        self._m = np.zeros_like(self._m)
        self._lead = np.zeros_like(self._lead)
        return Switch(previous, self.method, float(mixed[best]), Measures(*before), Measures(*after))

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on bit for bit."""
        return {
            "version": _STATE_VERSION,
            "half_life": self.half_life,
            "calibrators": [c.state() for c in self._calibrators],
            "champion": self.method,
            "m": self._m,
            "weight": self._weight,
            "losses": self._losses,
            "lead": self._lead,
            "lead_weight": self._lead_weight,
            "lead_losses": self._lead_losses,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any], calibrators: Sequence[type[Calibrator]] = CALIBRATORS) -> Self:
        """The inverse of `state`. `calibrators` must hold all that the state names.

        Raises:
            StateVersionError: the state was written by a newer release, or names a calibrator that is not known.
        """
        check_version(state, _STATE_VERSION, "calibration champion")
        by_name = {c.name: c for c in calibrators}
        names = [s["name"] for s in state["calibrators"]]
        unknown = sorted(set(names) - by_name.keys())
        if unknown:
            raise StateVersionError(
                f"the state holds calibrators that this release does not know: {', '.join(unknown)}",
                cure="run the release that wrote the state, or start with --fresh",
            )
        new = cls(state["half_life"], [by_name[name] for name in names])
        new._calibrators = [by_name[s["name"]].restore(s) for s in state["calibrators"]]
        new._champion = names.index(state["champion"])
        new._m = state["m"]
        new._weight = state["weight"]
        new._losses = state["losses"]
        new._lead = state["lead"]
        new._lead_weight = state["lead_weight"]
        new._lead_losses = state["lead_losses"]
        return new
