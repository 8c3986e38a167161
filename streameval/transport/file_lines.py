"""The lines of one file, found by their place in the order of reading without keeping the file in memory.

Invariant: what is read is what was indexed; a file that is cut meanwhile is an error. A last line without newline
counts if it is whole JSON: an editor left the newline out, where a torn write is no event yet.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
import xxhash

from streameval.errors import InputError
from streameval.events.unread import read_past
from streameval.transport.file_times import Times

__all__ = ["LINE_LIMIT", "Lines"]

LINE_LIMIT: Final = 4 << 20
"""Bytes of one line that are kept, as in a logdir: far beyond what the contract accepts."""

_BLOCK: Final = 1 << 20
_ANCHOR: Final = 8192
"""Lines between two places of a file that are remembered, where it is read in its own order."""

_whole = msgspec.json.Decoder(msgspec.Raw).decode


class Lines:
    """One file of JSON lines.

    Args:
        path: its name, for messages.
        file: its bytes; closed by `close`.
        times: what gathers the rows' times, where they are to be read in order of time.

    Attributes:
        order: int64[n], the row read at each place; None where that is the file's own order.
        starts: the byte where every line begins (with an order), or every `_ANCHOR`-th one, and the end.
        identity: digest of the first line; "" where there is none.
    """

    def __init__(self, path: Path, file: IO[bytes], times: Times | None) -> None:
        self.path = path
        self.file = file
        self.order: np.ndarray[Any, np.dtype[np.int64]] | None = None
        self._held: tuple[int, list[bytes]] = (-1, [])
        starts = [np.zeros(1, dtype=np.int64)]
        size, rest = 0, b""
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + (size + 1)
            starts.append(ends)
            size += len(block)
            if len(ends) == 0:
                rest += block
                continue
            *lines, last = (rest + block).split(b"\n")
            if times is not None:
                times.add(lines)
            rest = last
        if rest and _is_whole(rest):
            starts.append(np.array([size + 1]))
            if times is not None:
                times.add([rest])
        every = np.concatenate(starts)
        self._n = len(every) - 1
        self.identity = xxhash.xxh3_64_hexdigest(self._bytes(0, int(every[1]))) if self._n else ""
        self.order = times.order() if times is not None else None
        self.starts = every if self.order is not None else np.append(every[:-1][::_ANCHOR], every[-1])

    def __len__(self) -> int:
        return self._n

    def take(self, first: int, count: int) -> list[bytes]:
        """Lines at places ``first`` up to ``first + count``; fewer at the end of a run of lines."""
        if first >= self._n:
            return []
        if self.order is not None:
            rows = self.order[first : first + count]
            return [
                self._bytes(start, end)[:-1][:LINE_LIMIT]
                for start, end in zip(self.starts[rows].tolist(), self.starts[rows + 1].tolist(), strict=True)
            ]
        number, skipped = divmod(first, _ANCHOR)
        if self._held[0] != number:
            text = self._bytes(int(self.starts[number]), int(self.starts[number + 1]))
            self._held = (number, text[:-1].split(b"\n"))
        return [line[:LINE_LIMIT] for line in self._held[1][skipped : skipped + count]]

    def _bytes(self, start: int, end: int) -> bytes:
        text = os.pread(self.file.fileno(), end - start, start)
        if len(text) == end - start:
            return text
        if len(text) == end - start - 1 and not text.endswith(b"\n"):
            return text + b"\n"  # the last line lacks it
        what = "the file was cut while it was read"
        raise InputError(what, where=str(self.path), cure="leave it alone until the replay has ended")

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _is_whole(line: bytes) -> bool:
    try:
        _whole(line)
    except msgspec.DecodeError as error:
        return read_past(line, error, _whole, lambda _: None) is not None
    return True
