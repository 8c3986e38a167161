"""Replay: the engine over finished logs, without a broker, checkpoints or a clock on the wall.

Invariant: with the logs as they were read live (``as_log``) and the recorded marks, the records are byte for byte those
that the daemon published.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from streameval.config import Config
from streameval.daemon.progress import OnProgress, Progress, Summary, Tally, stream_time
from streameval.daemon.reading import Reading
from streameval.daemon.reports import with_reports
from streameval.engine import Engine
from streameval.engine.publisher import Published
from streameval.engine.shard import Shard
from streameval.transport import durable
from streameval.transport.logdir import tombstone
from streameval.transport.opening import output_topics
from streameval.transport.protocol import Record, Transport

__all__ = ["replay"]


def replay(
    config: Config,
    transport: Transport,
    out: Path,
    *,
    complete: bool = False,
    marks: list[bytes] | None = None,
    progress: OnProgress | None = None,
    shard: tuple[int, int] = (0, 1),
) -> Summary:
    """Read all that a transport has and write ``out/<topic>.jsonl``.

    Args:
        config: What to evaluate.
        transport: Where the events are.
        out: The directory to write into.
        progress: Called now and then.
        complete: No more events will come: what still waits matures.
        shard: (k, n): take the models that are shard k's of n, as `Daemon` does.
        marks: Values of a ``clock`` topic to be taken as input; without them partitions enter and wait as their
            logs say.

    Raises:
        StreamevalError: Bad input, or a disk that refuses.
    """
    began = time.monotonic()
    own = Shard(*shard)
    ids, id_key = config.ids.read()
    config = with_reports(config).model_copy(update={"ids": ids})
    engine = Engine(own.part(config), shard=own, elsewhere=own.elsewhere(config), id_key=id_key)
    reading = Reading(transport, engine, marks or [])
    tally = Tally(config.topics.rejected)
    topics = [*config.topics.predictions, *config.topics.outcomes]
    bounds = {(t, p): transport.bounds(t, p) for t, parts in transport.partitions(topics).items() for p in parts}
    total = sum(bound.end - bound.begin for bound in bounds.values())
    for place, bound in bounds.items():
        engine.clocks.add(*place, empty=bound.begin == bound.end)
    transport.assign({place: bound.begin for place, bound in bounds.items()})
    for place in bounds:
        reading.set_floors(place)
    with durable.storage(out), ExitStack() as files:
        out.mkdir(parents=True, exist_ok=True)
        names = [*output_topics(config), config.topics.clock]
        logs = {name: files.enter_context((out / f"{name}.jsonl").open("wb")) for name in names}
        while (published := reading.next()) is not None:
            _write(logs, published + engine.advance(), tally)
            if progress is not None:
                read = sum(transport.position(place) - bound.begin for place, bound in bounds.items())
                progress(Progress(read, total, stream_time(engine)))
        if complete:
            _write(logs, engine.complete(), tally)
    return tally.summary(engine, time.monotonic() - began, stopped=False)


def _write(logs: Mapping[str, IO[bytes]], published: list[Published], tally: Tally) -> None:
    records = [Record(*record) for record in published]
    tally.add(records)
    for record in records:
        line = tombstone(record.key, record.sequence) if record.value is None else record.value
        logs[record.topic].write(line + b"\n")
