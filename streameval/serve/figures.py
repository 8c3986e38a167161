"""The figures of one series: small multiples over one time axis, and two diagrams of calibration.

Invariant: a figure is plain JSON and free of colour: `$name` stands for a colour of the page's theme and `@name` for
one of the series' shared columns, both filled in by the page; `@name:0-3,7-9` goes there and back over each of these
runs, which is the outline of a band with gaps. So a figure is a function of the series alone, a page can change between
light and dark without being made again, and time axes are stored once. Each figure carries a summary in words that says
what a reader would take from the picture.

Shape of a figure: plotly.js (`data`, `layout`).
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from streameval.records import rfc3339
from streameval.serve import alignment, words
from streameval.serve.happenings import LABELS, Happening, Kind, happenings
from streameval.serve.series import Bin, Comparison, Estimate, Map, Measured, Series

POINTS = 600
"""Points drawn of a whole model's series: more than a panel has pixels for."""
SEGMENT_POINTS = (40, 240)
"""Points drawn of a segment's series, at least and at most."""
ALL_SEGMENTS_POINTS = 2400
"""Points drawn of all segments together, as far as each gets its least: what a page can carry."""
HEAD = ("cost", "log_loss", "auc")
"""Metrics shown first."""
MARKS = 40
"""Vertical marks drawn in one panel, the latest."""
_VAGUE = 0.3
"""A share expected within a wider interval than this is not drawn: its line would jump about and say nothing."""

_MARKED: dict[Kind, tuple[str, str]] = {
    "confirmed": ("$alarm", "diamond"),
    "retrain": ("$warn", "star"),
    "threshold": ("$second", "triangle-up"),
    "calibration": ("$third", "square"),
    "advisory": ("$muted", "circle-open"),
    "learnt": ("$good", "circle"),
}
_COUNTED: dict[Kind, tuple[str, str]] = {
    "confirmed": ("confirmed change", "confirmed changes"),
    "advisory": ("advisory alarm", "advisory alarms"),
    "threshold": ("threshold move", "threshold moves"),
    "calibration": ("recalibration", "recalibrations"),
    "retrain": ("request for retraining", "requests for retraining"),
    "learnt": ("end of learning", "ends of learning"),
}


class Figure(NamedTuple):
    """One panel: its title, its summary in words, the plotly.js figure, and whether its x axis is time."""

    name: str
    title: str
    summary: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    timed: bool = True
    wide: bool = False


class Drawing(NamedTuple):
    """All panels of one series and the columns they share: `times` (epoch ms, made into dates by the page)."""

    figures: list[Figure]
    times: dict[str, list[int]]


