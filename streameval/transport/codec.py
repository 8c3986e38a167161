"""Bytes of plain state: msgpack, with numpy arrays and integers of any size as extensions. Never pickle.

Plain state is None, bool, int, float, str, bytes, list, dict and numpy arrays of plain dtypes, nested at will.
``decode(encode(x))`` is bit-equal to ``x`` (signed zeros, NaN payloads, dtypes and shapes included), with three
documented exceptions: a tuple comes back as a list, a numpy scalar (bool, integer, float64) as a Python one, and an
array always in C order. Decoded arrays are writable copies.

Extension 1 is an array: the length of a head (4 bytes, little-endian), the head (msgpack of dtype description and
shape) and the elements. Extension 2 is an integer beyond 64 bits: two's complement, little-endian.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from streameval.errors import InvariantError, StateCorruptError

__all__ = ["decode", "dtype_from", "dtype_to", "encode"]

_ARRAY, _INTEGER = 1, 2
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_LARGEST_EXT = 2**32 - 1


def encode(state: Any) -> bytes:
    """Bytes of plain state.

    Raises:
        InvariantError: if something in it is not plain; the message names its path.

    >>> decode(encode({"count": 2**80, "xs": np.arange(3, dtype="i2")}))
    {'count': 1208925819614629174706176, 'xs': array([0, 1, 2], dtype=int16)}
    """
    try:
        return _ENCODER.encode(state)
    except (OverflowError, TypeError):
        # Only now is the slow walk worth it: it wraps large integers and knows the path of what is not plain.
        return _ENCODER.encode(_wrapped(state, "state"))


def decode(data: bytes) -> Any:
    """Read what `encode` wrote.

    Raises:
        StateCorruptError: if the bytes are cut or are not such an encoding.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, ValueError, TypeError, OverflowError) as error:
        raise StateCorruptError(f"cannot decode stored state: {error}") from error


def dtype_to(dtype: np.dtype[Any]) -> Any:
    """Plain description of a dtype, as in ``.npy`` files.

    Raises:
        TypeError: for dtypes that hold Python objects.

    >>> dtype_to(np.dtype("u8"))
    '<u8'
    """
    if dtype.hasobject:
        raise TypeError(f"dtype {dtype} holds Python objects")
    return np.lib.format.dtype_to_descr(dtype)


def dtype_from(description: Any) -> np.dtype[Any]:
    """Dtype of a description, also after its tuples have become lists.

    >>> dtype_from([["a", "<i4"], ["b", "<f8", [2]]])
    dtype([('a', '<i4'), ('b', '<f8', (2,))])
    """
    return np.lib.format.descr_to_dtype(_tuples(description))


def _tuples(description: Any) -> Any:
    if isinstance(description, str):
        return description
    return [
        (name, _tuples(kind) if isinstance(kind, list) else kind, *(tuple(shape) for shape in rest))
        for name, kind, *rest in description
    ]


def _wrapped(value: Any, path: str) -> Any:
    """The same state with large integers wrapped; raises at what is not plain."""
    match value:
        case None | bool() | float() | str() | bytes():
            return value
        case int():
            return value if _SMALLEST <= value <= _LARGEST else _extension_of_integer(value)
        case list() | tuple():
            return [_wrapped(item, f"{path}[{index}]") for index, item in enumerate(value)]
        case dict():
            return {_wrapped(key, f"key of {path}"): _wrapped(item, f"{path}.{key}") for key, item in value.items()}
    try:
        return _extension(value)
    except TypeError as error:
        raise InvariantError(f"state is not plain: {error}", where=path, cure="report it") from error


def _extension_of_integer(value: int) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _extension(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        head = msgspec.msgpack.encode((dtype_to(value.dtype), value.shape))
        data = b"".join((len(head).to_bytes(4, "little"), head, value.tobytes()))
        if len(data) > _LARGEST_EXT:
            raise TypeError(f"an array of {value.nbytes} bytes belongs in a blob")
        return msgspec.msgpack.Ext(_ARRAY, data)
    if isinstance(value, (np.bool_, np.integer, np.float64)):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def _from_extension(code: int, data: memoryview) -> Any:
    if code == _INTEGER:
        return int.from_bytes(data, "little", signed=True)
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code}")
    start = 4 + int.from_bytes(data[:4], "little")
    description, shape = msgspec.msgpack.decode(data[4:start])
    # A copy: the buffer belongs to the whole message and is read-only.
    return np.frombuffer(data[start:], dtype=dtype_from(description)).reshape(shape).copy()


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_extension)
_DECODER = msgspec.msgpack.Decoder(ext_hook=_from_extension)
