"""The contract of every transport (tests/transport/test_contract.py), run over Kafka."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from streameval.transport.kafka import Kafka, output_settings
from streameval.transport.kafka_connection import Connection

NOT_HERE = {"test_partitions_are_found_also_those_that_come_later": "Kafka numbers partitions without gaps"}


def load() -> ModuleType:
    path = Path(__file__).parents[1] / "transport" / "test_contract.py"
    spec = importlib.util.spec_from_file_location("transport_contract", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


CONTRACT = load()
for _name, _law in vars(CONTRACT).items():
    if _name.startswith("test_") and _name not in NOT_HERE:
        globals()[_name] = _law


class Patient(Kafka):
    """Waits for what a fetch will bring, as a log on the disk has it at once; production goes on with the others."""

    def read(self, topic, partition, max_events):
        while (batch := super().read(topic, partition, max_events)) is None and not self.caught_up((topic, partition)):
            time.sleep(0.01)
        return batch

    def poll(self, max_events, timeout):
        while not (batches := super().poll(max_events, timeout)):
            places = set(self._reader.places) - self._reader._paused
            if timeout or all(self.caught_up(place) for place in places):
                break
        return batches


@pytest.fixture
def bench(own_broker):
    alone = own_broker
    admin = KafkaAdminClient(bootstrap_servers=alone.bootstrap)
    while names := [name for name in admin.list_topics() if not name.startswith("__")]:
        admin.delete_topics(names, raise_errors=False)
        time.sleep(0.1)
    producer = KafkaProducer(bootstrap_servers=alone.bootstrap, linger_ms=5)
    opened = []

    def append(topic, partition, values):
        found = {row["name"]: len(row["partitions"]) for row in admin.describe_topics([topic])}
        if not found.get(topic):
            admin.create_topics({topic: {"num_partitions": partition + 1}})
        elif found[topic] <= partition:
            admin.create_partitions({topic: partition + 1})
        admin.wait_for_topics([topic])
        while partition not in producer.partitions_for(topic):
            producer._metadata.request_update()
            time.sleep(0.1)
        for value in values:
            producer.send(topic, value, partition=partition)
        producer.flush()

    def open_one():
        while opened:
            opened.pop().close()
        outputs = output_settings(compacted=["thresholds"], kept=["drift"], commits="commits", clock="clock")
        opened.append(Patient(Connection((alone.bootstrap,)), outputs))
        return opened[-1]

    yield CONTRACT.Bench(open_one, append)
    for transport in opened:
        transport.close()
    producer.close()
    admin.close()


@pytest.fixture
def filled(bench):
    bench.append("events", 0, [b"a%d" % i for i in range(50)])
    bench.append("events", 1, [b"b%d" % i for i in range(20)])
    bench.append("other", 0, [])
    return bench


def test_the_contract_was_found():
    assert sum(name.startswith("test_") for name in globals()) > 10
    assert all(name in vars(CONTRACT) for name in NOT_HERE)