def drawings(all_series: Sequence[Series]) -> list[Drawing]:
    """The panels of each series; the more segments there are, the coarser each is drawn."""
    segments = sum(not series.key.whole for series in all_series)
    least, most = SEGMENT_POINTS
    share = min(max(ALL_SEGMENTS_POINTS // max(segments, 1), least), most)
    return [drawing(series, POINTS if series.key.whole else share) for series in all_series]


def drawing(series: Series, limit: int = POINTS) -> Drawing:
    """The panels of one series, in the order in which they are read; `limit` is how many points a line may have."""
    points = thinned(list(series.history), limit)
    events = happenings([series], each=True)
    span = _span(points, events)
    if span is None:
        return Drawing([], {})
    frame = _Frame(span, [e for e in events if e.kind in ("confirmed", "retrain")][-MARKS:])
    figures = [_time_line(frame, events)] if events else []
    # What was lost, what was done about it, and why come first; the other measures follow for whoever wants them.
    names = _names(points)
    head = [name for name in names if name in HEAD]
    panels: list[Figure | None] = [_metric(frame, points, name) for name in head[:1]]
    panels += [_threshold(frame, series, points)]
    panels += [_metric(frame, points, name) for name in head[1:]]
    panels += [_prevalence(frame, points)]
    panels += [_metric(frame, points, name) for name in names if name == "calibration_error"]
    panels += [_reliability(series), _calibration(series), _delays(frame, points)]
    panels += [_alignment(known) for known in series.comparisons.values()]
    panels += [_metric(frame, points, name) for name in names if name not in (*HEAD, "calibration_error")]
    figures += [panel for panel in panels if panel is not None]
    columns = {"at": [p.window.end for p in points], "from": [p.window.start for p in points]}
    return Drawing(figures, columns | {"said": [p.at for p in points]})


def thinned(points: Sequence[Measured], limit: int) -> list[Measured]:
    """At most `limit` + 1 of the points, evenly, and always the last.

    >>> from streameval.serve.series import Window
    >>> points = [Measured(at=at, window=Window(at, at, 0), metrics={}) for at in range(100)]
    >>> [p.at for p in thinned(points, 4)]
    [0, 25, 50, 75, 99]
    """
    step = -(-len(points) // limit) or 1
    kept = list(points[::step])
    if points and kept[-1] is not points[-1]:
        kept.append(points[-1])
    return kept


class _Frame(NamedTuple):
    """What all time panels of a series share: the span of time and the marks that stand in each."""

    span: tuple[int, int]
    marks: list[Happening]


def _span(points: list[Measured], events: list[Happening]) -> tuple[int, int] | None:
    times = [p.window.start for p in points] + [p.window.end for p in points] + [e.at for e in events]
    # What is said without labels is said of later predictions than those of the window.
    times += [p.at for p in points if p.fused is not None or p.label_free is not None or p.estimated]
    return (min(times), max(times)) if times else None


def _names(points: list[Measured]) -> list[str]:
    found = {name: None for point in points for name in point.metrics}
    known = [name for name in (*HEAD, *words.METRICS) if name in found]
    return list(dict.fromkeys([*known, *sorted(found)]))


def _time_line(frame: _Frame, events: list[Happening]) -> Figure:
    lanes: list[Kind] = [kind for kind in LABELS if any(e.kind == kind for e in events)]
    data = []
    for kind in lanes:
        own = [e for e in events if e.kind == kind]
        colour, symbol = _MARKED[kind]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": LABELS[kind],
                "x": [rfc3339(e.at) for e in own],
                "y": [LABELS[kind]] * len(own),
                "text": [_hover(e) for e in own],
                "hovertemplate": "%{text}<extra></extra>",
                "cliponaxis": False,
                "marker": {"color": colour, "symbol": symbol, "size": 12, "line": {"width": 2, "color": colour}},
            }
        )
    counts = [words.count(sum(e.kind == kind for e in events), *_COUNTED[kind]) for kind in lanes]
    layout = _layout(frame, categories=[LABELS[kind] for kind in reversed(lanes)])
    layout["height"] = 64 + 30 * len(lanes)
    return Figure("events", "What happened, and why", f"{words.listing(counts)}.", data, layout, wide=True)


def _metric(frame: _Frame, points: list[Measured], name: str) -> Figure:
    estimates = [p.metrics.get(name) for p in points]
    title = words.metric(name)
    if name in words.METRICS:
        title += f" – {words.METRICS[name][1]} is better"
    share = name in words.SHARES
    ahead = [p.estimated.get(name) for p in points]
    drawn = _telling(ahead, share=share)
    beside = _seen(drawn)
    known = html.escape(words.metric(name)) if not beside else "from matured labels"
    data = _band(points, estimates, known, "$first", tint="$first-tint")
    told = _told(points, estimates)
    if beside:
        # What is expected lies under what is known.
        data = [
            *_band(points, drawn, "expected before labels", "$second", tint="$second-tint", dash="dot", x="@said"),
            *data,
        ]
    if any(ahead):
        told += f" Expected of predictions that still wait for labels: {_expected(points, ahead, share=share)}"
    layout = _layout(frame, legend=beside)
    if (span := _range(estimates, [drawn], share=share)) is not None:
        layout["yaxis"]["range"] = span
    return Figure(f"metric {name}", title, told, _marked(data, frame), layout)


def _expected(points: list[Measured], said: list[Estimate | None], *, share: bool, percent: bool = False) -> str:
    """The last value of a line, and whether it is too uncertain to mean anything."""
    last = next((e for e in reversed(said) if e is not None), None)
    told = _told(points, said, share=percent, latest=True)
    return told if last is None or _tells(last, share=share) else f"too uncertain now to be of use, {told}"


def _threshold(frame: _Frame, series: Series, points: list[Measured]) -> Figure | None:
    steps = [(move.at, move.threshold, words.reason(move.reason)) for move in series.moves]
    known = [(p.at, p.threshold, "in force") for p in points if p.threshold is not None]
    start = series.moves[0].previous if series.moves else None
    if start is not None:
        steps.insert(0, (frame.span[0], start, "in force at the start"))
    elif known:
        steps.insert(0, (frame.span[0], known[0][1], "in force at the start"))
    if not steps:
        return None
    steps.append((frame.span[1], steps[-1][1], "in force at the end"))
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "threshold",
        "x": [rfc3339(at) for at, _, _ in steps],
        "y": [_short(value) for _, value, _ in steps],
        "text": [html.escape(why) for _, _, why in steps],
        "hovertemplate": "%{y}<br>%{text}<extra></extra>",
        "line": {"shape": "hv", "color": "$second", "width": 2},
        "marker": {"size": [0, *[7] * (len(steps) - 2), 0], "color": "$second"},
    }
    moves = words.count(sum(move.previous is not None for move in series.moves), "move")
    summary = f"{words.number(steps[-1][1])} in force at the end, {words.number(steps[0][1])} at the start; {moves}."
    return Figure("threshold", "Decision threshold", summary, _marked([line], frame), _layout(frame, zero=True))


