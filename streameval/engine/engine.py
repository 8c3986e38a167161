"""The whole pure part of a worker: batches of messages in, records out.

Decodes, gives every event its logical time, routes it to the models' joins, moves T, and turns the models' outputs into
records with sequence numbers and ids.

Invariant: what comes out is a function of the logs, the marks and the configuration. Acts of all models are taken in
order of logical time; rejections of a partition come in its own log order under a key of their own.

Source: DESIGN "The way of an event".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import xxhash

from streameval import records
from streameval.config import Config, Model
from streameval.config.change import Change, changes, digest, facts
from streameval.config.ids import fingerprint
from streameval.engine.anchors import Anchors
from streameval.engine.clock import AHEAD, BEGINNING, Admitted, Clocks, Key, Mark
from streameval.engine.model import ModelFold
from streameval.engine.publisher import Published, Publisher
from streameval.engine.rows import PARTITIONS, Output, TooLate
from streameval.engine.shard import Shard
from streameval.errors import ConfigChangeError, InvariantError, StateVersionError
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.events.columns import ANY_MODEL, OTHER_MODEL, Batch, Outcomes, Predictions
from streameval.events.contract import ModelSpec
from streameval.events.decode import Decoder
from streameval.events.mapping import TopicMapping
from streameval.events.rejected import RejectedData, Rejection, RejectionLedger
from streameval.join import NEVER, Join
from streameval.order import distinct

SCHEMA = 1
"""Version of the engine's state."""


@dataclass(slots=True)
class Counts:
    """What the engine has read."""

    predictions: int = 0
    outcomes: int = 0


