"""The status page of a running worker: the report's renderer over a snapshot that is kept up to date.

The document carries what is known when it is asked for; its script asks for `page.json` every few seconds and changes
what has changed. Pictures are made for the series that somebody looks at, and only when a record of theirs has come.

Invariant: nothing is asked of another host (the content security policy forbids it); a name that came from people's
data is escaped where it enters.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator, Mapping
from string import Template
from typing import Any, Final

import msgspec
import xxhash

from streameval.serve import words
from streameval.serve.assets import text
from streameval.serve.figures import POINTS, Drawing, drawing
from streameval.serve.parts import counters, happened, header, model_section, rejected, tiles
from streameval.serve.picture import Picture
from streameval.serve.probes import Verdict
from streameval.serve.series import Key, Series
from streameval.serve.vitals import ModelVitals, Vitals

__all__ = ["FIRST", "POLICY", "LivePage"]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FIRST: Final = 4
"""Models whose pictures come with the first answer; the others' come when they are scrolled to."""
EVERY = 2000
"""Milliseconds between two questions of the page's script."""
DRAWN: Final = 24
"""Series drawn for one answer, at most."""
ROWS: Final = 100
"""Lines of the table of what happened."""
AWAY: Final = 60.0
"""Seconds without an answer of the transport that are told; it is asked every five seconds, and may be slow."""


class LivePage:
    """Draws the page of a worker.

    Args:
        title: Its first line.
        picture: The worker's records.
    """

    def __init__(self, title: str, picture: Picture) -> None:
        self.title = title
        self.picture = picture
        self._drawn: dict[Key, tuple[int, Drawing]] = {}

    def document(self, vitals: Vitals | None, live: Verdict, ready: Verdict) -> str:
        """The whole page but its pictures."""
        return Template(text("live.html")).substitute(
            title=html.escape(self.title), every=EVERY, body=self._body(vitals, live, ready, {}, {})
        )

    def update(
        self, vitals: Vitals | None, live: Verdict, ready: Verdict, wanted: Collection[str] | None
    ) -> dict[str, Any]:
        """What the page's script needs: the body, and the figures of the series ``wanted`` (None: the first few)."""
        snapshot = self.picture.snapshot
        names = self._names()
        if wanted is None:
            keys = [Key(*own) for own in snapshot.models[:FIRST] if snapshot.get(Key(*own)) is not None]
        else:
            keys = [key for key, name in names.items() if name in wanted][:DRAWN]
        drawn = {key: self._drawing(key) for key in keys}
        self._drawn = {key: kept for key, kept in self._drawn.items() if key in names}
        return {
            "body": self._body(vitals, live, ready, {(key.model, key.version): key for key in keys}, drawn),
            "figures": {
                names[key]: {
                    "version": self.picture.version(key),
                    "times": one.times,
                    "figures": [{"data": f.data, "layout": f.layout, "timed": f.timed} for f in one.figures],
                }
                for key, one in drawn.items()
            },
        }

    def _drawing(self, key: Key) -> Drawing:
        version = self.picture.version(key)
        if key not in self._drawn or self._drawn[key][0] != version:
            series = self.picture.snapshot.get(key)
            self._drawn[key] = (version, Drawing([], {}) if series is None else drawing(series, POINTS))
        return self._drawn[key][1]

    def _names(self) -> dict[Key, str]:
        """A name for each series that outlives the coming and going of others and has no character to escape."""
        return {series.key: _named(series.key) for series in self.picture.snapshot.series}

    def _body(
        self,
        vitals: Vitals | None,
        live: Verdict,
        ready: Verdict,
        chosen: Mapping[tuple[str, str], Key],
        drawn: Mapping[Key, Drawing],
    ) -> str:
        snapshot = self.picture.snapshot
        snapshot.facts = facts(vitals)
        names = self._names()
        sections = [self._section(own, names, drawn, chosen.get(own, Key(*own)), vitals) for own in snapshot.models]
        nothing = "" if sections else '<p class="card">Nothing has been published yet.</p>'
        return "\n".join(
            [
                header(snapshot, self.title, worker(vitals, live, ready)),
                nothing,
                counters(snapshot),
                *sections,
                happened(snapshot, ROWS),
                rejected(snapshot),
            ]
        )

    def _section(
        self,
        own: tuple[str, str],
        names: Mapping[Key, str],
        drawn: Mapping[Key, Drawing],
        chosen: Key,
        vitals: Vitals | None,
    ) -> str:
        snapshot = self.picture.snapshot
        if snapshot.get(chosen) is None:  # only segments have spoken yet
            chosen = snapshot.of(*own)[0].key
        series = snapshot.get(chosen)
        now = "" if series is None else tiles(_now(series, None if vitals is None else vitals.models.get(own[0])))
        return model_section(snapshot, *own, names, drawn, chosen, now)


