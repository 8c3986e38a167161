"""Which partitions do not move although events are there: lag without progress, whatever its cause.

A partition stalls where the log goes on behind its position, the loop has asked for what comes next time and again,
and nothing has come. Time counts only while that is so: not while others are read first, because they are further
behind; not while `max_rows` holds it back, which is said otherwise; not while nobody can say where the log ends; and of
the time between two looks no more than a moment, because a process that was suspended, or hung in a commit, has not
asked.

An open transaction of somebody else hides what lies behind it, as it should: pipelines keep theirs open for minutes,
from one checkpoint to the next. It counts as a stall after ten times as long, by default 20 minutes, which is more than
the 15 that brokers allow a transaction.

Invariant: a function of the looks; nothing here feeds back into what is published.

Source: Kafka's documentation of ``transaction.max.timeout.ms``; KIP-664 (hanging transactions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from streameval.engine.clock import Key

__all__ = ["HIDDEN", "Change", "Place", "Stalls"]

HIDDEN: Final = 10
"""How many times longer something that is known to hide events may take."""


class Place(NamedTuple):
    """A partition at a look: offset of the next event, end of the log, and how often nothing was there to be read."""

    position: int
    end: int
    dry: int


class Change(NamedTuple):
    """A partition that has stalled, or moves again: events to read, for how long it stood (seconds), and why."""

    place: Key
    stalled: bool
    events: int
    seconds: float
    why: str | None


@dataclass(slots=True)
class _Still:
    position: int
    dry: int
    events: int = 0
    seconds: float = 0.0
    unexplained: float = 0.0
    told: bool = False
    why: str | None = None


class Stalls:
    """What is known of partitions that do not move, from look to look.

    Args:
        after: seconds after which a partition that does not move has stalled.
        every: seconds between two looks.

    >>> stalls = Stalls(after=10.0, every=5.0)
    >>> place = ("predictions", 0)
    >>> for now in (0.0, 5.0, 10.0):
    ...     for change in stalls.look(now, {place: Place(7, 9, dry=int(now))}, lambda _: None):
    ...         print(change)
    Change(place=('predictions', 0), stalled=True, events=2, seconds=10.0, why=None)
    """

    def __init__(self, after: float, every: float) -> None:
        self.after = after
        self.every = every
        self._looked: float | None = None
        self._still: dict[Key, _Still] = {}

    @property
    def now(self) -> dict[Key, Change]:
        """The partitions that have stalled, as of the last look."""
        return {place: _change(place, still) for place, still in self._still.items() if still.told}

    def look(self, now: float, places: Mapping[Key, Place], hidden: Callable[[Key], str | None]) -> list[Change]:
        """Look at all partitions; gives what has changed.

        Args:
            now: monotonic seconds.
            places: all partitions.
            hidden: what hides the next event of a partition, where that is known; asked only where it does not move.
        """
        passed = 0.0 if self._looked is None else min(now - self._looked, 2 * self.every)
        self._looked = now
        changes = []
        for place in [place for place in self._still if place not in places]:
            del self._still[place]
        for place, seen in places.items():
            still = self._still.get(place)
            if still is not None and (seen.position != still.position or seen.position >= seen.end):
                if still.told:
                    changes.append(_change(place, still)._replace(stalled=False))
                still = None
            if seen.position >= seen.end:
                self._still.pop(place, None)
                continue
            if still is None:
                self._still[place] = _Still(seen.position, seen.dry)
                continue
            if seen.dry > still.dry:
                still.seconds += passed
                still.unexplained += passed
            still.dry, still.events = seen.dry, seen.end - seen.position
            if not still.told and (still.why is not None or still.unexplained >= self.after):
                still.why = hidden(place)
                if still.why is not None:
                    # When it ends, what it hid has its time to come.
                    still.unexplained = 0.0
                if still.seconds >= HIDDEN * self.after or still.unexplained >= self.after:
                    still.told = True
                    changes.append(_change(place, still))
        return changes


def _change(place: Key, still: _Still) -> Change:
    return Change(place, True, still.events, still.seconds, still.why)
