"""From the alarm to its diagnosis: what is waited for, and what our own moves do to it."""

from __future__ import annotations

import numpy as np
import pytest
from binary_streams import YEAR, frozen, step
from changes import IN_FORCE, MOVED, changed, played

from streameval.detect.alarm import Alarm
from streameval.detect.case import Case
from streameval.detect.history import History
from streameval.detect.label_counts import LabelCounts
from streameval.detect.life import Watch
from streameval.detect.own_move import OwnMove, map_move, threshold_move
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.evidence.bins import EDGES, threshold_bin

DEADLINE = 40_000


def watch() -> Watch:
    return Watch(20_000, 250, YEAR, costs=(1.0, 10.0), advisory=())


def alarm(change_at: int = 10, at: int = 12, **detail: object) -> Alarm:
    known = {"reference": {"from": 0, "to": 5, "events": 20_000}, "overdispersion": 1.0}
    return Alarm("label", "confirmed", 1e9, "up", change_at, at, known | detail)


def opened(before: LabelCounts, moves: list[OwnMove] | None = None, changed: History | None = None) -> Case:
    return Case.opened(alarm(), 12, DEADLINE, before, changed or History(), moves or [])


@pytest.mark.parametrize(
    ("change", "state"),
    [({"apart": 1.0}, "concept_drift"), ({"prevalence": 0.10}, "label_shift"), ({"dearer": 1.0}, "covariate_shift")],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_change_is_told_also_when_we_answer_its_alarm_with_a_move(
    change: dict[str, float], state: str, late: bool
) -> None:
    for seed in range(2):
        found, events = played(np.random.default_rng([3, seed]), watch(), change, late=late)
        assert found is not None
        assert found.state == state
        assert events < DEADLINE


def test_our_own_move_is_never_told_for_a_change_of_the_world() -> None:
    for seed in range(5):
        found, _ = played(np.random.default_rng([3, seed]), watch(), {}, own=True)
        assert found is None or found.state == "confounded"


def test_a_change_that_begins_with_our_own_move_is_confounded() -> None:
    found, _ = played(np.random.default_rng([3, 0]), watch(), {"apart": 1.0}, own=True)
    assert found is not None
    assert found.state == "confounded"
    unmoved, _ = played(np.random.default_rng([3, 0]), watch(), {"apart": 1.0}, own=True, respected=False)
    assert unmoved is not None
    assert unmoved.state == "concept_drift", "decisions are said never to change outcomes"


def test_our_answer_to_a_label_shift_does_not_hide_it() -> None:
    """Our move moved no scores: where these moved too, and the others show a label shift, that is what it was."""
    for seed in range(3):
        found, _ = played(np.random.default_rng([3, seed]), watch(), {"prevalence": 0.12}, own=True)
        assert found is not None
        assert found.state == "label_shift"


def test_a_false_alarm_is_none_by_what_follows_it() -> None:
    """Its own events look like a label shift, for that is what raised it."""
    for seed in range(10):
        rng = np.random.default_rng([4, seed])
        history = History()
        history.append(10, 12, LabelCounts.of(step(rng, 4_000, prevalence=0.08)), recent=True)
        case = opened(LabelCounts.of(step(rng, 50_000)), changed=history)
        found, k = None, 12
        while found is None:
            found, k = case.step(step(rng), k + 1, []), k + 1
        assert found.state == "none"
        assert case.since.positives >= 250


def test_it_waits_for_positives_and_closes_at_the_deadline() -> None:
    rng = np.random.default_rng(5)
    case = opened(LabelCounts.of(step(rng, 50_000)))
    events, found = 0, None
    while found is None:
        events += 500
        found = case.step(changed(rng, prevalence=0.002), 13, [])
    assert found.state == "inconclusive"
    assert events == DEADLINE


def test_with_too_little_before_the_change_it_is_inconclusive_at_once() -> None:
    rng = np.random.default_rng(6)
    case = opened(LabelCounts.of(step(rng, 2_000)))
    assert not case.may_be_told
    found = case.step(step(rng), 13, [])
    assert found is not None
    assert found.state == "inconclusive"


def test_events_before_our_move_acquit_it() -> None:
    """A threshold that moved between the change and the alarm, with enough events before it to tell the change."""
    rng = np.random.default_rng(7)
    history = History()
    for k in range(10, 12):
        history.append(k, k + 1, LabelCounts.of(changed(rng, 6_000, apart=1.0)), recent=True)
    move = threshold_move(11, IN_FORCE, MOVED)
    long = Case.opened(alarm(at=13), 13, DEADLINE, LabelCounts.of(step(rng, 50_000)), history, [move])
    assert long.untouched is not None
    assert long.untouched.positives >= 250
    short = Case.restore(long.state())
    short.untouched = LabelCounts.of(changed(rng, 200, apart=1.0))
    for case, state in ((long, "concept_drift"), (short, "confounded")):
        found, k = None, 13
        while found is None:
            found, k = case.step(changed(rng, apart=1.0, prevented=(MOVED, IN_FORCE)), k + 1, [move]), k + 1
        assert found.state == state


def test_a_case_goes_on_bit_for_bit() -> None:
    rng = np.random.default_rng(8)
    history = History()
    history.append(10, 12, LabelCounts.of(changed(rng, 2_000, dearer=1.0)), recent=True)
    moves = [OwnMove(11, 3000, 3100)]
    case = opened(LabelCounts.of(step(rng, 20_000)), moves, history)
    for k in range(13, 40):
        evidence = changed(rng, dearer=1.0)
        again = Case.restore(case.state())
        assert frozen(again.state()) == frozen(case.state())
        found = case.step(evidence, k, moves)
        assert again.step(evidence, k, moves) == found
        assert frozen(again.state()) == frozen(case.state())


def test_maps_count_by_where_they_put_the_thresholds_probability() -> None:
    identity = CalibrationMap("identity", np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    halved = CalibrationMap("platt", np.array([0.0, 1.0]), np.array([0.0, 0.5]))
    assert map_move(5, 0.25, None, identity) is None
    move = map_move(5, 0.25, None, halved)
    assert move is not None
    assert (move.at, move.by_map, move.low) == (5, True, threshold_bin(0.25))
    assert EDGES[move.high] == pytest.approx(0.5)
