"""Reading, on a real broker: every event once, in order, whatever its batch looks like and whatever happens."""

from __future__ import annotations

import itertools
import random
import threading
import time

import kafka.errors as kafka_errors
import numpy as np
import pytest
from kafka import KafkaProducer, TopicPartition

from streameval.errors import ConnectionFailedError, TopicError
from streameval.transport import kafka_reading


def drain(transport, places, n, *, max_events=1_000, seconds=20.0):
    """Values by place, from polls, until ``n`` events came."""
    found = {place: [] for place in places}
    deadline = time.monotonic() + seconds
    while sum(map(len, found.values())) < n and time.monotonic() < deadline:
        for batch in transport.poll(max_events, 0.5):
            assert len(batch.values) == len(batch.offsets) == len(batch.timestamps) <= max_events
            found[batch.topic, batch.partition] += zip(
                batch.offsets.tolist(), batch.timestamps.tolist(), batch.values, strict=True
            )
    return found


def foreign(room, topic, n, partition=0):
    """What kafka-python's own consumer makes of a partition."""
    consumer = room._keep(kafka_reading.open_consumer(room.transport().connection))
    tp = TopicPartition(topic, partition)
    consumer.assign([tp])
    consumer.seek(tp, 0)
    records = []
    while len(records) < n:
        records += consumer.poll(1_000).get(tp, [])
    return [(r.offset, r.timestamp, r.value) for r in records]


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_columns_are_those_of_kafka_pythons_own_records(room, compression):
    if compression in ("snappy", "lz4", "zstd"):
        pytest.importorskip({"snappy": "snappy", "lz4": "lz4.frame", "zstd": "zstandard"}[compression])
    # Record times of years ago are those of the test: by default the broker removes them at its next look, 5 minutes
    # after its start and every 5 minutes then.
    topic = room.topic("in", retention_ms="-1")
    producer = room.producer(compression_type=compression, linger_ms=10, batch_size=30_000)
    generator = random.Random(7)
    for i in range(2_000):
        size = generator.choice([0, 1, 50, 63, 64, 130, 200, 9_000])
        producer.send(
            topic,
            generator.choice([None, generator.randbytes(size)]),
            key=generator.choice([b"k", b"", b"x" * generator.choice([63, 64, 300])]),
            headers=[("h" * generator.choice([0, 1, 70]), b"v" * i)] if i % 100 < 2 else None,
            timestamp_ms=generator.choice([0, 1, 1_700_000_000_000, 1_700_000_000_000 - i * 37, 1_700_000_000_000 + i]),
        )
    producer.flush()
    place = (topic, 0)
    transport = room.transport()
    transport.assign({place: 0})
    expected = foreign(room, topic, 2_000)
    assert drain(transport, [place], 2_000, max_events=333)[place] == expected
    middle = room.transport()
    middle.assign({place: 777})
    assert drain(middle, [place], 1_223)[place] == expected[777:]


def test_log_append_time_is_the_record_time_of_topics_that_stamp_it(room):
    topic = room.topic("in", message_timestamp_type="LogAppendTime")
    room.fill(topic, [b"1", b"2"])
    transport = room.transport()
    transport.assign({(topic, 0): 0})
    got = drain(transport, [(topic, 0)], 2)[topic, 0]
    assert got == foreign(room, topic, 2)
    assert abs(got[0][1] - time.time() * 1000) < 60_000


