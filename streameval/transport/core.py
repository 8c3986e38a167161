"""The core of a state: what remains of it without the rows that wait, small enough to lie beside the commit records.

Every few minutes it is published with a commit, so that the state directory is no more than a cache: where it is lost,
the newest core and a re-read of what the logs still retain make the state anew, and what was published since that
commit is regenerated and dropped (`streameval.transport.suppression`).

Invariant: a core belongs to one commit of one lineage, and says by itself from where on to read. The bytes are msgpack,
deflated, with a version in front.

Source: DESIGN, "State, recovery, exactly once" (state lost).
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from streameval.errors import StateCorruptError, StateVersionError
from streameval.transport import codec
from streameval.transport.protocol import Marks, Place

__all__ = ["LARGEST", "SCHEMA", "Core"]

SCHEMA = 1
"""Version of the encoding; the state within has its own."""
LARGEST = 32 << 20
"""Largest core that is published, in bytes: more than this would hold up a commit for seconds."""
_LEVEL = 1  # a fifth of the size already; higher levels take ten times as long for another tenth


class Core(msgspec.Struct, frozen=True, kw_only=True):
    """A core and what belongs to it.

    Attributes:
        worker, n, lineage, T, positions, topic_ids, shards: as in `CommitRecord`, of the commit that it is a part of.
        before: `Transport.ends` before that commit's outputs.
        last: (topic, key, sequence) of the last record of each key among that commit's outputs.
        state: plain state (see codec), encoded.
    """

    worker: str
    n: int
    lineage: str
    T: int | None
    positions: dict[str, dict[int, int]]
    topic_ids: dict[str, str]
    shards: int
    before: Marks
    last: list[tuple[str, str, int]]
    state: bytes

    def places(self) -> dict[Place, int]:
        """Next offset to read by (topic, partition)."""
        return {(topic, p): offset for topic, inner in self.positions.items() for p, offset in inner.items()}

    def plain(self) -> Any:
        """The state, decoded.

        Raises:
            StateCorruptError: it cannot be decoded.
        """
        return codec.decode(self.state)

    def encode(self) -> bytes:
        """Bytes to publish."""
        return bytes([SCHEMA]) + zlib.compress(msgspec.msgpack.encode(self), _LEVEL)

    @classmethod
    def decode(cls, data: bytes) -> Core:
        """Read what `encode` wrote.

        Raises:
            StateVersionError: a newer release wrote it.
            StateCorruptError: it is something else.
        """
        if data[0] > SCHEMA:
            what = f"the published core of the state has schema {data[0]}, this release reads up to {SCHEMA}"
            raise StateVersionError(what, cure="run the release that wrote it, or start with --fresh")
        try:
            return msgspec.msgpack.decode(zlib.decompress(data[1:]), type=cls)
        except (zlib.error, msgspec.MsgspecError) as error:
            raise StateCorruptError(f"cannot decode the published core of the state: {error}") from error
