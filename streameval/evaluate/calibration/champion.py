"""The champion: which calibration map is in force, and when another one takes its place.

All maps are scored prequentially: tested on a step's matured evidence first, then they learn from it. Against each
challenger runs an e-process of Shiryaev-Roberts form on the difference d of the log losses, M <- L (M + n) with
L = Π (1 + λ d), averaged over three bets λ. While a challenger is no better, M minus the examples seen is a
supermartingale: the expected number of examples to a false change is at least 1e6.

A diagnosis does not wait for that evidence: `adopt` puts its map in force at once, fitted to the examples since the
change alone; all others begin anew on them too.

Invariant: maps are frozen within a step; all learn from the same faded cells, which are kept once. d is bounded by
clipping probabilities at 1e-4 (|d| <= 9.22) and by nothing else: a tighter clip reverses the sign of an over-confident
challenger's gain.

Source: METHODS, section 2; Shin, Ramdas and Rinaldo (2022, "E-detectors").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np

from streameval.errors import ConfigValueError, StateVersionError
from streameval.evaluate.calibration.beta import Beta
from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evaluate.calibration.cells import Cells, DecayedCells, LabelHistogram
from streameval.evaluate.calibration.halves import halves
from streameval.evaluate.calibration.identity import Identity
from streameval.evaluate.calibration.isotonic import Isotonic
from streameval.evaluate.calibration.online_platt import OnlinePlatt
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

CALIBRATORS: Final[tuple[type[Calibrator], ...]] = (Identity, PriorShift, Platt, Beta, Isotonic, OnlinePlatt)
"""Those that can compete, the first in force at the start; a further calibrator is a file and an entry here."""


def competing(names: Iterable[str]) -> tuple[type[Calibrator], ...]:
    """The calibrators of these names, and the identity, which always competes.

    Raises:
        ConfigValueError: a name is not one of a calibrator.

    >>> [c.name for c in competing(["isotonic", "platt"])]
    ['identity', 'platt', 'isotonic']
    """
    named = {Identity.name, *names}
    known = [c.name for c in CALIBRATORS]
    if not named <= set(known):
        raise ConfigValueError(
            f"there is no calibration method {', '.join(sorted(named - set(known)))}",
            where="calibration.methods",
            cure=f"choose from {', '.join(known)}",
        )
    return tuple(c for c in CALIBRATORS if c.name in named)


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
    """The e-process's value, on the scale of examples to a false alarm; what it had reached, where a diagnosis did not
    wait for it."""
    before: Measures
    """Of the map that was in force, since the other began to lead, or since the change."""
    after: Measures
    """Of the map that now is, over the same examples, none of which it had learnt when it was tested on them."""
    reason: Literal["e_process", "diagnosis"] = "e_process"


class Champion:
    """The contest of maps.

    `half_life` is that of the maps and of their measures, in examples; `calibrators` are those that compete, the first
    of them in force at the start.

    >>> champion = Champion()
    >>> champion.method
    'identity'
    """

    def __init__(self, half_life: float = 10_000.0, calibrators: Sequence[type[Calibrator]] = CALIBRATORS) -> None:
        self.half_life = half_life
        self._learnt = DecayedCells(half_life)
        self._calibrators = [c(half_life, self._learnt) for c in calibrators]
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
    def methods(self) -> tuple[str, ...]:
        """The names of all that compete."""
        return tuple(c.name for c in self._calibrators)

    @property
    def calibrator(self) -> Calibrator:
        """The calibrator in force; it goes on learning."""
        return self._calibrators[self._champion]

    @property
    def map(self) -> CalibrationMap:
        """The map in force, frozen as it is now."""
        return CalibrationMap(self.method, *self.calibrator.knots())

    def measures(self) -> dict[str, Measures]:
        """How each map has done, by name; empty before the first step, and after a map was adopted."""
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
        self._learnt.learn(cells)
        for calibrator in self._calibrators:
            calibrator.follow()
        return self._decide()

    def adopt(self, method: str | None, histogram: LabelHistogram) -> Switch | None:
        """Put a map in force at once, as a diagnosis asks, fitted to the examples since the change alone.

        What was learnt before them is forgotten by all maps, and all e-processes restart.

        Args:
            method: Which map. None: the challenger that predicts best, each half of the examples predicted from the
                other; so it is too where `method` does not compete.
            histogram: The labelled examples since the change.

        Returns:
            The change, also where it is the same method on new data; None without examples or challengers.
        """
        cells = Cells.of_counts(histogram)
        places = {c.name: i for i, c in enumerate(self._calibrators)}
        challengers = [i for name, i in places.items() if name != Identity.name]
        if not cells.counts.any() or not challengers:
            return None
        tried = self._cross_validated(cells)
        best = min(challengers, key=lambda i: tried[i].log_loss) if method is None else places.get(method, -1)
        if best < 0:
            best = min(challengers, key=lambda i: tried[i].log_loss)
        _, losses = _losses_of([self.calibrator], cells)
        before = Measures(*(losses[:, 0] / cells.counts.sum()).tolist())
        switch = Switch(
            self.method, self._calibrators[best].name, float(self._m[best].mean()), before, tried[best], "diagnosis"
        )
        self._learnt.forget()
        self._learnt.learn(cells)
        self._calibrators = [type(c)(self.half_life, self._learnt) for c in self._calibrators]
        for calibrator in self._calibrators:
            calibrator.follow()
        self._champion = best
        self._weight, self._losses = 0.0, np.zeros_like(self._losses)
        self._restart()
        return switch

    def _cross_validated(self, cells: Cells) -> list[Measures]:
        """Of each map, fitted to half of the examples and tested on the others, both ways."""
        total = np.zeros((2, len(self._calibrators)))
        one, other = halves(cells)
        for known, unknown in ((one, other), (other, one)):
            learnt = DecayedCells(self.half_life)
            learnt.learn(known)
            fitted = [type(c)(self.half_life, learnt) for c in self._calibrators]
            for calibrator in fitted:
                calibrator.follow()
            total += _losses_of(fitted, unknown)[1]
        return [Measures(*losses) for losses in (total / cells.counts.sum()).T.tolist()]

    def _test(self, cells: Cells) -> None:
        held, totals, log_loss = _tested(self._calibrators, cells)
        events = float(held.sum())
        fade = 0.5 ** (events / self.half_life)
        self._weight = self._weight * fade + events
        self._losses = self._losses * fade + totals

        gain = log_loss[self._champion] - log_loss
        exponent = np.log1p(_BETS[:, np.newaxis, np.newaxis] * gain[:, np.newaxis]).reshape(*self._m.shape, -1)
        total = np.minimum(exponent @ held.ravel(), _LARGEST_EXPONENT)
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
        self._restart()
        return Switch(previous, self.method, float(mixed[best]), Measures(*before), Measures(*after))

    def _restart(self) -> None:
        self._m = np.zeros_like(self._m)
        self._lead = np.zeros_like(self._lead)

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on bit for bit."""
        return {
            "version": _STATE_VERSION,
            "half_life": self.half_life,
            "learnt": self._learnt.state(),
            "calibrators": [c.state_of_map() for c in self._calibrators],
            "champion": self.method,
            "m": self._m,
            "weight": self._weight,
            "losses": self._losses,
            "lead": self._lead,
            "lead_weight": self._lead_weight,
            "lead_losses": self._lead_losses,
        }

    @classmethod
    def restore(
        cls,
        state: Mapping[str, Any],
        calibrators: Sequence[type[Calibrator]] = CALIBRATORS,
        half_life: float | None = None,
    ) -> Self:
        """The inverse of `state`.

        Those of `calibrators` that the state does not know of join the contest; another half-life holds from now on.

        Raises:
            StateVersionError: the state was written by a newer release, or names a calibrator that is not known.
        """
        check_version(state, _STATE_VERSION, "calibration champion")
        by_name = {c.name: c for c in (*CALIBRATORS, *calibrators)}
        names = [s["name"] for s in state["calibrators"]]
        unknown = sorted(set(names) - by_name.keys())
        if unknown:
            raise StateVersionError(
                f"the state holds calibrators that this release does not know: {', '.join(unknown)}",
                cure="run the release that wrote the state, or start with --fresh",
            )
        joining = [c for c in calibrators if c.name not in names]
        new = cls(half_life or state["half_life"], [*(by_name[name] for name in names), *joining])
        new._learnt = DecayedCells.restore({**state["learnt"], "half_life": new.half_life})
        new._calibrators = [by_name[s["name"]].restore(s, new._learnt) for s in state["calibrators"]]
        for c in joining:
            new._calibrators.append(c(new.half_life, new._learnt))
            new._calibrators[-1].follow()
        new._champion = names.index(state["champion"])
        new._weight = state["weight"]
        kept = len(names)
        new._m[:kept] = state["m"]
        new._lead[:kept], new._lead_weight[:kept] = state["lead"], state["lead_weight"]
        new._losses[:, :kept] = state["losses"]
        new._lead_losses[:, :, :kept] = state["lead_losses"]
        # Who joins late is taken to have done as well as the map in force.
        new._losses[:, kept:] = new._losses[:, [new._champion]]
        return new


def _tested(calibrators: Sequence[Calibrator], cells: Cells) -> tuple[Floats, Floats, Floats]:
    """The counts [2, k] of the k filled cells, each map's total losses [2, maps], its log loss [maps, 2, k] by cell."""
    held = np.flatnonzero(cells.counts[0] + cells.counts[1])
    counts = cells.counts[:, held]
    scores = cells.means[held]
    p = np.clip(np.stack([c.predict_many(scores) for c in calibrators]), _CLIP, 1.0 - _CLIP)
    log_loss = np.stack((-np.log1p(-p), -np.log(p)), axis=1)
    brier = np.stack((p * p, (1.0 - p) ** 2), axis=1)
    flat = counts.ravel()
    totals = np.stack([loss.reshape(len(calibrators), -1) @ flat for loss in (log_loss, brier)])
    return counts, totals, log_loss


def _losses_of(calibrators: Sequence[Calibrator], cells: Cells) -> tuple[Floats, Floats]:
    counts, totals, _ = _tested(calibrators, cells)
    return counts, totals
