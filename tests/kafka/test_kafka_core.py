"""The core of a state and a process's name in the commit record, on a real broker."""

from __future__ import annotations

import os
import time

import msgspec
import pytest
from kafka import KafkaConsumer, TopicPartition

from streameval.errors import FencedError
from streameval.transport.kafka_core import key
from streameval.transport.protocol import MAX_RECORD, Outbox


def records(room):
    """Everything under each key of the commit topic, tombstones too, as a foreign reader sees it."""
    consumer = room._keep(KafkaConsumer(bootstrap_servers=room.bootstrap[0], isolation_level="read_committed"))
    place = TopicPartition(room.name("commits"), 0)
    consumer.assign([place])
    consumer.seek_to_beginning()
    end = consumer.end_offsets([place])[place]
    found: dict[bytes, list[bytes | None]] = {}
    deadline = time.monotonic() + 20
    while consumer.position(place) < end:
        assert time.monotonic() < deadline
        for record in consumer.poll(200).get(place, []):
            found.setdefault(record.key, []).append(record.value)
    return found


def test_parts_of_a_longer_older_core_get_tombstones(room, commit):
    transport = room.transport()
    transport.fence("w")
    large, small = os.urandom(200_000), os.urandom(70_000)
    transport.deliver(Outbox(), commit(1), {}, core=large)
    transport.deliver(Outbox(), commit(2), {}, core=small)
    seen = records(room)
    assert [len(seen[key("w", index)]) for index in range(4)] == [2, 2, 2, 2]
    assert [seen[key("w", index)][-1] is None for index in range(4)] == [False, False, True, True]
    assert max(len(value) for values in seen.values() for value in values if value) <= MAX_RECORD
    assert transport.core("w") == small
    assert transport.core("v") is None


def test_parts_fit_into_a_topic_of_small_records_and_one_that_refuses_them_loses_only_the_core(room, commit):
    room.topic("commits", max_message_bytes="5000", cleanup_policy="compact")
    transport = room.transport()
    transport.fence("w")
    core = os.urandom(30_000)
    transport.deliver(Outbox(), commit(1), {}, core=core)
    assert room.transport().core("w") == core
    assert len(records(room)) >= 1 + 30_000 // 5_000
    transport._limits.clear()  # as where DescribeConfigs is not granted
    transport.deliver(Outbox(), commit(2), {}, core=os.urandom(30_000))
    assert transport.commit_record("w") == commit(2)
    assert room.transport().core("w") == core


def test_a_core_of_a_transaction_that_did_not_take_place_is_not_there(room, commit):
    transport = room.transport()
    transport.fence("w")
    transport.deliver(Outbox(), commit(1), {}, core=b"first")

    def dies(step):
        if step == "commit.6":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transport.deliver(Outbox(), commit(2), {}, dies, core=b"second")
    successor = room.transport()
    successor.fence("w")
    assert successor.core("w") == b"first"


def test_a_process_that_slept_through_its_successors_start_stays_out_though_nothing_was_published_since(room, commit):
    sleeper, successor = room.transport(), room.transport()
    sleeper.fence("w")
    sleeper.deliver(Outbox(), commit(1, "a"), {})
    successor.fence("w")
    successor.announce(msgspec.structs.replace(successor.commit_record("w"), incarnation="b"))
    for _ in range(2):
        with pytest.raises(FencedError, match="took over"):
            sleeper.deliver(Outbox(), commit(2, "a"), {})
    successor.deliver(Outbox(), commit(2, "b"), {})
    assert room.transport().commit_record("w") == commit(2, "b")
