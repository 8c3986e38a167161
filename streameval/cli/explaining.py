"""A decision's record explained: what it was read from, test by test, so that a person can check it.

Invariant: everything shown stands in the record, or in the record of the same alarm; times are UTC.

Source: METHODS, sections 5 and 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from streameval.detect.change_tests import TOLERANCE
from streameval.serve import words

__all__ = ["alarm_of", "explained", "sparkline"]

_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDEST: Final = 48

HYPOTHESES: Final = {
    "score": ("scores are distributed as before", "distance"),
    "prior": ("as many are positive as before", "change of logit"),
    "score|y": ("each class has its scores as before", "relative error left by a new prior"),
    "y|s": ("a score means what it meant", "relative calibration error"),
    "auc": ("the order of scores is worth as much", "fall of the AUC"),
}
"""Test -> (what it doubts, what its effect is)."""


def explained(found: dict[str, Any], alarm: dict[str, Any] | None, digest: str | None) -> list[Text | Table]:
    """What a record says.

    Args:
        found: the record.
        alarm: the record of the alarm behind it, if there is one (see `alarm_of`).
        digest: of the model's present configuration, None where it is not known.
    """
    data = found["data"]
    kind = str(found["type"]).removeprefix("streameval.")
    parts: list[Text | Table] = []
    if kind == "drift":
        parts += _change(data)
    elif kind == "retrain":
        parts += _request(data)
    elif kind == "threshold":
        parts += _move(data)
    source = found if alarm is None else alarm
    path = ((source["data"].get("evidence") or {}).get("path")) or []
    if path:
        parts.append(_path(path, source["data"].get("bound")))
    if (data.get("diagnosis") or {}).get("tests"):
        parts.append(_tests(data["diagnosis"]["tests"]))
    left_out = (data.get("evidence") or {}).get("left_out")
    if left_out:
        bands = ", ".join(f"{words.number(low)} to {words.number(high)}" for low, high in left_out)
        parts.append(_line("left out", f"scores whose decision we changed ourselves: {bands}"))
    if data.get("configuration"):
        same = (
            "" if digest is None else " (the present one)" if digest == data["configuration"] else " (not the present)"
        )
        parts.append(_line("configuration", f"{data['configuration']}{same}"))
    return parts


def alarm_of(found: dict[str, Any], records: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The first record of the alarm that a record belongs to: the one that holds the path of the statistic."""
    at = found["data"].get("alarm_at")
    if at is None:
        return None
    same = (
        one
        for one in records
        if one["type"] == "streameval.drift"
        and one["subject"] == found["subject"]
        and one["data"].get("alarm_at") == at
    )
    return next((one for one in same if one["data"]["tier"] == "confirmed" and one["time"] == at), None)


def sparkline(values: Sequence[float], width: int = _WIDEST) -> str:
    """Numbers as bars, the lowest to the highest; where there are too many, the highest of each group.

    >>> sparkline([0.0, 1.0, 2.0, 7.0]), sparkline([1.0, 1.0])
    ('▁▂▃█', '▁▁')
    """
    if not values:
        return ""
    size = math.ceil(len(values) / width)
    groups = [max(values[k : k + size]) for k in range(0, len(values), size)]
    low, span = min(groups), max(groups) - min(groups)
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1)) if span > 0.0 else 0] for value in groups)


def _line(name: str, what: str) -> Text:
    return Text.assemble((f"  {name:<14}", "dim"), what)


def _change(data: dict[str, Any]) -> list[Text | Table]:
    lines: list[Text | Table] = []
    before, after = (data.get(name) or {} for name in ("before", "after"))
    if before.get("value") is not None and after.get("value") is not None:
        means = f"{words.number(before['value'])} before, {words.number(after['value'])} since"
        lines.append(_line("mean", f"{words.monitor(data['monitor'])}: {means} {data['change_at']}"))
    if data.get("statistic") is not None and data.get("bound") is not None:
        reached = f"{words.number(data['statistic'])}, an alarm from {words.number(data['bound'])} on"
        lines.append(_line("statistic", f"{reached} ({data.get('detector')})"))
    evidence = data.get("evidence") or {}
    counts = evidence.get("counts") or {}
    for when, said in (("before", "before"), ("after", "since the change"), ("after_alarm", "after the alarm")):
        if f"positives_{when}" in counts:
            positives = sum(counts[f"positives_{when}"])
            events = positives + sum(counts[f"negatives_{when}"])
            lines.append(_line("window", f"{said}: {words.count(events, 'event')}, {words.number(positives)} positive"))
    return lines


def _request(data: dict[str, Any]) -> list[Text | Table]:
    if data.get("attainable") is None:
        return []
    return [
        _line("attainable", f"{_interval(data['attainable'])} per event: the best that this model can still reach"),
        _line("as before", f"{words.number(data['counterfactual'])}: what the model of the reference would have now"),
        _line("in force", f"{_interval(data['in_force'])}: at the present threshold"),
        _line("learn from", f"{data['window']['from']} on: {words.count(data['window']['events'], 'event')}"),
    ]


def _move(data: dict[str, Any]) -> list[Text | Table]:
    lines: list[Text | Table] = []
    if data.get("expected_gain") is not None:
        lines.append(_line("gain", f"{_interval(data['expected_gain'])} per event, in units of the objective"))
    prevalence = data.get("prevalence") or {}
    for name, known in prevalence.items():
        if isinstance(known, dict) and known.get("value") is not None:
            lines.append(_line("prevalence", f"{_interval(known)}, {words.reason(name)}"))
    if data.get("window") is not None:
        window = data["window"]
        lines.append(_line("rests on", f"{words.count(window['events'], 'event')}, {window['from']} to {window['to']}"))
    return lines


def _interval(known: dict[str, Any]) -> str:
    return words.interval(known["value"], known.get("low"), known.get("high"))


def _path(path: list[list[Any]], bound: float | None) -> Text:
    logs = [float(value) / math.log(10.0) for _, value in path if value is not None and value > -1e300]
    ends = f"10^{logs[0]:.1f} to 10^{logs[-1]:.1f}" if logs else ""
    wanted = "" if bound is None else f", alarm at 10^{math.log10(bound):.1f}"
    return _line("path", f"{sparkline(logs)}  {ends}{wanted}, {words.count(len(path), 'step')}")


def _tests(tests: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    for title, justify in (("  test", "left"), ("statistic", "right"), ("p", "right"), ("effect", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    table.add_column("tolerance", justify="right")
    table.add_column("")
    for name, test in tests.items():
        doubted, effect = HYPOTHESES.get(name, (words.reason(name), ""))
        verdict = Text("holds", "green") if test["holds"] else Text("rejected", "red")
        tolerance = words.number(TOLERANCE[name]) if name in TOLERANCE else "–"
        p = "<1e-12" if test["p_value"] < 1e-12 else words.number(test["p_value"], 2)
        table.add_row(
            f"  {doubted}",
            words.number(test["statistic"]),
            p,
            f"{words.number(test['effect'])} {effect}",
            tolerance,
            verdict,
        )
    return table
