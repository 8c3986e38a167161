"""Plain state survives its encoding bit by bit."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streameval.errors import InvariantError, StateCorruptError
from streameval.transport import codec

DTYPES = st.sampled_from(
    ["?", "i1", "i2", "<i4", ">i4", "i8", "u8", "f4", "f8", "S3", "M8[ms]", [("a", "i2"), ("b", "f8", (2,))]]
)
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats() | st.text() | st.binary() | ARRAYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    match a:
        case float():
            return struct.pack("<d", a) == struct.pack("<d", b)
        case list():
            return len(a) == len(b) and all(map(same, a, b))
        case dict():
            return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a == b


@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_plain_state_comes_back_bit_by_bit(state) -> None:
    assert same(codec.decode(codec.encode(state)), state)


@settings(max_examples=100, deadline=None)
@given(PLAIN, st.data())
def test_cut_bytes_are_refused_and_never_half_decoded(state, data) -> None:
    encoded = codec.encode(state)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(StateCorruptError, match="cannot decode"):
        codec.decode(encoded[:cut])


def test_decoded_arrays_can_be_written_and_are_in_c_order() -> None:
    array = codec.decode(codec.encode(np.asfortranarray(np.arange(6).reshape(2, 3))))
    array[0, 0] = 7
    assert array.tolist() == [[7, 1, 2], [3, 4, 5]]
    assert array.flags.c_contiguous


def test_tuples_become_lists_and_numpy_scalars_python_ones() -> None:
    state = codec.decode(codec.encode({"t": (1, (2,)), "i": np.int64(3), "f": np.float64(-0.0), "b": np.bool_(True)}))
    assert state == {"t": [1, [2]], "i": 3, "f": 0.0, "b": True}
    assert [type(value) for value in state.values()] == [list, int, float, bool]
    assert math.copysign(1, state["f"]) == -1


@pytest.mark.parametrize("alien", [object(), np.array([None]), np.float32(1), 1j, lambda: None])
def test_what_is_not_plain_is_named_by_its_path(alien) -> None:
    with pytest.raises(InvariantError, match=r"state\.models\[1\]\.x"):
        codec.encode({"models": [0, {"x": alien}]})
