"""The ledger: everything is told once, one by one or counted."""

from __future__ import annotations

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.events import Rejection, RejectionLedger
from streameval.events.rejected import UNKNOWN_MODELS_AN_HOUR, unknown_model

MINUTE, HOUR = 60_000, 3_600_000


def rejection(
    offset: int, reason: str = "not_json", partition: int = 0, detail: str = "d", payload: bytes = b"x"
) -> Rejection:
    return Rejection("p", partition, offset, reason, detail, payload)


def test_the_first_hundred_are_told_at_once_and_the_rest_when_the_interval_has_ended():
    ledger = RejectionLedger()
    told = ledger.add([rejection(offset) for offset in range(250)], [5] * 250)
    assert [data["offset"] for data in told] == list(range(100))
    assert told[0] == {
        "time": 5,
        "reason": "not_json",
        "detail": "d",
        "topic": "p",
        "partition": 0,
        "offset": 0,
        "count": 1,
        "payload": None,
    }
    assert ledger.flush("p", 0, MINUTE - 1) == []
    [rest] = ledger.flush("p", 0, MINUTE)
    assert (rest["time"], rest["count"], rest["offset"], rest["last_offset"]) == (MINUTE, 150, 100, 249)
    assert ledger.flush_all() == []


def test_reasons_and_partitions_have_their_own_count():
    ledger = RejectionLedger(per_interval=1)
    bad = [rejection(1), rejection(2, "empty"), rejection(3, partition=1), rejection(4), rejection(5, "empty")]
    assert [data["offset"] for data in ledger.add(bad, [0] * 5)] == [1, 2, 3]
    assert [(data["reason"], data["offset"]) for data in ledger.flush("p", 0, MINUTE)] == [
        ("empty", 5),
        ("not_json", 4),
    ]
    assert ledger.flush("p", 1, MINUTE) == []


def test_a_counted_record_of_one_is_told_apart_from_one_that_was_told_at_once():
    ledger = RejectionLedger(per_interval=0)
    ledger.add([rejection(7)], [0])
    [data] = ledger.flush_all()
    assert (data["count"], data["offset"], data["last_offset"]) == (1, 7, 7)


def test_an_unknown_model_is_told_once_an_hour_by_name():
    ledger = RejectionLedger()
    bad = [rejection(offset, "unknown_model", detail=unknown_model(f"m{offset % 2}")) for offset in range(10)]
    assert [data["offset"] for data in ledger.add(bad, [0] * 10)] == [0, 1]
    assert ledger.flush("p", 0, HOUR - 1) == []
    closed = ledger.flush("p", 0, HOUR)
    assert [(data["offset"], data["last_offset"], data["count"], data["time"]) for data in closed] == [
        (2, 8, 4, HOUR),
        (3, 9, 4, HOUR),
    ]
    assert len(ledger.add(bad[:2], [HOUR, HOUR])) == 2


def test_unknown_models_can_be_rejected_like_anything_else():
    ledger = RejectionLedger(unknown_models="reject", per_interval=3)
    bad = [rejection(offset, "unknown_model", detail=unknown_model("m")) for offset in range(5)]
    assert len(ledger.add(bad, [0] * 5)) == 3
    assert [data["count"] for data in ledger.flush("p", 0, MINUTE)] == [2]


def test_invented_model_names_cannot_grow_the_ledger():
    ledger = RejectionLedger()
    n = 5_000
    bad = [rejection(offset, "unknown_model", detail=unknown_model(f"m{offset}")) for offset in range(n)]
    told = ledger.add(bad, [0] * n)
    assert len(told) == UNKNOWN_MODELS_AN_HOUR + 1
    assert len(ledger.state()["open"]) == UNKNOWN_MODELS_AN_HOUR + 1
    [others] = ledger.flush_all()
    assert (others["count"], others["last_offset"]) == (n - UNKNOWN_MODELS_AN_HOUR - 1, n - 1)
    assert "other models" in others["detail"]


def test_messages_that_share_their_fate_are_told_as_one_and_counted_as_many():
    ledger = RejectionLedger(per_interval=1)
    stretches = [Rejection("p", 0, first, "unreadable", "d", last=first + 9, count=7) for first in (10, 20, 30)]
    [told] = ledger.add(stretches, [0] * 3)
    assert (told["offset"], told["last_offset"], told["count"]) == (10, 19, 7)
    assert "counted" not in told
    [rest] = ledger.flush("p", 0, MINUTE)
    assert (rest["offset"], rest["last_offset"], rest["count"], rest["counted"]) == (20, 39, 14, True)


@pytest.mark.parametrize(
    ("policy", "shown"), [("none", None), ("hash", xxhash.xxh3_128_hexdigest(b"a\xff")), ("full", "a\\xff")]
)
def test_the_payload_is_shown_as_the_policy_says(policy, shown):
    [data] = RejectionLedger(policy).add([rejection(0, payload=b"a\xff")], [0])
    assert data["payload"] == shown


def test_a_full_payload_is_cut_at_four_kibibytes():
    [data] = RejectionLedger("full").add([rejection(0, payload=b"a" * 9_999)], [0])
    assert data["payload"] == "a" * 4096


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 1),  # partition
        st.integers(0, 50_000),  # step of its clock
        st.integers(0, 30_000),  # how far the event is ahead of the clock
        st.sampled_from(["not_json", "empty", "unknown_model"]),
        st.sampled_from(["m", "n"]),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.data())
def test_batch_cuts_flushes_and_restarts_change_nothing_and_each_rejection_is_told_once(events, data):
    clocks = [0, 0]
    log = []
    for offset, (partition, step, ahead, reason, detail) in enumerate(events):
        clocks[partition] += step
        log.append((rejection(offset, reason, partition, detail), clocks[partition] + ahead, clocks[partition]))

    def play(cut: bool) -> list[dict]:
        ledger = RejectionLedger(per_interval=2)
        told: list[dict] = []
        batch: list[tuple] = []
        for entry in log:
            batch.append(entry)
            if cut and data.draw(st.booleans()):
                told += ledger.add([one for one, _, _ in batch], [time for _, time, _ in batch])
                batch = []
                told += ledger.flush("p", entry[0].partition, entry[2])
                if data.draw(st.booleans()):
                    state = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.state()))
                    ledger = RejectionLedger(per_interval=2)
                    ledger.restore(state)
        told += ledger.add([one for one, _, _ in batch], [time for _, time, _ in batch])
        return told + ledger.flush_all()

    def order(told: list[dict]) -> list[tuple]:
        return sorted(tuple(sorted((key, str(value)) for key, value in one.items())) for one in told)

    whole = play(cut=False)
    assert order(play(cut=True)) == order(whole)
    assert sum(one["count"] for one in whole) == len(events)
