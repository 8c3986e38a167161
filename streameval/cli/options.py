"""Options that several commands share, and the log's set-up for a command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ConfigFile", "Level", "LogLevel", "MaybeConfigFile", "MaybeFolder"]


class Level(StrEnum):
    """From where on something is logged."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


_CONFIG_HELP = "The configuration: a YAML file, see config/reference.md and [bold]streameval schema config[/bold]."

ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help=_CONFIG_HELP)]
MaybeConfigFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help=_CONFIG_HELP)]
MaybeFolder = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="The folder of a replay's results, instead of --config.")
]
LogLevel = Annotated[Level, typer.Option("--log-level", help="From where on something is logged.")]
