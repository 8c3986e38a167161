"""``streameval inspect``: one record with what it rests on, or the state of a worker."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.json import JSON
from rich.text import Text

from streameval.cli.console import in_lines
from streameval.cli.explaining import alarm_of, explained
from streameval.cli.lines import line_of
from streameval.cli.options import MaybeConfigFile, MaybeFolder
from streameval.cli.sharding import MaybeShard, part_of
from streameval.cli.sources import chosen
from streameval.cli.standing import print_standing, standing
from streameval.config import Config
from streameval.config.change import digest
from streameval.errors import UsageError
from streameval.transport.protocol import Record

EXAMPLES = (
    "streameval inspect --config c.yaml",
    "streameval inspect 5f3a --dir results",
    "streameval inspect retrain --config c.yaml",
    "streameval inspect --config c.yaml --json | jq .commit.positions",
    "streameval inspect --config c.yaml --shard 1/3",
)

KINDS: Final = {
    name: kind
    for kind, topic in {
        "drift": "drift",
        "retrain": "retrain",
        "threshold": "thresholds",
        "calibration": "calibration",
        "metrics": "metrics",
        "alignment": "alignment",
        "rejected": "rejected",
    }.items()
    for name in (kind, topic)
}
"""A kind of record, by its own name and by its topic's."""
SHORTEST: Final = 4
_ID_LENGTH: Final = 32


def inspect(
    record: Annotated[
        str | None,
        typer.Argument(
            metavar="RECORD-ID",
            help="The id of a record, or how it begins (4 characters); or a kind, for the newest of it: drift, "
            "retrain, threshold, calibration, metrics, alignment, rejected.",
        ),
    ] = None,
    config: MaybeConfigFile = None,
    folder: MaybeFolder = None,
    shard: MaybeShard = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show one record in full with what it rests on; without an id, how the worker and its models stand.

    Of a decision: what it was read from, the tests with their effects and p-values, the path of the statistic, what
    belongs to the same alarm. Of any record: the latest threshold, map and metrics of its key before it; and the
    metrics after it.
    """
    if record is not None and record not in KINDS and not SHORTEST <= len(record) <= _ID_LENGTH:
        cure = "an id is 32 hexadecimal digits, as under .id of each record; its first 4 are enough"
        raise UsageError(f"{record!r} is not the beginning of an id", cure=cure)
    loaded, records = chosen(config, folder)
    if record is None:
        told = standing(None if loaded is None else part_of(loaded, shard), records)
        if json:
            _print_json(told)
        else:
            print_standing(told)
        return
    known = list(records)
    values = [one.value for one in known if one.value is not None]
    found, before, after = surroundings(known, newest(values, KINDS[record]) if record in KINDS else record)
    if json:
        raw = msgspec.Raw
        _print_json(
            {
                "record": raw(found),
                "before": {kind: raw(value) for kind, value in before.items()},
                "after": {kind: raw(value) for kind, value in after.items()},
                "alarm": [raw(value) for value in same_alarm(found, values)],
            }
        )
        return
    console = in_lines()
    console.print(line_of(found))
    plain = msgspec.json.decode(found)
    together = same_alarm(found, values)
    alarm = alarm_of(plain, [msgspec.json.decode(value) for value in together])
    for part in explained(plain, alarm, _digest(loaded, plain["data"].get("model"))):
        console.print(part)
    console.print(JSON(found.decode()))
    for title, around in (
        ("Of the same alarm", [value for value in together if value != found]),
        ("Before it, of the same key", before.values()),
        ("After it", after.values()),
    ):
        if around:
            console.print(Text(f"\n{title}:", style="bold"))
            for value in around:
                console.print(line_of(value).append(f"  {_id(value)}", style="dim"))


class _Head(msgspec.Struct):
    id: str
    type: str
    subject: str
    time: str


_head: Final = msgspec.json.Decoder(_Head).decode


def _id(value: bytes) -> str:
    return _head(value).id


def newest(values: Iterable[bytes], kind: str) -> str:
    """The id of the newest record of a kind; of drift records, those of confirmed alarms go before advisory ones.

    Raises:
        UsageError: there is none.
    """
    best: tuple[bool, str, str] | None = None
    for value in values:
        head = _head(value)
        if head.type == f"streameval.{kind}":
            rank = (kind != "drift" or b'"tier":"confirmed"' in value, head.time, head.id)
            # Of one time the later in its topic: an alarm comes before what it leads to.
            best = rank if best is None or rank[:2] >= best[:2] else best
    if best is None:
        raise UsageError(f"there is no {kind} record yet", cure="streameval inspect shows what was published so far")
    return best[2]


def surroundings(records: Iterable[Record], start: str) -> tuple[bytes, dict[str, bytes], dict[str, bytes]]:
    """The record whose id begins so; by kind, the last records of its key before it and the first metrics after it.

    Raises:
        UsageError: there is none, or more than one.
    """
    values = [record.value for record in records if record.value is not None]
    heads = [_head(value) for value in values]
    matching = [place for place, head in enumerate(heads) if head.id.startswith(start)]
    if not matching:
        cure = "ids stand under .id of each record: streameval tail --json; or name a kind: drift, threshold, ..."
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


def same_alarm(found: bytes, values: Iterable[bytes]) -> list[bytes]:
    """The records of the alarm that a record belongs to, in order of time: itself, its diagnosis, its request."""
    own = msgspec.json.decode(found)
    at = own["data"].get("alarm_at")
    if at is None:
        return []
    told = []
    for value in values:
        if _head(value).subject == own["subject"] and at.encode() in value:
            one = msgspec.json.decode(value)
            if one["data"].get("alarm_at") == at and one["data"].get("tier") != "advisory":
                told.append((one["time"], value))
    return [value for _, value in sorted(told, key=lambda pair: pair[0])]


def _digest(config: Config | None, model: str | None) -> str | None:
    """Of the present configuration of a model."""
    known = [] if config is None else [one for one in config.models if one.name == model]
    return digest(known[0]) if known else None


def _print_json(value: Any) -> None:
    text = msgspec.json.encode(value)
    sys.stdout.write((msgspec.json.format(text, indent=2) if sys.stdout.isatty() else text).decode() + "\n")
