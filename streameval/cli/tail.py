"""``streameval tail``: records as they are published, for people or for a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import msgspec
import typer

from streameval.cli.console import in_lines
from streameval.cli.lines import line_of
from streameval.cli.options import ConfigFile
from streameval.config import Config, load
from streameval.config.worker import OUTPUTS
from streameval.errors import UsageError
from streameval.records import parts_of
from streameval.transport.opening import open_transport
from streameval.transport.protocol import Marks, Record, Transport

EXAMPLES = (
    "streameval tail -c c.yaml",
    "streameval tail -c c.yaml --topic drift,retrain --model fraud --last 0",
    "streameval tail -c c.yaml --topic thresholds --no-follow --json | jq .data.threshold",
)

DECISIONS: Final = ("thresholds", "calibration", "drift", "retrain")
CHOICES: Final = tuple(name for name in OUTPUTS if name != "commits")
_LOOK: Final = 1.0  # seconds between two looks
_SHOWN: Final = 10
_time_of: Final = msgspec.json.Decoder(type=dict[str, Any]).decode


def tail(
    config: ConfigFile,
    *,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Only of this model; repeatable.")] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", "-t", help=f"Which, by comma: {', '.join(CHOICES)}. Decisions, if not given."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more, or stop at the end.")] = True,
    last: Annotated[
        int | None,
        typer.Option(
            "--last", "-n", min=0, help="So many of those already there; 0: all. 10 if following, all otherwise."
        ),
    ] = None,
    json: Annotated[
        bool | None,
        typer.Option("--json/--no-json", help="Records' own lines, or sentences. JSON in a pipe if not given."),
    ] = None,
) -> None:
    """Show what is decided, as it is decided.

    On a terminal each record is a line for people; in a pipe it is the record itself, byte for byte as on its topic.
    """
    checked = load(config)
    topics = chosen_topics(checked, topic)
    for name in model or ():
        if name not in {one.name for one in checked.models}:
            known = ", ".join(one.name for one in checked.models)
            raise UsageError(f"there is no model {name!r}", where=str(config), cure=f"models are {known}")
    plain = not sys.stdout.isatty() if json is None else json
    console = in_lines()
    count = (_SHOWN if follow else 0) if last is None else last
    transport = open_transport(checked)
    try:
        follower = Follower(transport, topics)
        records = [record for record in follower.new() if of_models(record, model)]
        records.sort(key=_moment)
        while True:
            for record in records[-count:]:
                if plain:
                    sys.stdout.write(_text(record) + "\n")
                elif record.value is not None:
                    console.print(line_of(record.value))
            sys.stdout.flush()
            if not follow:
                return
            time.sleep(_LOOK)
            count = 0
            records = sorted((record for record in follower.new() if of_models(record, model)), key=_moment)
    finally:
        transport.close()


def chosen_topics(config: Config, given: Sequence[str] | None) -> list[str]:
    """The topics' own names, from the keys that a person typed.

    Raises:
        UsageError: one of them is no output topic.
    """
    keys = [key.strip() for text in given or [",".join(DECISIONS)] for key in text.split(",")]
    for key in keys:
        if key not in CHOICES:
            raise UsageError(f"there is no topic {key!r}", where="--topic", cure=f"topics are {', '.join(CHOICES)}")
    return [getattr(config.topics, key) for key in dict.fromkeys(keys)]


class Follower:
    """New records of some topics, each given once."""

    def __init__(self, transport: Transport, topics: list[str]) -> None:
        self.transport = transport
        self.topics = topics
        self._since: Marks | None = None
        self._numbers: dict[tuple[str, str], int] = {}
        self._unnumbered: set[tuple[str, bytes | None]] = set()

    def new(self) -> Iterator[Record]:
        """What was published since the last call, per topic in order."""
        ends = self.transport.ends(self.topics)
        unnumbered: set[tuple[str, bytes | None]] = set()
        for record in self.transport.published(self.topics, self._since):
            # The ends were taken before reading, so what came in between is read again the next time.
            if record.sequence is None:
                unnumbered.add((record.key, record.value))
                if (record.key, record.value) in self._unnumbered:
                    continue
            elif record.sequence <= self._numbers.get((record.topic, record.key), -1):
                continue
            else:
                self._numbers[record.topic, record.key] = record.sequence
            yield record
        self._since, self._unnumbered = ends, unnumbered


def of_models(record: Record, models: Sequence[str] | None) -> bool:
    """Whether a record is of one of these models; always, where none is named."""
    return not models or parts_of(record.key)[0] in models


def _moment(record: Record) -> str:
    # Tombstones have no time: they stay last, where the latest records are.
    return "~" if record.value is None else str(_time_of(record.value).get("time"))


def _text(record: Record) -> str:
    if record.value is not None:
        return record.value.decode()
    return msgspec.json.encode({"subject": record.key, "sequence": record.sequence, "data": None}).decode()
