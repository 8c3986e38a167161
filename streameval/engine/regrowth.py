"""Regrowth: the rows of all models read anew from the logs, where only the engine's core was kept.

An engine that was restored from its core (`Engine.core`) knows everything but the rows that wait. Here it is given the
events from which they came, from the anchors that the core names to the positions at which it was made; nothing is
published, rejected or counted, for all of that happened when the events came first.

Invariant: afterwards the engine continues as the one whose core it was: same logical times, because the partitions'
clocks start from their anchors and take the same marks; same rows, by `streameval.join.regrowth`.

Source: DESIGN, "State, recovery, exactly once" (state lost).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from streameval.engine.anchors import Anchor
from streameval.engine.clock import Admitted, Clocks, Key
from streameval.errors import ConfigChangeError, InvariantError
from streameval.events.columns import Batch, Outcomes, Predictions
from streameval.join import Regrowth as JoinRegrowth

if TYPE_CHECKING:
    from streameval.engine.clock import Mark
    from streameval.engine.engine import Engine
    from streameval.engine.publisher import Published

__all__ = ["Regrowth"]


class Regrowth:
    """Takes the events that an engine's rows came from; can be read for by what reads for an engine.

    Args:
        engine: restored from the core.
        core: what `Engine.core` gave.
        ends: next offset to read of each partition when the core was made.

    Attributes:
        starts: where reading begins, of each partition that has to be read again.
        clocks: as they stood there.

    Raises:
        ConfigChangeError: the events would be read otherwise than they were.
    """

    def __init__(self, engine: Engine, core: dict[str, Any], ends: Mapping[Key, int]) -> None:
        if core["reading"] != engine.reading:
            raise ConfigChangeError(
                "the state is lost, and what is left of it belongs to a configuration that reads events otherwise",
                where="lateness, max_ahead, mappings, topics or a model's labels, segments, kpis or task",
                cure="start once with the configuration as it was and change it then, or start with --fresh",
            )
        self.engine = engine
        self.ends = ends
        self.starts: dict[Key, int] = {}
        known = engine.clocks
        self.clocks = Clocks(known.lateness, known.outcomes, known.max_ahead)
        for topic, partition, state in core["again"]:
            columns = Outcomes if topic in known.outcomes else Predictions
            anchor = Anchor.restore(state, columns)
            anchor.set(self.clocks.add(topic, partition, empty=False))
            engine.anchors.of[topic, partition] = [anchor]
            self.starts[topic, partition] = anchor.offset
        self.joins: list[JoinRegrowth] = []
        for name, fold in engine.models.items():
            if name in core["models"]:
                join = JoinRegrowth.of(core["models"][name]["join"])
                fold.join = join
                self.joins.append(join)

    def receive(self, batch: Batch, wall: int | None = None) -> list[Published]:  # noqa: ARG002 - as when first read
        """Take a batch in; nothing comes out."""
        behind = int((batch.offsets < self.ends[batch.topic, batch.partition]).sum())
        if behind < len(batch.offsets):
            batch = batch.part(0, behind)  # a log with holes gives more than was asked for
        if behind == 0:
            return []
        place = (batch.topic, batch.partition)
        clock = self.clocks.partitions[place]
        self.engine.anchors.note(place, int(batch.offsets[0]), clock)
        admitted: Admitted[Any]
        if batch.topic in self.clocks.outcomes:
            admitted = clock.admit(self.engine.decoder.outcomes(batch)[0])
        else:
            admitted = clock.admit(self.engine.decoder.predictions(batch)[0])
        for columns, logical in admitted.runs:
            self.engine.route(columns, logical)
        return []

    def mark(self, mark: Mark) -> Published:
        """Marks were all made when the events came first.

        Raises:
            InvariantError: always.
        """
        raise InvariantError("a mark is to be made of events read again", where=f"{mark}", cure="report it")

    def advance(self, read_to_the_end: frozenset[Key]) -> None:
        """Let rows grow as far as the clocks allow; the partitions named have no more events to give."""
        now = self.clocks.time(without=read_to_the_end)
        for join in self.joins:
            join.regrow(now)

    def finish(self) -> None:
        """All events are read: from here on the engine is what it was."""
        for join in self.joins:
            join.finish()
