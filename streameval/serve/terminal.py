"""What happened, as a table for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from streameval.serve import words
from streameval.serve.happenings import LABELS, Kind, happenings
from streameval.serve.series import Series
from streameval.serve.snapshot import Snapshot
from streameval.serve.truth import Truth, beside

_STYLES: dict[Kind, str] = {
    "confirmed": "bold red",
    "advisory": "yellow",
    "threshold": "cyan",
    "calibration": "magenta",
    "retrain": "bold yellow",
    "learnt": "green",
}
_VERDICTS = {"right": "green", "missed": "bold red", "in vain": "bold red", "undecided": "yellow"}


def table(snapshot: Snapshot, rows: int = 40) -> Table:
    """What happened to the models as wholes and, as far as there is room, to their segments.

    `rows` is the most lines shown: segments give way first, then advisory alarms, then what is oldest; the caption says
    what was left out. Names are people's data: they are never read as markup.
    """
    found = happenings(snapshot.series)
    shown = found
    if len(shown) > rows:
        shown = [h for h in shown if h.key.whole or h.kind in ("confirmed", "retrain")]
    if len(shown) > rows:
        shown = [h for h in shown if h.key.whole]
    if len(shown) > rows:
        shown = [h for h in shown if h.kind != "advisory"]
    shown = shown[-rows:]
    many = len(snapshot.models) > 1
    result = Table(title="What happened", title_justify="left", caption_justify="left", expand=False)
    result.add_column("When (UTC)", no_wrap=True)
    result.add_column("Where")
    result.add_column("What", no_wrap=True)
    result.add_column("Detail")
    result.add_column("Why")
    for happening in shown:
        key = happening.key
        where = f"{key.model}/{key.version}" if many else key.model
        result.add_row(
            Text(words.moment(happening.at)),
            Text(where if key.whole else f"{where} {key.segment}"),
            Text(LABELS[happening.kind], style=_STYLES[happening.kind]),
            Text(happening.what),
            Text(happening.why),
        )
    if len(shown) < len(found):
        result.caption = f"{len(found) - len(shown)} more in the report"
    return result


def truth_table(truth: Truth, series: Series | None) -> Table:
    """What truly happened in a story, beside what was said and done about it."""
    result = Table(title="What truly happened", title_justify="left", expand=False)
    result.add_column("From", no_wrap=True)
    result.add_column("Truth")
    result.add_column("Said and done")
    result.add_column("Verdict", no_wrap=True)
    for when, true, said, verdict in beside(truth, series):
        result.add_row(Text(when), Text(true), Text(said), Text(verdict, style=_VERDICTS[verdict]))
    return result
