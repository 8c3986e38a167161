"""A stream with all that the faults need: busy, idle, trailing and empty partitions, a drift, duplicates, poison.

A function of its arguments alone: two calls give the same bytes, so what a daemon published of it can be compared.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

START = 1_700_000_000_000
HOUR = 3_600_000
BUSY, IDLE, TRAILING, EMPTY = range(4)
"""What the partitions of either topic are like."""
MODELS = ("fraud", "churn")


@dataclass
class Stream:
    """Messages by (topic, partition), each in the order of its log, as slices that a producer feeds one by one.

    The busy and the trailing partition run through `hours`, the trailing one an hour behind; the idle one falls silent
    after a tenth of the time. Half-way the positives triple and the scores lose their meaning.
    """

    seed: int = 1
    predictions: int = 6_000
    hours: int = 12
    slices: int = 20
    models: tuple[str, ...] = MODELS[:1]
    duplicates: float = 0.02
    poison: float = 0.005
    label_silence: tuple[float, float] | None = None
    parts: list[dict[tuple[str, int], list[bytes | None]]] = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.parts = [{} for _ in range(self.slices)]
        span = self.hours * HOUR
        step = span / self.predictions
        for index in range(self.predictions):
            at = int(index * step)
            behind = HOUR if (place := self._place(rng, at / span)) == TRAILING else 0
            part = min(int(at / span * self.slices), self.slices - 1)
            drifted = at > span / 2
            label = int(rng.random() < (0.6 if drifted else 0.2))
            score = rng.betavariate(2, 2) if drifted else rng.betavariate(2 + 3 * label, 2 + 3 * (1 - label))
            event = {
                "id": f"{self.seed}-{index}",
                "model": rng.choice(self.models),
                "version": "2" if rng.random() < 0.2 else "1",
                "ts": START + at - behind,
                "score": round(score, 6),
                "segments": {"country": rng.choice("AB"), "channel": rng.choice(["web", "app"])},
            }
            self._put(rng, part, "predictions", place, event)
            if rng.random() < 0.1:
                continue
            late = at + int(rng.expovariate(1 / 600_000)) + 1_000
            silent = self.label_silence
            if silent is not None and silent[0] <= late / span < silent[1]:
                late = int(silent[1] * span) + 1 + index
            part = int(late / span * self.slices)
            if part < self.slices:
                place = self._place(rng, late / span)
                behind = HOUR if place == TRAILING else 0
                outcome = {"id": event["id"], "ts": START + late - behind, "label": label}
                outcome["values"] = {"revenue": round(rng.random() * 100, 2)}
                self._put(rng, part, "outcomes", place, outcome)
        for part in self.parts:
            for messages in part.values():
                rng.shuffle(messages) if rng.random() < 0.1 else None

    @staticmethod
    def _place(rng: random.Random, share: float) -> int:
        return rng.choices((BUSY, IDLE, TRAILING), (6, 2 if share < 0.1 else 0, 2))[0]

    def _put(self, rng: random.Random, part: int, topic: str, place: int, event: dict) -> None:
        messages = self.parts[part].setdefault((topic, place), [])
        value = json.dumps(event).encode()
        messages.append(value)
        if rng.random() < self.duplicates:
            messages.append(value)
        if rng.random() < self.poison:
            messages.append(rng.choice(POISON))

    def __iter__(self) -> Iterator[dict[tuple[str, int], list[bytes | None]]]:
        return iter(self.parts)

    @property
    def logs(self) -> dict[tuple[str, int], list[bytes | None]]:
        """Whole logs: all slices, one after the other; the empty partitions too."""
        whole: dict[tuple[str, int], list[bytes | None]] = {
            (topic, partition): [] for topic in ("predictions", "outcomes") for partition in range(4)
        }
        for part in self.parts:
            for place, values in part.items():
                whole[place] += values
        return whole


POISON: list[bytes | None] = [
    None,
    b"",
    b"\xff\xfe",
    b"{",
    b"[" * 5_000,
    b"null",
    b'{"id":1}',
    b'{"id":"x","model":"fraud","ts":"yesterday","score":0.5}',
    b'{"id":"x","model":"fraud","ts":1700000000000,"score":NaN}',
    b'{"id":"x","model":"fraud","ts":1700000000,"score":0.5}',
    b'{"id":"x","model":"fraud","ts":9990000000000,"score":0.5}',
    b'{"id":"x","model":"fraud","ts":1700000000000,"score":7}',
    b'{"id":"x","model":"unheard-of","ts":1700000000000,"score":0.5}',
    b'{"id":"x","ts":1700000000000,"label":2}',
    b'{"id":"\\ud800","ts":1700000000000,"label":1}',
    b"x" * 300_000,
]
"""Messages that are no events."""

FILLED = Stream(seed=7, predictions=3_000)
"""What the common broker holds for all tests that only read."""
