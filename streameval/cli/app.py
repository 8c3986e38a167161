"""The program: its commands, and the one place where errors become a message and an exit code.

Invariant: an error that streameval raises on purpose is told as what, where and cure on stderr and ends the process
with the error's own code (see `streameval.errors`); only a defect shows a traceback, and it ends with 70.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from streameval import __version__
from streameval.cli import check, demo, inspect, replay, report, run, schema, tail
from streameval.errors import InvariantError, StreamevalError

__all__ = ["app", "main"]

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as of a process that SIGINT ended."""
UNREAD: Final = 141
"""Exit code where the reader of a pipe left early, as of a process that SIGPIPE ended."""


_DEFECTS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
"""What only a mistake of ours raises; of typer's own exceptions only `typer.Exit` and `typer.Abort` are of these."""


class _Edge(TyperGroup):
    """The group of commands, whose `invoke` is the edge of the program."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except StreamevalError as error:
            _tell(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(INTERRUPTED) from error
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                # Whoever read our output has left, as head does: nothing is wrong, and there is nobody to tell.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(UNREAD) from error
            what = f"the system refused: {error.strerror or error}"
            _tell(StreamevalError(what, where=str(error.filename or ""), cure="check the path and its permissions"))
            raise typer.Exit(StreamevalError.exit_code) from error
        except _DEFECTS as bug:
            traceback.print_exc()
            _tell(InvariantError("a defect of streameval, see above", cure="please report it with these lines"))
            raise typer.Exit(InvariantError.exit_code) from bug


class _Spread(TyperCommand):
    """A command whose ``--predictions`` and ``--outcomes`` take several values, as a shell's globs give them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args, {"--predictions", "--outcomes"}))


def spread(args: list[str], options: set[str]) -> list[str]:
    """Repeat an option before each of its values.

    >>> spread(["--a", "1", "2", "--b", "3"], {"--a"})
    ['--a', '1', '--a', '2', '--b', '3']
    """
    found: list[str] = []
    option, given = "", False
    for arg in args:
        if arg.startswith("-"):
            option, given = (arg if arg in options else ""), False
            found.append(arg)
        else:
            found += [option, arg] if option and given else [arg]
            given = True
    return found


def paragraphs(text: str) -> str:
    r"""A docstring's paragraphs, each on one line, so that a terminal of any width wraps them.

    >>> paragraphs("One\n    line.\n\n    Two.")
    'One line.\n\nTwo.'
    """
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _tell(error: StreamevalError) -> None:
    # Whatever a message quotes is people's data: it is never read as markup, and never wrapped, so it can be searched.
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text("Error: ", style="bold red") + Text(error.what, style="not bold default"))
    if error.where:
        console.print(Text(f"  where:      {error.where}"))
    if error.cure:
        console.print(Text(f"  what to do: {error.cure}"))


def _version(asked: bool) -> None:
    if asked:
        print(f"streameval {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="streameval",
    cls=_Edge,
    help="Watch models whose labels come late: metrics, calibration, drift, thresholds, retraining.",
    epilog="See it work, with nothing prepared: streameval demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _program(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself: what they do happens in their callbacks."""


for _module, _command in (
    (demo, demo.demo),
    (run, run.run),
    (replay, replay.replay),
    (check, check.check),
    (tail, tail.tail),
    (report, report.report),
    (inspect, inspect.inspect),
    (schema, schema.schema),
):
    _kind = _Spread if _module is replay else TyperCommand
    app.command(
        cls=_kind,
        help=paragraphs(_command.__doc__ or ""),
        epilog="\n\n".join(["[bold]Examples[/bold]", *_module.EXAMPLES]),
    )(_command)


def main() -> None:
    """Run the command that `sys.argv` names; never returns."""
    sys.exit(app())