def _prevalence(frame: _Frame, points: list[Measured]) -> Figure | None:
    labelled, free = [p.labelled for p in points], [p.label_free for p in points]
    fused = [p.fused for p in points]
    if not any(labelled) and not any(free) and not any(fused):
        return None
    clear, now = _telling(free, share=True), _telling(fused, share=True)
    data, told = [], []
    if any(labelled):
        told.append(f"From matured labels {_told(points, labelled, share=True)}")
    if _seen(clear):
        data += _band(points, clear, "without labels", "$second", tint="$second-tint", dash="dot", x="@said")
    if any(free):
        told.append(f"Without labels {_expected(points, free, share=True, percent=True)}")
    if _seen(now):
        data += _band(points, now, "now, from both", "$third", tint="$third-tint", dash="dash", x="@said")
    if any(fused):
        told.append(f"Now, from both {_expected(points, fused, share=True, percent=True)}")
    if any(labelled):
        data += _band(points, labelled, "from matured labels", "$first", tint="$first-tint")
    layout = _layout(frame, legend=True)
    layout["yaxis"]["tickformat"] = ".3~p"
    if (span := _range(labelled, [clear, now], share=True)) is not None:
        layout["yaxis"]["range"] = span
    return Figure("prevalence", "Prevalence: share of positives", " ".join(told), _marked(data, frame), layout)


def _reliability(series: Series) -> Figure | None:
    first, last = series.first, series.history.last
    if first is None or last is None or not last.reliability:
        return None
    windows = [(last, "last window", "$first", "circle")]
    if first is not last and first.reliability:
        windows.insert(0, (first, "first window", "$second", "square-open"))
    limit = _limit(b for point, *_ in windows for b in point.reliability)
    data: list[dict[str, Any]] = [_diagonal(limit, "perfect calibration")]
    for point, name, colour, symbol in windows:
        bins = point.reliability
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{name} (to {words.day(point.window.end)})",
                "x": [_short(b.score) for b in bins],
                "y": [_short(b.observed) for b in bins],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [_short((b.high if b.high is not None else b.observed) - b.observed) for b in bins],
                    "arrayminus": [_short(b.observed - (b.low if b.low is not None else b.observed)) for b in bins],
                    "color": colour,
                    "thickness": 1,
                    "width": 3,
                },
                "text": [words.count(round(b.events), "event") for b in bins],
                "hovertemplate": "score %{x}, observed %{y}<br>%{text}<extra></extra>",
                "line": {"color": colour, "width": 1.5},
                "marker": {"color": colour, "symbol": symbol, "size": 8},
            }
        )
    summary = " ".join(f"{name.capitalize()}: {_gap(point.reliability)}" for point, name, *_ in reversed(windows))
    layout = _square(limit, "score", "observed share of positives")
    return Figure("reliability", "Reliability: does a score mean what it says?", summary, data, layout, timed=False)


