"""The daemon: read, fold, commit, until told to stop.

One turn of the loop reads a batch of the partition furthest behind, moves T, collects outputs, and commits when a
bound of the configuration is reached. The wall clock acts in two places only: a partition that is silent gets a floor
(a mark, committed with the checkpoint in which it takes effect), and a commit is due.

Invariant: whatever ends the process, the next start goes on so that each output is published once
(`streameval.transport.commit` says how).

Source: DESIGN "Time" and "State, recovery, exactly once".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import structlog

from streameval import records
from streameval.config import Config
from streameval.config.transport import Kafka
from streameval.daemon.observing import Observer
from streameval.daemon.progress import Health, OnProgress, Progress, Summary, Tally, stream_time
from streameval.daemon.reading import BATCH, Reading
from streameval.daemon.rebuild import regrow
from streameval.daemon.reports import with_reports
from streameval.daemon.stalling import Change, Place, Stalls
from streameval.engine import Engine
from streameval.engine.clock import BEGINNING, Key
from streameval.engine.model import ModelFold
from streameval.engine.publisher import Published
from streameval.engine.shard import Shard
from streameval.errors import (
    CommitError,
    ConnectionFailedError,
    InvariantError,
    LoginRefusedError,
    StateMismatchError,
    StorageError,
    TransportError,
)
from streameval.serve import words
from streameval.serve.vitals import Commits, Vitals
from streameval.transport.checkpoint import Checkpoints
from streameval.transport.commit import Committed, Committer, Start
from streameval.transport.core import Core
from streameval.transport.opening import open_transport, output_topics
from streameval.transport.protocol import Outbox, Record, Transport

__all__ = ["Daemon"]

LOOK = 5.0
"""Seconds between two looks for new partitions."""
HEED = 0.25
"""Share of ``idle_after`` between two looks for silent partitions."""
WAIT = 0.1
"""Seconds that an idle loop waits for events at a time."""
RETRY = 1.0
"""Seconds before a commit that failed is tried again."""
LAST_TRIES = 3
"""How often a commit that failed is tried again once the daemon has been asked to stop."""

log = structlog.get_logger("streameval.daemon")


class Daemon:
    """One worker.

    Args:
        config: What to read, evaluate and publish.
        transport: Where from and to; by default the one that the configuration names.
        progress: Called now and then from the loop.
        on_records: Called with the records that a commit has made visible.
        on_vitals: Called about once a second, from the loop, with how it stands.
        shard: (k, n): take the models that are shard k's of n; the others are left to n - 1 further workers.

    Raises:
        ConfigValueError: There is no such shard, or no model is its.
    """

    def __init__(
        self,
        config: Config,
        *,
        transport: Transport | None = None,
        progress: OnProgress | None = None,
        on_records: Callable[[list[Record]], None] | None = None,
        on_vitals: Callable[[Vitals], None] | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.shard = Shard(*shard)
        ids, self.id_key = config.ids.read()
        self.config = self.shard.part(with_reports(config).model_copy(update={"ids": ids}))
        self.elsewhere = self.shard.elsewhere(config)
        self.health = Health()
        self._transport = transport
        self.progress = progress
        self.on_records = on_records
        self.on_vitals = on_vitals
        self.stopping = False
        self._open: Transport | None = None

    def stop(self) -> None:
        """Ask the loop to commit and end. Safe from a signal handler and from other threads."""
        self.stopping = True
        if self._open is not None:
            self._open.wake()

    def run(self, *, until_end: bool = False, fresh: bool = False) -> Summary:
        """Work until stopped, or until the logs as they are now are read.

        Raises:
            StreamevalError: What cannot be gone on with; nothing is lost, the message says what to do.
        """
        transport = self._open = self._transport or open_transport(self.config)
        try:
            checkpoints = Checkpoints(self.config.state, self.config.worker)
            try:
                return _Run(self, transport, checkpoints, until_end=until_end, fresh=fresh).run()
            finally:
                checkpoints.close()
        finally:
            if self._transport is None:
                transport.close()
            self._open = None


class _Run:
    """One run of a daemon, from its start to its end."""

    def __init__(
        self, daemon: Daemon, transport: Transport, checkpoints: Checkpoints, *, until_end: bool, fresh: bool
    ) -> None:
        self.daemon = daemon
        self.config = daemon.config
        self.health = daemon.health
        self.transport = transport
        self.until_end = until_end
        self.fresh = fresh
        self.committer = Committer(
            transport, checkpoints, self.config.worker, output_topics(self.config), shards=daemon.shard.count
        )
        self.tally = Tally(self.config.topics.rejected)
        self.known: set[str] = set()
        self.outbox = Outbox()
        self.marks: dict[tuple[str, str], Record] = {}
        self.read_to: dict[Key, int] = {}
        self.active: dict[Key, float] = {}
        self.began = self.looked = self.heeded = self.committed = self.cored = time.monotonic()
        self.total: int | None = None
        self.paused = self.ahead = False
        self.stalled: set[str] = set()
        self.leaving: dict[str, int] = {}
        self.astray: set[Key] = set()
        self.stalls = Stalls(self.config.serve.stalled_after / 1000, LOOK)
        self.positions: dict[Key, int] = {}
        self.behind: dict[Key, int] = {}
        self.ends: dict[Key, int] = {}
        self.commits = Commits()

    # -- start ---------------------------------------------------------------------------------------------------------

    def _engine(self, lineage: str = "1") -> Engine:
        daemon = self.daemon
        return Engine(self.config, lineage, daemon.shard, daemon.elsewhere, daemon.id_key)

    def run(self) -> Summary:
        topics = [*self.config.topics.predictions, *self.config.topics.outcomes]
        self.health.doing = "finding the last commit"
        start = self._start(topics)
        if start is None:
            log.info("stopped", commits=0, records=0)
            return self.tally.summary(self._engine(), time.monotonic() - self.began, stopped=True)
        for message in start.messages:
            log.warning("state_damaged", message=message)
        self.engine = self._engine(start.lineage)
        self.health.doing = "restoring the state"
        marks = self.transport.clock_marks()
        if not self._restore(start, marks):
            log.info("stopped", commits=0, records=0)
            return self.tally.summary(self.engine, time.monotonic() - self.began, stopped=True)
        wall = None if self.until_end else _epoch_ms
        self.reading = Reading(self.transport, self.engine, marks, self.config.worker, start.lineage, wall)
        self._assign(start)
        self.observer = Observer(self.engine, self.reading, self.tally, self.health, self.commits)
        log.info(
            "started",
            worker=self.config.worker,
            mode=start.mode,
            commit=start.n,
            partitions=len(self.engine.clocks.partitions),
            waiting=self.engine.waiting,
        )
        self.health.doing = "reading"
        self._loop()
        self.health.doing = "stopping"
        self._commit(last=True)
        self._look_at_itself(time.monotonic())
        stopped = self.daemon.stopping
        summary = self.tally.summary(self.engine, time.monotonic() - self.began, stopped=stopped)
        published = sum(summary.records.values())
        log.info("stopped" if stopped else "end_of_logs", commits=summary.commits, records=published)
        return summary

    def _start(self, topics: list[str]) -> Start | None:
        """Find out from where to go on, waiting for a cluster that is away; None where it was asked to stop."""
        chosen = self.config.transport
        gives_up = time.monotonic() + (chosen.patience / 1000 if isinstance(chosen, Kafka) else 0.0)
        while True:
            try:
                return self.committer.start(topics, fresh=self.fresh)
            except LoginRefusedError:
                raise
            except (ConnectionFailedError, CommitError) as error:
                left = gives_up - time.monotonic()
                if left <= 0:
                    raise
                away = isinstance(error, ConnectionFailedError)
                self.health.doing = "waiting for the cluster" if away else "trying to start again"
                say = "cluster_away" if away else "start_failed"
                log.warning(say, error=str(error), gives_up_in_seconds=round(left))
            for _ in range(round(RETRY / WAIT)):
                time.sleep(WAIT)
                if not self._goes_on():
                    return None

    def _restore(self, start: Start, marks: list[bytes]) -> bool:
        """Bring the engine where it goes on; False where it was asked to stop meanwhile."""
        if start.checkpoint is not None:
            blobs = start.checkpoint.blobs
            self._collect(self.engine.restore(start.checkpoint.state, lambda name: blobs[name]))
            self.known, self.positions = set(blobs), start.checkpoint.positions
        elif start.core is not None:
            return self._rebuild(start.core, marks)
        elif start.mode == "fresh":
            self.engine.publisher.sequences = {key: last + 1 for key, last in start.sequences.items()}
            topics = [self.config.topics.thresholds, self.config.topics.calibration]
            latest = {(r.topic, r.key): r.value for r in self.transport.published(topics)}
            self.engine.take_up(value for value in latest.values() if value is not None)
        self._tell_changes()
        return True

    def _tell_changes(self) -> None:
        for change in self.engine.changed:
            log.info("configuration_changed", change=change)

    def _rebuild(self, core: Core, marks: list[bytes]) -> bool:
        began = time.monotonic()
        self.health.doing = "rebuilding the state"
        log.warning("state_lost", state=str(self.config.state), core=core.n, cure="none needed: it is made anew")
        state = core.plain()
        self._collect(self.engine.restore(state, _no_blob))
        self._tell_changes()
        if not regrow(self.engine, core, state, self.transport, marks, self._regrows):
            return False
        log.info("state_rebuilt", waiting=self.engine.waiting, seconds=round(time.monotonic() - began, 3))
        return True

    def _regrows(self, reading: Reading) -> bool:
        now = time.monotonic()
        if now - self.looked >= LOOK:
            self.looked = now
            self._stall(reading, now)
        return self._goes_on()

    def _goes_on(self) -> bool:
        self.health.turned = time.monotonic()
        return not self.daemon.stopping

    def _assign(self, start: Start) -> None:
        at = {} if start.core is None else start.core.places()
        if start.checkpoint is not None:
            at = start.checkpoint.positions
        if start.mode == "fresh" and start.record is not None:
            # What the earlier lineage has read is not counted again.
            read = start.record.positions
            at = {(topic, partition): offset for topic, inner in read.items() for partition, offset in inner.items()}
        hints = None if start.checkpoint is None else start.checkpoint.manifest.hints
        positions: dict[Key, int] = {}
        ends: dict[Key, int] = {}
        for place in sorted({*self._found(), *(place for place in at if place in self.engine.clocks.partitions)}):
            begin, end = self.transport.bounds(*place)
            if place not in at and start.mode == "rebuild" and start.core is None and begin > 0:
                raise StateMismatchError(
                    f"the state is lost before a core of it was published, and {place[0]}/{place[1]} no longer begins "
                    f"at its beginning but at {begin}",
                    where=str(self.config.state),
                    cure="restore a copy of the state directory, or start with --fresh",
                )
            positions[place] = at.get(place, begin)
            if start.mode == "fresh":
                positions[place] = min(max(positions[place], begin), end)
            ends[place] = end
            # A partition that appeared after T began to move enters at T, as one that is empty now will.
            self.engine.clocks.add(*place, empty=begin == end or (place not in at and self.engine.now > BEGINNING))
        self.transport.assign(positions, hints)
        now = time.monotonic()
        self.active = dict.fromkeys(positions, now)
        for place in positions:
            self.reading.set_floors(place)
        self.read_to = dict(positions)
        self.behind = ends
        self.ends = dict(ends)
        self.health.lag = {f"{topic}/{p}": end - positions[topic, p] for (topic, p), end in ends.items()}
        if self.until_end:
            self.reading.ends = ends
            self.total = sum(ends[place] - positions[place] for place in positions)

    def _found(self) -> list[Key]:
        topics = [*self.config.topics.predictions, *self.config.topics.outcomes]
        return [(topic, p) for topic, parts in self.transport.partitions(topics).items() for p in parts]

    # -- the loop ------------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self.daemon.stopping:
            progressed = self._turn()
            now = time.monotonic()
            self.health.turned = now
            if self._due(now):
                self._commit()
            if now >= self.observer.due:
                self._look_at_itself(now)
            if self.until_end:
                ended = not progressed and not self.reading.places()
                if ended or now - self.looked >= LOOK:
                    self.looked = now
                    self._stall(self.reading, now)
                if ended:
                    return
                if not progressed:
                    self._starved()
                    time.sleep(0.002)
                continue
            # Also while events flow: a busy partition must not hide a silent one, nor a new one.
            self._watch(now)
            if not progressed:
                self._idle()

    def _turn(self) -> bool:
        """Read one batch and act on it; False where there was nothing to read."""
        full = self.engine.waiting >= self.config.max_rows
        # Only where predictions lag behind: with both held back T would never move again. Finished logs have an end.
        ahead = not full and not self.until_end and self.engine.ahead >= self.config.max_rows
        if (full, ahead) != (self.paused, self.ahead):
            self.paused, self.ahead, self.health.paused = full, ahead, full
            say = log.warning if full or ahead else log.info
            say(
                "reading_paused" if full or ahead else "reading_resumed",
                of="predictions" if full else "outcomes" if ahead else None,
                waiting=self.engine.waiting,
                ahead=self.engine.ahead,
                max_rows=self.config.max_rows,
            )
            self._hold_back()
        published = self.reading.next(predictions=not full, outcomes=not ahead)
        if published is None:
            return False
        self._collect(published)
        self._advance()
        self._tell()
        return True

    def _hold_back(self) -> None:
        """Let what waits for events pass over those for which there is no room."""
        clocks = self.engine.clocks
        for outcomes, held in ((False, self.paused), (True, self.ahead)):
            places = [place for place in clocks.partitions if (place[0] in clocks.outcomes) == outcomes]
            (self.transport.pause if held else self.transport.resume)(places)

    def _advance(self) -> None:
        self._collect(self.engine.advance())
        self.health.time = stream_time(self.engine)
        for name, fold in self.engine.models.items():
            self._tell_left(name, fold)
            stalled = fold.join.stalled_since
            if (stalled is not None) != (name in self.stalled):
                self.stalled ^= {name}
                if stalled is not None:
                    log.warning("labels_stalled", model=name, since=records.rfc3339(stalled))
                else:
                    log.info("labels_flow", model=name)

    def _tell_left(self, name: str, fold: ModelFold) -> None:
        """Say that predictions leave without labels: when it begins, and when it is over, of how many."""
        unproven = fold.join.unproven
        if fold.left is not None and name not in self.leaving:
            self.leaving[name] = unproven
            log.warning(
                "left_unlabelled",
                model=name,
                since=records.rfc3339(fold.left[0]),
                reason="labels were silent: nothing proves that those of these predictions could have come",
                cure="repair the feed of outcomes; where it is rare by nature, let it send heartbeats",
            )
        elif name in self.leaving and unproven == self.leaving[name] and fold.left is not None:
            first, last = fold.left
            fold.left = None
            self.leaving.pop(name)
            log.info("left_unlabelled_ended", model=name, since=records.rfc3339(first), until=records.rfc3339(last))
        if name in self.leaving:
            self.leaving[name] = unproven

    def _collect(self, published: list[Published]) -> None:
        for topic, key, value, sequence in published:
            if sequence is None and value is not None:
                # Only the last mark of a place counts in a checkpoint.
                self.marks[topic, key] = Record(topic, key, value, None)
            else:
                self.outbox.add(topic, key, value, sequence)

    def _tell(self) -> None:
        if self.daemon.progress is not None:
            counts = self.engine.counts
            events = counts.predictions + counts.outcomes
            if self.total is not None:
                events = sum(self.transport.position(place) - at for place, at in self.read_to.items())
            self.daemon.progress(Progress(events, self.total, stream_time(self.engine)))

    def _starved(self) -> None:
        if self.paused:
            raise StorageError(
                f"{self.engine.waiting} predictions wait for outcomes, which is all that max_rows allows, and no more "
                "outcomes are there",
                where="max_rows",
                cure="raise max_rows (40 bytes a row), or shorten labels.wait",
            )

    def _idle(self) -> None:
        """Wait a moment for events."""
        batches = self.transport.poll(BATCH, WAIT)
        for batch in batches:
            self._collect(self.reading.take(batch))
        if batches:
            self._advance()

    def _watch(self, now: float) -> None:
        """What the wall clock is asked for: new partitions and silent ones."""
        try:
            if now - self.looked >= LOOK:
                self.looked = now
                self._look()
                self._measure()
                self._stall(self.reading, now)
                self.health.heard = time.monotonic()
            if now - self.heeded >= min(WAIT, HEED * self.config.idle_after / 1000):
                self.heeded = now
                self._silence(now)
        except ConnectionFailedError as error:
            # Reading goes on by itself when the cluster is back; until then nothing is decided.
            log.warning("cluster_away", error=str(error))

    def _measure(self) -> None:
        """How far behind the logs' ends the reading is, for probes."""
        clocks = self.engine.clocks.partitions
        for topic, partition in clocks:
            end = self.transport.bounds(topic, partition).end
            self.ends[topic, partition] = end
            self.health.lag[f"{topic}/{partition}"] = end - self.transport.position((topic, partition))
        newest = max((clock.max_ts for clock in clocks.values()), default=BEGINNING)
        self.health.newest = newest if newest > BEGINNING else None
        self._compare_with_the_wall()

    def _compare_with_the_wall(self) -> None:
        """Say where a partition's clock is ahead of ours: it cannot be turned back, and what follows will be late."""
        wall = _epoch_ms()
        astray = set()
        for place, clock in self.engine.clocks.partitions.items():
            if clock.max_ts <= wall + self.config.max_ahead and not clock.held:
                continue
            astray.add(place)
            if place not in self.astray:
                newest = max([clock.max_ts, *(int(event.ts[0]) for event in clock.held)])
                log.warning(
                    "clock_ahead" if clock.max_ts > wall + self.config.max_ahead else "event_ahead",
                    topic=place[0],
                    partition=place[1],
                    newest=records.rfc3339(newest),
                    ahead_seconds=round((newest - wall) / 1000),
                    cure="check the producer's clock; see StreamevalClockAhead in the runbook",
                )
        self.astray = astray

    def _stall(self, reading: Reading, now: float) -> None:
        """Say once of each partition that it does not move though events are there, and once that it moves again."""
        ends = reading.ends or self.ends
        seen = {place: Place(self.transport.position(place), end, reading.dry[place]) for place, end in ends.items()}
        try:
            changes = self.stalls.look(now, seen, self.transport.hidden)
            for (topic, partition), stalled, events, seconds, why in changes:
                facts = {"topic": topic, "partition": partition, "seconds": round(seconds)}
                if stalled:
                    position = seen[topic, partition].position
                    log.warning("reading_stalled", **facts, position=position, events=events, why=why)
                else:
                    log.info("reading_flows", **facts)
            self.health.stalled = {f"{t}/{p}": _stands(change) for (t, p), change in self.stalls.now.items()}
            if any(change.stalled and change.why is None for change in changes):
                # Nothing that we know of: perhaps what reads for us has lost its way.
                self.transport.reopen()
        except ConnectionFailedError as error:
            log.warning("cluster_away", error=str(error))

    def _look_at_itself(self, now: float) -> None:
        """Say how the run stands, to whoever serves that."""
        if self.daemon.on_vitals is None:
            return
        # Much is read between two questions for the logs' ends; a run that stops at their present ends asks for none.
        for (topic, partition), end in (self.reading.ends or self.ends).items():
            left = end - self.transport.position((topic, partition))
            self.health.lag[f"{topic}/{partition}"] = max(left, 0)
        self.daemon.on_vitals(self.observer.look(now))

    def _look(self) -> None:
        """New partitions enter at T."""
        new = [place for place in self._found() if place not in self.engine.clocks.partitions]
        if not new:
            return
        positions = {place: self.transport.position(place) for place in self.engine.clocks.partitions}
        for place in new:
            positions[place] = self.transport.bounds(*place).begin
            self.engine.clocks.add(*place, empty=True)
            self.active[place] = time.monotonic()
            self.read_to[place] = positions[place]
            log.info("partition_found", topic=place[0], partition=place[1])
        self.transport.assign(positions)
        if self.paused or self.ahead:
            self._hold_back()

    def _silence(self, now: float) -> None:
        """Partitions that are caught up and silent no longer hold T back."""
        idle = set()
        clocks = self.engine.clocks
        for place in clocks.partitions:
            position = self.transport.position(place)
            if position != self.read_to[place]:
                self.read_to[place] = position
                self.active[place] = now
            at_end = self.transport.caught_up(place)
            if not at_end:
                self.active[place] = now
            elif now - self.active[place] >= self.config.idle_after / 1000 and clocks.partitions[place].entered:
                idle.add(place)
        # Not "at the ends as they are now": a busy stream might never be.
        if not self.health.ready and all(self.transport.position(place) >= end for place, end in self.behind.items()):
            self.health.ready = True
            log.info("caught_up")
        if not idle:
            return
        others = clocks.time(without=frozenset(idle))
        if len(idle) == sum(clock.entered for clock in clocks.partitions.values()) or others == BEGINNING:
            return
        for place in sorted(idle):
            mark = clocks.raise_floor(*place, self.transport.position(place), others, "idle")
            if mark is not None:
                self._collect([self.engine.mark(mark)])
        self._advance()

    # -- commit --------------------------------------------------------------------------------------------------------

    def _due(self, now: float) -> bool:
        bounds = self.config.commit
        if len(self.outbox) >= bounds.outputs or self.outbox.size >= bounds.bytes:
            return True
        return now - self.committed >= bounds.every / 1000

    def _commit(self, *, last: bool = False) -> None:
        positions = {place: self.transport.position(place) for place in self.engine.clocks.partitions}
        began = self.committed = time.monotonic()
        if not self.outbox and not self.marks and positions == self.positions:
            return
        self.outbox.extend(self.marks.values())
        state, blobs = self.engine.export(self.known)
        outbox, self.outbox, self.marks = self.outbox, Outbox(), {}
        T = stream_time(self.engine)
        commit = partial(self.committer.commit, state=state, blobs=blobs, outbox=outbox, T=T, positions=positions)
        if self._core_is_due(began, last=last):
            self.cored = began
            commit = partial(commit, core=self.engine.core(positions))
        doing, self.health.doing = self.health.doing, "committing"
        done = self._persistently(commit)
        self.health.doing = doing
        self.known = set(blobs)
        self.positions = positions
        self.tally.commits += 1
        self.tally.add(done.outbox.records)
        self.health.committed = self.committed = time.monotonic()
        self.commits.took(self.committed - began)
        if done.core is not None:
            log.info("core_published", commit=done.record.n, bytes=done.core)
        if self.daemon.on_records is not None and done.outbox:
            self.daemon.on_records(done.outbox.records)

    def _core_is_due(self, now: float, *, last: bool) -> bool:
        """Whether this commit also publishes the state without its rows; the last one does, who knows what is next."""
        return not self.committer.catches_up and (last or now - self.cored >= self.config.commit.state_every / 1000)

    def _persistently(self, commit: Callable[[], Committed]) -> Committed:
        """A commit that is not visible is tried again for as long as it takes; the outputs wait."""
        attempt = commit
        last_tries = LAST_TRIES
        while True:
            try:
                return attempt()
            except CommitError as error:
                # Sealed: from now on these bytes are delivered, by this process or by the next.
                failed: TransportError = error
                attempt = self.committer.settle
            except ConnectionFailedError as error:
                failed = error
            self.commits.failures += 1
            log.warning("commit_failed", error=str(failed))
            self._look_at_itself(time.monotonic())
            last_tries -= self.daemon.stopping
            if last_tries < 0:
                raise failed
            time.sleep(RETRY)
            self.health.turned = time.monotonic()


def _epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def _stands(change: Change) -> str:
    why = f"; {change.why}" if change.why else ""
    return f"{words.count(change.events, 'event')} to read, none came for {words.seconds(change.seconds)}{why}"


def _no_blob(name: str) -> bytes:
    raise InvariantError("a core has no blobs", where=f"blob {name}", cure="report it")
