"""Small event logs with everything in them that real ones have, from a seed: what the laws are tested on.

Two models are scored on the same topics. Labels come late, early, out of order, twice, corrected or never; KPI values
come after their label. Half-way one model's scores turn wrong and fewer of the other's predictions come true, so that
monitors alarm, thresholds move and calibration maps switch within a few thousand events. Of the partitions one is
always empty, one falls silent, and one is delivered an hour behind the others. Messages that are no events, of more
than twenty classes, can be sprinkled in.

Invariant: a stream is a function of its seed and its arguments, and what is sprinkled in changes no other message.

Streams whose *truth* is known, for judging decisions and not only bytes, are `streameval.stories`: `STORIES` and
`story` are to be had here too.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from streameval.events import rejected
from streameval.stories import STORIES, story

__all__ = ["BAD", "STORIES", "Delivery", "Stream", "settings", "story", "stream"]

START: Final = 1_704_067_200_000
"""2024-01-01, epoch ms: when a stream begins."""
MINUTE: Final = 60_000
HOUR: Final = 3_600_000
PREDICTIONS: Final = "predictions"
OUTCOMES: Final = "outcomes"
EMPTY_PARTITION, IDLE_PARTITION, TRAILING_PARTITION = 3, 2, 1

TURN: Final = 0.5
"""Share of the stream after which one model is wrong."""

Place = tuple[str, int]


class Delivery(NamedTuple):
    """One message: when it reaches its log (epoch ms), which log, what it says, and the reason if it is no event."""

    at: int
    place: Place
    value: bytes
    reason: str | None = None


def _event(at: int, /, **fields: Any) -> bytes:
    base = {"id": "bad", "model": "fraud", "ts": at, "score": 0.5, "label": 1}
    return json.dumps({name: value for name, value in (base | fields).items() if value is not None}).encode()


def _raw(at: int, name: str, text: str) -> bytes:
    return _event(at, **{name: None})[:-1] + f', "{name}": {text}}}'.encode()


BAD: Final[dict[str, Callable[[int], bytes]]] = {
    rejected.EMPTY: lambda ts: b" " * (ts % 3),
    rejected.TOO_LARGE: lambda ts: _event(ts, note="x" * 1_048_576),
    rejected.NOT_UTF8: lambda ts: _event(ts)[:-1] + b', "note": "\xc3"}',
    rejected.BYTE_ORDER_MARK: lambda ts: b"\xef\xbb\xbf" + _event(ts),
    rejected.NOT_JSON: lambda ts: _event(ts) + _event(ts),
    rejected.TRUNCATED: lambda ts: _event(ts)[:-4],
    rejected.LONE_SURROGATE: lambda ts: _raw(ts, "id", '"\\ud800abcdefgh"'),
    rejected.NOT_FINITE: lambda ts: _raw(ts, "ts", "NaN"),
    rejected.HUGE_NUMBER: lambda ts: _raw(ts, "id", "9" * 5000),
    rejected.TOO_DEEP: lambda ts: _raw(ts, "note", "[" * 80 + "]" * 80),
    rejected.NOT_OBJECT: lambda ts: b"[%d]" % ts,
    rejected.DUPLICATE_KEY: lambda ts: _event(ts)[:-1] + b', "id": "another"}',
    rejected.MISSING_FIELD: lambda ts: _event(ts, id=None),
    rejected.WRONG_TYPE: lambda ts: _event(ts, id=[1]),
    rejected.OUT_OF_RANGE: lambda ts: _event(ts, score=1.5, label=7),
    rejected.BAD_STRING: lambda ts: _event(ts, id=""),
    rejected.BAD_TIME: lambda ts: _event(ts, ts="yesterday"),
    rejected.NAIVE_TIME: lambda ts: _event(ts, ts="2024-05-01T12:00:00"),
    rejected.SECONDS_TIME: lambda ts: _event(ts, ts=ts // 1000),
    rejected.MICROSECONDS_TIME: lambda ts: _event(ts, ts=ts * 1000),
    # It moves its partition's clock like any event: an old one moves nothing.
    rejected.UNKNOWN_MODEL: lambda ts: _event(ts - 24 * HOUR, model=f"stranger-{ts % 3}"),
    rejected.FUTURE: lambda ts: _event(ts, ts=ts + 40 * 24 * HOUR),
}
"""Messages that are no events: the reason that each is rejected for, and how to make one near a time (epoch ms)."""


@dataclass(slots=True)
class Stream:
    """Messages in the order in which they are delivered, and the partitions that exist (some may stay empty)."""

    deliveries: list[Delivery]
    places: list[Place]
    bad: Counter[str] = field(default_factory=Counter)
    """How many messages of each reason were sprinkled in."""

    def logs(self, *, before: int | None = None) -> dict[Place, list[bytes]]:
        """Each partition's messages in order; ``before``: only the first so many deliveries of all."""
        logs: dict[Place, list[bytes]] = {place: [] for place in self.places}
        for delivery in self.deliveries[:before]:
            logs[delivery.place].append(delivery.value)
        return logs

    def write(self, path: Path, *, after: int = 0, before: int | None = None) -> None:
        """Append deliveries ``after`` to ``before`` to the logs of a logdir; makes every partition's file."""
        for topic, partition in self.places:
            (path / topic).mkdir(parents=True, exist_ok=True)
            (path / topic / f"{partition}.jsonl").touch()
        lines: dict[Place, list[bytes]] = {}
        for delivery in self.deliveries[after:before]:
            lines.setdefault(delivery.place, []).append(delivery.value + b"\n")
        for (topic, partition), values in lines.items():
            with (path / topic / f"{partition}.jsonl").open("ab") as log:
                log.writelines(values)

    def without_bad(self) -> Stream:
        """The events alone."""
        return Stream([d for d in self.deliveries if d.reason is None], self.places)

    def saying(self, said: Callable[[random.Random], dict[str, Any]], seed: int) -> Stream:
        """The events, of which predictions say other things: the same of each id, whatever its model."""
        choose = random.Random(seed)  # noqa: S311 - a test stream, no secret
        of: dict[Any, dict[str, Any]] = {}
        deliveries = []
        for delivery in self.without_bad().deliveries:
            if delivery.place[0] == PREDICTIONS:
                event = json.loads(delivery.value)
                if event["id"] not in of:
                    of[event["id"]] = said(choose)
                delivery = delivery._replace(value=json.dumps(event | of[event["id"]]).encode())  # noqa: PLW2901
            deliveries.append(delivery)
        return Stream(deliveries, self.places)

    def with_duplicates(self, seed: int, *, within: int = HOUR) -> Stream:
        """Every message delivered a second time, later in its log, by at most ``within`` (ms)."""
        choose = random.Random(seed)  # noqa: S311 - a test stream, no secret
        again = [d._replace(at=d.at + choose.randint(0, within)) for d in self.deliveries]
        return Stream(_in_order([*self.deliveries, *again]), self.places, self.bad + self.bad)


