"""The advisory tier: River's drift detectors, which are published and never by themselves change a decision.

A River detector takes one value at a time, and the evidence of a step has no order. It is fed the step's mean Brier
loss as a run of zeros and ones of that mean, evenly spread, at most 256 a step: the loss, because it sees changes of
prevalence, of calibration and of concept, and does not move when our own threshold does; zeros and ones, because a run
of equal means would look like a variance of nothing. So the detector believes in more noise than there is, and errs on
the quiet side.

River's objects are opaque. State is River's version and the recent inputs; they are fed again on restore. To make a
restored detector equal to one that ran on, the running one is rebuilt from the same inputs whenever they reach their
bound.

Invariant: the detector's state is a function of the kept inputs.
Source: METHODS, section 1, "Advisory only"; Bifet & Gavalda 2007 (ADWIN).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final, Protocol

import numpy as np
from river.drift import ADWIN, PageHinkley
from river.drift.binary import DDM, HDDMA

from streameval.errors import ConfigValueError


class Detector(Protocol):
    """What is used of a River drift detector."""

    def update(self, x: int) -> object:
        """Take one value in."""
        ...

    @property
    def drift_detected(self) -> bool:
        """Whether the last value revealed a drift."""
        ...


DETECTORS: Final[dict[str, Callable[[], Detector]]] = {
    "ADWIN": lambda: ADWIN(delta=0.002),  # type: ignore[no-untyped-call]
    "PageHinkley": PageHinkley,
    "DDM": DDM,
    "HDDMA": lambda: HDDMA(two_sided_test=True),  # type: ignore[no-untyped-call]
}
"""By River's class names. KSWIN and FHDDM need another input, EDDM raises four false alarms in 100,000 events."""

SILENT_EVENTS: Final = 20_000
_MOST_A_STEP: Final = 256
_KEPT: Final = 16_384


def check_names(names: tuple[str, ...]) -> None:
    """Refuse names of detectors that cannot serve.

    Raises:
        ConfigValueError: naming the ones that can.
    """
    for name in names:
        if name not in DETECTORS:
            raise ConfigValueError(
                f"{name!r} is not an advisory detector", where="drift.advisory", cure=f"use {', '.join(DETECTORS)}"
            )


class Advisory:
    """One River detector, fed by steps.

    >>> quiet = Advisory("ADWIN")
    >>> any(quiet.step(500, 25.0) for _ in range(100))
    False
    >>> any(quiet.step(500, 100.0) for _ in range(20))
    True
    """

    def __init__(self, name: str) -> None:
        check_names((name,))
        self.name = name
        self.events = 0
        self._carry = 0.5
        self._bits = np.empty(0, np.uint8)
        self._detector = DETECTORS[name]()

    @property
    def mean(self) -> float:
        """The mean of the kept inputs; 0 before the first."""
        return float(self._bits.mean()) if self._bits.size else 0.0

    def step(self, events: int, loss: float) -> bool:
        """Take in a step of `events` whose losses sum up to `loss`; whether the detector signals a drift.

        Signals within the first 20,000 events are swallowed: River's detectors are unreliable there.
        """
        if events <= 0:
            return False
        size = min(events, _MOST_A_STEP)
        mean = min(max(loss / events, 0.0), 1.0)
        levels = np.floor(self._carry + mean * np.arange(size + 1))
        bits = np.diff(levels).astype(np.uint8)
        self._carry += mean * size - float(levels[-1])
        self.events += events
        self._bits = np.concatenate([self._bits, bits])
        if self._bits.size > _KEPT:
            self._bits = self._bits[-_KEPT // 2 :]
            self._detector, drift = self._fed(self._bits, bits.size)
        else:
            drift = _feed(self._detector, bits)
        return drift and self.events >= SILENT_EVENTS

    def _fed(self, bits: np.ndarray[Any, np.dtype[np.uint8]], new: int) -> tuple[Detector, bool]:
        detector = DETECTORS[self.name]()
        _feed(detector, bits[: bits.size - new])
        return detector, _feed(detector, bits[bits.size - new :])

    def state(self) -> dict[str, Any]:
        """River's version and the recent inputs, eight a byte."""
        return {
            "name": self.name,
            "river": version("river"),
            "events": self.events,
            "carry": self._carry,
            "size": int(self._bits.size),
            "bits": np.packbits(self._bits).tobytes(),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Advisory:
        """The detector that `state` described; under another version of River it is fed the same inputs."""
        out = cls(state["name"])
        out.events = int(state["events"])
        out._carry = float(state["carry"])
        out._bits = np.unpackbits(np.frombuffer(state["bits"], np.uint8), count=int(state["size"]))
        _feed(out._detector, out._bits)
        return out


def _feed(detector: Detector, bits: np.ndarray[Any, np.dtype[np.uint8]]) -> bool:
    drift = False
    update = detector.update
    for bit in bits.tolist():
        update(bit)
        if detector.drift_detected:
            drift = True
    return drift
