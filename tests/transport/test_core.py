"""The core of a state: exact bytes, small, and put together again from whatever parts are there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streameval.errors import StateCorruptError, StateVersionError
from streameval.transport import codec
from streameval.transport.core import SCHEMA, Core
from streameval.transport.kafka_core import PART, assembled, parts
from streameval.transport.protocol import MAX_RECORD

CORE = Core(
    worker="w",
    n=7,
    lineage="1",
    T=5,
    positions={"events": {0: 3, 1: 4}},
    topic_ids={"events": "x"},
    shards=2,
    before={"drift": 9},
    last=[("drift", "m/1/*", 3)],
    state=codec.encode({"counts": np.zeros(50_000, np.int64), "large": 2**90}),
)


def test_it_comes_out_as_it_went_in_and_small() -> None:
    data = CORE.encode()
    assert len(data) < 0.02 * len(CORE.state)
    again = Core.decode(data)
    assert again == CORE
    assert again.plain()["large"] == 2**90
    assert again.places() == {("events", 0): 3, ("events", 1): 4}


def test_a_newer_one_and_something_else_are_clear_errors() -> None:
    data = CORE.encode()
    with pytest.raises(StateVersionError, match=f"schema {SCHEMA + 1}.*run the release"):
        Core.decode(bytes([SCHEMA + 1]) + data[1:])
    for damaged in (data[:-9], data[:1] + b"?" + data[2:], data[:1]):
        with pytest.raises(StateCorruptError):
            Core.decode(damaged)


@given(wholes=st.lists(st.binary(max_size=60), min_size=1, max_size=3), largest=st.integers(1, 20), choose=st.randoms())
def test_the_newest_whole_one_is_found_among_parts_in_any_order(wholes, largest, choose) -> None:
    cut = [parts(data, n, largest) for n, data in enumerate(wholes)]
    found = [part for one in cut for part in one]
    choose.shuffle(found)
    assert assembled(found) == wholes[-1]
    # As compaction and a crash may leave it: a part of the newest is not there.
    found.remove(choose.choice(cut[-1]))
    assert assembled(found) == (wholes[-2] if len(wholes) > 1 else None)


def test_a_part_fits_into_any_topic_that_takes_our_records() -> None:
    data = np.random.default_rng(1).bytes(300_000)
    assert max(map(len, parts(data, 1 << 40))) < min(MAX_RECORD, PART + 200)


def test_what_is_no_part_is_an_error() -> None:
    with pytest.raises(StateCorruptError, match="no part"):
        assembled([b"{}"])
