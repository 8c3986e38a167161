"""The life of a cell's monitors: learning, watching, alarm, learning again."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import STEP, YEAR, frozen, scores, step

from streameval.detect.alarm import Alarm
from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence

MINUTE = 60_000


def watch(**kwargs: object) -> Watch:
    """A watch that learns from 10,000 events; cost 1:10."""
    return Watch(10_000, 250, YEAR, **{"costs": (1.0, 10.0), "advisory": (), **kwargs})  # type: ignore[arg-type]


def run(
    watched: Watch,
    rng: np.random.Generator,
    spans: list[tuple[int, float, float]],
    threshold: float = 1 / 11,
    at: int = 0,
) -> list[Alarm]:
    """Feed spans of (steps, prevalence, distance of the classes), a step a minute."""
    alarms: list[Alarm] = []
    for steps, prevalence, apart in spans:
        for _ in range(steps):
            evidence = step(rng, prevalence=prevalence, apart=apart)
            alarms += watched.step(evidence, at, at + MINUTE, threshold)
            at += MINUTE
    return alarms


def test_a_reference_needs_its_events_and_its_positives() -> None:
    watched, rng = watch(), np.random.default_rng(0)
    run(watched, rng, [(19, 0.05, 2.0)])
    assert watched.phase == "learning"
    run(watched, rng, [(1, 0.05, 2.0)])
    assert watched.phase == "watching"
    few = watch()
    run(few, rng, [(60, 0.002, 2.0)])
    assert (few.phase, few.smallest_detectable_ratio) == ("learning", None)


def test_a_stream_that_never_changes_raises_no_alarm() -> None:
    for seed in range(6):
        assert run(watch(), np.random.default_rng(seed), [(220, 0.05, 2.0)]) == []


@pytest.mark.parametrize(
    ("prevalence", "apart", "monitors"),
    [
        (0.1, 2.0, {"label", "residual", "weighted_residual", "cost"}),
        (0.02, 2.0, {"label", "residual", "weighted_residual", "cost"}),
        (0.05, 1.0, {"residual", "weighted_residual", "cost"}),
    ],
)
def test_each_change_is_found_near_its_time(prevalence: float, apart: float, monitors: set[str]) -> None:
    for seed in range(5):
        watched = watch()
        alarms = run(watched, np.random.default_rng(seed), [(40, 0.05, 2.0), (60, prevalence, apart)])
        assert len(alarms) == 1
        alarm = alarms[0]
        assert alarm.tier == "confirmed"
        assert alarm.monitor in monitors
        assert abs(alarm.change_at - 40 * MINUTE) <= 6 * MINUTE
        assert alarm.statistic >= alarm.detail["threshold"]


def test_an_alarm_can_be_checked_from_its_record_alone() -> None:
    watched = watch()
    (alarm,) = run(watched, np.random.default_rng(1), [(40, 0.05, 2.0), (40, 0.12, 2.0)])
    detail, counts = alarm.detail, alarm.detail["counts"]
    assert sum(counts["negatives_before"]) + sum(counts["positives_before"]) == detail["events_before"]
    assert sum(counts["positives_after"]) == detail["positives_after"]
    assert len({len(column) for column in counts.values()}) == 1
    assert detail["path"][-1][0] == alarm.at
    assert np.log(alarm.statistic) == pytest.approx(detail["path"][-1][1])
    assert detail["mean_after"] > detail["bound"] > detail["mean_before"]


def test_after_an_alarm_it_learns_again_from_the_change_point_on_and_is_quiet() -> None:
    watched, rng = watch(), np.random.default_rng(2)
    (alarm,) = run(watched, rng, [(40, 0.05, 2.0), (15, 0.12, 2.0)])
    assert watched.phase == "learning"
    assert watched.history.start == alarm.change_at
    assert watched.after is not None
    assert watched.after.positives == pytest.approx(0.12 * watched.after.events, rel=0.2)
    assert watched.before is not None
    assert watched.before.positives == pytest.approx(0.05 * watched.before.events, rel=0.1)
    assert run(watched, rng, [(150, 0.12, 2.0)], at=55 * MINUTE) == []
    assert watched.phase == "watching"
    assert watched.after.events == (205 * MINUTE - alarm.change_at) // MINUTE * STEP


def test_a_threshold_move_restarts_the_cost_and_nothing_else() -> None:
    watched, rng = watch(), np.random.default_rng(3)
    run(watched, rng, [(40, 0.05, 2.0)])
    assert watched._esr is not None
    before = watched._esr.log_m.copy()
    watched.epoch(0.3, 40 * MINUTE)
    assert np.array_equal(watched._esr.log_m[:3], before[:3])
    assert (watched._esr.log_m[3] == -np.inf).all()
    assert run(watched, rng, [(100, 0.05, 2.0)], threshold=0.3, at=40 * MINUTE) == []


def test_steps_without_events_do_nothing() -> None:
    watched = watch()
    assert watched.step(BinaryEvidence.empty(), 0, MINUTE, 0.5) == []
    assert watched.history.blocks == []


def test_the_promise_grows_with_rate_and_segments() -> None:
    logs = []
    for segments, minutes in ((1, 1), (5, 1), (1, 100_000)):
        watched = watch(segments=segments)
        rng = np.random.default_rng(0)
        for k in range(20):
            watched.step(step(rng), k * minutes * MINUTE, (k + 1) * minutes * MINUTE, 0.1)
        assert watched.reference is not None
        logs.append(watched.reference.log_threshold)
    events_a_year = STEP * 365 * 24 * 60
    assert np.exp(logs) == pytest.approx([8 * events_a_year, 40 * events_a_year, 8e6])


def test_a_bursty_stream_raises_no_alarm_because_its_reference_says_so() -> None:
    """Two states, .04 and .14, of 20 steps on average; without over-dispersion most such streams alarm."""
    alarmed = 0
    for seed in range(10):
        rng, watched, state, alarms = np.random.default_rng(seed), watch(), 0, []
        watched.reference_events = 50_000
        for k in range(400):
            state ^= int(rng.random() < 0.05)
            evidence = step(rng, prevalence=(0.04, 0.14)[state])
            alarms += watched.step(evidence, k * MINUTE, (k + 1) * MINUTE, 0.1)
        alarmed += bool(alarms)
        assert alarms or watched.reference is not None
    assert alarmed <= 1


@pytest.mark.parametrize("cut", [10, 30, 45, 52, 70])
def test_a_restored_watch_continues_exactly_in_every_phase(cut: int) -> None:
    rng = np.random.default_rng(7)
    plan = [(0.05, 2.0)] * 45 + [(0.12, 2.0)] * 45
    one = watch(advisory=("ADWIN", "DDM"))
    other = one
    outputs: list[list[list[Alarm]]] = [[], []]
    for k, (prevalence, apart) in enumerate(plan):
        if k == cut:
            other = Watch.restore(one.state())
        evidence = BinaryEvidence.of(*scores(rng, STEP, prevalence=prevalence, apart=apart))
        outputs[0].append(one.step(evidence, k * MINUTE, (k + 1) * MINUTE, 0.1))
        if k >= cut:
            outputs[1].append(other.step(evidence, k * MINUTE, (k + 1) * MINUTE, 0.1))
    assert outputs[0][cut:] == outputs[1]
    assert any(a.tier == "confirmed" for alarms in outputs[0] for a in alarms)
    assert frozen(one.state()) == frozen(other.state())
