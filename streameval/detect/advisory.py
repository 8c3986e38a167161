"""The advisory tier: River's drift detectors, which are published and never by themselves change a decision.

A River detector takes one value at a time, and the evidence of a step has no order. Most are fed the step's mean Brier
loss as a run of zeros and ones of that mean, evenly spread, at most 256 a step: the loss, because it sees changes of
prevalence, of calibration and of concept, and does not move when our own threshold does; zeros and ones, because a run
of equal means would look like a variance of nothing. So the detector believes in more noise than there is, and errs on
the quiet side. Some have traps:

* `FHDDM` alarms when its input falls, so it is fed correctness (one less the loss);
* `HDDMA` and `HDDMW` look one way unless told otherwise;
* `KSWIN` compares distributions, at a few hundred microseconds a value, and raises 100 false alarms in 100,000 events:
  it gets a subsample, the loss of one event a step, at alpha = 1e-4;
* `EDDM` and `DDM` raise false alarms, four in 100,000 events and one in 500,000: they serve only who asks for them.

Whatever a detector says within the first 20,000 events is swallowed.

River's objects are opaque. State is River's version and the recent inputs; they are fed again on restore. To make a
restored detector equal to one that ran on, the running one is rebuilt from the same inputs whenever they reach their
bound.

Invariant: the detector's state is a function of the kept inputs.
Source: METHODS, section 1, "Advisory only"; Bifet & Gavalda 2007 (ADWIN), Raab et al. 2020 (KSWIN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import DDM, EDDM, FHDDM, HDDMA, HDDMW

from streameval.detect.label_counts import Histogram
from streameval.errors import ConfigValueError
from streameval.evidence.bins import EDGES


class Detector(Protocol):
    """What is used of a River drift detector."""

    def update(self, x: float) -> object:
        """Take one value in."""
        ...

    @property
    def drift_detected(self) -> bool:
        """Whether the last value revealed a drift."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """How one of River's classes is made and fed.

    `input` is the losses as bits, their complement, or one event's loss a step; `kept` how many inputs are kept at
    most, and `left` how many when they are cut.
    """

    make: Callable[[], Any]
    input: Literal["loss", "correctness", "sample"] = "loss"
    kept: int = 16_384
    left: int = 8_192


_WINDOW: Final = 100
_RECENT: Final = 30

DETECTORS: Final[dict[str, Kind]] = {
    "ADWIN": Kind(lambda: ADWIN(delta=0.002)),  # type: ignore[no-untyped-call]
    "PageHinkley": Kind(PageHinkley),
    # One value less than a window: none of them is tested again when they are fed again.
    "KSWIN": Kind(lambda: KSWIN(1e-4, _WINDOW, _RECENT, seed=1), "sample", 2 * _WINDOW, _WINDOW - 1),
    "DDM": Kind(DDM),
    "EDDM": Kind(EDDM),
    "FHDDM": Kind(FHDDM, "correctness"),
    "HDDMA": Kind(lambda: HDDMA(two_sided_test=True)),  # type: ignore[no-untyped-call]
    "HDDMW": Kind(lambda: HDDMW(two_sided_test=True)),  # type: ignore[no-untyped-call]
}
"""By River's class names."""

