"""What every detector keeps to, whichever it is: one suite over all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import islice
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
from binary_streams import YEAR, as_examples, frozen, step
from seasonal_streams import daily, feed, steps

import streameval.detect
from streameval.detect.advisory import DETECTORS, Advisory
from streameval.detect.conformal import Conformal
from streameval.detect.esr import Esr
from streameval.detect.label_pipeline import ShareMonitor
from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence

Step = Callable[[Any, BinaryEvidence, int], Any]


def _labels(evidence: BinaryEvidence) -> np.ndarray:
    return np.array([evidence.negatives, evidence.positives], dtype=float)


def _guarded(detector: Conformal, evidence: BinaryEvidence, k: int) -> Any:
    detector.step(as_examples(evidence, k).ordered(), k)
    return detector.crossings(16.0)


@cache
def _learnt() -> dict[str, Any]:
    """A watch that knows a daily season."""
    watch = Watch(20_000, 250, YEAR, advisory=("ADWIN",))
    for stepped in islice(steps(np.random.default_rng(0), daily(amplitude=0.25), 10_000), 80):
        feed(watch, stepped)
    assert watch.season == "day"
    return watch.state()


def _seasonal(detector: Watch, evidence: BinaryEvidence, k: int) -> Any:
    at = (100 * 24 + k) * 3_600_000
    return detector.step(evidence, at, at + 3_600_000, 0.1, lambda: as_examples(evidence, at))


CASES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Step]] = {
    "esr": (
        lambda: Esr(np.array([[0.0, 1.0]]), np.array([0.06]), np.array([0.04]), 16.0, 0),
        Esr.restore,
        lambda d, e, k: d.step(_labels(e), k),
    ),
    "watch": (
        lambda: Watch(5000, 100, YEAR),
        Watch.restore,
        lambda d, e, k: d.step(e, k, k + 1, 0.1),
    ),
    "watch on guard": (
        lambda: Watch(100_000, 100, YEAR),
        Watch.restore,
        lambda d, e, k: d.step(e, k, k + 1, 0.1, lambda: as_examples(e, k)),
    ),
    "watch with a season": (lambda: Watch.restore(_learnt()), Watch.restore, _seasonal),
    "conformal": (lambda: Conformal(0, 0.2), Conformal.restore, _guarded),
    "share of labels": (
        lambda: ShareMonitor(10**9),
        ShareMonitor.restore,
        lambda d, e, k: d.step(e.positives, e.events, 1000 * k),
    ),
    **{
        name: (
            lambda name=name: Advisory(name),
            Advisory.restore,
            lambda d, e, _: d.step(e, float(e.positives)),
        )
        for name in DETECTORS
    },
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Callable[[], Any], Callable[[Any], Any], Step]:
    return CASES[request.param]


def test_the_suite_covers_every_detector_of_the_room() -> None:
    modules = [import_module(f"streameval.detect.{module.name}") for module in iter_modules(streameval.detect.__path__)]
    stateful = {
        name
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and all(hasattr(kind, has) for has in ("step", "state", "restore"))
    }
    # The guard steps inside a watch that is on guard; a case detects nothing, it tells what was detected.
    assert {type(make()).__name__ for make, _, _ in CASES.values()} == stateful - {"Guard", "Case"}


def _plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    if isinstance(value, np.ndarray):
        return value.dtype != object and value.ndim == 1
    return value is None or isinstance(value, str | int | float | bool | bytes)


def test_two_detectors_fed_alike_are_alike(case: Any) -> None:
    make, _, feed = case
    one, other = make(), make()
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    for k in range(60):
        assert feed(one, step(rng), k) == feed(other, step(again), k)
    assert frozen(one.state()) == frozen(other.state())


def test_state_is_plain_and_survives_a_round_trip(case: Any) -> None:
    make, restore, feed = case
    detector, rng = make(), np.random.default_rng(0)
    for k in range(30):
        feed(detector, step(rng), k)
    state = detector.state()
    assert _plain(state)
    assert frozen(restore(state).state()) == frozen(state)
    assert len(frozen(state)) < 400_000


def test_state_is_not_changed_by_later_steps(case: Any) -> None:
    make, _, feed = case
    detector, rng = make(), np.random.default_rng(0)
    for k in range(30):
        feed(detector, step(rng), k)
    state = detector.state()
    kept = frozen(state)
    for k in range(30, 35):
        feed(detector, step(rng, prevalence=0.5), k)
    assert frozen(state) == kept


def test_a_step_without_events_is_no_step(case: Any) -> None:
    make, _, feed = case
    detector, rng = make(), np.random.default_rng(0)
    for k in range(20):
        feed(detector, step(rng), k)
    before = frozen(detector.state())
    assert not feed(detector, BinaryEvidence.empty(), 20)
    assert frozen(detector.state()) == before


def test_a_great_change_is_found_and_none_is_not(case: Any) -> None:
    make, _, feed = case
    detector, rng = make(), np.random.default_rng(4)
    assert not any(feed(detector, step(rng), k) for k in range(60))
    assert any(feed(detector, step(rng, prevalence=0.7), k) for k in range(60, 120))
