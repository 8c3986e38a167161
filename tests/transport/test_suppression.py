"""What is published is not published again, and must come out the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.errors import StateMismatchError
from streameval.transport.protocol import Outbox, Record
from streameval.transport.suppression import Suppression


def stream(length: int, key: str = "k", first: int = 0) -> list[Record]:
    return [Record("t", key, f'{{"sequence":{n}}}'.encode(), n) for n in range(first, first + length)]


def box(records: list[Record]) -> Outbox:
    outbox = Outbox()
    outbox.extend(records)
    return outbox


@settings(max_examples=100, deadline=None)
@given(total=st.integers(1, 20), published=st.integers(0, 20), state=st.integers(0, 20), data=st.data())
def test_published_and_admitted_together_are_one_pass(total, published, state, data) -> None:
    records = stream(total)
    published, state = min(published, total), min(state, published, total)
    out = Suppression(records[:published]).beyond({("t", "k"): state - 1})
    admitted: list[Record] = []
    at = state
    while at < total:
        step = data.draw(st.integers(1, 5))
        admitted += out.admit(box(records[at : at + step])).records
        at += step
    assert records[:published] + admitted == records
    assert not out


def test_keys_and_topics_are_apart_and_the_uncounted_pass() -> None:
    out = Suppression([*stream(2), Record("u", "k", b"{}", 5), Record("t", "c", b"{}", None)])
    assert out.last == {("t", "k"): 1, ("u", "k"): 5}
    admitted = out.admit(box([Record("t", "c", b"{}", None), Record("v", "k", b"{}", 0), *stream(3)]))
    assert [(r.topic, r.sequence) for r in admitted.records] == [("t", None), ("v", 0), ("t", 2)]
    assert out.last == {("u", "k"): 5}


def test_a_record_that_comes_out_otherwise_is_an_error() -> None:
    out = Suppression(stream(3))
    with pytest.raises(StateMismatchError, match=r"topic t, key k: .*sequence 1 comes out otherwise"):
        out.admit(box([*stream(1), Record("t", "k", b"{}", 1)]))


def test_a_key_whose_state_is_ahead_of_what_is_published_passes() -> None:
    out = Suppression(stream(2))
    assert out.admit(box(stream(1, first=2))).records == stream(1, first=2)
    assert not out


def test_what_compaction_removed_is_dropped_without_comparison() -> None:
    records = stream(6)
    out = Suppression([records[0], records[4]])
    assert out.admit(box([*records[:4], records[4], records[5]])).records == [records[5]]


def test_records_of_another_source_do_not_count() -> None:
    mine, other = Record("t", "k", b'{"source":"/a"}', 3), Record("t", "j", b'{"source":"/b"}', 9)
    assert Suppression([mine, other], source="/a").last == {("t", "k"): 3}


def test_a_sequence_that_goes_back_is_an_error() -> None:
    with pytest.raises(StateMismatchError, match="sequence 1 was published after 2"):
        Suppression([*stream(3), *stream(1, first=1)])
