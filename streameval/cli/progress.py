"""Progress of long work, on stderr: a bar for people, a log line now and then for a pipe.

Invariant: nothing of it ever goes to stdout, and the log's lines pass above the bar instead of through it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from streameval import logs
from streameval.records import rfc3339

if TYPE_CHECKING:
    from streameval.daemon.progress import Progress as Reading

__all__ = ["Meter"]

_LOG_EVERY: Final = 10.0  # seconds


class _Rate(ProgressColumn):
    """Events a second, lately."""

    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{task.speed:,.0f}/s", style="progress.data.speed")


class Meter:
    """Shows how far something is; a context manager that also sets the log up.

    Args:
        what: what is being done, a word or two.
        level: from where on is logged in a pipe.
        quiet: the same on a terminal, where the bar says the rest.
        shown: whether there is anything to measure.
        now: seconds that only grow.
    """

    def __init__(
        self,
        what: str,
        *,
        level: str = "info",
        quiet: str | None = None,
        shown: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what = what
        self._now = now
        self._started = self._told = now()
        self._terminal = sys.stderr.isatty()
        self._level = level if not self._terminal or quiet is None else quiet
        self._bar: Progress | None = None
        if self._terminal and shown:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}% {task.completed:,.0f}"),
                _Rate(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[stream]}", style="dim"),
                console=Console(stderr=True),
                transient=True,
            )
        self._shown = shown
        self._task = None if self._bar is None else self._bar.add_task(what, total=None, stream="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        # After the start, because the bar puts itself between the log and the terminal.
        logs.configure(self._level)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            logs.configure(self._level)

    def __call__(self, reading: Reading) -> None:
        """Take a daemon's or a replay's progress."""
        stream = "" if reading.time is None else rfc3339(reading.time)[:16].replace("T", " ")
        self.tell(reading.events, reading.total, stream)

    def tell(self, done: int, total: int | None, stream: str = "") -> None:
        """So much is done, of so much (None: nobody knows); ``stream`` is the stream time as text."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, stream=stream and f"at {stream}")
        elif self._shown and not self._terminal and self._now() - self._told >= _LOG_EVERY:
            self._told = self._now()
            rate = round(done / max(self._told - self._started, 1e-9))
            left = None if not total or not rate else round((total - done) / rate)
            structlog.get_logger().info(
                "progress", what=self.what, done=done, total=total, rate=rate, seconds_left=left, stream=stream or None
            )
