"""One record as one line for people, in the words of the report."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from rich.text import Text

from streameval.records import parts_of
from streameval.serve import words
from streameval.serve.happenings import LABELS, happenings
from streameval.serve.snapshot import Snapshot, milliseconds

__all__ = ["line_of"]

STYLES: Final = {
    "confirmed": "bold red",
    "advisory": "yellow",
    "threshold": "cyan",
    "calibration": "magenta",
    "retrain": "bold yellow",
    "rejected": "red",
}
_WIDTH: Final = 20
_METRICS: Final = ("cost", "log_loss", "auc")


def line_of(record: bytes) -> Text:
    """When, what, about what, and why; names are people's data and never read as markup."""
    event: dict[str, Any] = msgspec.json.decode(record)
    kind = str(event["type"]).removeprefix("streameval.")
    snapshot = Snapshot()
    snapshot.feed(kind, event)
    found = [h for h in happenings(snapshot.series, each=True) if h.kind != "learnt"]
    if found:
        kind, label, what, why = found[0].kind, LABELS[found[0].kind], found[0].what, found[0].why
    else:
        label, (what, why) = kind.capitalize(), _other(kind, event["data"])
    return Text.assemble(
        (words.moment(milliseconds(event["time"])), "dim"),
        "  ",
        (f"{label:<{_WIDTH}}", STYLES.get(kind, "")),
        "  ",
        ("/".join(parts_of(event["subject"])), "bold"),
        f"  {what}",
        (f"  ({why})" if why else "", "dim"),
    )


def _other(kind: str, data: dict[str, Any]) -> tuple[str, str]:
    if kind == "metrics":
        shown = [name for name in _METRICS if name in data["metrics"]]
        what = ", ".join(f"{words.metric(name)} {words.number(data['metrics'][name]['value'])}" for name in shown)
        return what, f"{words.count(data['window']['events'], 'event')}, {data['phase']}"
    if kind == "rejected":
        times = f", {words.count(data['count'], 'event')}" if data["count"] > 1 else ""
        return f"{words.reason(data['reason'])} at offset {data['offset']}{times}", data["detail"]
    if kind == "alignment":
        loss, kpi, share = words.metric(data["loss"]), words.metric(data["kpi"]), data["disagreement"]["value"]
        why = f"{words.count(data['pairs'], 'pair')}, {words.reason(data['basis'])}"
        if share is None:
            return f"{loss} and {kpi}: too early to say", why
        return f"{loss} and {kpi} disagree in {words.percent(share)} of decided pairs", why
    if kind == "clock":
        return f"at least {data['floor']} from offset {data['offset']}", words.reason(data["reason"])
    return "", ""
