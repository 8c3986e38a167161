"""One worker's topics on a broker, a foreign producer that feeds them, and the oracle over what comes out.

The oracle: of every (topic, key) a foreign read_committed consumer sees, byte for byte, what one clean pass over the
same logs and the same clock marks gives (`streameval.daemon.replay`, which knows no commits, checkpoints or faults).
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from events_stream import EMPTY, IDLE, START
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from streameval import records
from streameval.config import Config
from streameval.daemon import replay
from streameval.transport.opening import open_transport, output_topics

Seen = dict[tuple[str, str], list[bytes | None]]
"""Records by (output topic without its prefix, key)."""


class Scene:
    """Topics of a name of their own on some brokers.

    Args:
        bootstrap: brokers of the foreign clients.
        folder: where state and logs of this scene go.
        through: brokers that the daemon is told, where they differ (a proxy).
        inputs: a scene whose inputs are read; the outputs are always this one's own.
        changes: of the configuration.
    """

    def __init__(
        self,
        bootstrap: Iterable[str],
        folder: Path,
        through: Iterable[str] = (),
        inputs: Scene | None = None,
        **changes: Any,
    ) -> None:
        self.bootstrap = list(bootstrap)
        self.folder = folder
        self.prefix = f"s{uuid.uuid4().hex[:8]}-"
        self.inputs = inputs.prefix if inputs is not None else self.prefix
        servers = list(through) or self.bootstrap
        self.config: dict[str, Any] = configuration(self.prefix, self.inputs, servers, folder) | changes
        self._producer: KafkaProducer | None = None

    @property
    def checked(self) -> Config:
        return Config.model_validate(self.config)

    @property
    def state(self) -> Path:
        return Path(self.config["state"])

    def named(self, topic: str) -> str:
        return (self.inputs if topic in ("predictions", "outcomes") else self.prefix) + topic

    def admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.bootstrap)

    def make_topics(
        self, topics: Iterable[str] = ("predictions", "outcomes"), partitions: int = 4, **settings: str
    ) -> None:
        names = [self.named(topic) for topic in topics]
        configs = {key.replace("_", "."): value for key, value in settings.items()}
        with self.admin() as admin:
            admin.create_topics({name: {"num_partitions": partitions, "configs": configs} for name in names})
            admin.wait_for_topics(names)

    def producer(self, **options: Any) -> KafkaProducer:
        return KafkaProducer(bootstrap_servers=self.bootstrap, max_request_size=2 << 20, **options)

    def feed(self, part: dict[tuple[str, int], list[bytes | None]], **options: Any) -> None:
        """Appends messages, as some foreign producer would."""
        if self._producer is None:
            self._producer = self.producer(linger_ms=10, **options)
        for (topic, partition), values in part.items():
            for value in values:
                key = None if value and len(value) % 2 else b"key"
                self._producer.send(self.named(topic), value, key, partition=partition, headers=[("x", b"y")])
        self._producer.flush(60)

    def mark_idle(
        self, part: dict[tuple[str, int], list[bytes | None]], floor: int = START + 1_000 * 3_600_000
    ) -> None:
        """Clock marks, as an earlier incarnation would have left them: the idle partitions hold nothing back."""
        with self.admin() as admin:
            admin.create_topics({self.named("clock"): {"num_partitions": 1, "configs": {}}})
            admin.wait_for_topics([self.named("clock")])
        producer = self.producer()
        for (topic, partition), values in part.items():
            if partition == IDLE:
                name = self.named(topic)
                mark = records.Mark.of(name, partition, len(values), floor, "idle", "1")
                key = records.key_of(name, str(partition), str(len(values)))
                value = records.cloudevent(
                    mark, worker=self.config["worker"], lineage="1", key=key, sequence=floor, time=floor
                )
                producer.send(self.named("clock"), value, key.encode(), partition=0)
        producer.flush(30)
        producer.close()

    def await_marks(self, hours: float, *sources: str, seconds: float = 60.0) -> None:
        """Until each worker has let go of the idle partitions, so that its stream time has come so far.

        Only a running daemon does that, by the wall clock: one that reads to the end of the logs finds T as it is.
        """
        deadline = time.monotonic() + seconds
        while not self.marked(hours, *sources):
            assert time.monotonic() < deadline, "the idle partitions hold T back"
            time.sleep(0.2)

    def marked(self, hours: float, *sources: str) -> bool:
        """Whether each worker has come so far, see `await_marks`."""
        wanted = records.rfc3339(START + int(hours * 3_600_000))
        found = [json.loads(mark) for mark in self.marks()]
        come = {mark["source"] for mark in found if mark["data"]["floor"] > wanted}
        return {f"/streameval/{source}" for source in sources or [self.config["worker"]]} <= come

    # -- the oracle ---------------------------------------------------------------------------------------------------

    def values(self, topics: Iterable[str]) -> dict[str, list[tuple[str, bytes | None]]]:
        """(key, value) of everything that a read_committed reader sees of these topics, each partition in order."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        found: dict[str, list[tuple[str, bytes | None]]] = {topic: [] for topic in topics}
        places = [TopicPartition(topic, p) for topic in found for p in consumer.partitions_for_topic(topic) or ()]
        if places:
            ends = consumer.end_offsets(places)
            consumer.assign(places)
            consumer.seek_to_beginning()
            deadline = time.monotonic() + 30
            while any(consumer.position(place) < end for place, end in ends.items()):
                assert time.monotonic() < deadline, "an open transaction hides the end"
                for place, fetched in consumer.poll(200).items():
                    found[place.topic] += [((r.key or b"").decode(), r.value) for r in fetched]
        consumer.close()
        return found

    def published(self, config: Config | None = None) -> Seen:
        """What was published, by (topic, key)."""
        worker = (config or self.checked).worker
        seen: Seen = defaultdict(list)
        for topic, found in self.values(output_topics(self.checked)).items():
            for key, value in found:
                if value is None or json.loads(value)["source"] == f"/streameval/{worker}":
                    seen[topic.removeprefix(self.prefix), key].append(value)
        return dict(seen)

    def marks(self) -> list[bytes]:
        return [value for _, value in self.values([self.named("clock")])[self.named("clock")] if value is not None]

    def expected(self, config: Config | None = None, marks: list[bytes] | None = None, **options: Any) -> Seen:
        """What one clean pass gives."""
        config = config or self.checked
        transport = open_transport(Config.model_validate(config.model_dump() | {"transport": self._directly()}))
        transport = Patient(transport)
        out = self.folder / f"clean-{uuid.uuid4().hex[:6]}"
        try:
            replay(config, transport, out, marks=self.marks() if marks is None else marks, **options)
        finally:
            transport.close()
        seen: Seen = defaultdict(list)
        for topic in output_topics(config):
            for line in (out / f"{topic}.jsonl").read_bytes().splitlines():
                event = json.loads(line)
                if "subject" in event:
                    seen[topic.removeprefix(self.prefix), event["subject"]].append(line)
                else:
                    seen[topic.removeprefix(self.prefix), event["key"]].append(None)
        return dict(seen)

    def _directly(self) -> dict[str, Any]:
        return {"kind": "kafka", "bootstrap": self.bootstrap}

    def check(self, expected: Seen | None = None) -> Seen:
        """The oracle; returns what was seen.

        ``expected`` of an earlier scene with the same inputs and marks saves a pass.
        """
        seen, expected = self.published(), expected or self.expected()
        differ(seen, expected)
        return seen

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close()


