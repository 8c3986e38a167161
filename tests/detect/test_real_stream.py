"""On Elec2, a real stream with seasons, the confirmed tier speaks at most twice, first of where the data changed."""

from __future__ import annotations

import gzip
from importlib.resources import files

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence

HALF_HOUR, TRAINED = 1_800_000, 8 * 7 * 48
VICTORIA = 17_760  # the row at which Victoria's columns stop being constant


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray]:
    """Scores of a logistic regression trained on the first eight weeks, and labels, of all rows."""
    with gzip.open(files("streameval").joinpath("demo/elec2.csv.gz").open("rb")) as lines:
        table = np.loadtxt(lines, delimiter=",", skiprows=1)
    features, label = table[:, :6], table[:, 6].astype(np.int8)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[:TRAINED], label[:TRAINED])
    return model.predict_proba(features)[:, 1], label


@pytest.mark.parametrize("reference", [2_000, 5_000, 10_000])
@pytest.mark.parametrize("step", [48, 500])
def test_a_seasonal_stream_does_not_flood(scored: tuple[np.ndarray, np.ndarray], reference: int, step: int) -> None:
    score, label = scored
    watch = Watch(reference, 250, 365 * 86_400_000, costs=(1.0, 2.0), advisory=())
    alarms = []
    for at in range(TRAINED, len(label), step):
        evidence = BinaryEvidence.of(score[at : at + step], label[at : at + step])
        alarms += watch.step(evidence, at * HALF_HOUR, (at + step) * HALF_HOUR, 0.5)
    assert len(alarms) <= 2
    for alarm in alarms[:1]:
        assert VICTORIA - 500 <= alarm.change_at // HALF_HOUR <= VICTORIA + 2_500
        assert alarm.detail["tempering"] < 0.1
