"""A story played through the engine without logs: columns in, records out, and thresholds that events react to.

The engine takes what decoding would have made of the logs. So its records are, byte for byte, those of a daemon that
reads the same story from its logs; and a story that reacts is played first, which is how its logs come to be.

Invariant: an event is decided with the threshold that was published before its slice was read. Slices have a fixed
size, so what follows from decisions, too, is a function of the story's name, seed, length and rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import InitVar, dataclass, field
from typing import Any, Final

import numpy as np

from streameval import records
from streameval.config import Config, parse
from streameval.engine import Engine
from streameval.engine.publisher import Published
from streameval.events.columns import Batch, Outcomes, Predictions, Texts
from streameval.stories.events import Acted, Foreseen, Reported
from streameval.stories.story import DAY, HOUR, MODEL, Story

__all__ = ["KPI", "Play", "Slice", "settings", "slices"]

KPI: Final = "revenue"
PREDICTIONS: Final = "predictions"
OUTCOMES: Final = "outcomes"
TOGETHER: Final = 4096
REACTING: Final = 512
"""Events that are decided with one threshold; of a story whose labels react to it."""


def settings(story: Story, path: str = "./events", state: str = "./state", **changes: Any) -> dict[str, Any]:
    """The configuration for a story: what a person would write who knows its costs and its labels, and no more.

    Args:
        story: the story.
        path: directory of the logs.
        state: directory of the state.
        changes: keys of the model to set or replace.
    """
    labels = story.labels
    model: dict[str, Any] = {
        "name": MODEL,
        "threshold": story.first_threshold,
        "objective": {"kind": "cost", "fp": story.fp, "fn": story.fn},
        "labels": {
            "wait": _text(labels.wait),
            "missing": "negative" if labels.positives_only else "drop",
            "give_up": _text(10 * labels.wait),
        },
        # A short story has less to learn from.
        "reference": {"events": min(story.reference, max(story.events // 5, 1000))},
    }
    if labels.selective is not None:
        model["labels"] |= {"selective": "propensity", "least_propensity": labels.selective}
    if not labels.positives_only:
        model["kpis"] = {KPI: {"scale": 0.01}}
    return {
        "transport": {"kind": "logdir", "path": path},
        "state": state,
        "models": [model | changes],
    }


def _text(duration: int) -> str:
    return f"{duration // DAY}d" if duration % DAY == 0 else f"{duration // HOUR}h"


@dataclass(slots=True)
class Slice:
    """Predictions that are decided together: what is known of them, what was done, and the threshold for it."""

    predictions: Foreseen
    acted: Acted
    threshold: float


def slices(story: Story) -> Iterator[Foreseen]:
    """The story's predictions in the pieces in which they are decided."""
    size = REACTING if story.reacts else TOGETHER
    for block in story.blocks():
        for first in range(0, len(block), size):
            yield block.take(slice(first, first + size))


class _Columns:
    """Stands where the decoder stands."""

    def __init__(self) -> None:
        self.next: Any = None

    def predictions(self, _batch: Batch) -> tuple[Any, list[Any]]:
        return self.next, []

    outcomes = predictions


@dataclass(slots=True)
class Play:
    """One performance.

    Attributes:
        story: what is played.
        config: for the daemon; without one what `settings` makes.
        engine: the engine that plays it.
        published: all that it published, in order.
        threshold: in force now.
    """

    story: Story
    configured: InitVar[Config | None] = None
    config: Config = field(init=False)
    engine: Engine = field(init=False)
    published: list[Published] = field(default_factory=list)
    threshold: float = field(init=False)
    _columns: _Columns = field(init=False, default_factory=_Columns)
    _waiting: list[Reported] = field(init=False, default_factory=list)
    _offsets: dict[str, int] = field(init=False, default_factory=lambda: {PREDICTIONS: 0, OUTCOMES: 0})

    def __post_init__(self, configured: Config | None) -> None:
        self.config = parse(settings(self.story)) if configured is None else configured
        self.engine = Engine(self.config)
        self.engine.decoder = self._columns  # type: ignore[assignment]
        for topic in (OUTCOMES, PREDICTIONS):
            self.engine.clocks.add(topic, 0, empty=False)
        self.threshold = self.story.first_threshold

    def run(self) -> Play:
        """Play it to its end."""
        for _ in self.slices():
            pass
        return self

    def slices(self) -> Iterator[Slice]:
        """Play it, and give each slice as it was decided."""
        pieces = slices(self.story)
        coming = next(pieces, None)
        while coming is not None:
            predictions, coming = coming, next(pieces, None)
            until = None if coming is None else int(coming.ts[0])
            labels = self.story.labels
            acted = predictions.act(self.threshold, selective=labels.selective, positives_only=labels.positives_only)
            decided = Slice(predictions, acted, self.threshold)
            self._waiting.append(Reported.of(predictions, acted))
            self._predict(predictions, acted.propensity)
            self._report(until)
            yield decided
        if self.story.labels.end is not None:
            # A live daemon sees that the partition is silent; here it is said in its stead.
            clocks = self.engine.clocks
            floor = clocks.partitions[PREDICTIONS, 0].now
            mark = clocks.raise_floor(OUTCOMES, 0, self._offsets[OUTCOMES], floor, "idle")
            self._take([] if mark is None else [self.engine.mark(mark)])
            self._take(self.engine.advance())

    def data(self, topic: str) -> list[Any]:
        """The data of a topic's records (a key of the configuration's topics), in order; tombstones are left out."""
        name = getattr(self.config.topics, topic)
        return [records.read(one.value).data for one in self.published if one.topic == name and one.value is not None]

    def _predict(self, predictions: Foreseen, propensity: np.ndarray) -> None:
        n = len(predictions)
        none = np.full(n, -1, np.int64)
        offset = self._next(PREDICTIONS, n)
        self._columns.next = Predictions(
            PREDICTIONS,
            0,
            offset,
            predictions.ts,
            predictions.id_hash(),
            predictions.score,
            none,
            np.zeros(n, np.int16),
            Texts(np.zeros(n, np.int32), ["0"]),
            [],
            propensity,
        )
        self._receive(PREDICTIONS, offset)

    def _report(self, until: int | None) -> None:
        """Deliver the outcomes that come before a time; all of them at the end."""
        waiting = Reported.join(self._waiting).in_order()
        due = len(waiting) if until is None else int(np.searchsorted(waiting.ts, until))
        self._waiting = [waiting.take(slice(due, None))]
        if due:
            told = waiting.take(slice(0, due))
            offset, none = self._next(OUTCOMES, due), np.full(due, -1, np.int64)
            label, model = told.label.astype(float), none.astype(np.int16)
            kpis = {KPI: told.revenue} if KPI in self.config.models[0].kpis else {}
            beat = np.zeros(due, np.bool_)
            self._columns.next = Outcomes(OUTCOMES, 0, offset, told.ts, told.id_hash(), none, model, label, kpis, beat)
            self._receive(OUTCOMES, offset)
        self._take(self.engine.advance())

    def _next(self, topic: str, n: int) -> np.ndarray:
        first = self._offsets[topic]
        self._offsets[topic] = first + n
        return np.arange(first, first + n, dtype=np.int64)

    def _receive(self, topic: str, offset: np.ndarray) -> None:
        self._take(self.engine.receive(Batch(topic, 0, offset, [])))

    def _take(self, published: list[Published]) -> None:
        self.published += published
        name = self.config.topics.thresholds
        for record in published:
            if record.topic == name and record.value is not None:
                self.threshold = records.read(record.value).data.threshold
