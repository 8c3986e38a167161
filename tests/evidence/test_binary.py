import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.errors import StateVersionError
from streameval.evidence import BinaryEvidence, EvidenceError, ScoreHistogram, WindowEvidence, bin_of, split
from streameval.evidence.exact import UNIT

SCALES = {"revenue": 0.01, "clicks": 1.0}

example = st.tuples(
    st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 1),
    st.integers(-1, 2),
    st.floats(-1e6, 1e6) | st.just(float("nan")) | st.floats(1e14, 1e17),
    st.sampled_from([0.0, 1.0, float("nan")]),
)


def columns(rows):
    score, label, group, revenue, clicks = (np.array(c) for c in zip(*rows, strict=True)) if rows else [np.empty(0)] * 5
    return (
        score.astype(np.float64),
        label.astype(np.int8),
        group.astype(np.int32),
        {"revenue": revenue.astype(np.float64), "clicks": clicks.astype(np.float64)},
    )


def evidence(rows):
    score, label, _, kpis = columns(rows)
    return BinaryEvidence.of(score, label, kpis, SCALES, ("revenue",))


@settings(max_examples=40)
@given(st.lists(example, max_size=30), st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_any_split_into_shards_adds_up_to_the_whole(rows, shards):
    parts = [evidence([r for r, s in zip(rows, shards, strict=False) if s == shard]) for shard in range(4)]
    whole = evidence(rows)
    assert (parts[3] + parts[1]) + (parts[0] + parts[2]) == whole
    assert sum(parts, BinaryEvidence.empty()) == whole


@settings(max_examples=40)
@given(st.lists(example, max_size=30), st.lists(example, max_size=30))
def test_addition_commutes_and_subtraction_is_its_exact_inverse(a, b):
    one, other = evidence(a), evidence(b)
    assert one + other == other + one
    assert one + other - other == one
    assert one - one == BinaryEvidence.empty()


@settings(max_examples=40)
@given(st.lists(example, max_size=30))
def test_groups_cut_in_one_pass_equal_groups_counted_alone(rows):
    score, label, group, kpis = columns(rows)
    cells = split(score, label, group, 3, kpis, SCALES, ("revenue",))
    assert cells == [evidence([r for r in rows if r[2] == g]) for g in range(3)]


@settings(max_examples=40)
@given(st.lists(example, min_size=1, max_size=30))
def test_evidence_is_what_a_loop_over_the_examples_counts(rows):
    e = evidence(rows)
    bins = bin_of(np.array([r[0] for r in rows], np.float64)).tolist()
    for j, b in enumerate(e.bins.tolist()):
        for y in (0, 1):
            mine = [r for r, rb in zip(rows, bins, strict=True) if rb == b and r[1] == y]
            assert e.counts[y, j] == len(mine)
            assert e.sums[y, j] == sum(round(r[0] * UNIT) for r in mine)
        mine = [r for r, rb in zip(rows, bins, strict=True) if rb == b and not np.isnan(r[3])]
        assert e.value_sums("revenue")[j] == sum(int(np.rint(r[3] / 0.01)) for r in mine)
    units = [int(np.rint(r[3] / 0.01)) for r in rows if not np.isnan(r[3])]
    assert e.kpis.get("revenue", (0, 0, 0)) == (len(units), sum(units), sum(u * u for u in units))
    assert (e.events, e.positives) == (len(rows), sum(r[1] for r in rows))
    assert (np.diff(e.bins.astype(int)) > 0).all()
    assert (e.counts.sum(axis=0) > 0).all()


def test_losses_are_those_of_single_examples_not_of_bins():
    score, label = np.array([0.1, 0.1003, 0.9, 0.0, 1.0]), np.array([0, 1, 1, 1, 0])
    e = BinaryEvidence.of(score, label)
    right = np.clip(np.where(label == 1, score, 1 - score), 1e-15, 1 - 1e-15)
    for y in (0, 1):
        loss = -np.log(right[label == y])
        brier = (1 - np.where(label == 1, score, 1 - score)[label == y]) ** 2
        assert e.losses[f"log_loss_{y}"] / UNIT == pytest.approx(loss.sum(), abs=1e-8)
        assert e.losses[f"log_loss_sq_{y}"] / UNIT == pytest.approx((loss**2).sum(), abs=1e-8)
        assert e.losses[f"brier_{y}"] / UNIT == pytest.approx(brier.sum(), abs=1e-8)
        assert e.losses[f"brier_sq_{y}"] / UNIT == pytest.approx((brier**2).sum(), abs=1e-8)


def test_taking_out_what_was_never_in_is_an_error():
    one = BinaryEvidence.of(np.array([0.2, 0.3]), np.array([0, 1]))
    with pytest.raises(EvidenceError):
        one - BinaryEvidence.of(np.array([0.2]), np.array([1]))
    with pytest.raises(EvidenceError):
        one - BinaryEvidence.of(np.array([0.7]), np.array([0]))
    # The same bin and label, but another score: nothing is left to have the difference.
    with pytest.raises(EvidenceError):
        one - BinaryEvidence.of(np.array([0.2000001]), np.array([0]))


def test_a_row_without_label_is_refused():
    with pytest.raises(EvidenceError, match="neither 0 nor 1"):
        BinaryEvidence.of(np.array([0.2]), np.array([-1], np.int8))


@pytest.mark.parametrize("events", [2**31 - 1, 2**31, 2**62 // 2**32 * 4])
def test_evidence_doubled_past_31_and_63_bits_stays_exact(events):
    one = BinaryEvidence.of(np.array([1.0]), np.array([1]))
    total, power, left = BinaryEvidence.empty(), one, events
    while left:
        if left & 1:
            total = total + power
        power, left = power + power, left >> 1
    assert total.events == events
    assert total.sums.tolist() == [[0], [events * 2**32]]
    assert (total.sums.dtype == object) == (events * 2**32 >= 2**63)
    assert total.mean_scores.tolist() == [1.0]
    assert BinaryEvidence.restore(total.state()) == total
    assert total - one + one == total


@settings(max_examples=25)
@given(st.lists(example, max_size=20))
def test_state_restores_equal_evidence(rows):
    e = evidence(rows)
    assert BinaryEvidence.restore(e.state()) == e


def test_state_of_a_newer_release_is_refused():
    with pytest.raises(StateVersionError):
        BinaryEvidence.restore({**BinaryEvidence.empty().state(), "version": 99})


@settings(max_examples=25)
@given(st.lists(st.lists(example, max_size=8), max_size=8), st.data())
def test_a_window_is_the_sum_of_what_is_in_it(intervals, data):
    parts = [evidence(rows) for rows in intervals]
    window = WindowEvidence()
    for part in parts:
        window.add(part)
    gone = data.draw(st.integers(0, len(parts)))
    for part in parts[:gone]:
        window.subtract(part)
    rest = sum(parts[gone:], BinaryEvidence.empty())
    assert window.evidence() == rest
    assert (window.events, window.positives) == (rest.events, rest.positives)
    assert WindowEvidence.restore(window.state()).evidence() == rest


def test_a_window_refuses_to_lose_what_it_does_not_hold_and_stays_as_it_was():
    one = BinaryEvidence.of(np.array([0.2, 0.3]), np.array([0, 1]))
    window = WindowEvidence()
    window.add(one)
    with pytest.raises(EvidenceError):
        window.subtract(BinaryEvidence.of(np.array([0.2, 0.3]), np.array([0, 0])))
    assert window.evidence() == one


def test_a_window_stays_exact_past_63_bits():
    e = BinaryEvidence(
        np.array([100], np.int16), np.array([[0], [2**30]]), np.array([[0], [2**62]]), {"value": np.array([-(2**62)])}
    )
    window = WindowEvidence()
    for _ in range(3):
        window.add(e)
    assert window.evidence() == e + e + e
    assert window.evidence().sums.tolist() == [[0], [3 * 2**62]]
    for _ in range(2):
        window.subtract(e)
    assert window.evidence() == e
    assert window.evidence().sums.dtype == np.int64


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), max_size=20), st.lists(st.floats(0, 1), max_size=20))
def test_score_histograms_add_and_subtract_like_evidence(a, b):
    one, other = (ScoreHistogram.of(np.array(x, np.float64)) for x in (a, b))
    both = ScoreHistogram.of(np.array(a + b, np.float64))
    assert one + other == both
    assert both - other == one
    assert ScoreHistogram.restore(both.state()) == both
    labels = np.arange(len(a + b)) % 2
    assert ScoreHistogram.of_evidence(BinaryEvidence.of(np.array(a + b, np.float64), labels)) == both


def test_scores_that_were_never_in_cannot_be_taken_out():
    with pytest.raises(EvidenceError):
        ScoreHistogram.of(np.array([0.2])) - ScoreHistogram.of(np.array([0.9]))
