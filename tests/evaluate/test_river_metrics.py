import numpy as np
import pytest
from river import metrics

from streameval.errors import ConfigValueError
from streameval.evaluate.river_metrics import AVAILABLE, river_metrics, validate
from streameval.evidence import BinaryEvidence


@pytest.mark.parametrize("name", AVAILABLE)
def test_a_metric_fed_from_evidence_equals_one_fed_example_by_example(name):
    rng = np.random.default_rng(0)
    score = np.array([0.1, 0.3, 0.6, 0.8])[rng.integers(0, 4, 600)]
    label = (rng.random(600) < score).astype(np.int8)
    metric = getattr(metrics, name)()
    for s, y in zip(score.tolist(), label.tolist(), strict=True):
        metric.update(bool(y), s >= 0.5 if metric.requires_labels else {True: s, False: 1.0 - s})
    assert river_metrics(BinaryEvidence.of(score, label), 0.5, [name])[name] == pytest.approx(metric.get(), abs=1e-8)


def test_all_metrics_asked_for_at_once_are_as_each_alone():
    rng = np.random.default_rng(2)
    score = rng.random(300)
    evidence = BinaryEvidence.of(score, (rng.random(300) < score).astype(np.int8))
    together = river_metrics(evidence, 0.4, AVAILABLE)
    assert together == {name: river_metrics(evidence, 0.4, [name])[name] for name in AVAILABLE}


def test_metrics_of_decisions_are_exact_also_when_bins_are_merged():
    rng = np.random.default_rng(1)
    score = rng.beta(0.5, 3, 20_000)
    label = (rng.random(20_000) < score).astype(np.int8)
    evidence = BinaryEvidence.of(score, label)
    threshold = 0.25
    tp, flagged = ((score >= threshold) & (label == 1)).sum(), (score >= threshold).sum()
    assert river_metrics(evidence, threshold, ["F1"])["F1"] == pytest.approx(2 * tp / (flagged + label.sum()))


def test_a_threshold_that_nothing_reaches_decides_nothing():
    evidence = BinaryEvidence.of(np.array([0.2, 0.9]), np.array([0, 1]))
    assert river_metrics(evidence, 1.1, ["Recall", "Accuracy"]) == {"Recall": 0.0, "Accuracy": 0.5}


def test_no_evidence_has_no_metric():
    assert river_metrics(BinaryEvidence.empty(), 0.5, ["F1"]) == {}


@pytest.mark.parametrize("name", ["F2", "MAE", "RollingROCAUC", "Silhouette", "AdjustedMutualInfo", "ConfusionMatrix"])
def test_an_unfit_or_unknown_name_is_refused_with_the_names_to_choose_from(name):
    with pytest.raises(ConfigValueError, match=r"choose from .*GeometricMean"):
        validate(["F1", name])
