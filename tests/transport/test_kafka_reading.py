"""The Kafka reader over kafka-python's own fetcher, without a broker: nothing is forgotten, and memory is bounded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError
from loopback import Loopback, reader

from streameval.errors import TransportError
from streameval.transport import kafka_reading
from tests.record_batches import of_values


def log(n: int, per_batch: int, tag: str = "") -> list[bytes]:
    """Batches of so many events, whose values are their offsets."""
    return [
        of_values([f"{tag}{i}".encode() for i in range(at, min(at + per_batch, n))], base=at)
        for at in range(0, n, per_batch)
    ]


def read_all(made, lengths, choose):
    """Each partition's values, read in the order that ``choose`` says, as the daemon does: the first that has any."""
    found = {place: [] for place in lengths}
    idle = 0
    while any(len(found[place]) < n for place, n in lengths.items()):
        for place in choose(found):
            if len(found[place]) < lengths[place] and (batch := made.read(place, 1_000)) is not None:
                assert batch.offsets.tolist() == list(range(len(found[place]), len(found[place]) + len(batch)))
                found[place] += batch.values
                idle = 0
                break
        idle += 1
        assert idle < 500, f"frozen at { {place: len(v) for place, v in found.items()} }"
    return found


@pytest.mark.parametrize("per_batch", [20, 600])
@pytest.mark.parametrize("order", ["by name", "backwards", "evenly"])
@pytest.mark.parametrize("filled", [(20_000,), (20_000, 3_000), (20_000, 20_000, 0, 100), (9_000,) * 6])
def test_a_backlog_of_several_buffers_is_read_to_its_end(monkeypatch, per_batch, order, filled):
    monkeypatch.setattr(kafka_reading, "BUFFERED", 20_000)
    monkeypatch.setattr(kafka_reading, "_POLL", 20)
    lengths = {("in", partition): n for partition, n in enumerate(filled)}
    made, _ = reader(monkeypatch, {p: log(n, per_batch) for p, n in lengths.items()}, fetch_bytes=20_000)
    orders = {
        "by name": sorted,
        "backwards": lambda found: sorted(found, reverse=True),
        "evenly": lambda found: sorted(found, key=lambda place: len(found[place])),
    }
    found = read_all(made, lengths, orders[order])
    assert found == {place: [b"%d" % i for i in range(n)] for place, n in lengths.items()}


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 3_000), min_size=1, max_size=5),
    per_batch=st.integers(1, 300),
    buffered=st.integers(1, 30_000),
    fetch=st.integers(1, 30_000),
    seed=st.integers(0, 1 << 30),
)
def test_whatever_the_order_sizes_and_assignments_every_event_comes_once(lengths, per_batch, buffered, fetch, seed):
    generator = random.Random(seed)
    logs = {("in", partition): log(n, per_batch) for partition, n in enumerate(lengths)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka_reading, "BUFFERED", buffered)
        patch.setattr(kafka_reading, "_POLL", generator.randint(1, 30))
        made, _ = reader(patch, logs, fetch_bytes=fetch)
        found = {place: [] for place in logs}
        idle = 0
        while any(len(found[("in", p)]) < n for p, n in enumerate(lengths)):
            act = generator.random()
            if act < 0.1:
                # One is left out for a while, as when partitions are assigned anew, or begins again where it stood.
                some = {
                    place: made.position(place) for place in generator.sample(sorted(logs), k=max(1, len(logs) - 1))
                }
                made.assign(some)
                made.assign({place: len(found[place]) for place in logs})
                continue
            if act < 0.3:
                batches = made.poll(generator.randint(1, 500), 0.0)
            else:
                batches = [made.read(generator.choice(sorted(logs)), generator.randint(1, 500))]
            batches = [batch for batch in batches if batch is not None]
            for batch in batches:
                assert batch.offsets[0] == len(found[batch.topic, batch.partition])
                found[batch.topic, batch.partition] += batch.values
            idle = 0 if batches else idle + 1
            assert idle < 500, "frozen"
    assert found == {("in", p): [b"%d" % i for i in range(n)] for p, n in enumerate(lengths)}


def test_a_new_consumer_goes_on_where_one_has_lost_its_way(monkeypatch):
    monkeypatch.setattr(kafka_reading, "BUFFERED", 2_000)
    lengths = {("in", 0): 5_000, ("in", 1): 5_000}
    made, consumer = reader(monkeypatch, {place: log(n, 20) for place, n in lengths.items()}, fetch_bytes=1_000)
    found = {place: [] for place in lengths}
    while len(found["in", 0]) < 1_000:
        for place in lengths:
            if (batch := made.read(place, 70)) is not None:
                found[place] += batch.values
    # As by a validation of its position that never ends: it is not fetched any more.
    [lost, _] = consumer.logs
    consumer._subscription.assignment[lost]._awaiting_validation = True
    made.pause([("in", 1)])
    for _ in range(1_000):
        for batch in made.poll(100, 0.0):
            found["in", 0] += batch.values
    assert len(found["in", 0]) < 5_000
    assert made.position(("in", 0)) == len(found["in", 0])
    made.reopen()
    assert made._consumer is not consumer
    for _ in range(20):
        for batch in made.poll(10, 0.0):
            assert batch.partition == 0, "the other one is passed over still"
            found["in", 0] += batch.values
    for place, n in lengths.items():
        for _ in range(10_000):
            if len(found[place]) < n and (batch := made.read(place, 100)) is not None:
                found[place] += batch.values
    assert found == {place: [b"%d" % i for i in range(n)] for place, n in lengths.items()}


def test_what_waits_is_no_more_than_a_buffer_and_two_fetches(monkeypatch):
    monkeypatch.setattr(kafka_reading, "BUFFERED", 10_000)
    logs = {("in", 0): log(50_000, 100), ("in", 1): log(100, 10)}
    made, consumer = reader(monkeypatch, logs, fetch_bytes=5_000)
    for _ in range(200):
        made.read(("in", 1), 10)
    assert 10_000 <= made._waiting["in", 0] <= 20_000
    asked = consumer.fetches
    for _ in range(10):
        made.read(("in", 1), 10)
    assert consumer.fetches == asked


def test_a_damaged_batch_is_an_error_each_time_and_never_a_standstill(monkeypatch):
    batches = log(30, 10)
    batches[1] = batches[1][:-1] + bytes([batches[1][-1] ^ 1])
    made, _ = reader(monkeypatch, {("in", 0): batches})
    assert len(read_all(made, {("in", 0): 10}, sorted)["in", 0]) == 10
    for _ in range(3):
        with pytest.raises(TransportError, match="damaged"):
            read_all(made, {("in", 0): 30}, sorted)
    assert made.position(("in", 0)) == 10


def test_kafka_pythons_own_records_are_done_with_too_once_they_have_raised(monkeypatch):
    batches = log(30, 10)
    batches[1] = batches[1][:-1] + bytes([batches[1][-1] ^ 1])
    consumer = Loopback({("in", 0): batches}, fetch_bytes=4 << 20)
    [tp] = consumer.logs
    consumer.assign([tp])
    consumer.seek(tp, 0)
    got, errors = 0, 0
    for _ in range(10):
        try:
            got += sum(map(len, consumer.poll(0, 100).values()))
        except CorruptRecordError:
            errors += 1
    assert got == 10
    assert errors >= 3
