"""Retraining is asked for under concept drift, and under nothing that a map or a threshold can answer."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import YEAR, scores, step

from streameval.decide.objectives import Cost
from streameval.decide.retraining import Retrain, RetrainingPolicy, counterfactual
from streameval.detect.alarm import Alarm
from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence

IN_FORCE, COST = 1 / 11, Cost(1.0, 10.0)
HARM = Alarm("cost", "confirmed", 1e9, "up", 0, 1)


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
    asked = 0
    reference = before()
    for seed in range(15):
        answer = RetrainingPolicy((1.0, 10.0)).consider(
            HARM, reference, AFTER[kind](np.random.default_rng(seed), events), IN_FORCE, 1
        )
        asked += isinstance(answer, Retrain)
    assert asked >= 13 if "concept" in kind else asked == 0


def test_a_request_says_what_it_was_read_from() -> None:
    answer = RetrainingPolicy((1.0, 10.0)).consider(
        HARM, before(), AFTER["concept"](np.random.default_rng(0), 20_000), IN_FORCE, 77
    )
    assert isinstance(answer, Retrain)
    assert answer.attainable.low > 1.1 * answer.counterfactual
    assert answer.in_force.value >= answer.attainable.value
    assert answer.priority == pytest.approx(answer.attainable.value / answer.counterfactual - 1.0)
    assert answer.at == 77


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


def test_it_waits_for_positives_and_asks_once_a_cooldown() -> None:
    policy, reference = RetrainingPolicy((1.0, 10.0), cooldown_ms=1000), before()
    rng = np.random.default_rng(0)
    assert policy.consider(HARM, reference, AFTER["concept"](rng, 1_000), IN_FORCE, 0) == "wait"
    after = AFTER["concept"](rng, 20_000)
    assert isinstance(policy.consider(HARM, reference, after, IN_FORCE, 5000), Retrain)
    assert policy.consider(HARM, reference, after, IN_FORCE, 5999) is None
    again = RetrainingPolicy((1.0, 10.0), cooldown_ms=1000)
    again.resume(policy.state())
    assert again.consider(HARM, reference, after, IN_FORCE, 5999) is None
    assert isinstance(again.consider(HARM, reference, after, IN_FORCE, 6000), Retrain)


def test_an_advisory_signal_never_asks() -> None:
    advisory = Alarm("ADWIN", "advisory", 1.0, "up", 0, 1)
    after = AFTER["concept"](np.random.default_rng(0), 20_000)
    assert RetrainingPolicy((1.0, 10.0)).consider(advisory, before(), after, IN_FORCE, 0) is None


@pytest.mark.parametrize(("apart", "prevalence", "asks"), [(1.0, 0.05, True), (2.0, 0.15, False), (1.0, 0.12, True)])
def test_from_the_stream_to_the_request(apart: float, prevalence: float, asks: bool) -> None:
    """Watch, alarm, windows and policy together, as the engine calls them."""
    rng, policy, answers = np.random.default_rng(9), RetrainingPolicy((1.0, 10.0)), []
    watch = Watch(10_000, 250, YEAR, costs=(1.0, 10.0), advisory=())
    pending: Alarm | None = None
    for k in range(120):
        evidence = step(rng) if k < 50 else step(rng, apart=apart, prevalence=prevalence)
        for alarm in watch.step(evidence, k, k + 1, IN_FORCE):
            pending = alarm
        if pending is not None and watch.before is not None and watch.after is not None:
            answer = policy.consider(pending, watch.before, watch.after, IN_FORCE, k)
            if answer != "wait":
                answers.append(answer)
                pending = None
    assert len(answers) == 1
    assert isinstance(answers[0], Retrain) == asks
