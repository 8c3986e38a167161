"""The one module that commits: state and outputs become one fact, or neither does.

A commit of checkpoint n, and what the next start does if the process ends before (or in) a step:

====  =============================================  ==================================================================
step  what is done                                   if it fails or the process ends there
====  =============================================  ==================================================================
1     blobs written, forced to the disk              n does not exist: the next start loads n-1, removes the rubbish
2     state and outbox written, forced               as 1
3     manifest written under a temporary name        as 1
4     manifest renamed, directory forced             before the rename as 1; after it n is *sealed*: the next start
                                                     finds local = committed + 1 and delivers the stored bytes
5     outputs delivered                              sealed: what is missing is delivered. Kafka: the transaction is
                                                     aborted and nothing is visible. logdir: the missing bytes are
                                                     appended, a torn last line is completed
6     commit record delivered (Kafka: with 5), now   as 5; once it is visible, n is *committed*. A core that was not
      and then with the core of the state            delivered is left out: the last one stays, the next comes soon
7     commit record read back                        committed: the next start goes on from n
8     group offsets, old checkpoints removed         as 7; neither is needed for correctness
====  =============================================  ==================================================================

A disk that refuses a write raises `StorageError` with the file and the cure; like any other failure of steps 1 to 4 it
leaves n-1 whole. After a `CommitError` of steps 5 to 7, `Committer.settle` tries again with the stored bytes; after any
other failure the process has to start anew.

A start:

====  =============================================  ==================================================================
step  what is done                                   if it fails
====  =============================================  ==================================================================
1     fence: nobody else publishes as this worker    `FencedError`
2     commit record read                             `TransportError`; nothing was changed
3     newest whole checkpoint loaded                 `StateError` with the cure; a damaged newest one is passed over
4     topics compared with the recorded identities   `TopicError`: a topic was deleted and made again
5     local against committed, see below             `StateMismatchError`, nothing was changed
6     this process announced in the commit record,   `CommitError`, tried again by itself; `TransportError`: the
      what is published beyond the state is read     next start does the same again
====  =============================================  ==================================================================

===================================================  ==================================================================
local and committed                                  mode
===================================================  ==================================================================
neither                                              ``new``
local = committed, same digest                       ``continue``
local = committed + 1 and follows it                 ``deliver``: steps 5 to 8 of the commit, then on
local < committed, same lineage, and all that local  ``roll_forward``: what comes out again is compared and dropped
decided is published
no local, a core of the committed lineage            ``rebuild``: rows are read anew as far as the core needs them,
                                                     then as ``roll_forward`` from the core's commit on
no local, no core, lineage "1"                       ``rebuild``: roll forward from the beginning of the logs
``fresh=True``                                       ``fresh``: local is dropped, a new lineage goes on from committed
anything else                                        `StateMismatchError`
===================================================  ==================================================================

Invariant: each record is published once, and the published records of a key are a prefix of what one clean pass gives.
Source: DESIGN, "State, recovery, exactly once"; the numbered list is the habit of quixstreams' checkpointing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec
import structlog

from streameval.errors import (
    CommitError,
    ConfigChangeError,
    ConnectionFailedError,
    FencedError,
    InvariantError,
    StateCorruptError,
    StateMismatchError,
    TopicError,
)
from streameval.records import source_of
from streameval.transport import codec, durable
from streameval.transport.checkpoint import SCHEMA, Blob, Checkpoint, Checkpoints, Facts, Suppressed
from streameval.transport.core import LARGEST, Core
from streameval.transport.protocol import CommitRecord, Marks, OnStep, Outbox, Place, Transport, no_step
from streameval.transport.suppression import Key, Suppression

__all__ = ["Committed", "Committer", "Mode", "Start"]

Mode: TypeAlias = Literal["new", "continue", "deliver", "roll_forward", "rebuild", "fresh"]

step_hook: OnStep = no_step
"""What a `Committer` calls before each step unless told otherwise; `streameval.testing.crash` exchanges it."""

_FIRST_LINEAGE = "1"
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Start:
    """From where a worker goes on.

    Attributes:
        mode: see the module's table.
        checkpoint: the state to restore; None: there is none, read from the beginning (``fresh``: from anywhere).
        record: the commit record that was found, before anything was delivered.
        n: number of the last commit; the next one is n + 1.
        lineage: to be put into every record's id.
        suppress: last published sequence of each (topic, key) that will come out again and be dropped. The committer
            drops them itself; this is for people to see.
        sequences: in mode ``fresh`` the last published sequence of every key; number on from there. Else empty.
        messages: what people should know, one sentence each.
        core: in mode ``rebuild`` what is left of the state, if anything.
    """

    mode: Mode
    checkpoint: Checkpoint | None
    record: CommitRecord | None
    n: int
    lineage: str
    suppress: dict[Key, int] = field(default_factory=dict)
    sequences: dict[Key, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    core: Core | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit made visible: the record, the outputs that were not published before, bytes of the core if any."""

    record: CommitRecord
    outbox: Outbox
    core: int | None = None


