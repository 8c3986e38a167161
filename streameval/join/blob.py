"""Blobs: columns laid end to end in one array of bytes, for checkpoints.

Invariant: `unpack(pack(columns)[0], pack(columns)[1])` gives the same columns bit for bit; each column starts at a
multiple of eight bytes, so that what is read back is aligned and can be used without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Blob = NDArray[np.uint8]
Layout = list[list[Any]]
"""`[name, dtype, length]` of each column."""
Load = Callable[[str], "bytes | NDArray[Any]"]
"""Gives the blob of a name."""


def pack(columns: Mapping[str, NDArray[Any]]) -> tuple[Blob, Layout]:
    """One array of bytes and its layout.

    >>> blob, layout = pack({"a": np.array([1, 2], np.int16), "b": np.array([.5])})
    >>> layout, len(blob)
    ([['a', '<i2', 2], ['b', '<f8', 1]], 16)
    """
    layout: Layout = [[name, column.dtype.str, len(column)] for name, column in columns.items()]
    blob = np.zeros(sum(-(-column.nbytes // 8) * 8 for column in columns.values()), np.uint8)
    at = 0
    for column in columns.values():
        blob[at : at + column.nbytes] = np.ascontiguousarray(column).view(np.uint8)
        at += -(-column.nbytes // 8) * 8
    return blob, layout


def unpack(blob: bytes | NDArray[Any], layout: Layout, *, writable: bool = False) -> dict[str, NDArray[Any]]:
    """The columns of a blob; views of it unless `writable`. Raises ValueError where the blob is too short."""
    raw = np.frombuffer(blob, np.uint8) if len(blob) else np.zeros(0, np.uint8)
    columns, at = {}, 0
    for name, dtype, length in layout:
        size = np.dtype(dtype).itemsize * length
        if at + size > len(raw):
            raise ValueError(f"blob holds {len(raw)} bytes, column {name!r} ends at {at + size}")
        column = raw[at : at + size].view(dtype)
        columns[name] = column.copy() if writable else column
        at += -(-size // 8) * 8
    return columns
