"""The page, probes and metrics beside a daemon, as far as configuration or options ask for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from streameval import __version__
from streameval.config import Config
from streameval.config.change import digest
from streameval.records import parts_of
from streameval.transport.opening import open_transport, output_topics
from streameval.transport.protocol import Record

if TYPE_CHECKING:
    from streameval.daemon.daemon import Daemon
    from streameval.serve.serving import Serving

__all__ = ["past", "serving"]


@contextlib.contextmanager
def serving(daemon: Daemon, host: str | None = None, port: int | None = None) -> Iterator[Serving | None]:
    """Serve a daemon's page while it is entered, and feed it from the daemon; nothing where no port is named.

    Args:
        daemon: Its `on_vitals` is set, its `on_records` is called as before.
        host: In place of the configuration's.
        port: As host.

    Raises:
        ServeError: Nobody may listen there.
    """
    config = daemon.config
    port = config.serve.port if port is None else port
    if port is None:
        yield None
        return
    from streameval.serve.prometheus import About  # noqa: PLC0415 - only who serves pays for it
    from streameval.serve.serving import Serving  # noqa: PLC0415

    about = About(__version__, config.worker, digest(config), f"{daemon.shard.index}/{daemon.shard.count}")
    with Serving(
        config.serve.host if host is None else host,
        port,
        about,
        daemon.health,
        segments=config.serve.segments,
        stalled_after=config.serve.stalled_after / 1000,
        past=partial(past, config),
    ) as served:
        before = daemon.on_records

        def publish(records: list[Record]) -> None:
            if before is not None:
                before(records)
            served.feed(records)

        daemon.on_records, daemon.on_vitals = publish, served.beat
        try:
            yield served
        finally:
            daemon.on_records, daemon.on_vitals = before, None


def past(config: Config) -> Iterator[Record]:
    """What was published before about the models of this worker; rejections, which may be very many, are left out."""
    models = {model.name for model in config.models}
    topics = [topic for topic in output_topics(config) if topic != config.topics.rejected]
    transport = open_transport(config)
    try:
        for record in transport.published(topics):
            if parts_of(record.key)[0] in models:
                yield record
    finally:
        transport.close()
