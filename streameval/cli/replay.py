"""``streameval replay``: past events from files, with the results in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import structlog
import typer

from streameval.cli.ending import counted, facts, say, write_report
from streameval.cli.options import ConfigFile, Level, LogLevel
from streameval.cli.progress import Meter
from streameval.cli.sources import REPORT, folder_records, picture
from streameval.config import Config, load
from streameval.config.worker import OUTPUTS
from streameval.errors import InputError, UsageError
from streameval.transport import durable
from streameval.transport.files import Files

EXAMPLES = (
    "streameval replay -c c.yaml --predictions p.parquet --outcomes o.csv --out results --complete",
    "streameval replay -c c.yaml --predictions p/*.jsonl --outcomes o/*.jsonl --clock clock/0.jsonl --as-log -o again",
)


def replay(
    config: ConfigFile,
    predictions: Annotated[
        list[Path], typer.Option("--predictions", metavar="FILE...", help="Files of predictions: one, or several.")
    ],
    outcomes: Annotated[
        list[Path], typer.Option("--outcomes", metavar="FILE...", help="Files of outcomes: one, or several.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results; made when missing.")],
    *,
    complete: Annotated[
        bool, typer.Option("--complete", help="No more events will come: all that still waits for outcomes matures.")
    ] = False,
    as_log: Annotated[
        bool, typer.Option("--as-log", help="Read rows in the files' own order, not in order of their ts.")
    ] = False,
    clock: Annotated[
        Path | None,
        typer.Option("--clock", metavar="FILE", help="Clock marks of a live run (its topic clock), to be obeyed."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the results of an earlier replay.")] = False,
    log_level: LogLevel = Level.warning,
) -> None:
    """Read past events from files and write what the daemon would have published.

    Files are .jsonl, .csv or .parquet in the input contract, also compressed (.gz, .bz2, .xz, .zst); tables have
    columns like id, ts, score, segments.country, values.revenue. The results are DIR/<topic>.jsonl and DIR/report.html.
    With --as-log and --clock, the logs of a live run give byte for byte what it published.
    """
    checked = load(config)
    marks = None if clock is None else _marks(clock)
    _clear(out, checked, force=force)
    from streameval.daemon.replay import replay as replay_files  # noqa: PLC0415 - takes a second to import

    with Meter("replaying", level=log_level.value) as meter:
        times = {m.topic: "" if "ts" in m.constants else m.fields.get("ts", "ts") for m in checked.mappings}
        files = Files(predictions, outcomes, checked.topics, as_log=as_log, times=times)
        try:
            if files.reordered and marks is not None:
                what = "the rows are not in order of ts, and clock marks name places of a log in its own order"
                raise UsageError(what, where=str(files.reordered[0]), cure="add --as-log")
            if files.reordered:
                structlog.get_logger().warning(
                    "rows_reordered",
                    files=[str(path) for path in files.reordered],
                    meaning="rows were read in order of ts, and offsets count in that order; --as-log keeps the files'",
                )
            summary = replay_files(checked, files, out, complete=complete, marks=marks, progress=meter)
        finally:
            files.close()
    snapshot = picture(folder_records(out), facts(summary))
    write_report(snapshot, out / REPORT, f"streameval replay of {checked.worker}")
    say(snapshot, "", counted(summary), f"Look at {out / REPORT}")


def _marks(path: Path) -> list[bytes]:
    try:
        return [line for line in path.read_bytes().split(b"\n") if line]
    except OSError as error:
        cure = "give the file of the topic clock, in a logdir PATH/clock/0.jsonl"
        raise InputError(f"cannot be read: {error.strerror}", where=str(path), cure=cure) from error


def _clear(out: Path, config: Config, *, force: bool) -> None:
    """Make the folder, and take earlier results out of it if that is allowed; nothing else in it is touched."""
    ours = [out / f"{getattr(config.topics, key)}.jsonl" for key in OUTPUTS] + [out / REPORT]
    there = [path for path in ours if path.exists()]
    if there and not force:
        what = f"there are results of an earlier replay, as {there[0].name}"
        raise UsageError(what, where=str(out), cure="name another folder with --out, or overwrite them with --force")
    with durable.storage(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise UsageError("a file, not a folder", where=str(out), cure="name a folder with --out") from error
        for path in there:
            path.unlink()