def differ(seen: Seen, expected: Seen) -> None:
    """Asserts that both are the same, and says where they are not."""
    lines = []
    for key in sorted(seen.keys() | expected.keys()):
        mine, right = seen.get(key, []), expected.get(key, [])
        if mine != right:
            first = next(
                (i for i, (a, b) in enumerate(zip(mine, right, strict=False)) if a != b), min(len(mine), len(right))
            )
            lines.append(f"{key}: {len(mine)} seen, {len(right)} expected, first difference at {first}")
            lines += [f"  seen     {mine[first : first + 1]}", f"  expected {right[first : first + 1]}"]
    assert not lines, "\n".join(lines[:15])


def counted(seen: Seen) -> Counter[str]:
    """How many records each topic has."""
    counts: Counter[str] = Counter()
    for (topic, _), values in seen.items():
        counts[topic] += len(values)
    return counts


class Patient:
    """A Kafka transport whose `read` waits for what a fetch will bring: replay takes None for the end."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def read(self, topic: str, partition: int, max_events: int) -> Any:
        deadline = time.monotonic() + 30
        while (batch := self._transport.read(topic, partition, max_events)) is None:
            if self._transport.caught_up((topic, partition)):
                return None
            assert time.monotonic() < deadline, f"{topic}/{partition} is not readable to its end"
            time.sleep(0.002)
        return batch


def configuration(prefix: str, inputs: str, bootstrap: list[str], folder: Path) -> dict[str, Any]:
    """A worker that decides early and often, so that a short stream goes through a whole life."""
    outputs = ("thresholds", "calibration", "drift", "retrain", "metrics", "alignment", "rejected", "clock", "commits")
    return {
        "worker": "w",
        "transport": {"kind": "kafka", "bootstrap": bootstrap},
        "topics": {
            "predictions": [f"{inputs}predictions"],
            "outcomes": [f"{inputs}outcomes"],
            **{topic: prefix + topic for topic in outputs},
        },
        "state": str(folder / "state"),
        "commit": {"every": "100ms"},
        "lateness": {"predictions": "1m", "outcomes": "10m"},
        "idle_after": "500ms",
        "models": [
            {
                "name": name,
                "threshold": 0.5,
                "objective": {"kind": "cost", "fp": 1, "fn": 5},
                "labels": {"wait": "1h", "amend": "2h", "give_up": "4h"},
                "segments": ["country", "channel"],
                "kpis": {"revenue": {"scale": 0.01}},
                "reference": {"events": 600, "positives": 50},
                "evaluate": {"events": 200, "every": "2h", "window": 1000, "publish_every": "20m"},
                "thresholds": {"positives": 30, "cooldown": 400, "z": 2},
                "drift": {"advisory": ["ADWIN"]},
            }
            for name in ("fraud", "churn")
        ],
    }


__all__ = ["EMPTY", "IDLE", "Patient", "Scene", "Seen", "configuration", "counted", "differ"]
