"""The parts of the page: what a person reads of a snapshot, as HTML.

Invariant: a part is a function of the snapshot, every name that came from people's data is escaped where it enters, and
each picture is also told in words or figures.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from streameval.records import rfc3339
from streameval.serve import words
from streameval.serve.figures import Drawing
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
    "lag": "events to read",
    "rejected": "rejected",
    "time": "stream time (UTC)",
    "rate": "events a second",
    "wall_seconds": "taken",
}
_CONFUSION = (("tp", "True positives"), ("fp", "False positives"), ("fn", "False negatives"), ("tn", "True negatives"))


def header(snapshot: Snapshot, title: str, extra: str = "") -> str:
    """The page's first words: how many models need a person, and each model's state in a sentence.

    `extra` is HTML that stands between the two.
    """
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
    cards = "\n".join(card(snapshot, model, version) for model, version in urgent)
    return (
        f'<header><p class="product">{html.escape(title)}</p><h1>{html.escape(headline(states))}</h1>{span}</header>'
        f"\n{extra}"
        f'<section class="cards" aria-label="The state of each model">{cards}</section>'
    )


def headline(states: list[State]) -> str:
    """The page's first words.

    >>> headline(["healthy"]), headline(["drifted", "healthy", "learning"])
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


def card(snapshot: Snapshot, model: str, version: str) -> str:
    """A model's state in a sentence, and the way to its section."""
    key = Key(model, version)
    state = snapshot.state(key)
    return (
        f'<article class="card {state}"><h2><a href="#{anchor_of(snapshot, model, version)}">{html.escape(model)}</a> '
        f'<small>version {html.escape(version)}</small> <span class="badge">{_BADGES[state]}</span></h2>'
        f"<p>{html.escape(snapshot.sentence(key))}</p></article>"
    )


def counters(snapshot: Snapshot) -> str:
    """The run's facts as tiles."""
    facts = dict(snapshot.facts)
    turned_away = sum(entry.count for entry in snapshot.rejected.values())
    by_reason = facts.get("rejected")
    facts["rejected"] = max(turned_away, sum(by_reason.values()) if isinstance(by_reason, dict) else by_reason or 0)
    names = [name for name in _FACTS if name in facts] + sorted(set(facts) - set(_FACTS))
    return tiles([(_FACTS.get(name, words.reason(name)), _fact(name, facts[name])) for name in names])


def tiles(facts: Iterable[tuple[str, str]]) -> str:
    """Facts side by side: each its name, and what is said of it as HTML."""
    said = "".join(f"<div><dt>{html.escape(name)}</dt><dd>{fact}</dd></div>" for name, fact in facts)
    return f'<dl class="counters">{said}</dl>'


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


def model_section(
    snapshot: Snapshot,
    model: str,
    version: str,
    names: Mapping[Key, str],
    drawn: Mapping[Key, Drawing],
    chosen: Key | None = None,
    extra: str = "",
) -> str:
    """All about one version of a model: a choice of segments, and the panels of each.

    `names` are the names under which the page's script knows the series; `drawn` those that are drawn. With `chosen`
    only that series is there: a live page asks for another one when it is wanted. `extra` is HTML above the panels.
    """
    anchor = anchor_of(snapshot, model, version)
    own = snapshot.of(model, version)
    shown = own if chosen is None else [series for series in own if series.key == chosen]
    parts = "\n".join(
        _series(snapshot, series, drawn.get(series.key), names[series.key], hidden=bool(place))
        for place, series in enumerate(shown)
    )
    return (
        f'<section class="model" id="{anchor}" aria-labelledby="{anchor}-name">'
        f'<div class="bar"><h2 id="{anchor}-name">{html.escape(model)}'
        f" <small>version {html.escape(version)}</small></h2>"
        f"{_choice(snapshot, own, names, anchor, chosen)}</div>\n{extra}{parts}</section>"
    )


def _choice(snapshot: Snapshot, own: list[Series], names: Mapping[Key, str], anchor: str, chosen: Key | None) -> str:
    if len(own) == 1:
        return ""
    options = "".join(
        f'<option value="{names[s.key]}"{" selected" if s.key == chosen else ""}>'
        f"{html.escape('all events' if s.key.whole else s.key.segment)}"
        f"{' – drifted' if snapshot.state(s.key) == 'drifted' else ''}</option>"
        for s in own
    )
    return (
        f'<p class="choice"><label for="{anchor}-segment">Segment</label> '
        f'<select id="{anchor}-segment" data-chooses="{anchor}">{options}</select></p>'
    )


def _series(snapshot: Snapshot, series: Series, drawn: Drawing | None, name: str, *, hidden: bool) -> str:
    start = f'<div class="series" data-place="{name}"{" hidden" if hidden else ""}>'
    if drawn is None:
        return f'{start}<p class="card coming">The pictures come when they are looked at.</p></div>'
    panels = "\n".join(
        f'<figure class="panel{" wide" if f.wide else ""}"><figcaption><h3>{html.escape(f.title)}</h3>'
        f"<p>{html.escape(f.summary)}</p></figcaption>"
        f'<div class="plot" role="img" aria-label="{html.escape(f"{f.title}. {f.summary}")}" data-series="{name}"'
        f' data-figure="{number}" style="min-height:{f.layout["height"]}px"></div></figure>'
        for number, f in enumerate(drawn.figures)
    )
    said = "" if series.key.whole else f'<p class="card">{html.escape(snapshot.sentence(series.key))}</p>'
    return f'{start}{said}<div class="panels">{panels}</div>{_windows(series)}</div>'


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


def happened(snapshot: Snapshot, rows: int = ROWS) -> str:
    """Alarms, decisions and requests as a table, the latest `rows` of them."""
    found = happenings(snapshot.series)
    if not found:
        return ""
    shown = found[-rows:][::-1]
    more = "" if len(found) == len(shown) else f" ({len(shown)} of {len(found):,})"
    lines = "".join(_row(happening, many=len(snapshot.models) > 1) for happening in shown)
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("When (UTC)", "Where", "What", "Detail", "Why"))
    return (
        '<section aria-labelledby="happened"><h2 id="happened">What happened</h2>'
        '<div class="scroll tall" tabindex="0" role="region" aria-labelledby="happened">'
        '<table class="rows happened" role="table">'
        f"<caption>Alarms, decisions and requests, latest first{more}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div></section>"
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


def rejected(snapshot: Snapshot) -> str:
    """Messages that broke the contract, by reason."""
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


def anchor_of(snapshot: Snapshot, model: str, version: str) -> str:
    """The id of a model's section."""
    # A number, because names may hold any character and two of them may look the same once made fit for an anchor.
    return f"model-{snapshot.models.index((model, version)) + 1}"
