"""A lost state made anew: the published core of it, and the events that its rows came from, read again.

Invariant: afterwards the engine is as it was at the core's commit, and the transport reads on from there. Nothing is
published meanwhile. What the logs no longer hold is an error that says where the gap is.

Source: DESIGN, "State, recovery, exactly once" (state lost).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from streameval.daemon.reading import Reading
from streameval.engine import Engine
from streameval.engine.regrowth import Regrowth
from streameval.errors import StateMismatchError
from streameval.transport.core import Core
from streameval.transport.protocol import Transport

__all__ = ["regrow"]

_WAIT = 0.002  # seconds until fetched events are looked for again


def regrow(
    engine: Engine,
    core: Core,
    state: dict[str, Any],
    transport: Transport,
    marks: Iterable[bytes],
    go_on: Callable[[Reading], bool],
) -> bool:
    """Give an engine its rows back.

    Args:
        engine: restored from the core.
        core: what is left of the state.
        state: its state, decoded.
        transport: where the events are; afterwards nothing is assigned.
        marks: values of the topic ``clock``.
        go_on: asked before each batch, with what reads.

    Returns:
        Whether it came to its end; not so where it was asked to stop.

    Raises:
        StateMismatchError: retention has removed events that are needed.
        ConfigChangeError: the configuration reads events otherwise than the core's did.
    """
    ends = {place: end for place, end in core.places().items() if place[0] in engine.clocks.lateness}
    regrowth = Regrowth(engine, state, ends)
    for (topic, partition), start in regrowth.starts.items():
        begin = transport.bounds(topic, partition).begin
        if begin > start:
            raise StateMismatchError(
                f"the state is lost, and rows that wait need {topic}/{partition} from offset {start} on, but retention "
                f"has removed all before {begin}",
                where=f"the core of commit {core.n}",
                cure="restore a copy of the state directory, or start with --fresh; keep the input topics for longer "
                "than labels.wait and labels.amend together",
            )
    transport.assign(regrowth.starts)
    reading = Reading(transport, regrowth, marks, core.worker, core.lineage)
    reading.ends = {place: ends[place] for place in regrowth.starts}
    while places := reading.places():
        if not go_on(reading):
            return False
        if reading.next() is None:
            time.sleep(_WAIT)
        regrowth.advance(frozenset(regrowth.starts) - set(places))
    regrowth.finish()
    transport.assign({})
    return True
