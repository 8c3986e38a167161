"""A model's state in one plain sentence: what it is, why, since when, and what was done about it.

Invariant: the sentence says nothing that is not in a record. A confirmed alarm means *drifted* until its monitors have
learnt anew (the phase went to learning and came back to watching), or its diagnosis found no change. Where a new model
was asked for, what was learnt anew is what a worse model does: it stays *drifted* until another change or its end.
"""

from __future__ import annotations

from typing import Literal

from streameval.serve import words
from streameval.serve.series import Alarm, Key, Series

State = Literal["waiting", "learning", "healthy", "drifted", "retired"]


def state(series: Series | None) -> State:
    """The state of a key; a key without any metrics record waits for its first labels."""
    if series is None:
        return "waiting"
    if series.retired_at is not None:
        return "retired"
    alarm = series.last_confirmed
    if alarm is not None and alarm.diagnosis != "none" and (series.recovered_at is None or _asked(series, alarm)):
        return "drifted"
    if series.history.last is None:
        return "waiting"
    return "learning" if series.history.last.phase == "learning" else "healthy"


def _asked(series: Series, alarm: Alarm) -> bool:
    return any(request.at >= alarm.at for request in series.requests)


def sentence(key: Key, series: Series | None, segments: list[Series]) -> str:
    """The sentence of `key`; `segments` are the series of its segments where the key is the whole."""
    who = key.model if key.whole else f"{key.model} where {key.segment}"
    now = state(series)
    if series is None or now == "waiting":
        return f"{who} waits for its first matured labels: no metrics yet."
    if series.retired_at is not None:
        return f"{who} has ended: version {key.version} was last seen before {words.moment(series.retired_at)} UTC."
    alarm = series.last_confirmed
    if now == "drifted" and alarm is not None:
        text = _drifted(who, series, alarm)
    elif now == "learning":
        text = _learning(who, series)
    else:
        text = _healthy(who, series, alarm)
    if key.whole:
        drifted = [s.key.segment for s in segments if state(s) == "drifted"]
        if drifted:
            few = words.listing(drifted[:3] if len(drifted) <= 3 else [*drifted[:3], f"{len(drifted) - 3} more"])
            text += f" Also drifted: {few}."
    return text


def _drifted(who: str, series: Series, alarm: Alarm) -> str:
    began = alarm.change_at if alarm.change_at is not None else alarm.at
    what = f"{words.change(alarm.monitor, alarm.direction)}, since about {words.day(began)}"
    if alarm.diagnosis == "confounded":
        text = (
            f"{who} changed: {what} (confirmed {words.day(alarm.at)}). A threshold of ours moved near it, so it cannot"
            " be told from what our own decisions did."
        )
    else:
        found = f"; diagnosis: {words.reason(alarm.diagnosis)}" if alarm.diagnosis else ""
        text = f"{who} drifted: {what} (confirmed {words.day(alarm.at)}{found})."
    done = _done(series, alarm.at)
    return f"{text} {_capital(words.listing(done))}." if done else f"{text} Nothing was changed since."


def _done(series: Series, since: int) -> list[str]:
    done = []
    moves = [move for move in series.moves if move.at >= since and move.previous is not None]
    if moves:
        times = "" if len(moves) == 1 else f" in {len(moves)} moves"
        before = moves[0].previous
        origin = "" if before is None else f" from {words.number(before)}"
        done.append(f"the threshold went{origin} to {words.number(moves[-1].threshold)}{times}")
    maps = [champion for champion in series.remapped if champion.at >= since]
    if maps:
        known = (
            "read as they are" if maps[-1].method == "identity" else f"recalibrated by {words.method(maps[-1].method)}"
        )
        done.append(f"scores are {known} ({words.day(maps[-1].at)})")
    requests = [request for request in series.requests if request.at >= since]
    if requests:
        done.append(f"retraining was asked for on {words.day(requests[0].at)}")
    # While it is not healthy again it is always learning anew, but that is news only once a record says so.
    if series.history.last is not None and series.history.last.phase == "learning":
        done.append("what is normal now is being learnt anew")
    elif series.recovered_at is not None:
        done.append(f"what it does now has been learnt and is watched ({words.day(series.recovered_at)})")
    return done


def _learning(who: str, series: Series) -> str:
    since = series.phases[-1][0] if series.phases else None
    when = "" if since is None else f" (since {words.day(since)})"
    return f"{who} is learning what normal looks like{when}: {_figures(series)}."


def _healthy(who: str, series: Series, alarm: Alarm | None) -> str:
    text = f"{who} is healthy: {_figures(series)}"
    if alarm is None:
        watching = next((at for at, phase in series.phases if phase == "watching"), None)
        return text + (f". No confirmed change since {words.day(watching)}." if watching is not None else ".")
    if alarm.diagnosis == "none":
        return f"{text}. The alarm of {words.day(alarm.at)} ({words.monitor(alarm.monitor)}) turned out to be none."
    ended = words.day(series.recovered_at)
    confirmed = sum(a.confirmed for a in series.alarms)
    last = f"the last of {words.count(confirmed, 'confirmed change')}" if confirmed > 1 else "the one confirmed change"
    return (
        f"{text}. It watches again since {ended}, after {last}"
        f" ({words.change(alarm.monitor, alarm.direction)}, {words.day(alarm.at)})."
    )


def _figures(series: Series) -> str:
    last = series.history.last
    if last is None:
        return "no metrics yet"
    shown = [name for name in ("cost", "log_loss", "auc") if name in last.metrics]
    figures = [
        f"{_mid(words.metric(name))} {words.number(last.metrics[name].value)}{_once(series, name)}" for name in shown
    ]
    if series.threshold is not None:
        figures.append(f"threshold {words.number(series.threshold)}")
    return f"{words.listing(figures)} over the last {words.count(last.window.events, 'labelled event')}"


def _once(series: Series, name: str) -> str:
    """What a metric was in the first window, where it is worse now beyond doubt: a slow loss may raise no alarm."""
    first, last = series.first, series.history.last
    if first is None or last is None or name not in first.metrics:
        return ""
    then, now = first.metrics[name], last.metrics[name]
    if then.low is None or then.high is None or now.low is None or now.high is None:
        return ""
    worse = now.high < then.low if words.METRICS[name][1] == "higher" else now.low > then.high
    return f" (at first {words.number(then.value)})" if worse else ""


def _mid(title: str) -> str:
    return title if title.isupper() else title[0].lower() + title[1:]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
