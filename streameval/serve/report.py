"""The page: one self-contained HTML document drawn from a snapshot.

Invariant: the page asks nothing of any host (its content security policy forbids it to), its bytes are a function of
the snapshot, and every name that came from people's data is escaped where it enters the page. The report of a finished
run and the page of a live daemon are this one renderer.
"""

from __future__ import annotations

import html
from functools import cache
from importlib import resources
from string import Template
from typing import Any
from urllib.parse import unquote

import msgspec
import plotly.offline

from streameval.records import rfc3339
from streameval.serve import words
from streameval.serve.figures import Drawing, drawings
from streameval.serve.happenings import LABELS, Happening, happenings
from streameval.serve.sentence import State
from streameval.serve.series import Estimate, Key, Series
from streameval.serve.snapshot import Snapshot

ROWS = 300
"""Lines of the table of what happened, the latest."""

_BADGES: dict[State, str] = {
    "healthy": "✓ healthy",
    "learning": "◔ learning",
    "drifted": "▲ drifted",
    "waiting": "… waiting",
    "retired": "■ ended",
}
_FACTS = {
    "read": "events read",
    "predictions": "predictions",
    "outcomes": "outcomes",
    "joined": "joined",
    "waiting": "waiting for outcomes",
    "rejected": "rejected",
    "time": "stream time (UTC)",
    "rate": "events a second",
    "wall_seconds": "taken",
}
_CONFUSION = (("tp", "True positives"), ("fp", "False positives"), ("fn", "False negatives"), ("tn", "True negatives"))


def render(snapshot: Snapshot, *, title: str = "streameval report") -> str:
    """The whole page as text; about 5 MB, nearly all of it plotly.js."""
    drawn = drawings(snapshot.series)
    return Template(_file("page.html")).substitute(
        title=html.escape(title),
        style=_file("page.css"),
        plotly=_plotly(),
        script=_file("page.js"),
        body=_body(snapshot, drawn, title),
        figures=_embedded(figures(drawn)),
    )


def figures(drawn: list[Drawing]) -> list[dict[str, Any]]:
    """What the page's script draws, one entry a series in the order of `Snapshot.series`, as plain JSON values."""
    return [
        {
            "times": one.times,
            "figures": [{"data": f.data, "layout": f.layout, "timed": f.timed} for f in one.figures],
        }
        for one in drawn
    ]


def _body(snapshot: Snapshot, drawn: list[Drawing], title: str) -> str:
    places = {series.key: place for place, series in enumerate(snapshot.series)}
    sections = [_model(snapshot, model, version, places, drawn) for model, version in snapshot.models]
    nothing = "" if sections else '<p class="card">No output records yet: there is nothing to show.</p>'
    return "\n".join(
        [_header(snapshot, title), _counters(snapshot), nothing, *sections, _happened(snapshot), _rejected(snapshot)]
    )


def _header(snapshot: Snapshot, title: str) -> str:
    states = [snapshot.state(Key(model, version)) for model, version in snapshot.models]
    span = ""
    if snapshot.first is not None and snapshot.last is not None:
        span = (
            f'<p class="span"><time datetime="{rfc3339(snapshot.first)}">{words.day(snapshot.first)}</time> to '
            f'<time datetime="{rfc3339(snapshot.last)}">{words.day(snapshot.last)}</time>, all times UTC'
            f"{_workers(snapshot)}</p>"
        )
    # Who needs a person comes first.
    urgent = sorted(snapshot.models, key=lambda own: snapshot.state(Key(*own)) != "drifted")
    cards = "\n".join(_card(snapshot, model, version) for model, version in urgent)
    return (
        f'<header><p class="product">{html.escape(title)}</p><h1>{html.escape(_headline(states))}</h1>{span}</header>\n'
        f'<section class="cards" aria-label="The state of each model">{cards}</section>'
    )


def _headline(states: list[State]) -> str:
    """The page's first words.

    >>> _headline(["healthy"]), _headline(["drifted", "healthy", "learning"])
    ('The model is healthy', '1 of 3 models has drifted')
    """
    if not states:
        return "Nothing has been published yet"
    drifted = states.count("drifted")
    if drifted:
        if len(states) == 1:
            return "The model has drifted"
        return f"{drifted} of {len(states)} models {'has' if drifted == 1 else 'have'} drifted"
    if len(set(states)) == 1:
        said = {"waiting": "waiting for labels", "retired": "retired"}.get(states[0], states[0])
        return f"The model is {said}" if len(states) == 1 else f"All {len(states)} models are {said}"
    counts = [f"{states.count(s)} {s}" for s in ("healthy", "learning", "waiting", "retired") if s in states]
    return f"No model has drifted: {words.listing(counts)}"


