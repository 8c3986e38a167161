"""Checkpoints: the state of a worker on its own disk, whole or not at all.

::

    STATE/lock                            held by the worker that uses the directory
    STATE/checkpoints/000000000012.json   manifest: what belongs to checkpoint 12, with the digest of every file
    STATE/checkpoints/000000000012.state  engine state (see codec)
    STATE/checkpoints/000000000012.outbox the outputs decided since checkpoint 11
    STATE/blobs/NAME.DIGEST               immutable parts of the state (segments of rows), shared by checkpoints

Invariants: a manifest appears last, after all that it names is on the disk; nothing that a kept manifest names is
changed or removed; the last two checkpoints are kept. Every digest is verified before a byte is used.
Source: DESIGN, "State, recovery, exactly once".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import xxhash

from streameval.errors import FencedError, InvariantError, StateCorruptError, StateMismatchError, StateVersionError
from streameval.transport import codec, durable
from streameval.transport.protocol import CommitRecord, Hints, Marks, OnStep, Outbox, no_step

__all__ = ["SCHEMA", "Blob", "Checkpoint", "Checkpoints", "Facts", "Manifest", "Suppressed"]

SCHEMA = 1
"""Version of the manifest; release N reads N-1."""

_OLDEST = 1
_KEPT = 2

Blob: TypeAlias = bytes | np.ndarray[Any, Any]
"""An immutable part of the state."""

_BLOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_OURS = re.compile(r"(?:[0-9]{12}\.(?:json|state|outbox)|.+\.[0-9a-f]{32})(?:\.tmp)?")


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file below the state directory: relative name, size in bytes, xxh3-128 of the content."""

    file: str
    size: int
    digest: str


class StoredBlob(StoredFile, frozen=True, kw_only=True):
    """A blob's file; dtype description and shape for an array, None for bytes."""

    dtype: Any = None
    shape: list[int] | None = None


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """What is published already and still to be regenerated (see `streameval.transport.suppression`).

    Attributes:
        since: `Transport.ends` at the state from which the worker rolls forward; None: from the beginning.
        last: (topic, key, last published sequence).
    """

    since: Marks | None
    last: list[tuple[str, str, int]]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says besides its files.

    Attributes:
        schema: `SCHEMA` of the release that wrote it.
        worker, n, lineage, incarnation, T, positions, topic_ids: as in `CommitRecord`.
        previous: digest in the commit record that this one follows; "" for the first.
        hints: `Transport.hints` at the positions.
        before: `Transport.ends` before the outbox was delivered.
        suppressed: what the worker must not publish again; None when it has caught up.
        shards: as in `CommitRecord`.
    """

    schema: int
    worker: str
    n: int
    lineage: str
    incarnation: str
    T: int | None
    positions: dict[str, dict[int, int]]
    topic_ids: dict[str, str]
    previous: str
    hints: Hints
    before: Marks
    suppressed: Suppressed | None
    shards: int = 1


class Manifest(Facts, frozen=True, kw_only=True):
    """A checkpoint's facts and files."""

    state: StoredFile
    outbox: StoredFile
    blobs: dict[str, StoredBlob]

    def files(self) -> Iterator[StoredFile]:
        """Every file that this manifest needs."""
        yield self.state
        yield self.outbox
        yield from self.blobs.values()


class _Head(msgspec.Struct):
    schema: int
    worker: str


