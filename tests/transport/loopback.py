"""kafka-python's own fetcher over logs in memory: what happens between its fetches and our reader, without a broker.

The network is left out: what a fetch asks for is answered at once, with no more bytes than asked for, and nothing at
all for a partition without news, as in an incremental fetch session.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import CompletedFetch, Fetcher
from kafka.consumer.subscription_state import SubscriptionState

from streameval.transport import kafka_insides, kafka_reading
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_records import SoundRecords
from streameval.transport.protocol import Place


class Loopback:
    """A consumer of logs: place -> record batches with ascending base offsets."""

    def __init__(self, logs: dict[Place, list[bytes]], fetch_bytes: int) -> None:
        self.logs = {TopicPartition(*place): [_placed(batch) for batch in batches] for place, batches in logs.items()}
        self.aborted: dict[TopicPartition, list[Any]] = {}
        self.fetch_bytes = fetch_bytes
        self.fetches = 0
        self._subscription = SubscriptionState("none")
        client = SimpleNamespace(_manager=SimpleNamespace(_net=None))
        options = {"check_crcs": True, "isolation_level": "read_committed"}
        self._fetcher = Fetcher(client, self._subscription, **options)
        kafka_insides.give_out(self, SoundRecords)

    def end(self, tp: TopicPartition) -> int:
        return self.logs[tp][-1][1] + 1 if self.logs[tp] else 0

    def assign(self, places: list[TopicPartition]) -> None:
        self._subscription.assign_from_user(places) if places else self._subscription.unsubscribe()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._subscription.assignment[tp].seek(offset)

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        found, partial = self._fetcher.fetched_records(max_records)
        if not partial:
            for tp in self._fetcher._fetchable_partitions():
                self._answer(tp)
        return found

    def _answer(self, tp: TopicPartition) -> None:
        position = self._subscription.assignment[tp].position.offset
        rest = [data for _, last, data in self.logs[tp] if last >= position]
        if rest:
            self.fetches += 1
            data, at = rest[0], 1
            while at < len(rest) and len(data) + len(rest[at]) <= self.fetch_bytes:
                data += rest[at]
                at += 1
            answer = SimpleNamespace(
                error_code=0,
                high_watermark=self.end(tp),
                records=data,
                aborted_transactions=self.aborted.get(tp),
                diverging_epoch=None,
                preferred_read_replica=-1,
            )
            self._fetcher._completed_fetches.append(CompletedFetch(tp, position, 12, answer, None))

    def position(self, tp: TopicPartition, timeout_ms: int = 0) -> int:
        return self._subscription.assignment[tp].position.offset

    def highwater(self, tp: TopicPartition) -> int | None:
        return self._subscription.assignment[tp].highwater

    def pause(self, *places: TopicPartition) -> None:
        for tp in places:
            self._subscription.pause(tp)

    def resume(self, *places: TopicPartition) -> None:
        for tp in places:
            self._subscription.resume(tp)

    def close(self, **_: Any) -> None:
        pass


def _placed(data: bytes) -> tuple[int, int, bytes]:
    """Base offset, last offset, bytes."""
    base = int.from_bytes(data[:8], "big")
    return base, base + int.from_bytes(data[23:27], "big", signed=True), data


def reader(
    monkeypatch: Any, logs: dict[Place, list[bytes]], fetch_bytes: int = 4 << 20
) -> tuple[kafka_reading.Reader, Loopback]:
    """A reader at the beginning of all logs, and its consumer."""
    monkeypatch.setattr(kafka_reading, "open_consumer", lambda *_, **__: Loopback(logs, fetch_bytes))
    made = kafka_reading.Reader(Connection(("nowhere:1",)), lambda _: {})
    made.assign(dict.fromkeys(logs, 0))
    return made, made._consumer
