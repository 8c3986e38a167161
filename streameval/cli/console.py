"""The console on stdout: what people read, also where a pipe takes it.

Invariant: a reader who leaves early, as head does, ends the program quietly and always with the same exit code.
"""

from __future__ import annotations

import sys

from rich.console import Console

__all__ = ["People", "for_people", "in_lines"]

_PIPE_WIDTH = 160


class People(Console):
    """A console that tells of a closed pipe, where rich would end with 1, which in ``check`` means a failure."""

    def on_broken_pipe(self) -> None:
        """Called by rich while it handles the error."""
        raise BrokenPipeError


def for_people() -> Console:
    """For tables and prose; in a pipe, where no width is known, as wide as its tables like to be."""
    return People(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def in_lines() -> Console:
    """For lines that are never wrapped, so that they can be searched."""
    return People(highlight=False, soft_wrap=True)
