"""``streameval schema``: JSON Schemas of everything that goes in or out."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import Annotated

import msgspec
import typer

from streameval.errors import UsageError
from streameval.schema import all_schemas

EXAMPLES = (
    "streameval schema prediction",
    "streameval schema threshold | jq .properties.data",
    "streameval schema config > streameval.schema.json",
)


def schema(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="prediction, outcome, threshold, drift, ..., commit, or config."),
    ] = None,
) -> None:
    """Print the JSON Schema of an event, a record or the configuration; without a name, all of them as one object.

    A record's name may be given with or without its prefix "streameval.".
    """
    known = all_schemas()
    if name is None:
        _print(known)
        return
    full = name if name in known else f"streameval.{name}"
    if full not in known:
        names = [key.removeprefix("streameval.") for key in known]
        near = get_close_matches(name, names, 1)
        cure = f"did you mean {near[0]}?" if near else f"names are {', '.join(names)}"
        raise UsageError(f"there is no schema {name!r}", cure=cure)
    _print(known[full])


def _print(value: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
