"""One broker for the whole run, topics of a test's own, and a transport that is closed at its end."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

# The folder is no package: one named `kafka` would hide kafka-python.
sys.path.insert(0, str(Path(__file__).parent))

from broker import Broker, Cluster, Secured, standing
from certificates import Certificates
from events_stream import FILLED
from proxy import Proxy
from scene import Scene, Seen, counted
from worker_process import Nursery

from streameval.transport.kafka import Kafka, output_settings
from streameval.transport.kafka_connection import Connection, Security
from streameval.transport.protocol import CommitRecord
from tests.ports import free_port


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Java or Maven these tests are skipped, and say so; the README's test command installs both."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs Java 17 and Maven"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Broker:
    settings = {"transaction.max.timeout.ms": "60000"}
    return standing("broker", lambda: Broker(tmp_path_factory.mktemp("broker"), settings=settings))


@pytest.fixture(scope="session")
def battered(tmp_path_factory: pytest.TempPathFactory) -> Broker:
    """One broker for all tests that stop, freeze and kill theirs; a proxy may stand before it.

    It would make topics for whoever asks for one, which none of ours may do.
    """
    settings = {"auto.create.topics.enable": "true"}
    folder = tmp_path_factory.mktemp("battered")
    return standing("battered", lambda: Broker(folder, settings=settings, proxied=free_port()))


@pytest.fixture
def own_broker(battered: Broker) -> Broker:
    """A broker that the test may stop, freeze and kill: whole again for each test."""
    return battered.revive()


@pytest.fixture
def proxy(own_broker: Broker) -> Iterator[Proxy]:
    """Stands between the own broker's listener ``PROXIED`` and its clients."""
    one = Proxy(own_broker.proxied, ("127.0.0.1", own_broker.ports["PROXIED"]))
    yield one
    one.close()


@pytest.fixture(scope="session")
def battered_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    three = Cluster(tmp_path_factory.mktemp("cluster"))
    yield three.start()
    three.stop()


@pytest.fixture
def cluster(battered_cluster: Cluster) -> Cluster:
    """Three brokers, of which the test may kill one: whole again for each test."""
    for one in battered_cluster.brokers.values():
        one.revive()
    return battered_cluster


USERS = {"worker": "w0rker-secret", "stranger": "str4nger-secret"}


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Broker:
    folder = tmp_path_factory.mktemp("secured")
    return standing(
        "secured", lambda: Broker(folder / "broker", secured=Secured(Certificates(folder / "certificates"), USERS))
    )


@dataclass
class Room:
    """What one test needs of a cluster: unique topic names, a foreign producer and admin, transports."""

    bootstrap: tuple[str, ...]
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}-")
    _opened: list[Any] = field(default_factory=list)

    def name(self, topic: str) -> str:
        return self.prefix + topic

    @property
    def admin(self) -> KafkaAdminClient:
        return self._keep(KafkaAdminClient(bootstrap_servers=list(self.bootstrap)))

    def topic(self, topic: str, partitions: int = 1, **configs: str) -> str:
        name = self.name(topic)
        configs = {key.replace("_", "."): value for key, value in configs.items()}
        admin = self.admin
        admin.create_topics({name: {"num_partitions": partitions, "configs": configs}})
        admin.wait_for_topics([name])
        return name

    def producer(self, **options: Any) -> KafkaProducer:
        return self._keep(KafkaProducer(bootstrap_servers=list(self.bootstrap), **options))

    def fill(self, topic: str, values: list[bytes | None], partition: int = 0, **options: Any) -> None:
        producer = self.producer(linger_ms=20, **options)
        for value in values:
            producer.send(topic, value, key=b"k", partition=partition)
        producer.flush(30)

    def outputs(self) -> dict[str, dict[str, str]]:
        return output_settings(
            compacted=[self.name("thresholds")],
            kept=[self.name("drift")],
            commits=self.name("commits"),
            clock=self.name("clock"),
        )

    def transport(
        self,
        *,
        security: Security | None = None,
        bootstrap: tuple[str, ...] = (),
        patience_ms: int = 20_000,
        **options: Any,
    ) -> Kafka:
        connection = Connection(bootstrap or self.bootstrap, security or Security(), patience_ms=patience_ms)
        options = {"commits": self.name("commits"), "clock": self.name("clock"), "outputs": self.outputs(), **options}
        return self._keep(Kafka(connection, **options))

    def _keep(self, client: Any) -> Any:
        self._opened.append(client)
        return client

    def close(self) -> None:
        for client in reversed(self._opened):
            if isinstance(client, KafkaProducer):
                client._sender.force_close()
            client.close()


@pytest.fixture
def room(broker: Broker) -> Iterator[Room]:
    one = Room((broker.bootstrap,))
    yield one
    one.close()


@pytest.fixture
def new_room() -> Iterator[Callable[..., Room]]:
    made: list[Room] = []

    def make(*bootstrap: str) -> Room:
        made.append(Room(bootstrap))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def commit() -> Callable[..., CommitRecord]:
    def make(n: int, incarnation: str = "a", positions: Mapping[str, dict[int, int]] | None = None) -> CommitRecord:
        return CommitRecord(
            worker="w",
            n=n,
            lineage="1",
            incarnation=incarnation,
            T=n * 1000,
            positions=dict(positions or {}),
            topic_ids={},
            digest=f"{n:032x}",
        )

    return make


@pytest.fixture(scope="session")
def all_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    one = Nursery(tmp_path_factory.mktemp("workers"))
    yield one
    one.close()


@pytest.fixture
def nursery(all_workers: Nursery) -> Iterator[Nursery]:
    """Where daemon processes come from. None outlives its test: it would fence the next one's, which has its name."""
    yield all_workers
    all_workers.end()


@pytest.fixture
def make_scene(broker: Broker, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Topics of the test's own on the common broker, or on the one that is given."""
    made: list[Scene] = []

    def make(on: Broker | None = None, **changes: Any) -> Scene:
        folder = tmp_path / f"scene-{len(made)}"
        folder.mkdir()
        made.append(Scene([(on or broker).bootstrap], folder, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def filled(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Inputs that many tests read: an empty partition, an idle one, and one an hour behind."""
    scene = Scene([broker.bootstrap], tmp_path_factory.mktemp("filled"))
    scene.make_topics()
    scene.feed(FILLED.logs)
    scene.close()
    return scene


@pytest.fixture(scope="session")
def clean(filled: Scene) -> Seen:
    """What one clean pass over those inputs gives."""
    scene = filled
    scene.mark_idle(FILLED.logs)
    expected = scene.expected()
    counts = counted(expected)
    assert counts["metrics"] > 30
    assert counts["thresholds"] > 0
    assert counts["drift"] > 0
    return expected


@pytest.fixture
def filled_scene(make_scene: Callable[..., Scene], filled: Scene) -> Scene:
    """A worker of the test's own on those inputs."""
    one = make_scene(inputs=filled, commit={"every": "1ms", "outputs": 20})
    one.mark_idle(FILLED.logs)
    return one
