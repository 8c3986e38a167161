"""Anchors: places in the logs from which they can be read again, with their clocks as they stood there.

An event's logical time depends on all that its partition held before it. So a partition can be read again from the
middle only where its clock is known: at an anchor. A few are kept for each partition, spread over the time for which
rows wait, and let go as rows expire.

Invariant: an anchor's clock is the partition's own before the event at its offset was read, marks included; and all
events before an anchor have a logical time of at most its `peak`.

Source: DESIGN, "State, recovery, exactly once" (state lost).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streameval.engine.clock import BEGINNING, Key, PartitionClock, held_from, held_to
from streameval.events.columns import Outcomes, Predictions

MOST = 32
"""Anchors that a partition may have; with half as many, what is read in vain is a sixteenth of what is needed."""


@dataclass(slots=True, frozen=True)
class Anchor:
    """One place: next offset, and what the clock knew there: largest event time, floor, longest pause (ms), ..."""

    offset: int
    max_ts: int
    floor: int
    seen: int
    longest: int
    held: tuple[Any, ...]

    @classmethod
    def of(cls, offset: int, clock: PartitionClock) -> Anchor:
        """The clock as it is now, before the event at ``offset``."""
        return cls(offset, clock.max_ts, clock.floor, clock.seen, clock.longest, tuple(clock.held))

    @property
    def peak(self) -> int:
        """No event before has a larger logical time (ms); ``BEGINNING`` where none was read before."""
        return BEGINNING if self.max_ts == BEGINNING else max(self.max_ts, self.floor)

    def set(self, clock: PartitionClock) -> None:
        """Let a clock stand as it stood here."""
        clock.max_ts, clock.floor, clock.held = self.max_ts, self.floor, list(self.held)
        clock.seen, clock.longest = self.seen, self.longest
        clock.entered = True

    def state(self) -> list[Any]:
        """Plain values for `restore`."""
        return [self.offset, self.max_ts, self.floor, self.seen, self.longest, held_to(self.held)]

    @classmethod
    def restore(cls, state: list[Any], columns: type[Predictions | Outcomes]) -> Anchor:
        """The inverse of `state`."""
        offset, max_ts, floor, seen, longest, held = state
        return cls(offset, max_ts, floor, seen, longest, tuple(held_from(held, columns)))


class Anchors:
    """The anchors of all partitions, ascending.

    >>> clock, anchors = PartitionClock(0, 0), Anchors()
    >>> for clock.max_ts in range(1000, 100_000, 1000):
    ...     anchors.note(("t", 0), clock.max_ts // 1000, clock)
    >>> len(anchors.of["t", 0]) <= MOST
    True
    >>> anchors.reaching(("t", 0), 50_000, 99, clock).offset in range(40, 51)
    True
    """

    def __init__(self) -> None:
        self.of: dict[Key, list[Anchor]] = {}

    def note(self, place: Key, offset: int, clock: PartitionClock) -> None:
        """A batch begins at ``offset``: keep an anchor here if the last one lies far enough back."""
        own = self.of.setdefault(place, [])
        if own and own[-1].peak > BEGINNING:
            begun = next(anchor.peak for anchor in own if anchor.peak > BEGINNING)
            if (max(clock.max_ts, clock.floor) - own[-1].peak) * (MOST // 2) <= own[-1].peak - begun:
                return
        elif own and clock.max_ts == BEGINNING:
            return
        own.append(Anchor.of(offset, clock))
        if len(own) > MOST:
            # The oldest lie closest together: time has passed since.
            del own[1 : MOST // 2 : 2]

    def forget(self, place: Key, before: int) -> None:
        """Nothing before this logical time (ms) is needed any more."""
        own = self.of.get(place, [])
        while len(own) > 1 and own[1].peak < before:
            del own[0]

    def reaching(self, place: Key, before: int, position: int, clock: PartitionClock) -> Anchor | None:
        """The last anchor that has every event from logical time ``before`` on behind it; None where there is none."""
        now = Anchor.of(position, clock)
        found = [anchor for anchor in (*self.of.get(place, []), now) if anchor.peak < before]
        return found[-1] if found else None

    def state(self) -> list[Any]:
        """Plain values from which `restore` continues."""
        return [[*place, [anchor.state() for anchor in own]] for place, own in sorted(self.of.items())]

    def restore(self, state: list[Any], outcomes: set[str]) -> None:
        """Continue from ``state``."""
        self.of = {
            (topic, partition): [Anchor.restore(one, Outcomes if topic in outcomes else Predictions) for one in own]
            for topic, partition, own in state
        }
