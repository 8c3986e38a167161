"""How results are told to people: a report to look at, a table of what happened, a run in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streameval.cli.console import for_people
from streameval.errors import UsageError
from streameval.serve import words
from streameval.serve.report import render
from streameval.serve.series import Key
from streameval.serve.snapshot import Snapshot
from streameval.serve.terminal import table, truth_table
from streameval.serve.truth import Truth
from streameval.transport import durable

if TYPE_CHECKING:
    from streameval.daemon.progress import Summary

__all__ = ["counted", "facts", "say", "write_report"]


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
        *([f"{words.count(summary.duplicates_differing, 'id')} used again"] if summary.duplicates_differing else []),
        *(f"{number:,} with unusable {field}" for field, number in summary.unusable.items()),
    ]
    return f"{', '.join(parts)}; {words.count(sum(summary.records.values()), 'record')} written in " + words.seconds(
        summary.wall_seconds
    )


def write_report(snapshot: Snapshot, path: Path, title: str, truth: Truth | None = None) -> None:
    """Write the page, whole or not at all; with ``truth``, what truly happened stands in it.

    Raises:
        UsageError: the path is a directory's.
        StorageError: the disk refuses it.
    """
    if path.is_dir():
        raise UsageError("a directory, not a file", where=str(path), cure="name the page to write in it")
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
