"""An engine driven by hand: any batches, any interleaving of partitions, restarts wherever chance wants them."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from streameval.config import Config
from streameval.engine import Engine
from streameval.engine.clock import Mark
from streameval.engine.publisher import Published
from streameval.events import Batch
from streameval.events.columns import Refused
from streameval.transport import codec

Place = tuple[str, int]
Logs = dict[Place, list[bytes | Refused]]


@dataclass
class Records:
    """What was published: the sequence of each (topic, key), and of each topic as a whole."""

    keys: dict[tuple[str, str], list[bytes | None]] = field(default_factory=lambda: defaultdict(list))
    topics: dict[str, list[bytes | None]] = field(default_factory=lambda: defaultdict(list))

    def add(self, published: list[Published]) -> None:
        for topic, key, value, sequence in published:
            if topic == "clock":
                continue
            assert sequence == len(self.keys[topic, key]), "sequences have no gaps"
            self.keys[topic, key].append(value)
            if topic != "rejected":
                self.topics[topic].append(value)

    def assert_equal(self, other: Records) -> None:
        # One by one: a difference should name its key.
        assert self.keys.keys() == other.keys.keys()
        for key, values in self.keys.items():
            assert values == other.keys[key], key
        assert self.topics == other.topics


class Restarting:
    """An engine that can be stored and restored, by the bytes that a checkpoint would hold."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.engine = Engine(config)
        self.blobs: dict[str, np.ndarray] = {}
        self.restarts = 0

    def restart(self, config: Config | None = None) -> list[Published]:
        state, blobs = self.engine.export(set(self.blobs))
        for name, blob in blobs.items():
            if blob is None:
                continue
            assert name not in self.blobs, "a name stands for one content"
            self.blobs[name] = codec.decode(codec.encode({"blob": blob}))["blob"]
        self.blobs = {name: self.blobs[name] for name in blobs}
        self.config = config or self.config
        self.engine = Engine(self.config)
        self.restarts += 1
        return self.engine.restore(codec.decode(codec.encode(state)), lambda name: self.blobs[name].copy())


def batch(place: Place, values: list[bytes | Refused], first: int) -> Batch:
    refused = {first + index: value for index, value in enumerate(values) if isinstance(value, Refused)}
    given = [None if isinstance(value, Refused) else value for value in values]
    return Batch(*place, np.arange(first, first + len(values), dtype=np.int64), given, None, refused)


def fold(
    config: Config,
    logs: Logs,
    *,
    seed: int | None = None,
    largest: int = 600,
    restarts: float = 0.0,
    advances: float = 0.7,
    floors: list[Mark] | None = None,
    complete: bool = True,
) -> tuple[Records, Engine]:
    """Records of the logs, and the engine at their end. Without a seed: in one canonical order, whole logs at once."""
    choose = random.Random(seed)
    held = Restarting(config)
    records = Records()
    for place, values in sorted(logs.items()):
        held.engine.clocks.add(*place, empty=not values)
    marks = {(mark.topic, mark.partition, mark.offset): mark for mark in floors or ()}
    stops = {place: sorted({o for t, p, o in marks if (t, p) == place} | {len(logs[place])}) for place in logs}
    at = dict.fromkeys(logs, 0)
    while True:
        for place, position in at.items():
            mark = marks.get((*place, position))
            if mark is not None:
                held.engine.clocks.raise_floor(*place, position, mark.floor, "recorded")
        left = [place for place in sorted(logs) if at[place] < len(logs[place])]
        if not left:
            break
        place = left[0] if seed is None else choose.choice(left)
        first = at[place]
        until = next(stop for stop in stops[place] if stop > first)
        if seed is not None:
            until = min(until, first + choose.randint(1, choose.choice([3, 40, largest])))
        records.add(held.engine.receive(batch(place, logs[place][first:until], first)))
        at[place] = until
        if seed is None or choose.random() < advances:
            records.add(held.engine.advance())
        if choose.random() < restarts:
            records.add(held.restart())
    records.add(held.engine.advance())
    if complete:
        records.add(held.engine.complete())
    return records, held.engine