def _workers(snapshot: Snapshot) -> str:
    names = [unquote(source.removeprefix("/streameval/")) for source in snapshot.sources]
    return f". Worker {html.escape(words.listing(names))}" if names else ""


def _card(snapshot: Snapshot, model: str, version: str) -> str:
    key = Key(model, version)
    state = snapshot.state(key)
    return (
        f'<article class="card {state}"><h2><a href="#{_anchor(snapshot, model, version)}">{html.escape(model)}</a> '
        f'<small>version {html.escape(version)}</small> <span class="badge">{_BADGES[state]}</span></h2>'
        f"<p>{html.escape(snapshot.sentence(key))}</p></article>"
    )


def _counters(snapshot: Snapshot) -> str:
    facts = dict(snapshot.facts)
    turned_away = sum(entry.count for entry in snapshot.rejected.values())
    by_reason = facts.get("rejected")
    facts["rejected"] = max(turned_away, sum(by_reason.values()) if isinstance(by_reason, dict) else by_reason or 0)
    names = [name for name in _FACTS if name in facts] + sorted(set(facts) - set(_FACTS))
    tiles = "".join(
        f"<div><dt>{html.escape(_FACTS.get(name, words.reason(name)))}</dt><dd>{_fact(name, facts[name])}</dd></div>"
        for name in names
    )
    return f'<dl class="counters">{tiles}</dl>'


def _fact(name: str, value: object) -> str:
    if name == "time" and isinstance(value, int):
        return words.moment(value)
    if name == "wall_seconds" and isinstance(value, int | float):
        return words.seconds(value)
    if isinstance(value, int | float):
        return words.number(round(value) if name == "rate" else value)
    if isinstance(value, dict):
        return html.escape(", ".join(f"{key} {item}" for key, item in sorted(value.items())) or "–")
    return html.escape(str(value))


def _model(snapshot: Snapshot, model: str, version: str, places: dict[Key, int], drawn: list[Drawing]) -> str:
    anchor = _anchor(snapshot, model, version)
    own = snapshot.of(model, version)
    choice = ""
    if len(own) > 1:
        options = "".join(
            f'<option value="{places[s.key]}">{html.escape("all events" if s.key.whole else s.key.segment)}'
            f"{' – drifted' if snapshot.state(s.key) == 'drifted' else ''}</option>"
            for s in own
        )
        choice = (
            f'<p class="choice"><label for="{anchor}-segment">Segment</label> '
            f'<select id="{anchor}-segment" data-chooses="{anchor}">{options}</select></p>'
        )
    parts = "\n".join(
        _series(snapshot, series, drawn[places[series.key]], places[series.key], hidden=bool(place))
        for place, series in enumerate(own)
    )
    return (
        f'<section class="model" id="{anchor}" aria-labelledby="{anchor}-name">'
        f'<div class="bar"><h2 id="{anchor}-name">{html.escape(model)}'
        f" <small>version {html.escape(version)}</small></h2>"
        f"{choice}</div>\n{parts}</section>"
    )


def _series(snapshot: Snapshot, series: Series, drawn: Drawing, place: int, *, hidden: bool) -> str:
    panels = "\n".join(
        f'<figure class="panel{" wide" if f.wide else ""}"><figcaption><h3>{html.escape(f.title)}</h3>'
        f"<p>{html.escape(f.summary)}</p></figcaption>"
        f'<div class="plot" role="img" aria-label="{html.escape(f"{f.title}. {f.summary}")}" data-series="{place}"'
        f' data-figure="{number}" style="min-height:{f.layout["height"]}px"></div></figure>'
        for number, f in enumerate(drawn.figures)
    )
    said = "" if series.key.whole else f'<p class="card">{html.escape(snapshot.sentence(series.key))}</p>'
    return (
        f'<div class="series" data-place="{place}"{" hidden" if hidden else ""}>{said}'
        f'<div class="panels">{panels}</div>{_windows(series)}</div>'
    )


