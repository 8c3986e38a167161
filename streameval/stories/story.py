"""A story: a stream of predictions and outcomes whose truth is known, from a name and a seed.

Invariant: a story's events are a function of (name, seed, events, rate) and, where they react, of the thresholds that
were in force: of neither the pieces in which they are taken nor anything else. Each block of events has its own random
numbers, so the hundredth can be drawn without the others.

Source: METHODS sections 1 (season, bursts), 4 (own actions, selective labels), 5 (kinds of change), 8 (late labels).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import xxhash

from streameval.serve.truth import Chapter, Truth
from streameval.stories.events import NEVER, Foreseen
from streameval.stories.world import World

__all__ = ["BLOCK", "MODEL", "START", "Change", "Labels", "Story"]

START: Final = 1_767_225_600_000
"""2026-01-01, epoch ms: when every story begins."""
BLOCK: Final = 1 << 16
"""Events drawn at once."""
MODEL: Final = "loans"
"""The model's name in events."""
SECOND: Final = 1000
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR
_POINTS = 400
"""Points of a path of truth that a report shows."""

Kind = Literal[
    "none",
    "label_shift",
    "covariate_shift",
    "miscalibration",
    "concept_drift",
    "labels",
    "labels_stalled",
    "traffic",
]
"""What truly changed; ``labels`` is the pipeline of outcomes, ``traffic`` the number of events."""


@dataclass(frozen=True)
class Change:
    """What is so from a share of the story's events on.

    Attributes:
        share: of the events, 0 to 1, at which it begins.
        kind: what changed.
        said: what truly happened, a sentence without its full stop.
        world: the state of nature from then on.
        delay: mean time until an outcome is known (ms), exponential.
        traffic: events a second, as a multiple of the story's rate.
    """

    share: float
    kind: Kind
    said: str
    world: World
    delay: float = 2.0 * HOUR
    traffic: float = 1.0


