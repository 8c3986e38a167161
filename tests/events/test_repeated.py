"""Repeated keys and nesting: the quick count and the full parse agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.events import Batch, Decoder, ModelSpec
from streameval.events.repeated import MAX_DEPTH, depth, distinct_strings, repeated

KEYS = st.sampled_from(["id", "model", "score", "segments", "version", "x", "y", "i\\u0064", 'x\\":'])
SCALARS = st.sampled_from(['"a"', "1", "null", '"\\":"', '"id"', '" :"', "[[]]"])
OBJECTS = st.lists(st.tuples(st.sampled_from(["id", "country", "x"]), st.sampled_from(['"a"', "1"])), max_size=3).map(
    lambda pairs: "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}"
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A good event with further fields, some of them again, in any order and spacing."""
    pairs = [("id", '"a"'), ("model", '"m"'), ("ts", "1714564800000"), ("score", "0.5")]
    for key in draw(st.lists(KEYS, max_size=4)):
        if key in {"id", "i\\u0064", "model", "version"}:
            pairs.append((key, '"m"'))
        elif key == "score":
            pairs.append((key, "0.25"))
        elif key == "segments":
            pairs.append((key, draw(OBJECTS)))
        else:
            pairs.append((key, draw(st.one_of(SCALARS, OBJECTS))))
    space = draw(st.sampled_from(["", " ", "\n\t"]))
    return ("{" + ",".join(f'"{key}"{space}:{value}' for key, value in draw(st.permutations(pairs))) + "}").encode()


def repeats(message: bytes) -> bool:
    """The slow, obviously right answer."""
    root = json.loads(message, object_pairs_hook=list)
    keys = [key for key, _ in root if key in {"id", "model", "ts", "score", "segments", "version"}]
    groups = [[name for name, _ in value if name == "country"] for key, value in root if key == "segments"]
    return any(len(set(names)) < len(names) for names in [keys, *groups])


@settings(max_examples=300, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=5))
def test_a_message_is_rejected_for_a_repeated_key_exactly_when_the_contracts_part_repeats_one(values):
    decoder = Decoder([ModelSpec("m", segments=("country",))])
    _, rejected = decoder.predictions(Batch("t", 0, range(len(values)), values))
    found = {bad.offset for bad in rejected}
    assert {bad.reason for bad in rejected} <= {"duplicate_key"}
    assert found == {place for place, message in enumerate(values) if repeats(message)}


@settings(max_examples=200, deadline=None)
@given(messages())
def test_distinct_strings_prove_that_no_key_is_repeated(message):
    if distinct_strings(message):
        assert not repeats(message)


@pytest.mark.parametrize(
    ("text", "levels"),
    [(b"", 0), (b"1", 0), (b"[]", 1), (b'{"a":[{}]}', 3), (b'"[[["', 0), (b'{"\\"[":1}', 1), (b"[[", 2), (b"]]][", 0)],
)
def test_depth_counts_brackets_outside_strings(text, levels):
    assert max(depth(text), 0) == levels


def test_the_deepest_accepted_nesting_is_the_same_in_and_out_of_the_way_of_the_interpreter():
    decoder = Decoder([ModelSpec("m")])
    for levels, reasons in ((MAX_DEPTH - 1, []), (MAX_DEPTH, ["too_deep"]), (900, ["too_deep"]), (5000, ["too_deep"])):
        message = b'{"id":"a","model":"m","ts":1714564800000,"score":0.5,"x":' + b"[" * levels + b"]" * levels + b"}"
        _, rejected = decoder.predictions(Batch("t", 0, range(1), [message]))
        assert [bad.reason for bad in rejected] == reasons


def test_repeated_follows_paths_through_lists():
    message = b'{"a": [{"b": 1}, {"b": 1, "b": 2}]}'
    assert repeated(message, [("a", "1", "b")]) is not None
    assert repeated(message, [("a", "0", "b"), ("a", "7", "b"), ("c",)]) is None
