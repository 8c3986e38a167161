"""The option ``--shard K/N``, which several commands share: whose part of a configuration they mean."""

from __future__ import annotations

from typing import Annotated

import typer

from streameval.config import Config
from streameval.errors import UsageError

__all__ = ["MaybeShard", "part_of", "shard_of"]

MaybeShard = Annotated[
    str | None,
    typer.Option("--shard", metavar="K/N", help="The worker that has shard K of N (from 0): its models and its state."),
]


def shard_of(text: str | None) -> tuple[int, int]:
    """The shard that ``K/N`` names; the only one where nothing is said.

    Raises:
        UsageError: It is not of that form.

    >>> shard_of("1/3")
    (1, 3)
    """
    if text is None:
        return 0, 1
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise UsageError(f"{text!r} names no shard", where="--shard", cure="write K/N, as in --shard 0/3, 1/3 and 2/3")
    return int(index), int(count)


def part_of(config: Config, text: str | None) -> Config:
    """The configuration of the worker that has this shard; all of it where nothing is said.

    Raises:
        UsageError: The text names no shard.
        ConfigValueError: There is no such shard, or no model is its.
    """
    if text is None:
        return config
    from streameval.engine.shard import Shard  # noqa: PLC0415 - the engine takes a moment to import

    return Shard(*shard_of(text)).part(config)