_UNITS = ((86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes"), (1000, "seconds"))


def _delays(frame: _Frame, points: list[Measured]) -> Figure | None:
    """How long labels take: a pipeline that slows down reads as a fall in prevalence to whoever does not look here."""
    halves = [None if p.labels is None else p.labels.p50 for p in points]
    tenths = [None if p.labels is None else p.labels.p90 for p in points]
    known = [delay for delay in tenths if delay is not None]
    if not known:
        return None
    size, unit = next((u for u in _UNITS if max(known) >= 2 * u[0]), _UNITS[-1])
    data = [
        {
            "type": "scatter",
            "mode": "lines" if len(points) > 1 else "markers",
            "name": name,
            "x": "@at",
            "y": [None if delay is None else _short(delay / size) for delay in delays],
            "hovertemplate": f"%{{y}} {unit}<extra></extra>",
            # Records between two windows that matured say nothing of delays.
            "connectgaps": True,
            "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {"color": colour, "size": 8},
        }
        for name, delays, colour, dash in (
            ("nine of ten", tenths, "$first", "solid"),
            ("half", halves, "$second", "dot"),
        )
    ]
    last = next(p.labels for p in reversed(points) if p.labels is not None)
    told = [f"Half came within {_delay(last.p50)}, nine of ten within {_delay(last.p90)}"]
    if last.labelled is not None:
        told.append(f"{words.percent(last.labelled)} of predictions had an outcome by maturity")
    if last.late_positives is not None:
        told.append(f"{words.percent(last.late_positives)} of positives came later")
    layout = _layout(frame, legend=True, zero=True)
    layout["yaxis"]["title"] = {"text": unit, "font": {"color": "$muted"}}
    return Figure("delays", "How long labels take", f"{'; '.join(told)}.", _marked(data, frame), layout)


def _delay(ms: int | None) -> str:
    return "–" if ms is None else words.seconds(ms / 1000)


def _alignment(known: Comparison) -> Figure | None:
    data = alignment.traces(known)
    if not data:
        return None
    layout = _base(legend=True)
    layout["height"] = 290
    layout["hovermode"] = "closest"
    # An axis has no room for a long name.
    kpi = words.metric(known.kpi) if len(known.kpi) <= 24 else "KPI"
    for name, words_ in (("xaxis", f"{words.metric(known.loss)} better →"), ("yaxis", f"{html.escape(kpi)} better →")):
        layout[name] |= {
            "title": {"text": words_, "font": {"color": "$muted"}},
            "zeroline": True,
            "zerolinecolor": "$muted",
            "fixedrange": True,
        }
    name = f"alignment-{known.kpi}-{known.against or ''}"
    return Figure(name, alignment.title(known), alignment.sentence(known), data, layout, timed=False)


def _calibration(series: Series) -> Figure | None:
    maps = [champion for champion in series.maps if champion.x]
    if not maps:
        return None
    data: list[dict[str, Any]] = [_diagonal(1.0, "before: the score as it is")]
    newest = maps[-1]
    shown = [(newest, "$third", "solid")]
    if len(maps) > 1:
        shown.insert(0, (maps[0], "$second", "dot"))
    for champion, colour, dash in shown:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{html.escape(words.method(champion.method))}, {words.day(champion.at)}",
                "x": [_short(x) for x in champion.x],
                "y": [_short(y) for y in champion.y],
                "hovertemplate": "score %{x} → %{y}<extra></extra>",
                "line": {"color": colour, "width": 2, "dash": dash},
            }
        )
    layout = _square(1.0, "score", "probability")
    return Figure("calibration", "Recalibration: score → probability", _better(newest), data, layout, timed=False)


def _better(champion: Map) -> str:
    told = [
        f"{words.metric(name)} {words.number(champion.before[name])} before, {words.number(after)} after"
        for name, after in champion.after.items()
        if name in champion.before
    ]
    method = words.method(champion.method)
    return f"In force: {method}. {'; '.join(told)}{'.' if told else ''}".strip()


def _band(
    points: list[Measured],
    estimates: list[Estimate | None],
    name: str,
    colour: str,
    *,
    tint: str,
    dash: str = "solid",
    x: str = "@at",
) -> list[dict[str, Any]]:
    """A line over its interval as a band; neither bridges a time of which nothing is said."""
    hover = [
        "" if e is None else f"{words.interval(e.value, e.low, e.high)}<br>{words.count(p.window.events, 'event')}"
        for p, e in zip(points, estimates, strict=True)
    ]
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines" if len(points) > 1 else "markers",
        "name": name,
        "legendgroup": name,
        "legendrank": 1 if dash == "solid" else 2,
        "x": x,
        "y": [None if e is None else _short(e.value) for e in estimates],
        "text": hover,
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": colour, "width": 2 if dash == "solid" else 1.5, "dash": dash},
        "marker": {"color": colour, "size": 8},
    }
    runs = _runs([e is not None and e.low is not None and e.high is not None for e in estimates])
    if not runs:
        return [line]
    outline: list[float | None] = []
    for start, end in runs:
        own = [e for e in estimates[start : end + 1] if e is not None]
        outline += [*(_short(e.low) for e in own), *(_short(e.high) for e in reversed(own)), None]
    band: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": f"{x}:{','.join(f'{start}-{end}' for start, end in runs)}",
        "y": outline,
        "fill": "toself",
        "fillcolor": tint,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": name,
    }
    return [band, line]


