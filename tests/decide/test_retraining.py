"""Retraining is asked for under concept drift, and under nothing that a map or a threshold can answer."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import YEAR, scores, step

from streameval.decide.objectives import Cost
from streameval.decide.retraining import Retrain, RetrainingPolicy, counterfactual, implied_costs
from streameval.detect.case import Case
from streameval.detect.diagnosis import State, diagnose
from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence

IN_FORCE, COST = 1 / 11, Cost(1.0, 10.0)
DRIFT = "concept_drift"


def before() -> BinaryEvidence:
    """A large reference of a perfect model."""
    return step(np.random.default_rng(100), 50_000)


def covariate_shift(rng: np.random.Generator, n: int) -> BinaryEvidence:
    """Dearer cases, the same P(y | s)."""
    score, _ = scores(rng, n)
    score = 1.0 / (1.0 + np.exp(-(np.log(score / (1.0 - score)) + 1.0)))
    return BinaryEvidence.of(score, (rng.random(n) < score).astype(np.int8))


def miscalibration(rng: np.random.Generator, n: int) -> BinaryEvidence:
    """The same order of scores on another scale."""
    score, y = scores(rng, n)
    return BinaryEvidence.of(1.0 / (1.0 + np.exp(-(0.7 * np.log(score / (1.0 - score)) - 0.5))), y)


AFTER = {
    "none": step,
    "label": lambda rng, n: step(rng, n, prevalence=0.08),
    "label x 3": lambda rng, n: step(rng, n, prevalence=0.15),
    "covariate": covariate_shift,
    "miscalibrated": miscalibration,
    "concept": lambda rng, n: step(rng, n, apart=1.0),
    "concept and label": lambda rng, n: step(rng, n, apart=1.2, prevalence=0.1),
}


@pytest.mark.parametrize("kind", sorted(AFTER))
@pytest.mark.parametrize("events", [6_000, 20_000])
def test_it_asks_under_concept_drift_alone(kind: str, events: int) -> None:
    """With the diagnosis of the same windows; and the rule of costs alone, whatever the diagnosis, says no as well."""
    asked, unsure, reference = 0, 0, before()
    for seed in range(15):
        after = AFTER[kind](np.random.default_rng(seed), events)
        found = diagnose(reference, after).state
        answers = [
            RetrainingPolicy((1.0, 10.0)).consider(state, 0, reference, after, IN_FORCE, 1) for state in (found, DRIFT)
        ]
        asked += isinstance(answers[0], Retrain)
        unsure += isinstance(answers[1], Retrain)
    assert asked >= 13 if "concept" in kind else asked == 0
    assert unsure >= 13 if "concept" in kind else unsure == 0


@pytest.mark.parametrize("state", ["none", "covariate_shift", "label_shift", "miscalibration", "inconclusive"])
def test_no_other_state_asks_whatever_the_costs_are(state: State) -> None:
    after = AFTER["concept"](np.random.default_rng(0), 20_000)
    assert RetrainingPolicy((1.0, 10.0)).consider(state, 0, before(), after, IN_FORCE, 1) is None
    assert RetrainingPolicy((1.0, 10.0)).consider("confounded", 0, before(), after, IN_FORCE, 1) is None


def test_a_request_says_what_it_was_read_from() -> None:
    answer = RetrainingPolicy((1.0, 10.0)).consider(
        DRIFT, 5, before(), AFTER["concept"](np.random.default_rng(0), 20_000), IN_FORCE, 77
    )
    assert isinstance(answer, Retrain)
    assert answer.attainable.low > 1.1 * answer.counterfactual
    assert answer.in_force.value >= answer.attainable.value
    assert answer.priority == pytest.approx(answer.attainable.value / answer.counterfactual - 1.0)
    assert (answer.change_at, answer.at) == (5, 77)


def test_the_counterfactual_is_what_the_reference_model_would_pay() -> None:
    """At the new prevalence under label shift; with the new scores under covariate shift."""
    rng, reference = np.random.default_rng(5), before()
    label = step(rng, 200_000, prevalence=0.08)
    best = COST.solve(label)
    assert best is not None
    assert counterfactual(reference, label, IN_FORCE, COST)[0] == pytest.approx(best.value, rel=0.06)
    covariate = covariate_shift(rng, 200_000)
    paid = COST.value_at(covariate, IN_FORCE)
    assert counterfactual(reference, covariate, IN_FORCE, COST)[0] == pytest.approx(paid, rel=0.06)


def test_it_waits_for_positives_and_out_a_cooldown() -> None:
    policy, reference = RetrainingPolicy((1.0, 10.0), cooldown_ms=1000), before()
    rng = np.random.default_rng(0)
    assert policy.consider(DRIFT, 0, reference, AFTER["concept"](rng, 1_000), IN_FORCE, 0) == "wait"
    after = AFTER["concept"](rng, 20_000)
    assert isinstance(policy.consider(DRIFT, 0, reference, after, IN_FORCE, 5000), Retrain)
    assert policy.consider(DRIFT, 0, reference, after, IN_FORCE, 5999) == "wait"
    again = RetrainingPolicy((1.0, 10.0), cooldown_ms=1000)
    again.resume(policy.state())
    assert again.consider(DRIFT, 0, reference, after, IN_FORCE, 5999) == "wait"
    assert isinstance(again.consider(DRIFT, 0, reference, after, IN_FORCE, 6000), Retrain)


def test_an_objective_without_costs_weighs_errors_as_its_threshold_does() -> None:
    """Where 1 in 20 is positive, an error rate would hardly rise when a model no longer tells them apart."""
    reference, after = before(), AFTER["concept"](np.random.default_rng(0), 20_000)
    fp, fn = implied_costs(reference, IN_FORCE)
    assert fn / fp == pytest.approx(10.0, rel=0.15)
    assert isinstance(RetrainingPolicy(None).consider(DRIFT, 0, reference, after, IN_FORCE, 1), Retrain)
    assert RetrainingPolicy((1.0, 1.0)).consider(DRIFT, 0, reference, after, IN_FORCE, 1) is None


@pytest.mark.parametrize(("apart", "prevalence", "asks"), [(1.0, 0.05, True), (2.0, 0.15, False), (1.0, 0.12, True)])
def test_from_the_stream_to_the_request(apart: float, prevalence: float, asks: bool) -> None:
    """Watch, alarm, case and policy together, as the engine calls them."""
    rng, policy, answers = np.random.default_rng(9), RetrainingPolicy((1.0, 10.0)), []
    watch = Watch(10_000, 250, YEAR, costs=(1.0, 10.0), advisory=())
    case: Case | None = None
    for k in range(120):
        evidence = step(rng) if k < 50 else step(rng, apart=apart, prevalence=prevalence)
        alarms = watch.step(evidence, k, k + 1, IN_FORCE)
        found = None if case is None else case.step(evidence, k + 1, [])
        if case is not None and found is not None:
            change_at = case.alarm.change_at
            answers.append(policy.consider(found.state, change_at, case.before, case.after, IN_FORCE, k))
            case = None
        for alarm in alarms:
            assert watch.before is not None
            case = Case.opened(alarm, k, 40_000, watch.before, watch.changed, [])
    assert len(answers) == 1
    assert isinstance(answers[0], Retrain) == asks
