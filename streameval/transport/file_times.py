"""The order of a file's rows by event time.

Invariant: the order is stable, and a row whose time cannot be read (it will be rejected) stays behind the row before
it. Source: design, "Surface", on ``replay``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np

from streameval.events.contract import type_ts
from streameval.events.mapping import Mapper, TopicMapping
from streameval.events.timestamps import EARLIEST, LATEST, epoch_ms
from streameval.events.unread import read_past

__all__ = ["Times"]

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)
_parse: Final = msgspec.json.Decoder().decode


class _Stamped(msgspec.Struct, gc=False):
    ts: type_ts


_stamped: Final = msgspec.json.Decoder(_Stamped).decode


class Times:
    """Gathers the times of rows; `order` then says in which order to read them.

    Args:
        path: dotted path of the time in a row, ``ts`` in the contract.

    >>> times = Times("ts")
    >>> times.add([b'{"ts":1714564800002}', b"rubbish", b'{"ts":1714564800001}'])
    >>> times.order()
    array([2, 0, 1])
    """

    def __init__(self, path: str = "ts") -> None:
        self._mapper = None if path == "ts" else Mapper(TopicMapping("", "outcome", fields={"ts": path}))
        self._chunks: list[np.ndarray[Any, np.dtype[np.int64]]] = []

    def add(self, lines: Sequence[bytes]) -> None:
        """Take the next rows in."""
        moments: list[datetime | float] = []
        remaining = iter(lines)
        read = self._read if self._mapper is None else self._read_mapped
        while True:
            try:
                # extend keeps what came before an exception, so reading goes on behind the unreadable row.
                moments.extend(map(read, remaining))
                break
            except _UNREADABLE as error:
                found = read_past(lines[len(moments)], error, read, lambda moment: moment)
                moments.append(-1 if found is None else found[0])
        self._chunks.append(epoch_ms(moments))

    @staticmethod
    def _read(line: bytes) -> datetime | float:
        return _stamped(line).ts

    def _read_mapped(self, line: bytes) -> datetime | float:
        payload = _parse(line)
        if self._mapper is None or not isinstance(payload, dict):
            return -1
        return msgspec.convert(self._mapper.apply(payload), _Stamped).ts

    def order(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """int64[n]: the row to read at each place; None where the rows are in order already."""
        ts = np.concatenate(self._chunks) if self._chunks else np.empty(0, dtype=np.int64)
        readable = (ts >= EARLIEST) & (ts < LATEST)
        last = np.maximum.accumulate(np.where(readable, np.arange(len(ts)), -1))
        keys = np.where(last >= 0, ts[last], np.iinfo(np.int64).min) if len(ts) else ts
        if bool((keys[1:] >= keys[:-1]).all()):
            return None
        return np.argsort(keys, kind="stable")
