"""How a worker stands: its last commit, what waits, and the state of each model, from what it has published and stored.

Invariant: it only reads, takes no lock, and so can be asked for while the worker runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from streameval.cli.console import for_people
from streameval.cli.sources import picture
from streameval.cli.stored import newest
from streameval.config import Config
from streameval.records import rfc3339
from streameval.serve import words
from streameval.serve.standing import model_standing
from streameval.transport.opening import open_transport
from streameval.transport.protocol import Record

__all__ = ["print_standing", "standing"]

_TRIES: Final = 5


def standing(config: Config | None, records: Iterable[Record]) -> dict[str, Any]:
    """Plain values: ``models`` (a line for each key), and with a configuration ``worker``, ``commit`` and ``state``."""
    snapshot = picture(iter(records))
    told: dict[str, Any] = {
        "models": [model_standing(snapshot, series) for series in snapshot.series],
        "records": dict(sorted(snapshot.records.items())),
        "rejected": {reason: entry.count for reason, entry in sorted(snapshot.rejected.items())},
    }
    if config is None:
        return told
    transport = open_transport(config)
    try:
        record = transport.commit_record(config.worker)
    finally:
        transport.close()
    commit = None
    if record is not None:
        time = None if record.T is None else rfc3339(record.T)
        commit = {"n": record.n, "lineage": record.lineage, "time": time, "positions": record.positions}
    return {"worker": config.worker, "commit": commit, "state": _state(config), **told}


def _state(config: Config) -> dict[str, Any] | None:
    for _ in range(_TRIES):
        kept = newest(config.state)
        if kept is None:
            break
        with contextlib.suppress(FileNotFoundError):  # the worker has replaced it meanwhile
            joins = kept.joins()
            told = {
                key: {name: join[key] for name, join in joins.items()} for key in ("waiting", "duplicates_differing")
            }
            return {"checkpoint": kept.n, "bytes": kept.size, **told}
    return None


def print_standing(told: dict[str, Any]) -> None:
    """The same for people."""
    console = for_people()
    if "worker" in told:
        console.print(Text(f"Worker {told['worker']}", style="bold"))
        commit, state = told["commit"], told["state"]
        if commit is None:
            console.print("  Nothing is committed yet.")
        else:
            console.print(f"  Commit {commit['n']} of lineage {commit['lineage']}, stream time {commit['time'] or '–'}")
            for topic, positions in commit["positions"].items():
                where = ", ".join(f"{partition} at {offset:,}" for partition, offset in sorted(positions.items()))
                console.print(Text(f"  Read of {topic}: partition {where}"))
        if state is None:
            console.print("  No state is stored here.")
        else:
            waiting = ", ".join(f"{name} {rows:,}" for name, rows in state["waiting"].items()) or "nothing"
            console.print(Text(f"  Checkpoint {state['checkpoint']}: {state['bytes']:,} bytes; rows kept: {waiting}"))
            again = ", ".join(f"{name} {n:,}" for name, n in state["duplicates_differing"].items() if n)
            if again:
                console.print(
                    Text(f"  Predictions whose id was used before with another time, score or segment: {again}")
                )
        console.print()
    if not told["models"]:
        console.print("No records are published yet.")
        return
    table = Table(title="Models", title_justify="left")
    for name in ("Model", "Version", "Segment", "State", "Phase", "Threshold", "Events"):
        table.add_column(name, justify="right" if name in ("Threshold", "Events") else "left")
    for key in told["models"]:
        cells = (key["model"], key["version"], key["segment"], key["state"], key["phase"] or "–")
        numbers = (words.number(key["threshold"]), words.number(key["events"]))
        table.add_row(*(Text(cell) for cell in (*cells, *numbers)))
    console.print(table)
    for key in told["models"]:
        if key["segment"] == "*":
            console.print(Text(key["sentence"]), soft_wrap=True)