def _runs(known: list[bool]) -> list[tuple[int, int]]:
    """First and last place of each run of at least two.

    >>> _runs([True, True, False, True, False, True, True, True])
    [(0, 1), (5, 7)]
    """
    edges = [place for place, (a, b) in enumerate(pairwise([False, *known, False])) if a != b]
    return [(start, end - 1) for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start > 1]


def _telling(estimates: list[Estimate | None], *, share: bool) -> list[Estimate | None]:
    """Those that tell something; none where most do not, for scraps of a line tell nothing either."""
    kept = [None if e is None or not _tells(e, share=share) else e for e in estimates]
    return kept if 2 * sum(e is not None for e in kept) >= sum(e is not None for e in estimates) else [None] * len(kept)


def _tells(estimate: Estimate, *, share: bool) -> bool:
    """Whether a share's interval leaves out most of what it can be, or another's is narrower than its value."""
    return _width(estimate) <= (_VAGUE if share else abs(estimate.value))


def _width(estimate: Estimate) -> float:
    return 0.0 if estimate.low is None or estimate.high is None else estimate.high - estimate.low


def _seen(estimates: list[Estimate | None]) -> bool:
    """Whether a line would show anything: it has two neighbours, or is a single point."""
    return bool(_runs([e is not None for e in estimates])) or (len(estimates) == 1 and estimates[0] is not None)


def _range(
    lead: list[Estimate | None], others: list[list[Estimate | None]], *, share: bool = False
) -> list[float] | None:
    """The y axis: all of what is measured, what is only expected as far as that leaves the measured legible.

    What is expected widens the axis by one height of what is measured at most, up and down, and its last value is
    always in view: it may be the first to know. None where there is nothing to go by.
    """
    known = [e for e in lead if e is not None]
    if not known:
        return None
    # Of the first few events an interval is wider than all that follows.
    low = min(*(e.value for e in known), _quantile([e.value if e.low is None else e.low for e in known], 0.05))
    high = max(*(e.value for e in known), _quantile([e.value if e.high is None else e.high for e in known], 0.95))
    height = max(high - low, 0.05 * abs(high))
    bottom, top = low, high
    for other in others:
        values = [e.value for e in other if e is not None]
        if values:
            bottom = min(bottom, values[-1], max(_quantile(values, 0.02), low - height))
            top = max(top, values[-1], min(_quantile(values, 0.98), high + height))
    room = 0.06 * ((top - bottom) or 1.0)
    lowest = 0.0 if bottom >= 0.0 else -math.inf
    highest = 1.0 if share else math.inf
    # A line that lies on the edge is still drawn whole.
    edges = max(bottom - room, lowest - 0.3 * room), min(top + room, highest + 0.3 * room)
    return [float(f"{edge:.4g}") for edge in edges]


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


def _marked(data: list[dict[str, Any]], frame: _Frame) -> list[dict[str, Any]]:
    """The traces, and on the upper edge of the panel a mark for each confirmed change and request, with its reason."""
    if not frame.marks:
        return data
    mark: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "yaxis": "y2",
        "x": [rfc3339(m.at) for m in frame.marks],
        "y": [1] * len(frame.marks),
        "text": [_hover(m) for m in frame.marks],
        "hovertemplate": "%{text}<extra></extra>",
        "showlegend": False,
        "cliponaxis": False,
        "marker": {
            "size": 9,
            "color": [_MARKED[m.kind][0] for m in frame.marks],
            "symbol": [_MARKED[m.kind][1] for m in frame.marks],
        },
    }
    return [*data, mark]


def _hover(event: Happening) -> str:
    why = f"<br>{html.escape(event.why)}" if event.why else ""
    return f"<b>{LABELS[event.kind]}</b> {words.moment(event.at)}<br>{html.escape(event.what)}{why}"


