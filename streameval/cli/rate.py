"""How many predictions a second come, measured from the end of the logs."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from streameval.config import Config
from streameval.events.columns import OTHER_MODEL
from streameval.events.contract import ModelSpec
from streameval.events.decode import Decoder
from streameval.events.mapping import TopicMapping
from streameval.transport.protocol import Transport

__all__ = ["Rate", "measured"]

_SAMPLE: Final = 20_000
_FEWEST: Final = 100


class Rate(NamedTuple):
    """Predictions a second of stream time, all partitions together, and the events that say so."""

    a_second: float
    events: int


def measured(config: Config, transport: Transport) -> Rate | None:
    """The rate over the last events of each partition of predictions; None where there are fewer than a hundred.

    Raises:
        TransportError: the logs cannot be read.
    """
    decoder = Decoder(
        [ModelSpec(model.name, model.task, tuple(model.segments)) for model in config.models],
        [TopicMapping(m.topic, m.event, m.model, dict(m.fields), dict(m.constants)) for m in config.mappings],
    )
    total, events = 0.0, 0
    for topic, partitions in transport.partitions(config.topics.predictions).items():
        for partition in partitions:
            bounds = transport.bounds(topic, partition)
            transport.assign({(topic, partition): max(bounds.begin, bounds.end - _SAMPLE)})
            times = [np.empty(0, dtype=np.int64)]
            while not transport.caught_up((topic, partition)) and sum(map(len, times)) < _SAMPLE:
                for batch in transport.poll(_SAMPLE, 1.0):
                    rows, _ = decoder.predictions(batch)
                    times.append(rows.ts[rows.model != OTHER_MODEL])
            ts = np.concatenate(times)
            if len(ts) < 2:
                continue
            # Of the middle of the times: a single absurd one does not make the rate.
            low, high = np.quantile(ts, (0.05, 0.95))
            total += 0.9 * len(ts) / max((high - low) / 1000, 1e-3)
            events += len(ts)
    return Rate(total, events) if events >= _FEWEST else None
