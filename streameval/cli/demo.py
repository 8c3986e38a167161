"""``streameval demo``: the whole loop, on real data or on a story, for someone who has just installed it."""

from __future__ import annotations

import shutil
import tempfile
import webbrowser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.table import Table

from streameval.cli.console import for_people
from streameval.cli.ending import counted, facts, say, write_report
from streameval.cli.progress import Meter
from streameval.cli.run import stopped_by_signals
from streameval.cli.sources import REPORT, picture, topic_records
from streameval.config import load
from streameval.errors import UsageError
from streameval.transport import durable

if TYPE_CHECKING:
    from streameval.serve.truth import Truth
    from streameval.stories.story import Story

EXAMPLES = (
    "streameval demo",
    "streameval demo --out /tmp/elec2 --open",
    "streameval demo --list",
    "streameval demo --story label_shift --seed 7",
    "streameval demo --kafka localhost:9092 --speed 100000",
)

CONFIG: Final = "streameval.yaml"
_OURS: Final = ("events", "state", CONFIG, REPORT, "truth.json")
_FOLDER: Final = Path("streameval-demo")


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the logs, the state and the report go.")
    ] = _FOLDER,
    *,
    temporary: Annotated[
        bool, typer.Option("--temporary", help="Use a new temporary folder instead of --out.")
    ] = False,
    open_report: Annotated[bool, typer.Option("--open", help="Open the report in a browser at the end.")] = False,
    story: Annotated[
        str | None, typer.Option("--story", metavar="NAME", help="Play a made-up stream whose truth is known.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Another performance of the story.")] = None,
    events: Annotated[int | None, typer.Option("--events", min=1000, help="A longer or shorter one.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the stories and leave.")] = False,
    kafka: Annotated[
        str | None,
        typer.Option("--kafka", metavar="HOST:PORT", help="Play it into this cluster and leave the page running."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed", min=0.001, help="With --kafka: seconds of the stream in one second. Default: all in 3 minutes."
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="With --kafka: the page's port.")] = 8765,
) -> None:
    """See the loop close: on real data, or on a story whose truth is known; needs nothing but this package.

    A model of electricity prices in New South Wales learns eight weeks of 1996 and is then frozen, as most models in
    service are. Its predictions of the next two years and their outcomes, a day later, are written as logs; the daemon
    reads them, notices when the market changes, moves the threshold and recalibrates.

    With --story, a lender's stream is made up in which something happens (or nothing does), and the report shows
    beside what the daemon said what truly happened.

    With --kafka, the stream is played into topics of a cluster (named streameval-demo-...; those of an earlier demo are
    removed first), the daemon reads it there, and its page stays to be looked at until Ctrl-C.
    """
    from streameval.stories.catalogue import STORIES  # noqa: PLC0415 - takes a second to import

    if listed:
        _list(STORIES.values())
        return
    chosen = _story(STORIES, story, seed, events)
    folder = Path(tempfile.mkdtemp(prefix="streameval-demo-")) if temporary else out
    _clear(folder)
    from streameval.daemon.daemon import Daemon  # noqa: PLC0415 - as above

    truth: Truth | None = None
    making = "making up the story" if chosen else "learning and predicting"
    with Meter(making, quiet="error") as meter, durable.storage(folder):
        if chosen is None:
            from streameval.demo.elec2 import prepare  # noqa: PLC0415 - as above

            config = prepare(folder, meter.tell)
        else:
            from streameval.stories.writing import write  # noqa: PLC0415 - as above

            config, truth = write(chosen, folder, meter.tell)
    if kafka is not None:
        from streameval.cli.demo_kafka import play  # noqa: PLC0415 - as above

        play(config, kafka, speed=speed, port=port)
        return
    checked = load(config)
    with Meter("watching", quiet="error") as meter:
        daemon = Daemon(checked, progress=meter)
        with stopped_by_signals(daemon):
            summary = daemon.run(until_end=True)
    snapshot = picture(topic_records(checked), facts(summary))
    page = (folder / REPORT).absolute()
    if truth is not None:
        truth = msgspec.structs.replace(truth, stalled=summary.stalled.get(truth.model))
    write_report(
        snapshot,
        page,
        "streameval demo" if chosen is None else f"streameval demo: {chosen.name.replace('_', ' ')}",
        truth,
    )
    say(
        snapshot,
        "",
        counted(summary),
        f"The report, with plots:  {page}",
        f"The decisions as records: {folder / 'events'}/thresholds, drift, retrain, ... (0.jsonl)",
        f"Look around:             streameval tail -c {config} --no-follow",
        truth=truth,
    )
    if open_report:
        webbrowser.open(page.as_uri())


def _list(stories: Iterable[Story]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for story in stories:
        table.add_row(story.name, story.sentence)
    for_people().print(table)


def _story(stories: Mapping[str, Story], name: str | None, seed: int | None, events: int | None) -> Story | None:
    """The story that was asked for, None for the real data.

    Raises:
        UsageError: there is no such story, or what only a story has was asked of the real data.
    """
    if name is None:
        if seed is not None or events is not None:
            raise UsageError("--seed and --events are for stories; the real data are what they are", cure="add --story")
        return None
    story = stories.get(name.replace("-", "_"))
    if story is None:
        raise UsageError(f"there is no story {name!r}", where="--story", cure=f"choose one of {', '.join(stories)}")
    return story.sized(seed=seed, events=events)


def _clear(folder: Path) -> None:
    """Make the folder empty of what an earlier demo left; refuse one that holds anything else under those names."""
    if folder.exists() and not folder.is_dir():
        raise UsageError("a file, not a folder", where=str(folder), cure="name a folder with --out")
    there = [folder / name for name in _OURS if (folder / name).exists()]
    config = folder / CONFIG
    if there and not (config.is_file() and config.read_bytes().startswith(b"# Written by `streameval demo`")):
        what = f"the folder holds {there[0].name}, which no demo has written"
        raise UsageError(what, where=str(folder), cure="name another folder with --out")
    with durable.storage(folder):
        # The configuration goes last: while it stands there, what is left is known to be a demo's.
        for path in sorted(there, key=lambda path: path == config):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
