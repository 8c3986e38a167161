"""Where commands find records that were published: a worker's output topics, or the folder of a replay.

Invariant: records come per topic in their order, with their bytes as they were published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from streameval.config import Config
from streameval.config import load as load_config
from streameval.errors import InputError, UsageError
from streameval.records import parts_of
from streameval.serve.series import Key
from streameval.serve.snapshot import Snapshot
from streameval.transport.opening import open_transport, output_topics
from streameval.transport.protocol import Record

__all__ = ["chosen", "folder_records", "picture", "topic_records"]

REPORT: Final = "report.html"
_PARTS: Final = 3


class _Head(msgspec.Struct):
    subject: str
    sequence: int | str | None = None
    type: str | None = None


_head: Final = msgspec.json.Decoder(_Head).decode


def chosen(config: Path | None, folder: Path | None) -> tuple[Config | None, Iterator[Record]]:
    """The records of a configuration's output topics or of a replay's folder, whichever was given.

    Raises:
        UsageError: not exactly one of them was given.
        ConfigError: the configuration is wrong.
        InputError: the folder holds no records.
        TransportError: the transport cannot be read.
    """
    if (config is None) == (folder is None):
        cure = "give --config FILE for a worker's topics, or --dir DIR for the results of a replay"
        raise UsageError("either --config or --dir is needed, and not both", cure=cure)
    if folder is not None:
        return None, folder_records(folder)
    assert config is not None  # noqa: S101 - the first test left no other case
    loaded = load_config(config)
    return loaded, topic_records(loaded)


def topic_records(config: Config) -> Iterator[Record]:
    """Everything published on the output topics but clock marks and commits."""
    transport = open_transport(config)
    try:
        yield from transport.published(output_topics(config))
    finally:
        transport.close()


def folder_records(folder: Path) -> Iterator[Record]:
    """The records of ``DIR/<topic>.jsonl``, as a replay writes them.

    Raises:
        InputError: there is no such folder, no such file in it, or a line that is no record.
    """
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        what = "no results of a replay here" if folder.is_dir() else "no such folder"
        raise InputError(what, where=str(folder), cure="give the folder that replay wrote with --out")
    return _lines(paths)


def _lines(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = line.rstrip(b"\n")
                try:
                    head = _head(text)
                    sequence = None if head.sequence is None else int(head.sequence)
                except (msgspec.DecodeError, ValueError) as error:
                    cure = "give the folder that replay wrote with --out, unchanged"
                    raise InputError(f"not a record: {error}", where=f"{path}, line {number}", cure=cure) from error
                yield Record(path.stem, head.subject, text if head.type is not None else None, sequence)


def picture(records: Iterator[Record], facts: dict[str, object] | None = None) -> Snapshot:
    """The snapshot that report and table are drawn from; a key whose last threshold is a tombstone has ended."""
    snapshot = Snapshot(facts=facts or {})
    ended: dict[tuple[str, str], bool] = {}
    for record in records:
        ended[record.topic, record.key] = record.value is None
        if record.value is not None:
            snapshot.feed(record.topic, record.value)
    for (_, name), gone in ended.items():
        parts = parts_of(name)
        if gone and snapshot.last is not None and len(parts) == _PARTS and snapshot.get(Key(*parts)) is not None:
            snapshot.retire(Key(*parts), snapshot.last)
    return snapshot