def settings(path: Path | str, state: Path | str, **changes: Any) -> dict[str, Any]:
    """A configuration for the streams of this module, impatient enough to decide within a few thousand events.

    Args:
        path: directory of the logs.
        state: directory of the state.
        changes: top-level keys to set or replace.
    """
    base: dict[str, Any] = {
        "transport": {"kind": "logdir", "path": str(path)},
        "state": str(state),
        "commit": {"every": "1h", "outputs": 10},
        "labels": {"wait": "3h", "early": "1h", "amend": "6h", "give_up": "12h"},
        "reference": {"events": 150, "positives": 20},
        "evaluate": {"events": 40, "every": "4h", "window": 500, "publish_every": "2h", "river": ["F1"]},
        "calibration": {"half_life": 150},
        "thresholds": {"positives": 20, "cooldown": 120, "z": 1.0},
        # Thresholds move so often here that with own actions every change would be confounded.
        "drift": {"promise": "2d", "advisory": ["ADWIN"], "own_actions": "never", "diagnosis_events": 3000},
        "retraining": {"cooldown": "12h", "margin": 0.0},
        "retire_after": "9h",
        "rejected": {"per_interval": 2},
        "models": [
            {
                "name": "fraud",
                "objective": {"kind": "cost", "fp": 1, "fn": 5},
                "labels": {"missing": "negative"},
                "segments": ["country"],
                "kpis": {"revenue": {"scale": 0.01}},
            },
            {"name": "churn", "objective": {"kind": "f_beta"}, "labels": {"missing": "drop"}},
        ],
    }
    return base | changes


def stream(
    seed: int = 0,
    *,
    events: int = 2000,
    gap: float = 60_000.0,
    bad: float = 0.0,
    late: float = 0.01,
    classes: Mapping[str, Callable[[int], bytes]] = BAD,
    start: int = START,
) -> Stream:
    """A stream of so many predictions, of which about two thirds get outcomes.

    Args:
        seed: everything random follows from it.
        events: predictions.
        gap: mean time between two of them (ms).
        bad: messages that are no events, as a share of all others.
        late: share of the predictions that come hours after their time.
        classes: what is sprinkled in (see `BAD`).
        start: when it begins (epoch ms).

    >>> sorted(stream(1, events=50).logs()) == sorted(stream(2, events=50).logs())
    True
    >>> stream(1, events=50).logs() == stream(1, events=50).logs()
    True
    """
    choose = random.Random(seed)  # noqa: S311 - a test stream, no secret
    places = [(topic, p) for topic in (PREDICTIONS, OUTCOMES) for p in range(EMPTY_PARTITION + 1)]
    deliveries: list[Delivery] = []
    clock = float(start)
    for number in range(events):
        clock += choose.expovariate(1 / gap)
        ts, progress = int(clock), number / events
        tardy = choose.random() < late
        deliveries += _prediction_and_outcomes(choose, number, ts, progress, tardy)
    _sprinkle(deliveries, random.Random(seed + 1), bad, classes)  # noqa: S311
    found = Counter(delivery.reason for delivery in deliveries if delivery.reason is not None)
    return Stream(_in_order(deliveries), places, found)