def _layout(
    frame: _Frame, *, categories: list[str] | None = None, zero: bool = False, legend: bool = False
) -> dict[str, Any]:
    layout = _base(legend=legend)
    start, end = frame.span
    room = max((end - start) // 50, 60_000)
    layout["xaxis"] |= {"type": "date", "range": [rfc3339(start - room), rfc3339(end + room)], "nticks": 6}
    if categories is not None:
        layout["yaxis"] |= {"type": "category", "categoryarray": categories, "categoryorder": "array"}
        layout["yaxis"]["dtick"] = 1
        layout["yaxis"]["range"] = [-0.6, len(categories) - 0.4]
        layout["hovermode"] = "closest"
        return layout
    if zero:
        layout["yaxis"]["rangemode"] = "tozero"
    if frame.marks:
        layout["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
        layout["shapes"] = [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": rfc3339(m.at),
                "x1": rfc3339(m.at),
                "y0": 0,
                "y1": 1,
                "layer": "below",
                "line": {"color": _MARKED[m.kind][0], "width": 1, "dash": "dot"},
            }
            for m in frame.marks
        ]
    return layout


def _base(*, legend: bool) -> dict[str, Any]:
    axis = {
        "gridcolor": "$grid",
        "zeroline": False,
        "linecolor": "$grid",
        "tickfont": {"color": "$muted"},
        "automargin": True,
    }
    layout: dict[str, Any] = {
        "height": 250 if legend else 220,
        "margin": {"l": 52, "r": 14, "t": 14, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "$ink", "size": 12, "family": "$font"},
        "hoverlabel": {"bgcolor": "$panel", "bordercolor": "$muted", "font": {"color": "$ink"}, "align": "left"},
        "hovermode": "x",
        "showlegend": legend,
        "xaxis": dict(axis),
        "yaxis": axis | {"fixedrange": True, "nticks": 6},
    }
    if legend:
        layout["legend"] = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": "$ink"}}
    return layout


def _square(limit: float, x: str, y: str) -> dict[str, Any]:
    layout = _base(legend=True)
    layout["height"] = 340
    layout["hovermode"] = "closest"
    room = 0.03 * limit
    for name, title in (("xaxis", x), ("yaxis", y)):
        layout[name] |= {
            "range": [-room, limit + room],
            "title": {"text": title, "font": {"color": "$muted"}},
            "fixedrange": True,
        }
    return layout


def _diagonal(limit: float, name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [0, limit],
        "y": [0, limit],
        "hoverinfo": "skip",
        "line": {"color": "$muted", "width": 1, "dash": "dash"},
    }


def _limit(bins: Iterable[Bin]) -> float:
    """The end of both axes: scores of rare classes would lie in one corner of the unit square."""
    top = max((max(b.score, b.observed) for b in bins), default=1.0)
    return next((end for end in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if top <= end), 1.0)


def _gap(bins: tuple[Bin, ...]) -> str:
    total = sum(b.events for b in bins)
    gap = sum(b.events * (b.observed - b.score) for b in bins) / total if total else 0.0
    off = max(bins, key=lambda b: abs(b.observed - b.score))
    lean = "on average right" if abs(gap) < 0.005 else "on average too low" if gap > 0 else "on average too high"
    return (
        f"scores are {lean}{'' if abs(gap) < 0.005 else f' by {words.number(abs(gap), 2)}'}; furthest off at"
        f" {words.number(off.score, 2)}, where {words.number(off.observed, 2)} is observed."
    )


def _told(
    points: list[Measured], estimates: list[Estimate | None], *, share: bool = False, latest: bool = False
) -> str:
    """What a line shows: its last value with interval and, unless `latest`, its first and its extremes."""
    write: Callable[[float | None], str] = words.percent if share else words.number
    known = [(p, e) for p, e in zip(points, estimates, strict=True) if e is not None]
    if not known:
        return "no values."
    last = known[-1][1]
    text = write(last.value)
    if last.low is not None and last.high is not None:
        text += f" ({write(last.low)} to {write(last.high)})"
    if latest:
        return f"{text}."
    text += " in the last window"
    if len(known) > 1:
        low, high = min(known, key=lambda k: k[1].value), max(known, key=lambda k: k[1].value)
        text += (
            f", {write(known[0][1].value)} in the first; lowest {write(low[1].value)} ({words.day(low[0].window.end)}),"
            f" highest {write(high[1].value)} ({words.day(high[0].window.end)})"
        )
    return f"{text}."


def _short(value: float | None) -> float | None:
    # A picture has no use for more digits, and the page is a third smaller without them.
    return None if value is None else float(f"{value:.5g}")
