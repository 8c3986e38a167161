"""Identity: what is kept of an id, a hash of 64 bits.

Two ids with one hash are taken for one. By chance that is rare (see `streameval.join.join` for how rare, and what it
does). xxh3 can be made to collide at will by whoever chooses ids; with a key ids are hashed by keyed BLAKE2b, where
without the key there is no better way than trying, and nothing shows that it succeeded.

Invariant: the hash is a function of the id's text and the key. Source: RFC 7693 (BLAKE2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import xxhash

from streameval.events.columns import U64

Hash = Callable[[Sequence[str]], U64]


def hash_of_ids(key: bytes = b"") -> Hash:
    """What makes uint64[n] of n ids: xxh3_64 of their UTF-8, or BLAKE2b-64 with a key of up to 64 bytes.

    >>> hash_of_ids()(["a"]).tolist() == [xxhash.xxh3_64_intdigest(b"a")]
    True
    """
    if not key:
        return _open
    keyed = hashlib.blake2b(digest_size=8, key=key)

    def digest(text: str) -> bytes:
        one = keyed.copy()
        one.update(text.encode())
        return one.digest()

    def hashes(texts: Sequence[str]) -> U64:
        return np.frombuffer(b"".join(map(digest, texts)), dtype="<u8").astype(np.uint64)

    return hashes


def _open(texts: Sequence[str]) -> U64:
    return np.fromiter(map(xxhash.xxh3_64_intdigest, map(str.encode, texts)), np.uint64, len(texts))
