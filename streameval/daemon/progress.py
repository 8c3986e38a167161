"""What a run tells about itself: progress while it goes on, a summary at its end, its health at any moment.

Invariant: plain numbers, made by the loop and read by others; nothing here feeds back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from streameval.engine import Engine
from streameval.engine.clock import BEGINNING
from streameval.join import NEVER
from streameval.transport.protocol import Record

__all__ = ["Health", "OnProgress", "Progress", "Summary", "Tally"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: events read, events to read (None: no end), stream time T (epoch ms, None before the first)."""

    events: int
    total: int | None
    time: int | None


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did. ``records`` counts what was published by topic; ``stopped`` says that it was asked to end."""

    predictions: int
    outcomes: int
    matched: int
    waiting: int
    rejected: int
    records: dict[str, int]
    time: int | None
    wall_seconds: float
    commits: int
    stopped: bool
    stalled: dict[str, int] = field(default_factory=dict)
    """Models without labels, and since when (epoch ms)."""
    duplicates_differing: int = 0
    """Predictions whose id was there already with another time, score or segment."""
    unusable: dict[str, int] = field(default_factory=dict)
    """Fields of events, by name, that were given, could not be used and counted as not given: how many."""


@dataclass(slots=True)
class Health:
    """The loop's state for probes: monotonic seconds of its last turn and last commit (None: never), and lags.

    ``ready`` once the state is restored and the inputs were caught up with once; ``lag`` by ``topic/partition`` in
    events, as far as it is known; ``stalled`` says of each that does not move though events are there how it stands;
    ``time`` is T and ``newest`` the newest event's time (epoch ms); ``doing`` says in a
    word or two what the loop does now; ``heard`` is when the transport last answered a question about its logs: while
    nobody answers, silence is no sign that all is read.
    """

    turned: float | None = None
    committed: float | None = None
    heard: float | None = None
    ready: bool = False
    lag: dict[str, int] = field(default_factory=dict)
    stalled: dict[str, str] = field(default_factory=dict)
    time: int | None = None
    newest: int | None = None
    paused: bool = False
    doing: str = "starting"


class Tally:
    """Counts what a run publishes and makes its summary."""

    def __init__(self, rejected_topic: str) -> None:
        self.rejected_topic = rejected_topic
        self.records: Counter[str] = Counter()
        self.commits = 0

    def add(self, records: Iterable[Record]) -> None:
        """Count published records."""
        self.records.update(record.topic for record in records)

    def summary(self, engine: Engine, wall_seconds: float, *, stopped: bool) -> Summary:
        """The summary as of now; ``matched`` leaves out the outcomes that only repeated or corrected another one."""
        joins = [fold.join for fold in engine.models.values()]
        return Summary(
            engine.counts.predictions,
            engine.counts.outcomes,
            sum(join.matched - join.repeated - join.amended for join in joins),
            engine.waiting,
            self.records[self.rejected_topic],
            dict(self.records),
            stream_time(engine),
            wall_seconds,
            self.commits,
            stopped,
            {name: fold.join.stalled_since for name, fold in engine.models.items() if fold.join.stalled_since},
            sum(join.duplicates_differing for join in joins),
            dict(engine.decoder.unusable),
        )


def stream_time(engine: Engine) -> int | None:
    """T, or None before the first event and after the last (``--complete``)."""
    return engine.now if BEGINNING < engine.now < NEVER else None