def _windows(series: Series) -> str:
    """The first and the last window in figures: what the pictures show, for those who cannot see or trust them."""
    first, last = series.first, series.history.last
    if first is None or last is None:
        return ""
    names = [*(n for n in words.METRICS if n in last.metrics), *sorted(set(last.metrics) - set(words.METRICS))]
    rows = [(words.metric(n), *(_measure(p.metrics.get(n)) for p in (first, last))) for n in names]
    rows += [
        (title, *(words.number(p.confusion.get(name)) for p in (first, last)))
        for name, title in _CONFUSION
        if name in last.confusion
    ]
    cells = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{before}</td><td>{after}</td></tr>'
        for name, before, after in rows
    )
    heads = "".join(
        f'<th scope="col">{name}<br><small>{words.day(p.window.start)} to {words.day(p.window.end)},'
        f" {words.count(p.window.events, 'event')}</small></th>"
        for name, p in (("First window", first), ("Last window", last))
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="First and last window in figures">'
        "<table><caption>First and last window, with intervals</caption>"
        f'<thead><tr><th scope="col">Measure</th>{heads}</tr></thead><tbody>{cells}</tbody></table></div>'
    )


def _measure(estimate: Estimate | None) -> str:
    return "–" if estimate is None else words.interval(estimate.value, estimate.low, estimate.high)


def _happened(snapshot: Snapshot) -> str:
    found = happenings(snapshot.series)
    if not found:
        return ""
    shown = found[-ROWS:][::-1]
    more = "" if len(found) == len(shown) else f" ({len(shown)} of {len(found):,})"
    rows = "".join(_row(happening, many=len(snapshot.models) > 1) for happening in shown)
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("When (UTC)", "Where", "What", "Detail", "Why"))
    return (
        '<section aria-labelledby="happened"><h2 id="happened">What happened</h2>'
        '<div class="scroll tall" tabindex="0" role="region" aria-labelledby="happened">'
        f'<table class="happened" role="table"><caption>Alarms, decisions and requests, latest first{more}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _row(happening: Happening, *, many: bool) -> str:
    at, key, kind, what, why = happening
    where = f"{key.model}/{key.version}" if many else key.model
    where = where if key.whole else f"{where} {key.segment}"
    cells = (
        f'<time datetime="{rfc3339(at)}">{words.moment(at)}</time>',
        html.escape(where),
        f'<span class="kind {kind}">{LABELS[kind]}</span>',
        html.escape(what),
        html.escape(why),
    )
    # On a phone the rows become cards, and a browser forgets that they were a table unless each part says so.
    return '<tr role="row">' + "".join(f'<td role="cell">{cell}</td>' for cell in cells) + "</tr>"


def _rejected(snapshot: Snapshot) -> str:
    head = '<section aria-labelledby="rejected"><h2 id="rejected">Rejected messages</h2>'
    if not snapshot.rejected:
        return f"{head}<p>None.</p></section>"
    rows = "".join(
        f'<tr><th scope="row">{html.escape(words.reason(reason))}</th><td>{entry.count:,}</td>'
        f"<td>{html.escape(_where(entry.topic, entry.partition, entry.offset))}</td>"
        f"<td>{html.escape(entry.detail)}</td></tr>"
        for reason, entry in sorted(snapshot.rejected.items(), key=lambda item: (-item[1].count, item[0]))
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Reason", "Messages", "Latest at", "Latest detail"))
    return (
        f'{head}<div class="scroll" tabindex="0" role="region" aria-labelledby="rejected"><table>'
        "<caption>Messages that broke the input contract, by reason</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _where(topic: str, partition: int | None, offset: int | None) -> str:
    return f"{topic}/{partition} at {offset}" if offset is not None else topic


def _anchor(snapshot: Snapshot, model: str, version: str) -> str:
    # A number, because names may hold any character and two of them may look the same once made fit for an anchor.
    return f"model-{snapshot.models.index((model, version)) + 1}"


def _embedded(value: object) -> str:
    # Within a script element only "<" could end the element or open a comment.
    return msgspec.json.encode(value).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028")


@cache
def _plotly() -> str:
    source: str = plotly.offline.get_plotlyjs()
    return source.replace("</script", "<\\/script")


@cache
def _file(name: str) -> str:
    return resources.files("streameval.serve").joinpath(name).read_text(encoding="utf-8")
