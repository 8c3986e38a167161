"""Run a command of streameval and let it die, or its disk be full, at a numbered step of a commit or a start.

::

    python -m streameval.testing.crash --at commit.3 --count 2 -- run --config c.yaml
    python -m streameval.testing.crash --at commit.1 --error ENOSPC -- run --config c.yaml

The first sends itself SIGKILL just before step 3 of the second commit: no handler runs and nothing is flushed. The
steps are those in the tables of `streameval.transport.commit`, the only module that it reaches into.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys

from streameval.transport import commit
from streameval.transport.protocol import OnStep

__all__ = ["install", "main", "striking"]


def striking(at: str, count: int, error: int | None = None) -> OnStep:
    """A hook that strikes when a step comes for the given time: by SIGKILL, or by an OSError with this number."""
    left = count

    def strike(step: str) -> None:
        nonlocal left
        left -= step == at
        if left == 0 and step == at:
            if error is not None:
                raise OSError(error, os.strerror(error))
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


def install(at: str, count: int = 1, error: int | None = None) -> None:
    """Let every `Committer` that is made from now on be struck (see `striking`)."""
    commit.step_hook = striking(at, count, error)


def main(arguments: list[str] | None = None) -> object:
    """Install the fault, then call the command as if it had been called by itself."""
    parser = argparse.ArgumentParser(prog="python -m streameval.testing.crash", description=__doc__.split("\n")[0])
    parser.add_argument("--at", required=True, metavar="STEP", help="commit.1 to commit.8 or start.1 to start.6")
    parser.add_argument("--count", type=int, default=1, help="strike when the step comes for the COUNT-th time")
    parser.add_argument("--error", metavar="NAME", help="raise this OSError (ENOSPC, EIO, ...) instead of dying")
    parser.add_argument("--main", default="streameval.cli:main", metavar="MODULE:FUNCTION", help="what to call")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the arguments of the command")
    given = parser.parse_args(arguments)
    install(given.at, given.count, None if given.error is None else getattr(errno, given.error))
    module, _, function = given.main.partition(":")
    sys.argv = ["streameval", *(given.command[1:] if given.command[:1] == ["--"] else given.command)]
    return getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[arg-type] # whatever the command returns is its exit code
