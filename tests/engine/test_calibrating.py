"""The map in force of a model version: which maps compete, and what is published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from streameval import records
from streameval.config import Model, parse
from streameval.engine.calibrating import Calibrating
from streameval.engine.identity import WHOLE, Identity
from streameval.errors import ConfigError
from streameval.evidence.binary import BinaryEvidence

WINDOW = records.Window.of(0, 60_000, 500)


def model(**calibration: Any) -> Model:
    raw = {"name": "fraud", "calibration": calibration}
    return parse({"transport": {"kind": "logdir", "path": "events"}, "models": [raw]}).models[0]


def calibrating(**calibration: Any) -> Calibrating:
    return Calibrating(Identity(model(**calibration), "1", WHOLE, 60_000))


def step(rng: np.random.Generator, shift: float) -> BinaryEvidence:
    z = rng.normal(-2, 2, 500)
    return BinaryEvidence.of(expit(z), (rng.random(500) < expit(z + shift)).astype(np.int8))


def test_the_maps_that_compete_are_those_configured_and_the_score_itself() -> None:
    assert calibrating(methods=["isotonic", "platt"]).champion.methods == ("identity", "platt", "isotonic")
    assert calibrating(methods=[]).champion.methods == ("identity",)
    assert len(calibrating().champion.methods) == 6
    with pytest.raises(ConfigError, match="methods"):
        model(methods=["spline"])
    with pytest.raises(ConfigError, match="twice"):
        model(methods=["platt", "platt"])


def test_a_map_is_published_at_first_when_it_moves_and_when_a_diagnosis_adopts_one() -> None:
    rng = np.random.default_rng(0)
    held = calibrating()
    first = held.step(0, step(rng, 0.0), WINDOW)
    assert [output.data.method for output in first if output.data] == ["identity"]
    assert held.step(1, step(rng, 0.0), WINDOW) == []
    after = sum((step(rng, 1.5) for _ in range(8)), BinaryEvidence.empty())
    (adopted,) = held.adopt(2, "prior", after, WINDOW)
    assert isinstance(adopted.data, records.Calibration)
    assert adopted.data.method == "prior"
    assert adopted.data.before is not None
    assert adopted.data.after is not None
    assert adopted.data.after.log_loss < adopted.data.before.log_loss
    assert np.interp(0.5, adopted.data.knots.x, adopted.data.knots.y) == pytest.approx(expit(1.5), abs=0.05)


def test_another_half_life_holds_from_the_next_start_on() -> None:
    held = calibrating()
    held.step(0, step(np.random.default_rng(1), 0.0), WINDOW)
    later = calibrating(half_life=500)
    later.restore(held.state())
    assert later.champion.half_life == 500
    later.step(1, step(np.random.default_rng(2), 0.0), WINDOW)
    assert later.champion._learnt.cells.counts.sum() == pytest.approx(750)
