"""The loop's look at itself: now and then it says how it stands, for whoever serves that.

Invariant: looking changes nothing and costs at most a twentieth of the loop's time, however many models there are:
after a look that took long the next one comes later.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from streameval.daemon.progress import Health, Tally, stream_time
from streameval.engine.clock import BEGINNING
from streameval.serve.vitals import Commits, ModelVitals, TopicVitals, Vitals

if TYPE_CHECKING:
    from streameval.daemon.reading import Reading
    from streameval.engine import Engine
    from streameval.join import Join

__all__ = ["Observer"]

EVERY: Final = 1.0
"""Seconds between two looks, at least."""
SHARE: Final = 0.05
"""Of the loop's time that looks may take."""
_COUNTED: Final = (
    "taken",
    "duplicates",
    "duplicates_differing",
    "late",
    "unlabelled",
    "unproven",
    "matched",
    "amended",
    "repeated",
    "orphans",
)


class Observer:
    """Makes vitals of a run, counted from where it began.

    Args:
        engine, reading, tally, health: What is looked at.
        commits: The durations of commits, kept up to date by the loop.
    """

    def __init__(self, engine: Engine, reading: Reading, tally: Tally, health: Health, commits: Commits) -> None:
        self.engine = engine
        self.reading = reading
        self.tally = tally
        self.health = health
        self.commits = commits
        self.due = 0.0
        # Restored counts would fall back after a crash, and a counter that falls is taken for one that began anew.
        self._events = (engine.counts.predictions, engine.counts.outcomes)
        self._unusable = engine.decoder.unusable.copy()
        self._joins = {name: _counts(fold.join) for name, fold in engine.models.items()}

    def look(self, now: float) -> Vitals:
        """The vitals at this moment; ``now`` in monotonic seconds."""
        engine = self.engine
        wall = time.time()
        committed, heard = self.health.committed, self.health.heard
        vitals = Vitals(
            wall=wall,
            time=stream_time(engine),
            committed=None if committed is None else wall - (now - committed),
            heard=None if heard is None else wall - (now - heard),
            ready=self.health.ready,
            paused=self.health.paused,
            predictions=engine.counts.predictions - self._events[0],
            outcomes=engine.counts.outcomes - self._events[1],
            unusable=dict(engine.decoder.unusable - self._unusable),
            max_rows=engine.config.max_rows,
            topics=self._topics(wall),
            models={name: self._model(name) for name in engine.models},
            records=dict(self.tally.records),
            commits=self.commits.copy(),
        )
        self.due = now + self.pause(now)
        return vitals

    def pause(self, began: float) -> float:
        """Seconds to the next look, after one that ``began`` then."""
        return max(EVERY, (time.monotonic() - began) / SHARE)

    def _topics(self, wall: float) -> dict[str, TopicVitals]:
        topics = self.engine.config.topics
        return {topic: self._topic(topic, wall) for topic in (*topics.predictions, *topics.outcomes)}

    def _topic(self, topic: str, wall: float) -> TopicVitals:
        clocks = [(place, clock) for place, clock in self.engine.clocks.partitions.items() if place[0] == topic]
        # A floor says that the partition holds nothing back, so it trails nothing either.
        reached = [max(clock.max_ts, clock.floor) for _, clock in clocks if clock.entered]
        lags = [self.health.lag.get(f"{topic}/{partition}") for (_, partition), _ in clocks]
        known = [lag for lag in lags if lag is not None]
        newest = min(reached, default=BEGINNING)
        furthest = max((clock.max_ts for _, clock in clocks), default=BEGINNING)
        return TopicVitals(
            ahead=max(furthest / 1000 - wall, 0.0),
            read=self.reading.read[topic],
            lag=sum(known) if known and len(known) == len(lags) else None,
            newest=newest if newest > BEGINNING else None,
            stalled=sum(f"{topic}/{partition}" in self.health.stalled for (_, partition), _ in clocks),
        )

    def _model(self, name: str) -> ModelVitals:
        join = self.engine.models[name].join
        since = {key: count - self._joins[name][key] for key, count in _counts(join).items()}
        return ModelVitals(waiting=join.waiting, bytes=join.nbytes, stalled_since=join.stalled_since, **since)


def _counts(join: Join) -> dict[str, int]:
    return {name: getattr(join, name) for name in _COUNTED}
