"""The remembered past of one key (model, version, segment), as a person will want to see it.

Invariant: a series is bounded whatever length of stream it is fed: the metric history is thinned (`History`), the rarer
records are kept as the latest few with a count of those dropped. Thinning depends on the order of records alone, so the
same records give the same series. Times are epoch milliseconds, UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

HISTORY = 2000
"""Metric points kept of a whole model; beyond it every second one goes."""
SEGMENT_HISTORY = 500
"""Metric points kept of a segment; a model may have a hundred."""
KEPT = 500
"""Threshold moves, alarms, requests and maps kept per key, the latest."""


class Key(msgspec.Struct, frozen=True, order=True):
    """What a record is about: a model, its version, and a segment `name=value`, or `*` for all of it."""

    model: str
    version: str
    segment: str = "*"

    @property
    def whole(self) -> bool:
        """Whether the key covers all of the model's events."""
        return self.segment == "*"


class Estimate(msgspec.Struct, frozen=True):
    """A number with its interval; the ends are None where the record gave none."""

    value: float
    low: float | None = None
    high: float | None = None


class Window(msgspec.Struct, frozen=True):
    """Half-open span of prediction time (ms) and how many matured, labelled events lie in it."""

    start: int
    end: int
    events: int


class Bin(msgspec.Struct, frozen=True):
    """One bin of a reliability diagram: the mean score and the observed share of positives with its interval."""

    score: float
    observed: float
    low: float | None
    high: float | None
    events: float


class Labels(msgspec.Struct, frozen=True):
    """How the labels of matured predictions came: delays (ms) of half and of nine in ten, and shares."""

    p50: int | None = None
    p90: int | None = None
    labelled: float | None = None
    late_positives: float | None = None
    waiting: int | None = None


class Measured(msgspec.Struct, frozen=True):
    """One metrics record; `fused` and `estimated` speak of its own time, all else of its window.

    `silent` says in a word why there are no `estimated` metrics; `gap` is by how much a metric lies above the reference
    report's.
    """

    at: int
    window: Window
    metrics: dict[str, Estimate]
    labelled: Estimate | None = None
    label_free: Estimate | None = None
    fused: Estimate | None = None
    provisional: Estimate | None = None
    estimated: dict[str, Estimate] = {}
    silent: str | None = None
    gap: dict[str, Estimate] = {}
    labels: Labels | None = None
    threshold: float | None = None
    phase: str | None = None
    confusion: dict[str, float] = {}
    reliability: tuple[Bin, ...] = ()


class Move(msgspec.Struct, frozen=True):
    """One threshold record: a threshold that came into force, and why; `previous` is None for the first."""

    at: int
    threshold: float
    previous: float | None = None
    calibrated: float | None = None
    reason: str = ""
    gain: Estimate | None = None
    objective: dict[str, Any] = {}


class Alarm(msgspec.Struct, frozen=True):
    """One drift record; `diagnosis` is the state that the tests found, None while there is no diagnosis."""

    at: int
    monitor: str
    tier: str
    direction: str | None = None
    statistic: float | None = None
    change_at: int | None = None
    diagnosis: str | None = None
    tests: dict[str, Any] = {}
    before: Estimate | None = None
    after: Estimate | None = None
    alarm_at: int | None = None

    @property
    def confirmed(self) -> bool:
        """Whether the alarm may lead to action; advisory ones never do."""
        return self.tier == "confirmed"


class Request(msgspec.Struct, frozen=True):
    """One retrain record: the worker asks for a new model.

    `excess` is by how much the best cost that this model can still reach exceeds a sound model's, as a share.
    """

    at: int
    reason: str
    diagnosis: str | None = None
    excess: float | None = None


class Map(msgspec.Struct, frozen=True):
    """One calibration record: the champion from then on, its knots, and its measures before and after."""

    at: int
    method: str
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    before: dict[str, float] = {}
    after: dict[str, float] = {}


class Comparison(msgspec.Struct, frozen=True):
    """The latest alignment record of one KPI: `against` names the other version, None compares over time.

    `recent` holds (fall of the loss, change of the KPI for the better, decided) of the latest pairs.
    """

    at: int
    loss: str
    kpi: str
    basis: str
    disagreement: Estimate | None
    undecided: float
    pairs: int
    tau: Estimate | None = None
    correlation: float | None = None
    regret: float | None = None
    goodhart: bool | None = None
    against: str | None = None
    recent: tuple[tuple[float, float, bool], ...] = ()


