"""Identity: the hash that is kept of an id, openly or with a key."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import xxhash

from streameval.events import Batch, Decoder, ModelSpec

TS = 1_714_564_800_000
KEY = bytes(range(32))


def hashes(ids: list[object], key: bytes = b"", event: str = "predictions") -> list[int]:
    given = {"model": "m", "ts": TS, "score": 0.5, "label": 1}
    values = [json.dumps(given | {"id": one}).encode() for one in ids]
    rows, rejected = getattr(Decoder([ModelSpec("m")], id_key=key), event)(Batch("t", 0, np.arange(len(ids)), values))
    assert rejected == []
    return rows.id_hash.tolist()


def test_ids_are_hashed_openly_by_xxh3_and_with_a_key_by_blake2b():
    ids = ["a", "Zoë", "x" * 512, 7]
    texts = [str(one).encode() for one in ids]
    assert hashes(ids) == [xxhash.xxh3_64_intdigest(text) for text in texts]
    keyed = [hashlib.blake2b(text, key=KEY, digest_size=8).digest() for text in texts]
    assert hashes(ids, KEY) == [int.from_bytes(digest, "little") for digest in keyed]


def test_outcomes_find_their_predictions_under_one_key_only():
    ids = [*map(str, range(500)), *range(500, 600)]
    assert hashes(ids, KEY) == hashes(ids, KEY, "outcomes")
    assert not set(hashes(ids, KEY)) & set(hashes(ids, KEY[1:]))
    assert not set(hashes(ids, KEY)) & set(hashes(ids))


def test_a_heartbeat_has_no_hash_among_keyed_ones():
    values = [b'{"id": "a", "ts": %d, "label": 1}' % TS, b'{"ts": %d}' % TS]
    rows, _ = Decoder([ModelSpec("m")], id_key=KEY).outcomes(Batch("t", 0, np.arange(2), values))
    assert rows.id_hash.tolist() == [hashes(["a"], KEY)[0], 0]
