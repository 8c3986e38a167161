"""What the loop says of itself once a second: how far it has read, what waits, what it has published.

Invariant: vitals are made by the loop, never changed afterwards, and hold numbers alone: whoever serves them can be as
slow as it likes. Counts begin at 0 with the process, as Prometheus expects of counters.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

__all__ = ["COMMIT_SECONDS", "Commits", "ModelVitals", "Pulse", "TopicVitals", "Vitals"]

COMMIT_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the buckets in which the duration of commits is counted, seconds."""


class Pulse(Protocol):
    """What can be felt at any moment, also while the loop stands still; the daemon's `Health` is one."""

    turned: float | None
    """Monotonic seconds of the loop's last turn; None before the first."""
    ready: bool
    """The state is restored, and the inputs were caught up with once."""
    doing: str
    """What the loop does now, in a word or two."""
    stalled: dict[str, str]
    """Partitions that do not move though events are there, and how each stands, in a clause."""


class TopicVitals(msgspec.Struct, frozen=True):
    """One input topic.

    Events read; events between the position and the end (None: not known yet); how far its slowest partition that has
    any event has come in event time (epoch ms); how many of its partitions do not move though events are there; how far
    its furthest is ahead of the wall clock (seconds).
    """

    read: int = 0
    lag: int | None = None
    newest: int | None = None
    stalled: int = 0
    ahead: float = 0.0


class ModelVitals(msgspec.Struct, frozen=True):
    """One model's join: rows and bytes kept now, and what became of its events since the process began."""

    waiting: int = 0
    bytes: int = 0
    taken: int = 0
    duplicates: int = 0
    duplicates_differing: int = 0
    late: int = 0
    unlabelled: int = 0
    unproven: int = 0
    matched: int = 0
    amended: int = 0
    repeated: int = 0
    orphans: int = 0
    stalled_since: int | None = None


class Commits(msgspec.Struct):
    """The durations of commits, as a histogram over `COMMIT_SECONDS`; the last bucket has no end.

    >>> commits = Commits()
    >>> commits.took(0.03)
    >>> commits.count, commits.buckets[:4]
    (1, [0, 0, 1, 0])
    """

    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(COMMIT_SECONDS) + 1))
    seconds: float = 0.0
    failures: int = 0

    @property
    def count(self) -> int:
        """Commits that succeeded."""
        return sum(self.buckets)

    def took(self, seconds: float) -> None:
        """Count one commit."""
        place = next((n for n, end in enumerate(COMMIT_SECONDS) if seconds <= end), len(COMMIT_SECONDS))
        self.buckets[place] += 1
        self.seconds += seconds

    def copy(self) -> Commits:
        """These counts as they are now."""
        return Commits(self.buckets.copy(), self.seconds, self.failures)


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """A worker at one moment.

    `wall`, `committed` and `heard` (when the transport last answered) are seconds since the epoch, `time` (T) is epoch
    milliseconds. `unusable` counts fields of events, by name, that were given and counted as not given.
    """

    wall: float
    time: int | None = None
    committed: float | None = None
    heard: float | None = None
    ready: bool = False
    paused: bool = False
    predictions: int = 0
    outcomes: int = 0
    unusable: dict[str, int] = {}
    max_rows: int = 0
    topics: dict[str, TopicVitals] = {}
    models: dict[str, ModelVitals] = {}
    records: dict[str, int] = {}
    commits: Commits = msgspec.field(default_factory=Commits)

    @property
    def waiting(self) -> int:
        """Rows kept, over all models."""
        return sum(model.waiting for model in self.models.values())

    @property
    def lag(self) -> int | None:
        """Events not read yet, over all topics; None while none is known."""
        known = [topic.lag for topic in self.topics.values() if topic.lag is not None]
        return sum(known) if known else None

    @property
    def newest(self) -> int | None:
        """How far the furthest topic has come in event time (epoch ms)."""
        return max((topic.newest for topic in self.topics.values() if topic.newest is not None), default=None)
