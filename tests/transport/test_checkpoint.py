"""Checkpoints are whole or absent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from streameval.errors import FencedError, InvariantError, StateCorruptError, StateMismatchError, StateVersionError
from streameval.transport.checkpoint import SCHEMA, Checkpoint, Checkpoints, Facts, Suppressed
from streameval.transport.protocol import Outbox


def facts(n: int, worker: str = "w") -> Facts:
    return Facts(
        schema=SCHEMA,
        worker=worker,
        n=n,
        lineage="1",
        incarnation="abc",
        T=1_700_000_000_000 + n,
        positions={"p": {0: n, 1: 2 * n}},
        topic_ids={"p": "id"},
        previous="before",
        hints={"p/0": [n, 10 * n]},
        before={"drift": n},
        suppressed=Suppressed(since=None, last=[("drift", "k", n)]),
    )


def outbox(n: int) -> Outbox:
    box = Outbox()
    for i in range(n):
        box.add("drift", "k", b"%d" % i, i)
    return box


def save(checkpoints: Checkpoints, n: int) -> Checkpoint:
    """Checkpoint n has blobs n-2 to n."""
    blobs = {f"b{i}": np.full(5 + i, i, "u8") if i % 2 else b"%d" % i for i in range(max(0, n - 2), n + 1)}
    saved = checkpoints.save(facts(n), {"n": n, "x": np.arange(n)}, blobs, outbox(n))
    checkpoints.prune()
    return saved


def filled(path: Path, count: int = 4) -> None:
    checkpoints = Checkpoints(path, "w")
    for n in range(1, count + 1):
        save(checkpoints, n)
    checkpoints.close()


def reopened(path: Path) -> Checkpoints:
    return Checkpoints(path, "w")


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    assert reopened(tmp_path / "a").load() is None
    checkpoints = reopened(tmp_path)
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    kinds = np.array([(1, 2.5)], [("k", "i2"), ("x", "f8")])
    blobs = {"a": array, "k": kinds, "e": np.zeros((0, 2), "i4"), "raw": b"\0\1", "none": b"", "z": np.array(3)}
    saved = checkpoints.save(facts(3), {"n": 2**77}, blobs, outbox(2))
    checkpoints.close()
    found = reopened(tmp_path).load()
    assert found is not None
    assert (found.digest, found.outbox, found.state) == (saved.digest, outbox(2), {"n": 2**77})
    assert msgspec.json.encode(found.manifest) == msgspec.json.encode(saved.manifest)
    assert found.record() == saved.record()
    assert found.positions == {("p", 0): 3, ("p", 1): 6}
    for name, blob in blobs.items():
        if isinstance(blob, bytes):
            assert found.blobs[name] == blob
        else:
            assert np.array_equal(found.blobs[name], blob)
            assert found.blobs[name].dtype == blob.dtype
            assert found.blobs[name].shape == blob.shape
    found.blobs["a"][0, 0] = 9


def test_the_last_two_are_kept_with_their_blobs_and_nothing_else(tmp_path: Path) -> None:
    filled(tmp_path, 6)
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("*.json")) == [
        "000000000005.json",
        "000000000006.json",
    ]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 6
    assert sorted(path.name.split(".")[0] for path in (tmp_path / "blobs").iterdir()) == ["b3", "b4", "b5", "b6"]
    for name in ("checkpoints/000000000007.state", "checkpoints/000000000007.json.tmp", f"blobs/b9.{'0' * 32}.tmp"):
        (tmp_path / name).write_bytes(b"rubbish of a crash")
    (tmp_path / "blobs" / "notes.txt").write_text("mine")
    assert reopened(tmp_path).load().n == 6
    assert len(list((tmp_path / "checkpoints").iterdir())) == 6
    assert len(list((tmp_path / "blobs").iterdir())) == 5


def test_a_stored_blob_is_not_written_again(tmp_path: Path) -> None:
    checkpoints = reopened(tmp_path)
    checkpoints.save(facts(1), None, {"b": b"once"}, Outbox())
    file = next((tmp_path / "blobs").iterdir())
    before = file.stat().st_mtime_ns, file.stat().st_ino
    checkpoints.save(facts(2), None, {"b": None}, Outbox())
    checkpoints.close()
    checkpoints = reopened(tmp_path)
    assert checkpoints.load().blobs == {"b": b"once"}
    checkpoints.save(facts(3), None, {"b": None}, Outbox())
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
    with pytest.raises(InvariantError, match="blob c: a blob was never stored"):
        checkpoints.save(facts(4), None, {"c": None}, Outbox())
    for name in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(InvariantError, match="not a name"):
            checkpoints.save(facts(4), None, {name: b""}, Outbox())
    with pytest.raises(InvariantError, match="Python objects"):
        checkpoints.save(facts(4), None, {"o": np.array([None])}, Outbox())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_of_the_newest_is_noticed_and_the_one_before_is_taken(tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("damage")
    filled(path)
    mine = ["checkpoints/000000000004.json", "checkpoints/000000000004.state", "checkpoints/000000000004.outbox"]
    mine += [str(p.relative_to(path)) for p in (path / "blobs").glob("b4.*")]
    victim = path / data.draw(st.sampled_from(mine))
    content = victim.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "longer", "garbage", "removed"]))
    if kind == "removed" and victim.suffix != ".json":
        victim.unlink()
    else:
        flipped = content[:at] + bytes([content[at] ^ (1 << data.draw(st.integers(0, 7)))]) + content[at + 1 :]
        changed = {"flip": flipped, "cut": content[:at], "longer": content + b"x", "garbage": os.urandom(30)}
        victim.write_bytes(changed.get(kind, flipped))
    checkpoints = reopened(path)
    found = checkpoints.load()
    assert (found.n, found.state["n"], sorted(found.blobs)) == (3, 3, ["b1", "b2", "b3"])
    assert len(checkpoints.skipped) == 1
    assert str(victim) in checkpoints.skipped[0]
    save(checkpoints, 5)
    checkpoints.close()
    checkpoints = reopened(path)
    assert checkpoints.load().n == 5
    assert sorted(checkpoints.load().blobs) == ["b3", "b4", "b5"]
    shutil.rmtree(path)


def test_without_a_whole_checkpoint_the_cure_is_told_and_nothing_is_removed(tmp_path: Path) -> None:
    filled(tmp_path)
    for file in (tmp_path / "checkpoints").glob("*.state"):
        file.write_bytes(b"")
    with pytest.raises(StateCorruptError, match=r"no checkpoint is whole.*delete the directory"):
        reopened(tmp_path).load()
    assert len(list((tmp_path / "checkpoints").iterdir())) == 6


def test_a_newer_schema_and_a_foreign_worker_are_refused_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    foreign = Checkpoints(tmp_path, "v")
    with pytest.raises(StateMismatchError, match="belongs to worker w, this one is v"):
        foreign.load()
    foreign.close()
    newest = tmp_path / "checkpoints" / "000000000004.json"
    changed = msgspec.json.decode(newest.read_bytes().split(b"\n")[0]) | {"schema": SCHEMA + 1, "state": "new shape"}
    text = msgspec.json.encode(changed)
    newest.write_bytes(text + b"\n" + xxhash.xxh3_128_hexdigest(text).encode() + b"\n")
    files = sorted(tmp_path.rglob("*"))
    with pytest.raises(StateVersionError, match=f"schema {SCHEMA + 1}, this release reads"):
        reopened(tmp_path).load()
    assert sorted(tmp_path.rglob("*")) == files


def test_a_directory_has_one_worker_at_a_time(tmp_path: Path) -> None:
    first = reopened(tmp_path)
    with pytest.raises(FencedError, match=f"process {os.getpid()} already works with this state"):
        reopened(tmp_path)
    first.close()
    reopened(tmp_path).close()