@dataclass(frozen=True)
class Labels:
    """How outcomes come.

    Attributes:
        wait: how long the daemon waits for them (ms).
        longest: an outcome comes within this time (ms), or 1 in 100 times never.
        positives_only: negatives have no outcome event.
        selective: share of the events that are looked at though nobody acted; None: all outcomes are seen.
        prevented: share of the positives that an action prevents.
        end: share of the events after which no outcomes come at all.
    """

    wait: int = DAY
    longest: int = 20 * HOUR
    positives_only: bool = False
    selective: float | None = None
    prevented: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class Story:
    """One story; see `streameval.stories.catalogue` for those that exist.

    Attributes:
        name, sentence: what it is called, and about.
        changes: in order; the first begins at 0.
        events: how many predictions.
        rate: predictions a second.
        seed: everything random follows from it.
        fp, fn: cost of a false positive and of a false negative.
        threshold: in force at the start; None: the best one.
        labels: how outcomes come.
        season: amplitude of a daily wave of the prevalence, as a share of it.
        burst: (prevalence in a burst, mean events of a burst, mean events between two), or None.
        reference: predictions that the daemon calls normal.
    """

    name: str
    sentence: str
    changes: tuple[Change, ...]
    events: int = 120_000
    rate: float = 4000 / 86_400
    seed: int = 0
    fp: float = 1.0
    fn: float = 10.0
    threshold: float | None = None
    labels: Labels = field(default_factory=Labels)
    season: float = 0.0
    burst: tuple[float, float, float] | None = None
    reference: int = 20_000

    def sized(self, *, seed: int | None = None, events: int | None = None, rate: float | None = None) -> Story:
        """The same story from another seed, of another length, or at another rate."""
        return replace(
            self,
            seed=self.seed if seed is None else seed,
            events=self.events if events is None else events,
            rate=self.rate if rate is None else rate,
        )

    @property
    def reacts(self) -> bool:
        """Whether labels depend on the threshold in force (money always does)."""
        return self.labels.prevented > 0.0 or self.labels.selective is not None

    @property
    def first_threshold(self) -> float:
        """The threshold in force at the start."""
        if self.threshold is not None:
            return self.threshold
        return round(self._settled(self.changes[0].world).best_threshold(self.fp, self.fn), 6)

    @cached_property
    def beginnings(self) -> list[int]:
        """The event with which each change begins."""
        return [round(change.share * self.events) for change in self.changes]

    @property
    def duration(self) -> int:
        """Time from the first to the last event (ms)."""
        return int(self._times(np.array([float(self.events)]))[0]) - START

    # -- events --------------------------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Foreseen]:
        """All predictions, in order, a block at a time."""
        for first in range(0, self.events, BLOCK):
            yield self.block(first // BLOCK)

    def block(self, number: int) -> Foreseen:
        """The predictions of one block."""
        rng = self._random(number)
        first, last = number * BLOCK, min((number + 1) * BLOCK, self.events)
        n = last - first
        numbers = np.arange(first, last, dtype=np.int64)
        # All random numbers are drawn for all rows, so that a change moves none of those that follow it.
        jitter, lost, wait, looked, prevent, amount = (rng.random(n) for _ in range(6))
        ts = self._times(numbers + jitter)
        score, positive = np.empty(n), np.empty(n, bool)
        mean = np.empty(n)
        for (a, b), change, draw in zip(self._parts(first, last), self.changes, self._spawned(rng), strict=True):
            if a < b:
                rows = slice(a - first, b - first)
                pi = self._prevalence(change.world, numbers[rows], ts[rows])
                score[rows], positive[rows] = change.world.draw(draw, b - a, pi)
                mean[rows] = change.delay
        labels = self.labels
        delay = (-np.log1p(-wait * (1.0 - np.exp(-labels.longest / mean))) * mean).astype(np.int64) + 1
        arrival = np.where(lost < 0.01, NEVER, ts + delay)
        if labels.end is not None:
            arrival = np.where(arrival > self.time_of(labels.end), NEVER, arrival)
        return Foreseen(
            number=numbers,
            ts=ts,
            score=score,
            positive=positive,
            preventable=prevent < labels.prevented,
            looked_at=looked < (labels.selective or 0.0),
            arrival=arrival,
            amount=np.round(5.0 + 10.0 * amount, 2),
        )

    def time_of(self, share: float) -> int:
        """When a share of the events has happened (epoch ms)."""
        return int(self._times(np.array([round(share * self.events)], float))[0])

    def _random(self, stream: int) -> np.random.Generator:
        name = xxhash.xxh3_64_intdigest(self.name.encode())
        return np.random.default_rng(np.random.SeedSequence([name, self.seed, stream]))

    def _spawned(self, rng: np.random.Generator) -> list[np.random.Generator]:
        return rng.spawn(len(self.changes))

    def _parts(self, first: int, last: int) -> list[tuple[int, int]]:
        edges = [*self.beginnings, self.events]
        return [(max(a, first), min(b, last)) for a, b in pairwise(edges)]

    def _times(self, place: np.ndarray) -> np.ndarray:
        """Epoch ms of places in the count of events: evenly spaced, closer together where traffic is higher."""
        edges = [*self.beginnings, max(self.events, self.beginnings[-1] + 1)]
        gaps = [SECOND / (self.rate * change.traffic) for change in self.changes]
        ends = np.concatenate(([0.0], np.cumsum(np.diff(edges) * gaps)))
        found: np.ndarray = START + np.interp(place, edges, ends).astype(np.int64)
        return found

    def _prevalence(self, world: World, numbers: np.ndarray, ts: np.ndarray) -> np.ndarray | None:
        """π of each event, where it is not simply the world's."""
        if self.season:
            wave: np.ndarray = world.prevalence * (1.0 + self.season * np.sin(2.0 * np.pi * ((ts - START) % DAY) / DAY))
            return wave
        if self.burst is not None:
            inside = np.searchsorted(self._bursts, numbers, side="right") % 2 == 1
            found: np.ndarray = np.where(inside, self.burst[0], world.prevalence)
            return found
        return None

    @cached_property
    def _bursts(self) -> np.ndarray:
        """i64: events at which a burst begins, ends, begins, ..."""
        if self.burst is None:
            return np.empty(0, np.int64)
        _, inside, between = self.burst
        rng = self._random(1 << 32)
        pairs = int(1.5 * self.events / (inside + between)) + 20
        spells = np.column_stack((rng.exponential(between, pairs), rng.exponential(inside, pairs))).ravel()
        edges: np.ndarray = np.cumsum(spells).astype(np.int64)
        return edges

    # -- truth ---------------------------------------------------------------------------------------------------------

    def truth(self) -> Truth:
        """What truly happens, as data: when what changes, the prevalence, and the threshold that costs least."""
        edges = [*(self.time_of(change.share) for change in self.changes), START + self.duration]
        chapters = [self._chapter(change, a, b) for change, (a, b) in zip(self.changes, pairwise(edges), strict=True)]
        return Truth(
            story=self.name,
            sentence=self.sentence,
            seed=self.seed,
            model=MODEL,
            wait=self.labels.wait,
            chapters=chapters,
            prevalence=self._path(),
            best_threshold=[(chapter.at, chapter.best_threshold) for chapter in chapters],
        )

    def _chapter(self, change: Change, at: int, until: int) -> Chapter:
        world = self._settled(change.world)
        grid = 1.0 / (1.0 + np.exp(-np.linspace(-12.0, 6.0, 181)))
        return Chapter(
            at=at,
            until=until,
            kind=change.kind,
            said=change.said,
            prevalence=world.positives,
            auc=world.auc,
            best_threshold=world.best_threshold(self.fp, self.fn),
            costs=[(float(t), world.cost(float(t), self.fp, self.fn)) for t in grid],
        )

    def _settled(self, world: World) -> World:
        """The world at its mean prevalence."""
        if self.burst is None:
            return world
        high, inside, between = self.burst
        mean = (high * inside + world.prevalence * between) / (inside + between)
        return replace(world, prevalence=mean)

    def _path(self) -> list[tuple[int, float]]:
        """Points (epoch ms, prevalence) of a line: steps stand as two points."""
        if self.season:
            times = START + np.linspace(0, self.duration, _POINTS).astype(np.int64)
            worlds = [self.changes[int(np.searchsorted(self._edges(), t, side="right")) - 1].world for t in times]
            return [
                (int(t), world.positives * (1.0 + self.season * float(np.sin(2.0 * np.pi * ((t - START) % DAY) / DAY))))
                for t, world in zip(times, worlds, strict=True)
            ]
        if self.burst is not None:
            edges = self._bursts[self._bursts < self.events][:_POINTS]
            levels = [self.changes[0].world.prevalence, self.burst[0]]
            steps = [(int(self._times(np.array([float(e)]))[0]), levels[(k + 1) % 2]) for k, e in enumerate(edges)]
            return [(START, levels[0]), *steps]
        return [(int(t), change.world.positives) for t, change in zip(self._edges(), self.changes, strict=True)]

    def _edges(self) -> np.ndarray:
        return np.array([self.time_of(change.share) for change in self.changes], dtype=np.int64)