class Committer:
    """Commits the checkpoints of one worker; `start` comes first, then `commit` as often as wanted.

    Args:
        transport: where outputs and commit records go.
        checkpoints: where the state is kept.
        worker: name of the worker.
        outputs: every output topic whose records are numbered (commit records are looked after here).
        on_step: called with ``"start.1"`` … ``"start.6"`` and ``"commit.1"`` … ``"commit.8"`` just before each step.
        shards: into how many workers the models are split; it may not change, for a model's state would stay behind.
    """

    def __init__(
        self,
        transport: Transport,
        checkpoints: Checkpoints,
        worker: str,
        outputs: Iterable[str],
        on_step: OnStep | None = None,
        shards: int = 1,
    ) -> None:
        self.transport = transport
        self.checkpoints = checkpoints
        self.worker = worker
        self.outputs = sorted(set(outputs))
        self.shards = shards
        self.n = 0
        self.lineage = _FIRST_LINEAGE
        self.incarnation = secrets.token_hex(8)
        self._step = step_hook if on_step is None else on_step
        self._record: CommitRecord | None = None
        self._topic_ids: dict[str, str] = {}
        self._suppression = Suppression()
        self._since: Marks | None = None
        self._pending: Checkpoint | None = None
        self._core: bytes | None = None
        self._ready = False

    # -- start ----------------------------------------------------------------------------------------------------

    def start(self, inputs: Iterable[str] = (), *, fresh: bool = False) -> Start:
        """Find out from where to go on, and deliver what was sealed but not delivered.

        Args:
            inputs: topics that will be read, to be compared with what they were.
            fresh: drop the local state and begin a new lineage after what is published.

        Raises:
            StreamevalError: see the module's tables.
        """
        with durable.storage(self.checkpoints.path):
            self._step("start.1")
            self.transport.fence(self.worker)
            self._step("start.2")
            record = self._record = self.transport.commit_record(self.worker)
            if fresh:
                return self._fresh(record)
            self._same_shards(record.shards if record else None, "the commit record")
            self._step("start.3")
            local = self.checkpoints.load()
            self._same_shards(local.manifest.shards if local else None, str(self.checkpoints.path))
            self._step("start.4")
            recorded = record.topic_ids if record is not None else local.manifest.topic_ids if local is not None else {}
            self._compare(recorded, inputs)
            self._step("start.5")
            messages = [f"passed over a damaged checkpoint: {skipped}" for skipped in self.checkpoints.skipped]
            core = self._left(record, messages) if local is None and record is not None else None
            mode = self._mode(local, record, core)
            self.n = max(record.n if record else 0, local.n if local else 0)
            self.lineage = record.lineage if record else _FIRST_LINEAGE
            if mode == "deliver" and local is not None:
                self._pending = local
                self.lineage = local.manifest.lineage
                self._deliver(local)
            self._step("start.6")
            # First, for until then a process that was fenced cannot know by whom (see `streameval.transport.kafka`).
            self._announce()
            self._suppression, self._since = self._published_beyond(local, core)
            self._ready = True
            return Start(mode, local, record, self.n, self.lineage, self._suppression.last, {}, messages, core)

    def _announce(self) -> None:
        """Only the name in the commit record changes: what it says of state and outputs is as true as before."""
        if self._record is not None:
            self._record = msgspec.structs.replace(self._record, incarnation=self.incarnation)
            self.transport.announce(self._record)

    def _left(self, record: CommitRecord, messages: list[str]) -> Core | None:
        """The core of the committed lineage: all that is left where the state is lost."""
        try:
            found = self.transport.core(self.worker)
            if found is None:
                return None
            core = Core.decode(found)
        except StateCorruptError as error:
            messages.append(str(error))
            return None
        self._same_shards(core.shards, "the published core of the state")
        return core if core.lineage == record.lineage and core.n <= record.n else None

    def _same_shards(self, kept: int | None, where: str) -> None:
        if kept not in (None, self.shards):
            raise ConfigChangeError(
                f"worker {self.worker} is one of {kept} shards and cannot become one of {self.shards}: models would "
                "move to workers that do not have their state",
                where=where,
                cure=f"run it as one of {kept} shards, or choose another worker name, which reads the logs anew",
            )

    def _fresh(self, record: CommitRecord | None) -> Start:
        self._step("start.3")
        self.checkpoints.clear()
        self._step("start.6")
        self._announce()
        published = Suppression(self.transport.published(self.outputs), source=self._source)
        self.n = record.n if record else 0
        self.lineage = str(int(record.lineage) + 1) if record else _FIRST_LINEAGE
        self._ready = True
        return Start("fresh", None, record, self.n, self.lineage, {}, published.last)

    def _mode(self, local: Checkpoint | None, record: CommitRecord | None, core: Core | None) -> Mode:
        where = str(self.checkpoints.path)
        again = "delete the state directory to rebuild it from the logs, or start with --fresh"
        if local is None:
            if record is None:
                return "new"
            if core is not None or record.lineage == _FIRST_LINEAGE:
                return "rebuild"
            what = (
                f"the state is lost, no core of it is published yet, and lineage {record.lineage} did not begin at the "
                "beginning of the logs"
            )
            raise StateMismatchError(what, where=where, cure="start with --fresh")
        manifest = local.manifest
        if record is not None and local.n == record.n and local.digest == record.digest:
            return "continue"
        committed, digest = (record.n, record.digest) if record is not None else (0, "")
        if local.n == committed + 1 and manifest.previous == digest:
            return "deliver"
        if local.n > committed:
            what = f"the state is at checkpoint {local.n}, but only {committed} is committed"
            cure = "restore the commit topic, or point the worker to the logs that belong to this state"
            raise StateMismatchError(what, where=where, cure=cure)
        assert record is not None  # noqa: S101 - committed >= local.n >= 1
        if manifest.lineage != record.lineage:
            what = f"the state is of lineage {manifest.lineage}, but {record.lineage} is committed"
            raise StateMismatchError(what, where=where, cure="use the state of that lineage, or start with --fresh")
        if local.n == committed or not self._is_published(local):
            what = f"checkpoint {local.n} here is not the one that was committed: another copy of this state went on"
            raise StateMismatchError(what, where=where, cure=f"use that copy; else {again}")
        return "roll_forward"

    def _is_published(self, local: Checkpoint) -> bool:
        """Whether all that a checkpoint decided can be read.

        If not, it was sealed and never committed: another copy went on, and may have come less far. What this state
        holds for published would be missing for good, and its marks of the clock are nobody else's.
        """
        outbox = local.outbox
        if not outbox:
            return True
        last: dict[Key, int] = {}
        values: set[tuple[str, str, bytes | None]] = set()
        for found in self.transport.published(sorted({*self.outputs, *outbox.topics()}), local.manifest.before):
            values.add((found.topic, found.key, found.value))
            if found.sequence is not None:
                last[found.topic, found.key] = max(found.sequence, last.get((found.topic, found.key), found.sequence))
        return all(
            (topic, key, value) in values if sequence is None else last.get((topic, key), -1) >= sequence
            for topic, key, value, sequence in outbox.records
        )

    def _published_beyond(self, local: Checkpoint | None, core: Core | None) -> tuple[Suppression, Marks | None]:
        """What is published and not contained in the state, and from where on it was read."""
        if core is not None:
            contained = {(topic, key): sequence for topic, key, sequence in core.last}
            return self._published(core.before).beyond(contained), core.before
        if local is None:
            return self._published(None), None
        recent = self._published(local.manifest.before).beyond(_last(local.outbox))
        pending = local.manifest.suppressed
        if pending is None:
            return recent, local.manifest.before
        keys = {(topic, key) for topic, key, _ in pending.last}
        return self._published(pending.since).only(keys).union(recent), pending.since

    def _published(self, since: Marks | None) -> Suppression:
        return Suppression(self.transport.published(self.outputs, since), source=self._source)

    @property
    def _source(self) -> str:
        return source_of(self.worker)

    def _compare(self, recorded: Mapping[str, str], inputs: Iterable[str]) -> None:
        """Keep the identities of the inputs, after comparing them with the recorded ones."""
        found = self.transport.topic_ids(inputs)
        for name, identity in recorded.items():
            if found.get(name, identity) != identity:
                what = "the topic was deleted and made again since it was read: its offsets mean other events now"
                cure = "bring the old topic back, or start with --fresh"
                raise TopicError(what, where=f"topic {name}", cure=cure)
        self._topic_ids = {**recorded, **found}

    @property
    def catches_up(self) -> bool:
        """Whether outputs that are published already still come out again."""
        return bool(self._suppression)

    # -- commit ---------------------------------------------------------------------------------------------------

    def commit(
        self,
        *,
        state: Any,
        blobs: Mapping[str, Blob | None],
        outbox: Outbox,
        T: int | None,
        positions: Mapping[Place, int],
        core: Any = None,
    ) -> Committed:
        """Make the next checkpoint, its outputs and its commit record one fact.

        Args:
            state: plain state (see `streameval.transport.codec`).
            blobs: immutable parts of the state by name, all that it needs; None for one that is stored already.
            outbox: outputs decided since the last commit. Those that are published already are dropped here.
            T: stream time, epoch ms.
            positions: next offset to read of every assigned partition.
            core: the plain state without the rows that wait, now and then, to be published with this commit; left
                out while the worker `catches_up`, and where it is too large.

        Raises:
            ConnectionFailedError: nothing was done; call it again with the same arguments.
            CommitError: sealed, but not known to be visible; call `settle`, as often as wanted, before the next commit.
            StreamevalError: anything else ends this process's work; see the module's table.
        """
        if not self._ready or self._pending is not None:
            raise InvariantError(
                "commit before start, or after a failed one", where=f"worker {self.worker}", cure="report it"
            )
        with durable.storage(self.checkpoints.path):
            # What asks the logs comes first: if they do not answer, nothing has changed.
            self._compare(self._topic_ids, {topic for topic, _ in positions})
            before = self.transport.ends(sorted({*self.outputs, *outbox.topics()}))
            self._ready = False
            admitted = self._suppression.admit(outbox)
            nested: dict[str, dict[int, int]] = {}
            for (topic, partition), offset in sorted(positions.items()):
                nested.setdefault(topic, {})[partition] = offset
            left = self._suppression.last
            suppressed = (
                Suppressed(since=self._since, last=[(*key, last) for key, last in left.items()]) if left else None
            )
            facts = Facts(
                schema=SCHEMA,
                worker=self.worker,
                n=self.n + 1,
                lineage=self.lineage,
                incarnation=self.incarnation,
                T=T,
                positions=nested,
                topic_ids=self._topic_ids,
                previous=self._record.digest if self._record else "",
                hints=self.transport.hints(),
                before=before,
                suppressed=suppressed,
                shards=self.shards,
            )
            sealed = self.checkpoints.save(facts, state, blobs, admitted, self._step)
            self.n = sealed.n
            self._pending = sealed
            self._core = None if core is None or suppressed is not None else _encoded(core, sealed)
            return self._deliver(sealed)

    def settle(self) -> Committed:
        """Deliver again what the last commit could not, the same bytes.

        Raises:
            CommitError: still not; call it again.
            InvariantError: nothing waits.
        """
        if self._pending is None:
            raise InvariantError("nothing waits to be delivered", where=f"worker {self.worker}", cure="report it")
        with durable.storage(self.checkpoints.path):
            return self._deliver(self._pending)

    def _deliver(self, sealed: Checkpoint) -> Committed:
        record = sealed.record()
        try:
            self.transport.deliver(sealed.outbox, record, sealed.manifest.before, self._step, self._core)
            self._step("commit.7")
            seen = self.transport.commit_record(self.worker)
        except ConnectionFailedError as error:
            what = f"checkpoint {record.n} may or may not be published: {error.what}"
            raise CommitError(what, where=error.where, cure=error.cure) from error
        if seen != record:
            what = f"checkpoint {record.n} was delivered, but the last commit record is another one"
            if seen is not None and seen.n >= record.n:
                cure = "stop the other worker of this name, then start again"
                raise FencedError(what, where=f"worker {self.worker}", cure=cure)
            raise CommitError(what, where=f"worker {self.worker}", cure="it is tried again")
        self._step("commit.8")
        self._record, self._pending, self._ready = record, None, True
        size = None if self._core is None else len(self._core)
        self._core = None
        self.transport.confirm(record)
        self.checkpoints.prune()
        return Committed(record, sealed.outbox, size)


def _last(outbox: Outbox) -> dict[Key, int]:
    """The last sequence of each key."""
    return {(record.topic, record.key): record.sequence for record in outbox.records if record.sequence is not None}


def _encoded(state: Any, sealed: Checkpoint) -> bytes | None:
    manifest = sealed.manifest
    core = Core(
        worker=manifest.worker,
        n=manifest.n,
        lineage=manifest.lineage,
        T=manifest.T,
        positions=manifest.positions,
        topic_ids=manifest.topic_ids,
        shards=manifest.shards,
        before=manifest.before,
        last=[(*key, sequence) for key, sequence in _last(sealed.outbox).items()],
        state=codec.encode(state),
    ).encode()
    if len(core) > LARGEST:
        _log.warning("core_too_large", bytes=len(core), largest=LARGEST, cure="split the models by --shard")
        return None
    return core
