"""``streameval report``: the page of what a worker, or a replay, has published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streameval.cli.ending import write_report
from streameval.cli.options import MaybeConfigFile, MaybeFolder
from streameval.cli.sources import REPORT, chosen, picture

EXAMPLES = (
    "streameval report --config c.yaml --out report.html",
    "streameval report --dir results",
)


def report(
    config: MaybeConfigFile = None,
    folder: MaybeFolder = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page to write.")] = Path(REPORT),
) -> None:
    """Draw one self-contained HTML page of all that was published: metrics, thresholds, alarms and their reasons.

    It only reads the output topics, so it can be asked for while the daemon runs, from another machine as well.
    """
    loaded, records = chosen(config, folder)
    snapshot = picture(records)
    write_report(snapshot, out, "streameval report" if loaded is None else f"streameval report of {loaded.worker}")
    print(out)