def _now(series: Series, join: ModelVitals | None) -> Iterator[tuple[str, str]]:
    """What a person on call asks first about one series: what is in force, and whether labels come."""
    last = series.history.last
    yield "threshold in force", words.number(series.threshold)
    mapped = bool(series.maps) and series.maps[-1].method != "identity"
    yield "recalibration", html.escape(words.method(series.maps[-1].method)) if mapped else "none"
    if last is not None:
        yield "monitors are", html.escape(last.phase or "–")
        yield "labelled events in the window", words.number(last.window.events)
    if join is not None:
        yield "predictions waiting", words.number(join.waiting)
        if join.stalled_since is not None:
            yield "labels", f'<span class="kind confirmed">none since {words.moment(join.stalled_since)}</span>'
    if last is not None and last.labels is not None and last.labels.p90 is not None:
        yield "nine of ten labels within", words.seconds(last.labels.p90 / 1000)
    if last is not None and last.silent is not None:
        yield "before labels", f"silent: {html.escape(words.reason(last.silent))}"


def _named(key: Key) -> str:
    return f"s{xxhash.xxh3_64_hexdigest(msgspec.json.encode(key))}"


def facts(vitals: Vitals | None) -> dict[str, Any]:
    """What the tiles say of a worker."""
    if vitals is None:
        return {}
    told: dict[str, Any] = {
        "predictions since the start": vitals.predictions,
        "outcomes since the start": vitals.outcomes,
        "joined since the start": sum(m.matched - m.amended - m.repeated for m in vitals.models.values()),
        "waiting": vitals.waiting,
    }
    if vitals.time is not None:
        told["time"] = vitals.time
    if vitals.lag is not None:
        told["lag"] = vitals.lag
    return told


def worker(vitals: Vitals | None, live: Verdict, ready: Verdict) -> str:
    """What the worker itself does, in a sentence: a stalled or trailing one makes all else on the page old."""
    kind = "drifted" if not live.good else "learning" if not ready.good else "healthy"
    dot = '<span class="dot" aria-hidden="true"></span>'
    return f'<p class="worker {kind}">{dot}{html.escape(said(vitals, live, ready))}</p>'


def said(vitals: Vitals | None, live: Verdict, ready: Verdict) -> str:
    """The worker's state in a sentence.

    >>> said(None, Verdict(True, "starting: restoring the state"), Verdict(False, ""))
    'The worker is starting: restoring the state.'
    >>> said(None, Verdict(False, "the loop has stood still for 5 min, while committing"), Verdict(True, ""))
    'The worker is stuck: the loop has stood still for 5 min, while committing.'
    >>> said(Vitals(wall=1000.0, heard=700.0), Verdict(True, ""), Verdict(True, ""))
    'The worker waits for its transport; nobody has answered for 5 min.'
    """
    if not live.good:
        return f"The worker is stuck: {live.reason}."
    if vitals is None:
        return f"The worker is {live.reason}."
    silent = 0.0 if vitals.heard is None else vitals.wall - vitals.heard
    parts = [_reading(vitals, ready) if silent <= AWAY else "The worker waits for its transport"]
    if silent > AWAY:
        parts.append(f"nobody has answered for {words.seconds(silent)}")
    if vitals.committed is not None:
        parts.append(f"last commit {words.seconds(max(vitals.wall - vitals.committed, 0))} ago")
    stalled = sorted(name for name, model in vitals.models.items() if model.stalled_since is not None)
    if stalled:
        parts.append(f"no labels flow for {words.listing(stalled)}: nothing that needs them is decided")
    return f"{'; '.join(parts)}."


def _reading(vitals: Vitals, ready: Verdict) -> str:
    if vitals.paused:
        return "Reading of predictions is paused: as many wait for outcomes as max_rows allows"
    lag = "" if vitals.lag is None else f": {words.count(vitals.lag, 'event')} to read"
    if not ready.good:
        return f"The worker is catching up{lag}"
    return f"The worker keeps up{lag}" if vitals.lag else "The worker keeps up with its logs"
