"""Published figures of the methods' section 9 that evidence and metrics must reproduce."""

import csv
import gzip
from importlib import resources

import numpy as np
import pytest

from streameval.evaluate.metrics import confusion
from streameval.evaluate.prevalence import windowed
from streameval.evidence import BinaryEvidence


@pytest.fixture(scope="module")
def elec2():
    with (resources.files("streameval") / "demo" / "elec2.csv.gz").open("rb") as packed, gzip.open(packed, "rt") as f:
        return np.array([int(row["class"]) for row in csv.DictReader(f)], np.int8)


def test_the_no_change_classifier_scores_85330_on_elec2(elec2):
    e = BinaryEvidence.of(elec2[:-1].astype(np.float64), elec2[1:])
    c = confusion(e, 0.5)
    # The first half-hour has no predecessor and is left out.
    assert (c.tp + c.tn) / e.events == pytest.approx(0.85330, abs=5e-6)


def test_575_in_a_thousand_labels_of_elec2_are_down(elec2):
    assert len(elec2) == 45_312
    share = windowed(BinaryEvidence.of(np.full(len(elec2), 0.5), 1 - elec2))
    assert share.value == pytest.approx(0.575, abs=5e-4)