@dataclass(slots=True)
class Checkpoint:
    """A checkpoint as saved or loaded.

    ``digest`` is that of the manifest. ``state`` and ``blobs``, with writable arrays, are there only after
    `Checkpoints.load`.
    """

    manifest: Manifest
    digest: str
    outbox: Outbox
    state: Any = None
    blobs: dict[str, Blob] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Its number, from 1."""
        return self.manifest.n

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """Next offset to read by (topic, partition)."""
        nested = self.manifest.positions
        return {(topic, partition): offset for topic, inner in nested.items() for partition, offset in inner.items()}

    def record(self) -> CommitRecord:
        """The commit record that publishes it; always the same bytes."""
        manifest = self.manifest
        return CommitRecord(
            worker=manifest.worker,
            n=manifest.n,
            lineage=manifest.lineage,
            incarnation=manifest.incarnation,
            T=manifest.T,
            positions=manifest.positions,
            topic_ids=manifest.topic_ids,
            digest=self.digest,
            shards=manifest.shards,
        )


class Checkpoints:
    """The checkpoints of one worker in one directory, which it holds exclusively until `close`.

    Args:
        path: the state directory; made when missing.
        worker: name of the worker; a directory belongs to one.

    Raises:
        FencedError: if another process uses the directory.
        StorageError: if it cannot be made or written.

    Attributes:
        skipped: what `load` had to pass over, one sentence each; to be said to people.
    """

    def __init__(self, path: Path | str, worker: str) -> None:
        self.path = Path(path)
        self.worker = worker
        self.skipped: list[str] = []
        self._manifests: dict[int, Manifest] = {}
        self._stored: dict[str, StoredBlob] = {}
        with durable.storage(self.path):
            durable.make_directory(self._manifest_directory)
            durable.make_directory(self._blob_directory)
            lock = self.path / "lock"
            self._lock = durable.lock(lock)
        if self._lock is None:
            what = f"{durable.owner(lock)} already works with this state"
            raise FencedError(
                what, where=str(self.path), cure="stop it first, or give this worker its own state directory"
            )

    @property
    def _manifest_directory(self) -> Path:
        return self.path / "checkpoints"

    @property
    def _blob_directory(self) -> Path:
        return self.path / "blobs"

    # -- saving ---------------------------------------------------------------------------------------------------

    def save(
        self,
        facts: Facts,
        state: Any,
        blobs: Mapping[str, Blob | None],
        outbox: Outbox,
        on_step: OnStep = no_step,
    ) -> Checkpoint:
        """Put a checkpoint on the disk; when this returns it survives anything but the disk.

        Args:
            facts: what it says; its number is larger than that of any other checkpoint here.
            state: plain state (see `streameval.transport.codec`).
            blobs: every blob that the state needs, by name. A name stands for one content: one that is stored already
                is not looked at again, so its value may be None.
            outbox: the outputs decided since the last checkpoint.
            on_step: called before ``commit.1`` (blobs), ``commit.2`` (state and outbox), ``commit.3`` (manifest,
                temporary) and ``commit.4`` (manifest, rename).

        Raises:
            StorageError: if the disk refuses; the checkpoints that were there stay whole.
            InvariantError: if the state is not plain or a blob is unknown.
        """
        with durable.storage(self.path):
            on_step("commit.1")
            stored = self._write_blobs(blobs)
            on_step("commit.2")
            name = f"checkpoints/{facts.n:012d}"
            manifest = Manifest(
                **{field: getattr(facts, field) for field in Facts.__struct_fields__},
                state=self._write(f"{name}.state", codec.encode(state)),
                outbox=self._write(f"{name}.outbox", outbox.encode()),
                blobs=stored,
            )
            text = msgspec.json.encode(manifest)
            digest = xxhash.xxh3_128_hexdigest(text)
            path = self.path / f"{name}.json"
            temporary = path.with_name(path.name + durable.TEMPORARY)
            on_step("commit.3")
            durable.fill(temporary, [text, b"\n", digest.encode(), b"\n"])
            on_step("commit.4")
            durable.publish(temporary, path)
        self._manifests[facts.n] = manifest
        return Checkpoint(manifest, digest, outbox)

    def _write(self, name: str, data: bytes) -> StoredFile:
        # No directory is forced here: the rename of the manifest, in the same directory, does it.
        path = self.path / name
        durable.fill(path, [data])
        return StoredFile(file=name, size=len(data), digest=xxhash.xxh3_128_hexdigest(data))

    def _write_blobs(self, blobs: Mapping[str, Blob | None]) -> dict[str, StoredBlob]:
        written = False
        for name, blob in blobs.items():
            if name in self._stored:
                continue
            if blob is None:
                raise InvariantError("a blob was never stored", where=f"blob {name}", cure="report it")
            if not _BLOB_NAME.fullmatch(name):
                raise InvariantError("not a name for a blob", where=f"blob {name!r}", cure="report it")
            self._stored[name] = self._write_blob(name, blob)
            written = True
        if written:
            durable.force_directory(self._blob_directory)
        return {name: self._stored[name] for name in blobs}

    def _write_blob(self, name: str, blob: Blob) -> StoredBlob:
        dtype, shape = None, None
        if isinstance(blob, np.ndarray):
            try:
                dtype, shape = codec.dtype_to(blob.dtype), list(blob.shape)
            except TypeError as error:
                raise InvariantError(str(error), where=f"blob {name}", cure="report it") from error
            view = np.ascontiguousarray(blob).reshape(-1).view(np.uint8).data
        else:
            view = memoryview(blob)
        digest = xxhash.xxh3_128_hexdigest(view)
        file = f"blobs/{name}.{digest}"
        path = self.path / file
        temporary = path.with_name(path.name + durable.TEMPORARY)
        durable.fill(temporary, [view])
        temporary.replace(path)
        return StoredBlob(file=file, size=view.nbytes, digest=digest, dtype=dtype, shape=shape)

    def prune(self) -> None:
        """Remove what the last two checkpoints do not need, manifests first."""
        self._manifests = dict(sorted(self._manifests.items())[-_KEPT:])
        needed = {file.file for manifest in self._manifests.values() for file in manifest.files()}
        manifests = {f"checkpoints/{n:012d}.json" for n in self._manifests}
        self._stored = {name: blob for name, blob in self._stored.items() if blob.file in needed}
        with durable.storage(self.path):
            rubbish = [
                path
                for directory in (self._manifest_directory, self._blob_directory)
                for path in directory.iterdir()
                if _OURS.fullmatch(path.name) and f"{directory.name}/{path.name}" not in needed | manifests
            ]
            for path in sorted(rubbish, key=lambda path: path.suffix != ".json"):
                path.unlink()

    def clear(self) -> None:
        """Forget every checkpoint (``--fresh``)."""
        self._manifests = {}
        self.prune()

    def close(self) -> None:
        """Give the directory free."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- loading --------------------------------------------------------------------------------------------------

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if there has never been one. Removes rubbish of earlier crashes.

        Raises:
            StateVersionError: if a newer release, or one too old, wrote it.
            StateMismatchError: if it belongs to another worker.
            StateCorruptError: if there are checkpoints and none is whole.
        """
        self._manifests, self.skipped = {}, []
        loaded: Checkpoint | None = None
        paths = sorted(self._manifest_directory.glob("*.json"), reverse=True)
        for path in paths:
            try:
                manifest, digest = self._read_manifest(path)
                if loaded is None:
                    loaded = self._read(manifest, digest)
                self._manifests[manifest.n] = manifest
            except StateCorruptError as error:
                self.skipped.append(str(error))
        if paths and loaded is None:
            what = "no checkpoint is whole: " + "; ".join(self.skipped)
            cure = "delete the directory: the state is then rebuilt from the logs, and nothing is published twice"
            raise StateCorruptError(what, where=str(self.path), cure=cure)
        self._stored = dict(loaded.manifest.blobs) if loaded else {}
        self.prune()
        return loaded

    def _read_manifest(self, path: Path) -> tuple[Manifest, str]:
        text, _, rest = path.read_bytes().partition(b"\n")
        digest = xxhash.xxh3_128_hexdigest(text)
        if rest != digest.encode() + b"\n":
            raise StateCorruptError("the manifest fails its digest", where=str(path))
        try:
            head = msgspec.json.decode(text, type=_Head)
            if not _OLDEST <= head.schema <= SCHEMA:
                what = f"the state has schema {head.schema}, this release reads {_OLDEST} to {SCHEMA}"
                cure = "run the release that wrote it, or delete the directory to rebuild the state from the logs"
                raise StateVersionError(what, where=str(path), cure=cure)
            if head.worker != self.worker:
                what = f"the state belongs to worker {head.worker}, this one is {self.worker}"
                raise StateMismatchError(what, where=str(path), cure="name another state directory, or that worker")
            return msgspec.json.decode(text, type=Manifest), digest
        except msgspec.MsgspecError as error:
            raise StateCorruptError(f"cannot decode the manifest: {error}", where=str(path)) from error

    def _read(self, manifest: Manifest, digest: str) -> Checkpoint:
        state = codec.decode(self._verified(manifest.state).tobytes())
        outbox = Outbox.decode(self._verified(manifest.outbox).tobytes())
        blobs: dict[str, Blob] = {}
        for name, stored in manifest.blobs.items():
            data = self._verified(stored)
            if stored.shape is None:
                blobs[name] = data.tobytes()
            else:
                blobs[name] = data.view(codec.dtype_from(stored.dtype)).reshape(stored.shape)
        return Checkpoint(manifest, digest, outbox, state, blobs)

    def _verified(self, stored: StoredFile) -> np.ndarray[Any, np.dtype[np.uint8]]:
        path = self.path / stored.file
        try:
            data = np.fromfile(path, np.uint8)
        except FileNotFoundError as error:
            raise StateCorruptError("the file is missing", where=str(path)) from error
        if data.size != stored.size:
            raise StateCorruptError(f"the file has {data.size} bytes instead of {stored.size}", where=str(path))
        if xxhash.xxh3_128_hexdigest(data.data) != stored.digest:
            raise StateCorruptError("the file fails its digest", where=str(path))
        return data
