"""Thresholds and maps from the compacted topics of a Kafka cluster: committed records, each time to the true end.

Invariant: that of `streameval.transport.kafka_commits.Follower`: the end is the high watermark, so a commit that has
succeeded is never missed. A look at topics that did not grow costs one question to the cluster and no fetch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from streameval.subscribe.log import Entry, gone
from streameval.subscribe.view import Kind
from streameval.transport.kafka_admin import Cluster
from streameval.transport.kafka_commits import Follower
from streameval.transport.kafka_connection import Connection
from streameval.transport.protocol import Place

__all__ = ["KafkaLog"]

_DESCRIBED: Final = 10.0  # seconds between two looks at the ids and partitions of topics that all exist


class KafkaLog:
    """Satisfies `streameval.subscribe.log.OutputLog`.

    Args:
        connect: makes the connection anew at each load, so that a rotated secret is seen.
        topics: name of the topic of each kind.
    """

    def __init__(self, connect: Callable[[], Connection], topics: Mapping[Kind, str]) -> None:
        self.connect = connect
        self.topics = topics
        self._cluster: Cluster | None = None
        self._followers: dict[Place, tuple[Kind, Follower]] = {}
        self._ends: dict[Place, int] = {}
        self._shape: dict[str, tuple[str, tuple[int, ...]]] = {}  # id and partitions of each topic that exists
        self._seen: set[str] = set()
        self._asked = 0.0

    def load(self) -> Iterator[Entry]:
        """See `OutputLog.load`."""
        self.close()
        connection = self.connect()
        self._cluster = Cluster(connection)
        self._shape = self._look(self._cluster)
        for topic in sorted(self._seen - self._shape.keys()):
            raise gone(topic)
        self._seen |= self._shape.keys()
        for kind, topic in self.topics.items():
            for partition in self._shape[topic][1] if topic in self._shape else ():
                place = (topic, partition)
                follower = Follower(connection, self._cluster, place, connection.patience_ms)
                self._followers[place] = (kind, follower)
        yield from self.news()

    def news(self) -> Iterator[Entry]:
        """See `OutputLog.news`."""
        if self._cluster is None:
            return
        ends = self._cluster.ends(self._followers)
        for place, (kind, follower) in self._followers.items():
            if ends[place] == self._ends.get(place):
                continue
            for record in follower.rest():
                key = (record.key or b"").decode(errors="replace")
                yield Entry(kind, key, record.value, f"{place[0]}/{place[1]}, offset {record.offset}")
            self._ends[place] = ends[place]

    def outdated(self) -> bool:
        """See `OutputLog.outdated`.

        Raises:
            TransportError: no broker answered.
        """
        due = _DESCRIBED if len(self._shape) == len(self.topics) else 0.0
        if self._cluster is None or time.monotonic() - self._asked < due:
            return self._cluster is None
        return self._look(self._cluster) != self._shape

    def close(self) -> None:
        """See `OutputLog.close`."""
        for _, follower in self._followers.values():
            follower.close()
        if self._cluster is not None:
            self._cluster.close()
        self._cluster, self._followers, self._ends = None, {}, {}

    def _look(self, cluster: Cluster) -> dict[str, tuple[str, tuple[int, ...]]]:
        self._asked = time.monotonic()
        found = cluster.describe(self.topics.values())
        return {name: (topic.id, topic.partitions) for name, topic in found.items()}