def _prediction_and_outcomes(
    choose: random.Random, number: int, ts: int, progress: float, tardy: bool
) -> list[Delivery]:
    score = round(choose.betavariate(1.2, 2.0), 6)
    true = 1 / (1 + math.exp(-1.6 * math.log(max(score, 1e-6) / max(1 - score, 1e-6)) - 0.2))
    models = ["fraud"] if number % 3 else ["fraud", "churn"]
    if progress > TURN:
        true = 0.75 * true if number % 3 == 0 else 1 - true
    label = int(choose.random() < true)
    version = "1" if progress < choose.uniform(0.1, 0.2) else "2"
    segments = {"country": choose.choice(["DE", "FR", "IT"])} if choose.random() < 0.95 else {}
    place = _place(choose, PREDICTIONS, progress)
    name = f"e{number}"
    deliveries = []
    for model in models:
        event: dict[str, Any] = {"id": name, "model": model, "ts": _time(choose, ts), "score": score}
        event |= {"version": version, "segments": segments}
        delay = choose.randint(8 * HOUR, 20 * HOUR) if tardy else choose.randint(0, 40_000)
        deliveries.append(_delivery(ts + delay, place, event))
    kind = choose.random()
    if kind < 0.3:
        return deliveries
    # Mostly an hour or two, sometimes before the prediction, sometimes after its maturity.
    wait = choose.randint(-10 * MINUTE, 0) if kind < 0.35 else int(choose.expovariate(1 / HOUR))
    outcome: dict[str, Any] = {"id": name, "ts": _time(choose, ts + wait), "label": label}
    if choose.random() < 0.3:
        outcome["values"] = {"revenue": round(choose.gauss(10, 5), 2)}
    if choose.random() < 0.2:
        outcome["model"] = models[-1]
    place = _place(choose, OUTCOMES, progress)
    deliveries.append(_delivery(ts + wait + choose.randint(0, 20 * MINUTE), place, outcome))
    again = choose.random()
    if again < 0.05:
        deliveries.append(_delivery(ts + wait + choose.randint(0, 2 * HOUR), place, outcome))
    elif again < 0.12:
        later = wait + choose.randint(0, 9 * HOUR)
        changed = {"id": name, "ts": _time(choose, ts + later), "label": 1 - label}
        deliveries.append(_delivery(ts + later, _place(choose, OUTCOMES, progress), changed))
    elif again < 0.17:
        later = wait + choose.randint(0, 4 * HOUR)
        value = {"id": name, "ts": _time(choose, ts + later), "values": {"revenue": round(choose.gauss(5, 3), 2)}}
        deliveries.append(_delivery(ts + later, _place(choose, OUTCOMES, progress), value))
    return deliveries


def _place(choose: random.Random, topic: str, progress: float) -> Place:
    partition = choose.choice([0, 0, TRAILING_PARTITION, IDLE_PARTITION])
    if partition == IDLE_PARTITION and progress > 0.4:
        partition = 0
    return topic, partition


def _time(choose: random.Random, ts: int) -> Any:
    if choose.random() < 0.9:
        return ts
    seconds, milliseconds = divmod(ts, 1000)
    days, rest = divmod(seconds - START // 1000, 86_400)
    # Within the 31 days of the first month a date needs no calendar.
    if not 0 <= days < 31:
        return ts
    hour, minute = divmod(rest // 60, 60)
    return f"2024-01-{days + 1:02}T{hour:02}:{minute:02}:{rest % 60:02}.{milliseconds:03}Z"


def _delivery(at: int, place: Place, event: dict[str, Any]) -> Delivery:
    return Delivery(at + HOUR * (place[1] == TRAILING_PARTITION), place, json.dumps(event).encode())


def _sprinkle(
    deliveries: list[Delivery], choose: random.Random, share: float, classes: Mapping[str, Callable[[int], bytes]]
) -> None:
    if not share:
        return
    names = list(classes)
    first, last = min(d.at for d in deliveries), max(d.at for d in deliveries)
    for number in range(max(round(share * len(deliveries)), 1)):
        reason = names[number % len(names)]
        at = choose.randint(first, last)
        place = choose.choice([PREDICTIONS, OUTCOMES]), choose.choice([0, TRAILING_PARTITION])
        if reason == rejected.FUTURE:
            # The first event of a log cannot be absurd, and no event would follow the last one to refute it.
            at = min(max(at, first + 2 * HOUR), last - 3 * HOUR)
        deliveries.append(Delivery(at, place, classes[reason](at), reason))


def _in_order(deliveries: list[Delivery]) -> list[Delivery]:
    return sorted(deliveries, key=lambda delivery: delivery.at)
