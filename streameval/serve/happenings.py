"""What happened, as a list a person can read from top to bottom.

Invariant: one line a decision, in order of time; runs of advisory alarms of one monitor become one line, because an
advisory alarm never changes anything by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from streameval.serve import words
from streameval.serve.series import Alarm, Key, Map, Move, Request, Series

Kind = Literal["confirmed", "advisory", "threshold", "calibration", "retrain", "learnt"]
LABELS: dict[Kind, str] = {
    "confirmed": "Confirmed change",
    "advisory": "Advisory alarm",
    "threshold": "Threshold moved",
    "calibration": "Recalibrated",
    "retrain": "Retraining asked for",
    "learnt": "Watching",
}

_LEARNT = ("learning ended", "enough is known of what is normal to see a change")


class Happening(NamedTuple):
    """One line: when (ms), about what, of which kind, what and why."""

    at: int
    key: Key
    kind: Kind
    what: str
    why: str


def happenings(series: Iterable[Series], *, each: bool = False) -> list[Happening]:
    """All that happened to the given series, oldest first; with `each`, every advisory alarm has a line of its own."""
    found: list[Happening] = []
    for one in series:
        found += (_move(one.key, move) for move in one.moves)
        found += (_champion(one.key, champion) for champion in one.remapped)
        found += (_request(one.key, request) for request in one.requests)
        found += (_alarm(one.key, alarm) for alarm in one.alarms if each or alarm.confirmed)
        found += [] if each else _advisories(one)
        found += (Happening(at, one.key, "learnt", *_LEARNT) for at, phase in one.phases if phase == "watching")
    found.sort(key=lambda h: (h.at, h.key, list(LABELS).index(h.kind), h.what))
    return found


def _move(key: Key, move: Move) -> Happening:
    what = words.number(move.threshold)
    what = f"first {what}" if move.previous is None else f"{words.number(move.previous)} → {what}"
    why = words.reason(move.reason)
    if move.gain is not None:
        why += f"; expected gain {words.interval(move.gain.value, move.gain.low, move.gain.high)}"
    return Happening(move.at, key, "threshold", what, why)


def _champion(key: Key, champion: Map) -> Happening:
    before, after = champion.before.get("log_loss"), champion.after.get("log_loss")
    why = "" if before is None or after is None else f"log loss {words.number(before)} → {words.number(after)}"
    return Happening(champion.at, key, "calibration", words.method(champion.method), why)


def _request(key: Key, request: Request) -> Happening:
    why = [words.diagnosis(request.diagnosis)] if request.diagnosis else []
    if request.excess is not None:
        why.append(f"at best its cost stays {words.percent(request.excess)} above a sound model's")
    return Happening(request.at, key, "retrain", words.reason(request.reason), "; ".join(why))


def _alarm(key: Key, alarm: Alarm) -> Happening:
    why = []
    if alarm.change_at is not None:
        why.append(f"since about {words.moment(alarm.change_at)}")
    if alarm.before is not None and alarm.after is not None:
        why.append(f"mean {words.number(alarm.before.value)} → {words.number(alarm.after.value)}")
    if alarm.diagnosis is not None:
        why.append(words.diagnosis(alarm.diagnosis))
    kind: Kind = "confirmed" if alarm.confirmed else "advisory"
    return Happening(alarm.at, key, kind, words.change(alarm.monitor, alarm.direction), "; ".join(why))


def _advisories(series: Series) -> list[Happening]:
    """Advisory alarms, those of one monitor between two confirmed alarms together in one line."""
    lines: list[Happening] = []
    runs: dict[tuple[str, str | None], list[Alarm]] = {}

    def close() -> None:
        for run in runs.values():
            first = _alarm(series.key, run[0])
            if len(run) > 1:
                first = first._replace(why=f"{len(run)} times until {words.moment(run[-1].at)}")
            lines.append(first)
        runs.clear()

    for alarm in sorted(series.alarms, key=lambda a: a.at):
        if alarm.confirmed:
            close()
        else:
            runs.setdefault((alarm.monitor, alarm.direction), []).append(alarm)
    close()
    return lines