class Engine:
    """The fold of all models of one worker.

    Args:
        config: The worker's configuration.
        lineage: The line of state that the records' ids belong to.
        shard: Which of several workers on the same topics this is.
        elsewhere: What `Shard.elsewhere` says of the whole configuration.
        id_key: What `Ids.read` gave with the configuration's fingerprint.
    """

    def __init__(
        self,
        config: Config,
        lineage: str = "1",
        shard: Shard = Shard(),  # noqa: B008 - frozen
        elsewhere: frozenset[str] = frozenset(),
        id_key: bytes = b"",
    ) -> None:
        if fingerprint(id_key) != config.ids.fingerprint or bool(id_key) != (config.ids.key is not None):
            raise InvariantError("the key of ids is not the configuration's", where="ids.key", cure="report it")
        self.config = config
        self.shard = shard
        self.elsewhere = elsewhere
        topics = config.topics
        self.prediction_topics = tuple(sorted(topics.predictions))
        self.outcome_topics = tuple(sorted(topics.outcomes))
        lateness = dict.fromkeys(self.prediction_topics, config.lateness.predictions)
        lateness |= dict.fromkeys(self.outcome_topics, config.lateness.outcomes)
        self.clocks = Clocks(lateness, set(self.outcome_topics), config.max_ahead)
        self.models = {model.name: ModelFold(model, config.interval) for model in config.models}
        self.specs = [
            ModelSpec(
                model.name,
                model.task,
                tuple(model.segments),
                {name: kpi.scale for name, kpi in model.kpis.items()},
                model.labels.selective == "propensity",
            )
            for model in config.models
        ]
        mappings = [TopicMapping(m.topic, m.event, m.model, m.fields, m.constants) for m in config.mappings]
        self.decoder = Decoder(self.specs, mappings, id_key=id_key)
        self.ledger = self._ledger()
        self.late = self._ledger()
        self.publisher = Publisher(config, lineage)
        self.counts = Counts()
        self.anchors = Anchors()
        self.reading = _reading(config)
        self.changed: list[str] = []
        self._begun: dict[str, int] = {}

    def _ledger(self) -> RejectionLedger:
        rejected = self.config.rejected
        interval, unknown = self.config.interval, self.config.unknown_models
        return RejectionLedger(rejected.payload, rejected.per_interval, interval, unknown)

    @property
    def now(self) -> int:
        """T (ms); ``BEGINNING`` before the first event of the slowest partition."""
        return self.clocks.now

    @property
    def waiting(self) -> int:
        """Rows that are retained, over all models."""
        return sum(fold.join.waiting for fold in self.models.values())

    @property
    def ahead(self) -> int:
        """Outcomes that T has not reached, over all models."""
        return sum(fold.join.ahead for fold in self.models.values())

    # -- events in -----------------------------------------------------------------------------------------------------

    def receive(self, batch: Batch, wall: int | None = None) -> list[Published]:
        """Take a batch of one partition in: rejections are published at once, all else waits for T.

        ``wall`` is what the clock on the wall says (ms), where it is asked: what is ahead of it is held, with a mark.
        """
        limit = NEVER if wall is None else wall + self.config.max_ahead
        clock = self.clocks.add(batch.topic, batch.partition, empty=False)
        before = clock.now
        if len(batch.offsets):
            self.anchors.note((batch.topic, batch.partition), int(batch.offsets[0]), clock)
        admitted: Admitted[Any]
        if batch.topic in self.outcome_topics:
            outcomes, rejections = self.decoder.outcomes(batch)
            self.counts.outcomes += len(outcomes)
            admitted = clock.admit(outcomes, limit)
        else:
            predictions, rejections = self.decoder.predictions(batch)
            self.counts.predictions += len(predictions)
            admitted = clock.admit(predictions, limit)
        marks = [self.mark(Mark(batch.topic, batch.partition, offset, limit, AHEAD)) for offset in admitted.ahead]
        return marks + self._taken(batch.topic, batch.partition, admitted, rejections, before)

    def _taken(
        self, topic: str, partition: int, admitted: Admitted[Any], rejections: list[Rejection], before: int
    ) -> list[Published]:
        for columns, logical in admitted.runs:
            self.route(columns, logical)
        rejections = rejections + [
            Rejection(topic, partition, offset, "future", detail, None, ts) for offset, ts, detail in admitted.future
        ]
        rejections = [rejection for rejection in rejections if self.shard.tells(rejection, self.elsewhere)]
        clock = self.clocks.partitions[topic, partition]
        if not rejections:
            return self._rejected(self.ledger.flush(topic, partition, clock.now))
        rejections.sort(key=lambda rejection: rejection.offset)
        offsets = np.concatenate(admitted.moved) if admitted.runs else np.empty(0, np.int64)
        peaks = np.concatenate([c.ts for c, _ in admitted.runs]) if admitted.runs else np.empty(0, np.int64)
        peaks = np.maximum.accumulate(np.concatenate(([BEGINNING], peaks - clock.lateness)))
        at = peaks[np.searchsorted(offsets, [rejection.offset for rejection in rejections])]
        times = np.maximum(at, before).tolist()
        records = self.ledger.add(rejections, times)
        records += self.ledger.flush(topic, partition, clock.now)
        return self._rejected(records)

    def route(self, columns: Predictions | Outcomes, logical: np.ndarray) -> None:
        """Give events with their logical times, i64[n], to the models that they are for."""
        if isinstance(columns, Predictions):
            self._put(columns, logical)
        else:
            self._match(columns, logical)

    def _put(self, columns: Predictions, logical: np.ndarray) -> None:
        part = self._part(self.prediction_topics, columns)
        present = distinct(columns.model).tolist()
        for code in present:
            if code != OTHER_MODEL:
                mine = columns.model == code
                own = columns if len(present) == 1 else columns.take(mine)
                self.models[self.specs[code].name].put(part, own, logical[mine])

    def _match(self, columns: Outcomes, logical: np.ndarray) -> None:
        part = self._part(self.outcome_topics, columns)
        anyone = bool((columns.model == ANY_MODEL).all())
        for code, spec in enumerate(self.specs):
            if anyone:
                self.models[spec.name].match(part, columns, logical)
                continue
            rows = np.flatnonzero((columns.model == ANY_MODEL) | (columns.model == code))
            if len(rows):
                self.models[spec.name].match(part, columns.take(rows), logical[rows])

    @staticmethod
    def _part(topics: tuple[str, ...], columns: Predictions | Outcomes) -> int:
        return topics.index(columns.topic) * PARTITIONS + columns.partition

    # -- acts ----------------------------------------------------------------------------------------------------------

    def advance(self) -> list[Published]:
        """Move T to the smallest clock and take every act before it."""
        before = self.clocks.now
        if self.clocks.advance() == before:
            return []
        return self._act(self.clocks.now)

    def complete(self) -> list[Published]:
        """No more events will come: every clock goes to infinity and all that waits matures."""
        published: list[Published] = []
        for (topic, partition), clock in sorted(self.clocks.partitions.items()):
            published += self._taken(topic, partition, clock.release(), [], clock.now)
        self.clocks.end()
        published += self._act(self.clocks.now)
        return published + self._rejected(self.ledger.flush_all()) + self._rejected(self.late.flush_all())

    def _act(self, now: int) -> list[Published]:
        outputs: list[tuple[int, int, str, Output | TooLate]] = []
        leaps = self.clocks.leaps()
        for order, (name, fold) in enumerate(self.models.items()):
            outputs += [(output.at, order, name, output) for output in fold.advance(now, leaps)]
        if len(self.models) > 1:
            outputs.sort(key=lambda item: item[:2])
        published: list[Published] = []
        for at, _, name, output in outputs:
            if isinstance(output, TooLate):
                published += self._rejected(self.late.add([self._too_late(name, output)], [at]))
            else:
                published.append(self.publisher.publish(name, output))
        oldest = min((fold.join.reaches_back[0] for fold in self.models.values()), default=now)
        self.clocks.forget(min(oldest, now))
        return published + self._rejected(self.late.flush_all(now))

    def _too_late(self, model: str, late: TooLate) -> Rejection:
        topic, partition = self.prediction_topics[late.part // PARTITIONS], late.part % PARTITIONS
        detail = (
            f"ts lies {(late.at - late.ts) / 1000:.0f} s behind its partition's clock and the interval had matured; "
            f"raise lateness.predictions if such delays are normal (model {model})"
        )
        return Rejection(topic, partition, late.offset, "late", detail, None, late.ts)

    def _rejected(self, records: list[RejectedData]) -> list[Published]:
        return [self.publisher.rejected(record) for record in records]

    def mark(self, mark: Mark) -> Published:
        """The record of an act of the wall clock, for the topic ``clock``."""
        return self.publisher.mark(mark)

    # -- state ---------------------------------------------------------------------------------------------------------

    def export(self, known: set[str]) -> tuple[dict[str, Any], dict[str, np.ndarray | None]]:
        """State, and all blobs of retained rows that it needs: None for those in ``known``, which are stored."""
        blobs: dict[str, np.ndarray | None] = {}
        models: dict[str, Any] = {}
        for name, fold in self.models.items():
            # A join that began anew counts its blobs anew, and a name must never stand for another content.
            begun = self._begun.get(name, 0)
            prefix = f"{xxhash.xxh3_64_hexdigest(name.encode())}.{begun}-"
            own = {blob.removeprefix(prefix) for blob in known if blob.startswith(prefix)}
            join, new = fold.join.export(own)
            blobs |= {prefix + blob: new.get(blob) for blob in Join.blobs_of(join)}
            models[name] = {
                "config": facts(fold.config),
                "fold": fold.state(),
                "join": join,
                "prefix": prefix,
                "begun": begun,
            }
        for place in self.clocks.partitions:
            self.anchors.forget(place, self._reaches_back(place))
        return {**self._facts(models), "anchors": self.anchors.state()}, blobs

    def _facts(self, models: dict[str, Any]) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "config": facts(self.config),
            "reading": self.reading,
            "clocks": self.clocks.state(),
            "models": models,
            "ledger": self.ledger.state(),
            "late": self.late.state(),
            "publisher": self.publisher.state(),
            "counts": [self.counts.predictions, self.counts.outcomes],
        }

    def _reaches_back(self, place: Key) -> int:
        """The earliest logical time of an event of this partition that is held still (ms)."""
        late = int(place[0] in self.clocks.outcomes)
        return min(fold.join.reaches_back[late] for fold in self.models.values())

    def core(self, positions: Mapping[Key, int]) -> dict[str, Any] | None:
        """State without the rows that wait: `Regrowth` reads these again from the logs.

        Args:
            positions: next offset to read of every partition.

        Returns:
            What `restore` and then `Regrowth` take; ``again`` are the places from which they will read. None while rows
            wait that were read before anchors were kept, under another configuration of what is read.
        """
        again: list[list[Any]] = []
        for place, clock in sorted(self.clocks.partitions.items()):
            anchor = self.anchors.reaching(place, self._reaches_back(place), positions[place], clock)
            if anchor is None:
                return None
            if anchor.offset < positions[place]:
                again.append([*place, anchor.state()])
        models = {
            name: {
                "config": facts(fold.config),
                "fold": fold.state(),
                "join": fold.join.core(),
                "prefix": "",
                "begun": self._begun.get(name, 0),
            }
            for name, fold in self.models.items()
        }
        return {**self._facts(models), "again": again}

    def restore(self, state: dict[str, Any], load: Callable[[str], Any]) -> list[Published]:
        """Continue from an exported state under the present configuration; ``load`` reads a blob by its name.

        What changed in the configuration takes effect here, at T; the records that say so are returned.

        Raises:
            StateVersionError: The state was written by another release.
            ConfigChangeError: A change is refused.
        """
        if state["schema"] != SCHEMA:
            raise StateVersionError(
                f"the state has schema {state['schema']}, this release reads {SCHEMA}",
                where="engine",
                cure="run the release that wrote it, or start with --fresh",
            )
        changed = changes(state["config"], self.config)
        _refuse(changed, "the configuration")
        self.clocks.restore(state["clocks"])
        self.ledger.restore(state["ledger"])
        self.late.restore(state["late"])
        self.publisher.restore(state["publisher"])
        self.counts = Counts(*state["counts"])
        if state.get("reading") == self.reading and "anchors" in state:
            self.anchors.restore(state["anchors"], set(self.outcome_topics))
        published: list[Published] = []
        for name, saved in state["models"].items():
            fold = self.models.get(name)
            if fold is None:
                published += self._removed(name, saved, load)
                changed.append(Change(f"models.{name}", "configured", None, "live"))
                continue
            own = changes(saved["config"], fold.config)
            _refuse(own, f"model {name}")
            changed += own
            self._begun[name] = saved["begun"]
            if any(change.path.split(".")[0] in ("segments", "kpis") for change in own):
                self._begun[name] += 1
                published += self._begin_anew(name, saved, load)
                continue
            self._resume(fold, saved, load)
            if any(change.effect == "restarts" for change in own):
                fold.relearn()
        changed += [
            Change(f"models.{name}", None, "configured", "live") for name in self.models if name not in state["models"]
        ]
        if changed:
            self.changed = [str(change) for change in changed]
            published.append(self.publisher.configuration(self.now, digest(self.config), self.changed))
        return published

    def take_up(self, published: Iterable[bytes]) -> None:
        """Begin a new lineage with what an earlier one left in force.

        Args:
            published: Records of thresholds and calibration maps, in the order in which they were published.
        """
        for value in published:
            data = records.read(value).data
            fold = self.models.get(data.model)
            if fold is None:
                continue
            cell = (data.version, data.segment)
            threshold, known = fold.earlier.get(cell, (None, None))
            if isinstance(data, records.Threshold):
                threshold = data.threshold
            elif isinstance(data, records.Calibration):
                known = CalibrationMap(data.method, np.array(data.knots.x), np.array(data.knots.y))
            fold.earlier[cell] = (threshold, known)

    def _resume(self, fold: ModelFold, saved: dict[str, Any], load: Callable[[str], Any]) -> None:
        prefix = saved["prefix"]
        fold.restore(saved["fold"], saved["join"], lambda blob: load(prefix + blob))

    def _saved(self, saved: dict[str, Any], load: Callable[[str], Any]) -> ModelFold:
        fold = ModelFold(Model.model_validate(saved["config"]), self.config.interval)
        self._resume(fold, saved, load)
        return fold

    def _removed(self, name: str, saved: dict[str, Any], load: Callable[[str], Any]) -> list[Published]:
        return [self.publisher.publish(name, output) for output in self._saved(saved, load).end(self.now)]

    def _begin_anew(self, name: str, saved: dict[str, Any], load: Callable[[str], Any]) -> list[Published]:
        """Leave rows and evidence of other segments or KPIs behind; what is in force stays so, or gets tombstones."""
        old, fold = self._saved(saved, load), self.models[name]
        published: list[Published] = []
        for cell in old.cells.values():
            if cell.segment == "*" or cell.segment.partition("=")[0] in fold.names:
                fold.earlier[cell.version, cell.segment] = (cell.own_threshold, cell.published_map)
            else:
                published += [self.publisher.publish(name, output) for output in cell.end(self.now)]
        return published


def _reading(config: Config) -> str:
    """A digest of all that decides which events become rows, and with what logical time."""
    whole = facts(config)
    models = [
        [
            *(model.name, model.task, list(model.segments), model.labels.early),
            {name: kpi.scale for name, kpi in model.kpis.items()},
        ]
        for model in config.models
    ]
    topics = [sorted(config.topics.predictions), sorted(config.topics.outcomes)]
    decides = [topics, models, *(whole[name] for name in ("lateness", "max_ahead", "interval", "mappings"))]
    return xxhash.xxh3_64_hexdigest(msgspec.json.encode(decides, order="sorted"))


def _refuse(changed: list[Change], where: str) -> None:
    refused = [change for change in changed if change.effect == "refused"]
    if refused:
        raise ConfigChangeError(
            f"the kept state does not allow this change: {'; '.join(change.said for change in refused)}",
            where=where,
            cure=refused[0].restarts or "undo the change, or use another state directory and worker name",
        )
