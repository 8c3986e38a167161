"""``streameval demo``: the whole loop on real data, for someone who has just installed it."""

from __future__ import annotations

import shutil
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated, Final

import typer

from streameval.cli.ending import counted, facts, say, write_report
from streameval.cli.progress import Meter
from streameval.cli.run import stopped_by_signals
from streameval.cli.sources import REPORT, picture, topic_records
from streameval.config import load
from streameval.errors import UsageError
from streameval.transport import durable

EXAMPLES = (
    "streameval demo",
    "streameval demo --out /tmp/elec2 --open",
)

CONFIG: Final = "streameval.yaml"
_OURS: Final = ("events", "state", CONFIG, REPORT)
_FOLDER: Final = Path("streameval-demo")


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the logs, the state and the report go.")
    ] = _FOLDER,
    *,
    temporary: Annotated[
        bool, typer.Option("--temporary", help="Use a new temporary folder instead of --out.")
    ] = False,
    open_report: Annotated[bool, typer.Option("--open", help="Open the report in a browser at the end.")] = False,
) -> None:
    """See the loop close on real data: needs nothing but this package and half a minute.

    A model of electricity prices in New South Wales learns eight weeks of 1996 and is then frozen, as most models in
    service are. Its predictions of the next two years and their outcomes, a day later, are written as logs; the daemon
    reads them, notices when the market changes, moves the threshold, recalibrates, and asks for retraining.
    """
    folder = Path(tempfile.mkdtemp(prefix="streameval-demo-")) if temporary else out
    _clear(folder)
    from streameval.daemon.daemon import Daemon  # noqa: PLC0415 - takes a second to import
    from streameval.demo.elec2 import prepare  # noqa: PLC0415 - as above

    with Meter("learning and predicting", quiet="error") as meter, durable.storage(folder):
        config = prepare(folder, meter.tell)
    checked = load(config)
    with Meter("watching", quiet="error") as meter:
        daemon = Daemon(checked, progress=meter)
        with stopped_by_signals(daemon):
            summary = daemon.run(until_end=True)
    snapshot = picture(topic_records(checked), facts(summary))
    page = (folder / REPORT).absolute()
    write_report(snapshot, page, "streameval demo")
    say(
        snapshot,
        "",
        counted(summary),
        f"The report, with plots:  {page}",
        f"The decisions as records: {folder / 'events'}/thresholds, drift, retrain, ... (0.jsonl)",
        f"Look around:             streameval tail -c {config} --no-follow",
    )
    if open_report:
        webbrowser.open(page.as_uri())


def _clear(folder: Path) -> None:
    """Make the folder empty of what an earlier demo left; refuse one that holds anything else under those names."""
    if folder.exists() and not folder.is_dir():
        raise UsageError("a file, not a folder", where=str(folder), cure="name a folder with --out")
    there = [folder / name for name in _OURS if (folder / name).exists()]
    config = folder / CONFIG
    if there and not (config.is_file() and config.read_bytes().startswith(b"# Written by `streameval demo`")):
        what = f"the folder holds {there[0].name}, which no demo has written"
        raise UsageError(what, where=str(folder), cure="name another folder with --out")
    with durable.storage(folder):
        # The configuration goes last: while it stands there, what is left is known to be a demo's.
        for path in sorted(there, key=lambda path: path == config):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
