"""``streameval check``: everything that can be known to go wrong before anything runs."""

from __future__ import annotations

from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from streameval.cli.console import in_lines
from streameval.cli.findings import Finding, examine
from streameval.cli.options import ConfigFile
from streameval.cli.sharding import MaybeShard, part_of
from streameval.config import load

EXAMPLES = (
    "streameval check --config c.yaml",
    "streameval check -c c.yaml && streameval run -c c.yaml",
    "streameval check -c c.yaml --shard 0/3",
)

_STYLES: Final = {"ok": "green", "warn": "bold yellow", "fail": "bold red"}


def check(config: ConfigFile, shard: MaybeShard = None) -> None:
    """Check a configuration and what it needs: connection, topics, limits, permissions, state and memory.

    One line for each point: ok, warn or fail, with what to do. Ends with 0 if nothing fails, with 1 if something does,
    and with 3 if the configuration itself is wrong. Nothing is changed; a running worker is not disturbed.
    """
    checked = part_of(load(config), shard)
    console = in_lines()
    names = ", ".join(model.name for model in checked.models)
    _say(console, Finding("ok", "configuration", f"{config}: worker {checked.worker}, models {names}"))
    failed = False
    for finding in examine(checked):
        _say(console, finding)
        failed |= finding.level == "fail"
    if failed:
        raise typer.Exit(1)


def _say(console: Console, finding: Finding) -> None:
    line = Text.assemble((f"{finding.level:<5}", _STYLES[finding.level]), f"{finding.point}: {finding.found}")
    console.print(line.append(f" ({finding.cure})" if finding.cure else ""))
