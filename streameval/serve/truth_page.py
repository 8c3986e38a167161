"""The truth of a story on the page: a table of what happened beside what was said, and the truth drawn into the plots.

Invariant: nothing that the daemon said is changed; truth has its own rows, lines and marks, named as such.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from streameval.records import rfc3339
from streameval.serve import words
from streameval.serve.figures import Drawing, Figure
from streameval.serve.series import Series
from streameval.serve.truth import Chapter, Truth, beside

__all__ = ["drawn", "section"]

_LANE = "Truth"
_VERDICTS = {"right": "✓ right", "missed": "✗ missed", "in vain": "✗ in vain", "undecided": "– undecided"}
_TONES = {"right": "good", "missed": "alarm", "in vain": "alarm", "undecided": "muted"}


def section(truth: Truth, series: Series | None) -> str:
    """What truly happened beside what the daemon said, as HTML."""
    lines = "".join(
        f'<tr role="row"><td role="cell" style="white-space:nowrap">{html.escape(when)}</td>'
        f'<td role="cell">{html.escape(true)}</td><td role="cell">{html.escape(said)}</td>'
        f'<td role="cell" style="white-space:nowrap;color:var(--{_TONES[verdict]})">{_VERDICTS[verdict]}</td></tr>'
        for when, true, said, verdict in beside(truth, series)
    )
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("From", "What truly happened", "What was said and done", "Verdict")
    )
    name = f"The story “{html.escape(words.reason(truth.story))}”, seed {truth.seed}"
    return (
        '<section aria-labelledby="truth"><h2 id="truth">What truly happened</h2>'
        f"<p>{html.escape(truth.sentence)} The daemon knows nothing of this.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="truth">'
        f'<table class="rows story" role="table"><caption>{name}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div></section>"
    )


def drawn(drawing: Drawing, truth: Truth) -> Drawing:
    """The panels of the whole model with the truth in them: a lane of the time line, two lines, the changes' marks."""
    return drawing._replace(figures=[_figure(figure, truth) for figure in drawing.figures])


def _figure(figure: Figure, truth: Truth) -> Figure:
    if figure.name == "events":
        return _lane(figure, truth)
    if not figure.timed:
        return figure
    if figure.name == "threshold":
        figure = _line(figure, truth.best_threshold, truth, "the best, in truth")
    if figure.name == "prevalence":
        figure = _line(figure, truth.prevalence, truth, "in truth", write=words.percent)
    return figure._replace(layout=_marked(figure.layout, truth))


def _line(
    figure: Figure,
    path: list[tuple[int, float]],
    truth: Truth,
    name: str,
    write: Callable[[float | None], str] = words.number,
) -> Figure:
    end = truth.chapters[-1].until
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [*(rfc3339(at) for at, _ in path), rfc3339(end)],
        "y": [float(f"{value:.5g}") for _, value in [*path, path[-1]]],
        "hovertemplate": "%{y}<br>" + name + "<extra></extra>",
        "line": {"shape": "hv", "color": "$ink", "width": 1, "dash": "dash"},
    }
    layout = figure.layout | {"showlegend": True}
    layout.setdefault("legend", {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": "$ink"}})
    if span := layout["yaxis"].get("range"):
        room = 0.06 * (span[1] - span[0])
        known = [value for _, value in path]
        layout["yaxis"] = layout["yaxis"] | {
            "range": [min(span[0], min(known) - room), max(span[1], max(known) + room)]
        }
    values = [write(value) for _, value in (path[0], path[-1])]
    summary = f"{figure.summary} Dashed: {name}, {values[0]} at first, {values[1]} at last."
    return figure._replace(summary=summary, data=[*figure.data, line], layout=layout)


def _lane(figure: Figure, truth: Truth) -> Figure:
    changes = truth.chapters
    marks: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": _LANE,
        "x": [rfc3339(chapter.at) for chapter in changes],
        "y": [_LANE] * len(changes),
        "text": [_hover(chapter) for chapter in changes],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": "$ink", "symbol": "x", "size": 11},
    }
    lanes = [*figure.layout["yaxis"]["categoryarray"], _LANE]
    axis = figure.layout["yaxis"] | {"categoryarray": lanes, "range": [-0.6, len(lanes) - 0.4]}
    layout = _marked(figure.layout | {"yaxis": axis, "height": figure.layout["height"] + 30}, truth)
    told = words.count(len(changes) - 1, "true change")
    return figure._replace(summary=f"{figure.summary} In truth: {told}.", data=[*figure.data, marks], layout=layout)


def _marked(layout: dict[str, Any], truth: Truth) -> dict[str, Any]:
    lines = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": rfc3339(chapter.at),
            "x1": rfc3339(chapter.at),
            "y0": 0,
            "y1": 1,
            "layer": "below",
            "line": {"color": "$ink", "width": 1, "dash": "dash"},
        }
        for chapter in truth.chapters[1:]
    ]
    return layout | {"shapes": [*layout.get("shapes", []), *lines]}


def _hover(chapter: Chapter) -> str:
    return f"<b>{words.moment(chapter.at)}</b><br>{html.escape(chapter.said)}"
