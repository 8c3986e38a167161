"""The page: one self-contained HTML document drawn from a snapshot.

Invariant: the page asks nothing of any host (its content security policy forbids it to), its bytes are a function of
the snapshot, and every name that came from people's data is escaped where it enters the page. The report of a finished
run and the page of a live daemon are this one renderer.
"""

from __future__ import annotations

import html
from string import Template
from typing import Any

import msgspec

from streameval.serve import truth_page
from streameval.serve.assets import plotly_js, text
from streameval.serve.figures import Drawing, drawings
from streameval.serve.parts import counters, happened, header, model_section, rejected
from streameval.serve.series import Key
from streameval.serve.snapshot import Snapshot
from streameval.serve.truth import Truth


def render(snapshot: Snapshot, *, title: str = "streameval report", truth: Truth | None = None) -> str:
    """The whole page as text; about 5 MB, nearly all of it plotly.js.

    With ``truth``, known of a story alone, what truly happened stands beside what was said.
    """
    drawn = drawings(snapshot.series)
    if truth is not None:
        told = zip(snapshot.series, drawn, strict=True)
        drawn = [truth_page.drawn(one, truth) if series.key.whole else one for series, one in told]
    return Template(text("page.html")).substitute(
        title=html.escape(title),
        style=text("page.css"),
        plotly=plotly_js().replace("</script", "<\\/script"),
        script=text("page.js"),
        body=_body(snapshot, drawn, title, truth),
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


def _body(snapshot: Snapshot, drawn: list[Drawing], title: str, truth: Truth | None) -> str:
    keys = [series.key for series in snapshot.series]
    names = {key: str(place) for place, key in enumerate(keys)}
    known = dict(zip(keys, drawn, strict=True))
    sections = [model_section(snapshot, model, version, names, known) for model, version in snapshot.models]
    nothing = "" if sections else '<p class="card">No output records yet: there is nothing to show.</p>'
    story = "" if truth is None else truth_page.section(truth, snapshot.get(Key(truth.model, "0")))
    head = [header(snapshot, title), counters(snapshot), story, nothing]
    return "\n".join([*head, *sections, happened(snapshot), rejected(snapshot)])


def _embedded(value: object) -> str:
    # Within a script element only "<" could end the element or open a comment.
    return msgspec.json.encode(value).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028")
