"""From decided outputs to records: keys, sequence numbers, ids, bytes.

Invariant: the records of one (topic, key) are numbered without gaps in the order of decision; a tombstone takes the
next number and the numbering goes on after it.

Source: DESIGN "Records out".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from streameval import records
from streameval.engine.rows import Output
from streameval.events.rejected import RejectedData

if TYPE_CHECKING:
    from streameval.config import Config
    from streameval.engine.clock import Mark


class Published(NamedTuple):
    """One record on its way out; ``value`` is None for a tombstone, ``sequence`` None where a record is not counted."""

    topic: str
    key: str
    value: bytes | None
    sequence: int | None


class Publisher:
    """Numbers and encodes records.

    Args:
        config: For the worker's name and the names of the topics.
        lineage: Part of every record's id.
    """

    def __init__(self, config: Config, lineage: str) -> None:
        self.worker = config.worker
        self.topics = config.topics
        self.lineage = lineage
        self.sequences: dict[tuple[str, str], int] = {}

    def publish(self, model: str, output: Output) -> Published:
        """The record of a model's output."""
        key = records.key_of(model, output.version, output.segment)
        return self._record(output.topic, key, output.data, output.at)

    def rejected(self, told: RejectedData) -> Published:
        """The record of a rejection, or of many counted ones.

        Single and counted records have keys of their own: what is told at once follows its partition's log, what is
        counted follows its partition's clock, and each of the two is in order.
        """
        facts: dict[str, Any] = dict(told)
        at = facts.pop("time")
        kind = "counted" if facts.pop("counted", False) else "single"
        key = records.key_of(facts["topic"], str(facts["partition"]), f"{facts['reason']}={kind}")
        return self._record("rejected", key, records.Rejected(**facts), at)

    def mark(self, mark: Mark) -> Published:
        """The record of an act of the wall clock. Not counted: what replaces it has the same key."""
        data = records.Mark.of(mark.topic, mark.partition, mark.offset, mark.floor, mark.reason, self.lineage)
        key = records.key_of(mark.topic, str(mark.partition), str(mark.offset))
        value = self._encode(data, key, mark.floor, mark.floor)
        return Published(self.topics.clock, key, value, None)

    def configuration(self, now: int, digest: str, changed: list[str]) -> Published:
        """The mark of a changed configuration: from stream time ``now`` on another one is in force."""
        data = records.Mark(
            topic="*",
            partition=0,
            offset=0,
            floor=records.rfc3339(now),
            reason="configuration",
            detail=f"{digest}: {'; '.join(changed)}"[:4096],
        )
        key = records.key_of("*", "configuration", digest)
        return Published(self.topics.clock, key, self._encode(data, key, max(now, 0), now), None)

    def _record(self, topic: str, key: str, data: records.Data | None, at: int) -> Published:
        name = getattr(self.topics, topic)
        sequence = self.sequences.get((name, key), 0)
        self.sequences[name, key] = sequence + 1
        value = None if data is None else self._encode(data, key, sequence, at)
        return Published(name, key, value, sequence)

    def _encode(self, data: records.Data, key: str, sequence: int, at: int) -> bytes:
        return records.cloudevent(data, worker=self.worker, lineage=self.lineage, key=key, sequence=sequence, time=at)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {"sequences": [[topic, key, n] for (topic, key), n in sorted(self.sequences.items())]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.sequences = {(topic, key): n for topic, key, n in state["sequences"]}
