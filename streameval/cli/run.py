"""``streameval run``: the daemon."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from streameval import logs
from streameval.cli.options import ConfigFile, Level, LogLevel
from streameval.cli.progress import Meter
from streameval.cli.serving import serving
from streameval.cli.sharding import shard_of
from streameval.config import load
from streameval.errors import StreamevalError
from streameval.logs import log_record
from streameval.transport.protocol import Record

if TYPE_CHECKING:
    from streameval.daemon.daemon import Daemon

EXAMPLES = (
    "streameval run --config config/example.yaml",
    "streameval run -c c.yaml 2>&1 | jq 'select(.event == \"drift\")'",
    "streameval run -c c.yaml --until-end",
    "streameval run -c c.yaml --shard 0/3",
    "streameval run -c c.yaml --port 8765    (the status page: http://127.0.0.1:8765)",
)


def run(
    config: ConfigFile,
    *,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when the logs are read to their present end.")
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Forget the state; go on from the thresholds and maps that are published, in a new lineage."
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N", help="Take the models that are shard K's of N workers (from 0); all N are started alike."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65_535,
            help="Serve the status page, probes and metrics; 0 takes a free port. Default: [bold]serve.port[/bold].",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="Address to listen on: 0.0.0.0 for all of the machine's. Default: [bold]serve.host[/bold], 127.0.0.1.",
        ),
    ] = None,
    log_level: LogLevel = Level.info,
) -> None:
    """Read events, keep metrics, watch for drift, publish thresholds: until it is stopped.

    SIGTERM and Ctrl-C stop it cleanly; whatever stops it, a new start goes on where it was and publishes nothing twice.
    The log goes to stderr: coloured on a terminal, JSON lines in a pipe. Drift alarms, thresholds and retraining
    requests stand in it with the record that is on the topic. What ends it stands there too, as "failed".
    """
    logs.configure(log_level.value)
    with _told_in_the_log():
        _run(config, until_end=until_end, fresh=fresh, shard=shard, port=port, host=host, level=log_level.value)


def _run(
    config: Path, *, until_end: bool, fresh: bool, shard: str | None, port: int | None, host: str | None, level: str
) -> None:
    checked = load(config)
    from streameval.daemon.daemon import Daemon  # noqa: PLC0415 - takes a second to import

    with Meter("reading", level=level, shown=until_end) as meter:
        part = shard_of(shard)
        daemon = Daemon(checked, progress=meter if until_end else None, on_records=_log, shard=part)
        with stopped_by_signals(daemon), serving(daemon, host, port):
            summary = daemon.run(until_end=until_end, fresh=fresh)
        structlog.get_logger().info(
            "ended",
            predictions=summary.predictions,
            outcomes=summary.outcomes,
            matched=summary.matched,
            waiting=summary.waiting,
            rejected=summary.rejected,
            duplicates_differing=summary.duplicates_differing,
            unusable=summary.unusable,
            records=summary.records,
            commits=summary.commits,
            wall_seconds=round(summary.wall_seconds, 3),
            stopped=summary.stopped,
        )


@contextlib.contextmanager
def _told_in_the_log() -> Iterator[None]:
    """In a pipe what ends the daemon is a line of its log like any other; a terminal gets it as every command does."""
    try:
        yield
    except StreamevalError as error:
        if sys.stderr.isatty():
            raise
        facts = {"what": error.what, "where": error.where, "cure": error.cure}
        told = {name: text for name, text in facts.items() if text}
        structlog.get_logger().error("failed", error=type(error).__name__, exit_code=error.exit_code, **told)
        raise typer.Exit(error.exit_code) from error


def _log(records: list[Record]) -> None:
    for record in records:
        if record.value is not None:
            log_record(record.value)


@contextlib.contextmanager
def stopped_by_signals(daemon: Daemon) -> Iterator[None]:
    """SIGTERM and SIGINT ask the daemon to stop; a second SIGINT interrupts it at once, which loses nothing either."""

    def ask(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        daemon.stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
