"""How results are told to people: a report to look at, a table of what happened, a run in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from streameval.serve import words
from streameval.serve.report import render
from streameval.serve.series import Key
from streameval.serve.snapshot import Snapshot
from streameval.serve.terminal import table, truth_table
from streameval.serve.truth import Truth
from streameval.transport import durable

if TYPE_CHECKING:
    from streameval.daemon.progress import Summary

__all__ = ["counted", "facts", "for_people", "say", "write_report"]

_PIPE_WIDTH = 160


def for_people() -> Console:
    """The console on stdout; in a pipe, where no width is known, as wide as its tables like to be."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def facts(summary: Summary) -> dict[str, object]:
    """What a report says beside its records."""
    told: dict[str, object] = {
        "predictions": summary.predictions,
        "outcomes": summary.outcomes,
        "joined": summary.matched,
        "waiting": summary.waiting,
        "wall_seconds": summary.wall_seconds,
        "rate": (summary.predictions + summary.outcomes) / max(summary.wall_seconds, 1e-9),
    }
    if summary.time is not None:
        told["time"] = summary.time
    return told


def counted(summary: Summary) -> str:
    """The run in a sentence."""
    parts = [
        words.count(summary.predictions, "prediction"),
        words.count(summary.outcomes, "outcome"),
        f"{summary.matched:,} joined",
        f"{summary.waiting:,} waiting",
        f"{summary.rejected:,} rejected",
    ]
    return f"{', '.join(parts)}; {words.count(sum(summary.records.values()), 'record')} written in " + words.seconds(
        summary.wall_seconds
    )


def write_report(snapshot: Snapshot, path: Path, title: str, truth: Truth | None = None) -> None:
    """Write the page, whole or not at all; with ``truth``, what truly happened stands in it.

    Raises:
        StorageError: the disk refuses it.
    """
    page = render(snapshot, title=title, truth=truth).encode()
    with durable.storage(path):
        durable.make_directory(path.parent)
        durable.write(path, [page])


def say(snapshot: Snapshot, *lines: str, truth: Truth | None = None) -> None:
    """The table of what happened on stdout, that of what truly did, a sentence for each model, and these lines."""
    console = for_people()
    console.print(table(snapshot))
    if truth is not None:
        console.print()
        console.print(truth_table(truth, snapshot.get(Key(truth.model, "0"))))
    console.print()
    for model, version in snapshot.models:
        console.print(snapshot.sentence(Key(model, version)), markup=False, soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