class History(msgspec.Struct):
    """Metric points, thinned: every `stride`-th of all that came, and always the first and the last.

    Of the last point all is kept, of the others only what a time line shows: no reliability and no confusion.

    >>> history = History()
    >>> for at in range(10_000):
    ...     history.add(Measured(at=at, window=Window(at, at + 1, 1), metrics={}), limit=100)
    >>> points = list(history)
    >>> len(points) <= 101, points[0].at, points[-1].at
    (True, 0, 9999)
    """

    points: list[Measured] = []
    last: Measured | None = None
    seen: int = 0
    stride: int = 1

    def add(self, point: Measured, limit: int = HISTORY) -> None:
        """Take the next point; `limit` >= 2 is how many are kept besides the last."""
        if self._due(self.seen) and len(self.points) >= limit:
            self.points = self.points[::2]
            self.stride *= 2
        # After a doubling the new point may be off the new grid: then it is only the last one.
        if self._due(self.seen):
            self.points.append(msgspec.structs.replace(point, reliability=(), confusion={}))
        self.seen += 1
        self.last = point

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Measured]:
        if self.last is not None:
            yield from self.points[:-1] if self._due(self.seen - 1) else self.points
            yield self.last

    def _due(self, number: int) -> bool:
        return number % self.stride == 0


class Series(msgspec.Struct):
    """All that is remembered of one key; `place` numbers the segments of a version from 1, a whole has 0."""

    key: Key
    history: History = msgspec.field(default_factory=History)
    moves: list[Move] = []
    alarms: list[Alarm] = []
    requests: list[Request] = []
    maps: list[Map] = []
    dropped: dict[str, int] = {}
    first: Measured | None = None
    phases: list[tuple[int, str]] = []
    retired_at: int | None = None
    place: int = 0
    comparisons: dict[str, Comparison] = {}

    def measured(self, point: Measured, limit: int | None = None) -> None:
        """Take a metrics record; `limit` >= 2 is how many are kept, where that is less than usual."""
        usual = HISTORY if self.key.whole else SEGMENT_HISTORY
        self.history.add(point, usual if limit is None else min(limit, usual))
        if self.first is None or (point.reliability and not self.first.reliability):
            self.first = point
        if point.phase is not None and (not self.phases or self.phases[-1][1] != point.phase):
            self._keep("phases", self.phases, (point.at, point.phase))

    def moved(self, move: Move) -> None:
        """Take a threshold record."""
        self._keep("thresholds", self.moves, move)

    def mapped(self, champion: Map) -> None:
        """Take a calibration record."""
        self._keep("calibration", self.maps, champion)

    def compared(self, known: Comparison) -> None:
        """Take an alignment record: the latest of each KPI and each pair of versions is kept."""
        self.comparisons[f"{known.kpi}/{known.against or ''}"] = known

    def requested(self, request: Request) -> None:
        """Take a retrain record."""
        self._keep("retrain", self.requests, request)

    def alarmed(self, alarm: Alarm) -> None:
        """Take a drift record; a later record about the same change (its diagnosis) takes the earlier one's place."""
        for place, earlier in enumerate(self.alarms):
            if _of_one_change(earlier, alarm):
                self.alarms[place] = msgspec.structs.replace(alarm, at=earlier.at)
                return
        self._keep("drift", self.alarms, alarm)

    @property
    def last_confirmed(self) -> Alarm | None:
        """The newest alarm that may lead to action."""
        return next((alarm for alarm in reversed(self.alarms) if alarm.confirmed), None)

    @property
    def recovered_at(self) -> int | None:
        """When learning after the newest confirmed alarm had ended; None while it has not, or without alarm.

        An alarm sends its monitors back to learning, so it is over at the first "watching" that follows a "learning".
        """
        alarm = self.last_confirmed
        if alarm is None:
            return None
        # An alarm of the guard comes while they still learn.
        before = [phase for at, phase in self.phases if at < alarm.at]
        learning = before[-1:] == ["learning"]
        for at, phase in self.phases:
            if at >= alarm.at:
                if learning and phase == "watching":
                    return at
                learning = learning or phase == "learning"
        return None

    @property
    def remapped(self) -> list[Map]:
        """The maps with which the method changed: a map that is published again because it learnt on is no event."""
        before = ["identity", *(champion.method for champion in self.maps)]
        return [champion for champion, method in zip(self.maps, before, strict=False) if champion.method != method]

    @property
    def threshold(self) -> float | None:
        """The threshold in force: of the newest threshold record, else of the newest metrics record."""
        if self.moves:
            return self.moves[-1].threshold
        return self.history.last.threshold if self.history.last else None

    def _keep(self, name: str, past: list[Any], record: object) -> None:
        past.append(record)
        if len(past) > KEPT:
            del past[0]
            self.dropped[name] = self.dropped.get(name, 0) + 1


def _of_one_change(earlier: Alarm, alarm: Alarm) -> bool:
    if (earlier.tier, earlier.monitor, earlier.direction) != (alarm.tier, alarm.monitor, alarm.direction):
        return False
    if alarm.alarm_at is not None:
        return alarm.alarm_at in (earlier.alarm_at, earlier.at)
    return alarm.change_at is not None and alarm.change_at == earlier.change_at