def test_aborted_and_open_transactions_are_not_read_and_block_being_caught_up(room):
    topic = room.topic("in")
    place = (topic, 0)
    producer = room.producer(transactional_id=room.name("txn"))
    producer.init_transactions()
    expected = []
    for i in range(6):
        producer.begin_transaction()
        for j in range(3):
            producer.send(topic, b"%d-%d" % (i, j))
        producer.flush()
        if i % 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
            expected += [b"%d-%d" % (i, j) for j in range(3)]
    transport = room.transport()
    transport.assign({place: 0})
    assert [value for *_, value in drain(transport, [place], 9)[place]] == expected
    until(transport, lambda: transport.caught_up(place))
    assert transport.position(place) == transport.bounds(*place).end == 24
    producer.begin_transaction()
    producer.send(topic, b"open")
    producer.flush()
    time.sleep(1.1)
    for _ in range(5):
        assert transport.poll(10, 0.2) == []
    assert transport.bounds(*place).end == 25
    assert not transport.caught_up(place)
    assert "open transaction hides all from offset 24 on" in transport.hidden(place)
    producer.commit_transaction()
    deadline = time.monotonic() + 10
    while transport.hidden(place) is not None:  # decided, and its markers are still to be written
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [value for *_, value in drain(transport, [place], 1)[place]] == [b"open"]


