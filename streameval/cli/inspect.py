"""``streameval inspect``: one record with what it rests on, or the state of a worker."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.json import JSON
from rich.text import Text

from streameval.cli.lines import line_of
from streameval.cli.options import MaybeConfigFile, MaybeFolder
from streameval.cli.sources import chosen
from streameval.cli.standing import print_standing, standing
from streameval.errors import UsageError
from streameval.transport.protocol import Record

EXAMPLES = (
    "streameval inspect --config c.yaml",
    "streameval inspect 5f3a --dir results",
    "streameval inspect --config c.yaml --json | jq .commit.positions",
)

SHORTEST: Final = 4
_ID_LENGTH: Final = 32


def inspect(
    record: Annotated[
        str | None, typer.Argument(metavar="RECORD-ID", help="The id of a record, or how it begins (4 characters).")
    ] = None,
    config: MaybeConfigFile = None,
    folder: MaybeFolder = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show one record in full with what it rests on; without an id, how the worker and its models stand.

    What a record rests on: the latest threshold, map and metrics of its key before it; and the metrics after it.
    """
    if record is not None and not SHORTEST <= len(record) <= _ID_LENGTH:
        cure = "an id is 32 hexadecimal digits, as under .id of each record; its first 4 are enough"
        raise UsageError(f"{record!r} is not the beginning of an id", cure=cure)
    loaded, records = chosen(config, folder)
    if record is None:
        told = standing(loaded, records)
        if json:
            _print_json(told)
        else:
            print_standing(told)
        return
    found, before, after = surroundings(records, record)
    if json:
        raw = msgspec.Raw
        _print_json(
            {
                "record": raw(found),
                "before": {kind: raw(value) for kind, value in before.items()},
                "after": {kind: raw(value) for kind, value in after.items()},
            }
        )
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(line_of(found))
    console.print(JSON(found.decode()))
    for title, around in (("Before it, of the same key", before), ("After it", after)):
        if around:
            console.print(Text(f"\n{title}:", style="bold"))
            for value in around.values():
                console.print(line_of(value).append(f"  {_id(value)}", style="dim"))


class _Head(msgspec.Struct):
    id: str
    type: str
    subject: str
    time: str


_head: Final = msgspec.json.Decoder(_Head).decode


def _id(value: bytes) -> str:
    return _head(value).id


def surroundings(records: Iterable[Record], start: str) -> tuple[bytes, dict[str, bytes], dict[str, bytes]]:
    """The record whose id begins so; by kind, the last records of its key before it and the first metrics after it.

    Raises:
        UsageError: there is none, or more than one.
    """
    values = [record.value for record in records if record.value is not None]
    heads = [_head(value) for value in values]
    matching = [place for place, head in enumerate(heads) if head.id.startswith(start)]
    if not matching:
        cure = "ids stand under .id of each record: streameval tail --json"
        raise UsageError(f"there is no record whose id begins with {start!r}", cure=cure)
    if len(matching) > 1:
        ids = ", ".join(heads[place].id for place in matching[:3])
        raise UsageError(f"{len(matching)} ids begin with {start!r}", cure=f"give more of it: {ids}, ...")
    own = heads[matching[0]]
    before: dict[str, bytes] = {}
    after: dict[str, bytes] = {}
    # RFC 3339 in UTC sorts as text; of one time, a topic's own order decides.
    order = sorted(range(len(heads)), key=lambda place: (heads[place].time, place))
    for place in order:
        head = heads[place]
        kind = head.type.removeprefix("streameval.")
        if head.subject != own.subject or place == matching[0]:
            continue
        if head.time < own.time or (head.time == own.time and (head.type != own.type or place < matching[0])):
            before[kind] = values[place]
        elif kind == "metrics" and kind not in after:
            after[kind] = values[place]
    return values[matching[0]], before, after


def _print_json(value: Any) -> None:
    text = msgspec.json.encode(value)
    sys.stdout.write((msgspec.json.format(text, indent=2) if sys.stdout.isatty() else text).decode() + "\n")
