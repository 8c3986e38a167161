"""A core of a state in Kafka: cut into parts that lie beside the commit records, and put together again.

A part has the key ``worker/engine/index``, so that compaction keeps the newest of each; parts of a longer, older core
are overwritten by tombstones. All parts of a core and the commit record that they belong to are one transaction.

Invariant: `assembled` gives the newest core of which every part is there, byte for byte, or None: a part says which
commit it is of, how many parts there are, and the digest of the whole.

Source: DESIGN, "State, recovery, exactly once" (state lost).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import xxhash

from streameval.errors import StateCorruptError

__all__ = ["PART", "assembled", "key", "key_prefix", "parts"]

PART: Final = 60 << 10
"""Largest payload of a part in bytes, so that a whole part stays below `protocol.MAX_RECORD`."""


def key_prefix(worker: str) -> bytes:
    """How the keys of a worker's parts begin."""
    return f"{worker}/engine/".encode()


def key(worker: str, index: int) -> bytes:
    """The key of one part.

    >>> key("w", 3)
    b'w/engine/3'
    """
    return key_prefix(worker) + b"%d" % index


class _Part(msgspec.Struct, array_like=True):
    """One part: its commit, its place, the number of parts, the digest of the whole, and its bytes."""

    n: int
    index: int
    count: int
    digest: str
    data: bytes


_DECODER = msgspec.msgpack.Decoder(_Part)


def parts(data: bytes, n: int, largest: int = PART) -> list[bytes]:
    """The parts of an encoded core of commit ``n``, of at most ``largest`` bytes of payload each.

    >>> assembled(parts(b"abcdefgh", 3, largest=3))
    b'abcdefgh'
    """
    digest = xxhash.xxh3_64_hexdigest(data)
    cut = [data[at : at + largest] for at in range(0, max(len(data), 1), largest)]
    return [msgspec.msgpack.encode(_Part(n, index, len(cut), digest, piece)) for index, piece in enumerate(cut)]


def assembled(found: Iterable[bytes]) -> bytes | None:
    """The newest core among parts in any order; None where none is whole.

    Raises:
        StateCorruptError: something is no part of a core.
    """
    wholes: dict[tuple[int, str], dict[int, _Part]] = {}
    for value in found:
        try:
            part = _DECODER.decode(value)
        except msgspec.MsgspecError as error:
            raise StateCorruptError(f"this is no part of a published core: {error}") from error
        wholes.setdefault((part.n, part.digest), {})[part.index] = part
    for (_, digest), pieces in sorted(wholes.items(), reverse=True):
        if len(pieces) == next(iter(pieces.values())).count:
            data = b"".join(pieces[index].data for index in sorted(pieces))
            if xxhash.xxh3_64_hexdigest(data) == digest:
                return data
    return None