def until(transport, condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert transport.poll(10, 0.1) == []


def test_small_polls_and_reads_of_any_size_give_every_partition_its_own_order(room):
    topic, other = room.topic("in", partitions=3), room.topic("late")
    places = [(topic, 0), (topic, 1), (topic, 2), (other, 0)]
    for partition, n in enumerate((5_000, 10, 0)):
        room.fill(topic, [b"%d" % i for i in range(n)], partition)
    room.fill(other, [b"%d" % i for i in range(700)])
    transport = room.transport()
    transport.assign(dict.fromkeys(places, 0))
    generator = random.Random(3)
    found = {place: [] for place in places}
    while sum(map(len, found.values())) < 5_710:
        if generator.random() < 0.5:
            batches = transport.poll(generator.randint(1, 100), 0.2)
        else:
            batches = [transport.read(*generator.choice(places), generator.randint(1, 100))]
        for batch in batches:
            if batch is not None:
                found[batch.topic, batch.partition] += batch.values
    assert [len(found[place]) for place in places] == [5_000, 10, 0, 700]
    assert all(values == [b"%d" % i for i in range(len(values))] for values in found.values())


def test_poll_passes_over_paused_partitions_and_read_does_not(room):
    topic = room.topic("in", partitions=2)
    for partition in (0, 1):
        room.fill(topic, [b"%d" % partition] * 5, partition)
    transport = room.transport()
    transport.assign({(topic, 0): 0, (topic, 1): 0})
    transport.pause([(topic, 0)])
    assert len(drain(transport, [(topic, 0), (topic, 1)], 5)[topic, 1]) == 5
    assert transport.poll(10, 0.3) == []
    assert transport.read(topic, 0, 3).values == [b"0"] * 3
    transport.resume([(topic, 0)])
    assert len(drain(transport, [(topic, 0)], 2)[topic, 0]) == 2


def test_what_waits_here_is_bounded_while_one_partition_is_not_read(room, monkeypatch):
    monkeypatch.setattr(kafka_reading, "BUFFERED", 1 << 20)
    topic = room.topic("in", partitions=2)
    room.fill(topic, [b"x" * 500] * 30_000, 0)
    room.fill(topic, [b"y"] * 10, 1)
    transport = room.transport()
    transport.assign({(topic, 0): 0, (topic, 1): 0})
    transport.pause([(topic, 0)])
    got = 0
    for _ in range(30):
        got += sum(len(batch.values) for batch in transport.poll(100, 0.05))
    assert got == 10
    # Two fetches of 4 MiB may have been under way when the bound was reached.
    assert transport._reader._waiting[topic, 0] < 9 << 20
    transport.resume([(topic, 0)])
    assert len(drain(transport, [(topic, 0), (topic, 1)], 30_000)[topic, 0]) == 30_000


def test_partitions_added_while_reading_are_found_and_do_not_disturb_the_others(room):
    topic = room.topic("in")
    room.fill(topic, [b"%d" % i for i in range(100)])
    transport = room.transport()
    assert transport.partitions([topic, room.name("none")]) == {topic: [0], room.name("none"): []}
    transport.assign({(topic, 0): 0})
    got = [value for *_, value in drain(transport, [(topic, 0)], 30, max_events=30)[topic, 0]]
    room.admin.create_partitions({topic: 2})
    deadline = time.monotonic() + 10
    while transport.partitions([topic])[topic] != [0, 1]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    room.fill(topic, [b"new"], 1)
    transport.assign({(topic, 0): transport.position((topic, 0)), (topic, 1): 0})
    rest = drain(transport, [(topic, 0), (topic, 1)], 71)
    assert got + [v for *_, v in rest[topic, 0]] == [b"%d" % i for i in range(100)]
    assert [v for *_, v in rest[topic, 1]] == [b"new"]


def test_a_topic_made_again_is_an_error_that_says_so(room):
    topic = room.topic("in")
    transport = room.transport()
    before = transport.topic_ids([topic])
    assert transport.topic_ids([topic, room.name("none")]) == before
    room.admin.delete_topics([topic])
    time.sleep(0.5)
    with pytest.raises(TopicError, match="deleted"):
        transport.partitions([topic])
    room.topic("in")
    with pytest.raises(TopicError, match="made again"):
        transport.partitions([topic])
    assert room.transport().topic_ids([topic]) != before


def test_a_position_that_retention_removed_is_an_error_with_the_gap(room):
    topic = room.topic("in")
    room.fill(topic, [b"x"] * 10)
    room.admin.delete_records({TopicPartition(topic, 0): 5})
    transport = room.transport()
    assert transport.bounds(topic, 0) == (5, 10)
    for position in (4, 11):
        with pytest.raises(TopicError, match=rf"{topic}/0 at {position} \(it has 5 to 10\)"):
            transport.assign({(topic, 0): position})


def test_retention_that_overtakes_a_running_reader_is_the_same_error(room):
    topic = room.topic("in")
    room.fill(topic, [b"x"] * 3)
    transport = room.transport()
    transport.assign({(topic, 0): 0})
    room.admin.delete_records({TopicPartition(topic, 0): 2})
    with pytest.raises(TopicError, match=rf"{topic}/0 at 0 \(it has 2 to 3\)"):
        drain(transport, [(topic, 0)], 3)


def refusing(transport, place, times):
    """Fetches of a place are refused for its offset so often, as by a replica that has only just become the leader."""
    transport.poll(1, 0.0)
    consumer = transport._reader._consumer
    fetch, left = consumer.poll, itertools.count(times, -1)

    def poll(**options):
        if next(left) > 0:
            raise kafka_errors.OffsetOutOfRangeError({TopicPartition(*place): transport.position(place)})
        return fetch(**options)

    consumer.poll = poll


def test_a_refused_fetch_of_what_the_log_still_has_is_tried_again(room):
    topic = room.topic("in")
    transport = room.transport()
    transport.assign({(topic, 0): 0})
    refusing(transport, (topic, 0), times=3)
    room.fill(topic, [b"x"] * 3)
    assert len(drain(transport, [(topic, 0)], 3)[topic, 0]) == 3


def test_fetches_that_are_refused_for_longer_than_the_patience_are_an_error(room):
    topic = room.topic("in")
    transport = room.transport(patience_ms=1_000)
    transport.assign({(topic, 0): 0})
    refusing(transport, (topic, 0), times=1_000)
    with pytest.raises(TopicError, match=rf"{topic}/0 at 0 \(it has 0 to 0\)"):
        drain(transport, [(topic, 0)], 1)


def test_wake_ends_a_waiting_poll_from_another_thread(room):
    transport = room.transport()
    transport.assign({(room.topic("in"), 0): 0})
    threading.Timer(0.3, transport.wake).start()
    begin = time.monotonic()
    assert transport.poll(10, 20.0) == []
    assert 0.2 < time.monotonic() - begin < 3.0


def test_without_partitions_a_poll_waits_and_returns_nothing(room):
    transport = room.transport()
    begin = time.monotonic()
    assert transport.poll(10, 0.3) == []
    assert time.monotonic() - begin >= 0.25


def test_an_idle_partition_whose_high_watermark_was_forgotten_is_caught_up(room):
    topic = room.topic("in")
    place = (topic, 0)
    room.fill(topic, [b"1", b"2", b"3"])
    transport = room.transport()
    transport.assign({place: 0})
    drain(transport, [place], 3)
    until(transport, lambda: transport.caught_up(place))
    # As when an answer comes after partitions were assigned anew. While nothing is new the broker does not repeat it.
    consumer = transport._reader._consumer
    consumer._subscription.assignment[TopicPartition(*place)].highwater = None
    transport.poll(10, 1.5)
    assert consumer.highwater(TopicPartition(*place)) is None
    until(transport, lambda: transport.caught_up(place))
    room.fill(topic, [b"4"])
    time.sleep(1.1)  # the leaders' ends are asked for once a second
    consumer._subscription.assignment[TopicPartition(*place)].highwater = None
    assert not transport.caught_up(place)


def test_reading_goes_on_after_a_restart_and_a_broker_that_is_away_is_never_caught_up(own_broker, new_room):
    room = new_room(own_broker.bootstrap)
    topic = room.topic("in")
    place = (topic, 0)
    room.fill(topic, [b"1"])
    transport = room.transport(patience_ms=1_500)
    transport.assign({place: 0})
    drain(transport, [place], 1)
    until(transport, lambda: transport.caught_up(place))
    with own_broker.frozen():
        time.sleep(1.1)
        assert not transport.caught_up(place)
        with pytest.raises(ConnectionFailedError):
            transport.bounds(*place)
    own_broker.restart(clean=False)
    new_room(own_broker.bootstrap).fill(topic, [b"2"])
    assert [v for *_, v in drain(transport, [place], 1)[place]] == [b"2"]


def test_reading_a_missing_topic_does_not_make_it(own_broker, new_room):
    room = new_room(own_broker.bootstrap)
    transport = room.transport()
    ghost = room.name("ghost")
    transport._reader.assign({(ghost, 0): 0})
    for _ in range(3):
        transport.poll(10, 0.3)
    topics = room.admin.list_topics()
    assert ghost not in topics
    room.producer().partitions_for(ghost)
    assert ghost in room.admin.list_topics(), "the cluster would have made it"


@pytest.mark.bench
def test_reading_columns_is_faster_than_a_bare_poll(room):
    """Prints the ratio of the rates, both measured here; 300,000 events in 2 partitions."""
    topic, n = room.topic("in", partitions=2), 300_000
    producer: KafkaProducer = room.producer(linger_ms=20, batch_size=1 << 18)
    value = b'{"id":"%d","model":"fraud","version":"3","ts":1700000000000,"score":0.123456,"segments":{"country":"DE"}}'
    for i in range(n):
        producer.send(topic, value % i, partition=i & 1)
    producer.flush()
    rates = []
    for _ in range(3):
        consumer = kafka_reading.open_consumer(room.transport().connection, max_poll_records=5_000)
        consumer.assign([TopicPartition(topic, 0), TopicPartition(topic, 1)])
        consumer.seek(TopicPartition(topic, 0), 0)
        consumer.seek(TopicPartition(topic, 1), 0)
        begin, got = time.perf_counter(), 0
        while got < n:
            got += sum(map(len, consumer.poll(1_000).values()))
        bare = n / (time.perf_counter() - begin)
        consumer.close()
        transport = room.transport()
        transport.assign({(topic, 0): 0, (topic, 1): 0})
        begin, got = time.perf_counter(), 0
        while got < n:
            got += sum(len(batch.values) for batch in transport.poll(5_000, 1.0))
        rates.append(n / (time.perf_counter() - begin) / bare)
    print(f"columns / bare poll: {np.median(rates):.2f} (bare {bare:,.0f}/s)")
    assert np.median(rates) > 1.0