SILENT_EVENTS: Final = 20_000
_MOST_A_STEP: Final = 256
_GOLDEN: Final = (5.0**0.5 - 1.0) / 2.0


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

    >>> from streameval.detect.label_counts import LabelCounts
    >>> counts = LabelCounts(np.array([100], np.int16), np.array([[500], [0]]))
    >>> quiet = Advisory("ADWIN")
    >>> any(quiet.step(counts, 25.0) for _ in range(100))
    False
    >>> any(quiet.step(counts, 100.0) for _ in range(20))
    True
    """

    def __init__(self, name: str) -> None:
        check_names((name,))
        self.name = name
        self.kind = DETECTORS[name]
        self.events = 0
        self.steps = 0
        self._carry = 0.5
        self._quiet = 0
        """Inputs since the last drift, as far as they are kept."""
        self._inputs: npt.NDArray[np.float64] = np.empty(0)
        self._detector: Detector = self.kind.make()

    @property
    def mean(self) -> float:
        """The mean loss of the kept inputs; 0 before the first."""
        if not self._inputs.size:
            return 0.0
        mean = float(self._inputs.mean())
        return 1.0 - mean if self.kind.input == "correctness" else mean

    def step(self, histogram: Histogram, loss: float) -> bool:
        """Take in a step whose Brier losses sum up to `loss`; whether the detector signals a drift.

        Signals within the first 20,000 events are swallowed: River's detectors are unreliable there.
        """
        events = int(histogram.counts.sum())
        if events <= 0:
            return False
        inputs = self._sampled(histogram) if self.kind.input == "sample" else self._spread(events, loss)
        self.events += events
        self.steps += 1
        self._inputs = np.concatenate([self._inputs, inputs])
        drift = _feed(self._detector, inputs)
        if drift and self.kind.input == "sample":
            # It goes on from what follows the change, and so must one that is fed again.
            self._again(_RECENT)
        elif self._inputs.size > self.kind.kept:
            # A change that is only seen with fewer inputs before it would never be seen again.
            drift |= self._again(max(self.kind.left, inputs.size)) and self._quiet >= self._inputs.size
        self._quiet = 0 if drift else min(self._quiet + inputs.size, self.kind.kept)
        return drift and self.events >= SILENT_EVENTS

    def _again(self, left: int) -> bool:
        self._inputs = self._inputs[-left:]
        self._detector = self.kind.make()
        return _feed(self._detector, self._inputs)

    def _spread(self, events: int, loss: float) -> npt.NDArray[np.float64]:
        size = min(events, _MOST_A_STEP)
        mean = min(max(loss / events, 0.0), 1.0)
        if self.kind.input == "correctness":
            mean = 1.0 - mean
        levels = np.floor(self._carry + mean * np.arange(size + 1))
        self._carry += mean * size - float(levels[-1])
        return np.diff(levels)

    def _sampled(self, histogram: Histogram) -> npt.NDArray[np.float64]:
        """One event's loss: of the events in order of their loss, the one at the next place of an even sequence."""
        bins = histogram.bins.astype(np.int64)
        middle = (EDGES[bins] + np.minimum(EDGES[bins + 1], 1.0)) / 2.0
        losses = np.concatenate([middle**2, (1.0 - middle) ** 2])
        order = np.argsort(losses, kind="stable")
        cumulative = np.cumsum(histogram.counts.ravel()[order])
        place = ((self.steps + 1) * _GOLDEN % 1.0) * cumulative[-1]
        found: npt.NDArray[np.float64] = losses[order[np.searchsorted(cumulative, place, side="right")]]
        return np.atleast_1d(found)

    def state(self) -> dict[str, Any]:
        """River's version and the recent inputs, bits eight a byte."""
        sample = self.kind.input == "sample"
        return {
            "name": self.name,
            "river": version("river"),
            "events": self.events,
            "steps": self.steps,
            "carry": self._carry,
            "quiet": self._quiet,
            "size": int(self._inputs.size),
            "bits": b"" if sample else np.packbits(self._inputs.astype(np.uint8)).tobytes(),
            "values": self._inputs.copy() if sample else np.empty(0),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Advisory:
        """The detector that `state` described; under another version of River it is fed the same inputs."""
        out = cls(state["name"])
        out.events = int(state["events"])
        out.steps = int(state["steps"])
        out._carry = float(state["carry"])
        out._quiet = int(state["quiet"])
        if out.kind.input == "sample":
            out._inputs = np.array(state["values"], dtype=np.float64)
        else:
            bits = np.unpackbits(np.frombuffer(state["bits"], np.uint8), count=int(state["size"]))
            out._inputs = bits.astype(np.float64)
        _feed(out._detector, out._inputs)
        return out


def _feed(detector: Detector, inputs: npt.NDArray[np.float64]) -> bool:
    drift = False
    update = detector.update
    for x in inputs.tolist():
        update(x)
        if detector.drift_detected:
            drift = True
    return drift
