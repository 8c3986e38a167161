"""Exactly once, on a real broker: outputs and commit record appear together, once, through every fault."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.producer.sender import Sender
from proxy import END_TXN

from streameval.errors import CommitError, FencedError, TopicError
from streameval.transport.protocol import Outbox, Transport
from tests.ports import candidates, free_port


def visible(bootstrap: str, topic: str) -> list[tuple[bytes, bytes]]:
    """What a foreign read_committed consumer sees of a topic, to the end."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, group_id=None
    )
    partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)  # the last stable ones: an open transaction hides what is behind it
    found, deadline = [], time.monotonic() + 30
    while any(consumer.position(tp) < end for tp, end in ends.items()):
        assert time.monotonic() < deadline
        for records in consumer.poll(200).values():
            found += [(r.key, r.value) for r in records]
    consumer.close()
    return found


def box(topic: str, *numbers: int) -> Outbox:
    outbox = Outbox()
    for number in numbers:
        outbox.add(topic, "m/1/*", b'{"id":"%d","subject":"m/1/*","sequence":%d,"data":{}}' % (number, number), number)
    return outbox


def values(room, topic):
    return [value for _, value in visible(room.bootstrap[0], topic)]


def sequences(room, topic):
    return [int(value.split(b'"sequence":')[1].split(b",")[0]) for value in values(room, topic)]


def test_the_transport_has_every_method_of_the_protocol(room):
    assert isinstance(room.transport(), Transport)


def test_outputs_and_their_commit_record_become_visible_together_and_once(room, commit):
    transport = room.transport()
    transport.fence("w")
    drift = room.name("drift")
    for n in (1, 2, 3):
        transport.deliver(box(drift, n), commit(n), {})
    transport.deliver(box(drift, 3), commit(3), {})
    assert sequences(room, drift) == [1, 2, 3]
    assert transport.commit_record("w") == commit(3)
    assert room.transport().commit_record("w") == commit(3)
    assert transport.commit_record("somebody else") is None


def test_an_output_carries_the_header_of_a_cloud_event_and_its_key(room, commit):
    transport = room.transport()
    transport.fence("w")
    drift = room.name("drift")
    transport.deliver(box(drift, 1), commit(1), {})
    consumer = room._keep(KafkaConsumer(bootstrap_servers=room.bootstrap[0], isolation_level="read_committed"))
    consumer.assign([TopicPartition(drift, 0)])
    consumer.seek_to_beginning()
    (record,) = next(iter(consumer.poll(5_000).values()))
    assert record.key == b"m/1/*"
    assert record.headers == [("content-type", b"application/cloudevents+json")]


def test_a_tombstone_is_a_record_without_value(room, commit):
    transport = room.transport()
    transport.fence("w")
    outbox = Outbox()
    outbox.add(room.name("thresholds"), "m/1/*", None, 0)
    transport.deliver(outbox, commit(1), {})
    assert visible(room.bootstrap[0], room.name("thresholds")) == [(b"m/1/*", None)]
    assert list(transport.published([room.name("thresholds")])) == outbox.records


def test_a_second_worker_of_the_same_name_fences_the_first_which_stays_out(room, commit):
    first, second = room.transport(), room.transport()
    drift = room.name("drift")
    first.fence("w")
    first.deliver(box(drift, 1), commit(1), {})
    second.fence("w")
    second.deliver(box(drift, 2), commit(2, "b"), {})
    with pytest.raises(FencedError, match="took over"):
        first.deliver(box(drift, 2), commit(2, "a"), {})
    with pytest.raises(FencedError):
        first.deliver(box(drift, 2), commit(2, "a"), {})
    with pytest.raises(FencedError):
        first.fence("w")
    second.deliver(box(drift, 3), commit(3, "b"), {})
    assert sequences(room, drift) == [1, 2, 3]


def test_a_worker_that_slept_through_its_successors_start_does_not_fence_it_in_turn(room, commit):
    sleeper, successor = room.transport(), room.transport()
    drift = room.name("drift")
    sleeper.fence("w")
    sleeper.deliver(box(drift, 1), commit(1), {})

    def successor_starts(step):
        if step == "commit.6":
            successor.fence("w")
            successor.deliver(box(drift, 2), commit(2, "b"), {})

    with pytest.raises(FencedError):
        sleeper.deliver(box(drift, 2), commit(2, "a"), {}, successor_starts)
    successor.deliver(box(drift, 3), commit(3, "b"), {})
    assert sequences(room, drift) == [1, 2, 3]


def persistently(transport, *delivery):
    """Delivers as the daemon does; returns how often in vain, and how long it took."""
    begin, vain = time.monotonic(), 0
    while True:
        try:
            transport.deliver(*delivery, {})
            return vain, time.monotonic() - begin
        except CommitError:
            assert time.monotonic() - begin < 30
            vain += 1
            time.sleep(0.1)


def test_a_worker_that_is_fenced_by_one_that_never_starts_looks_on_for_a_while_and_goes_on(room, commit):
    first, second = room.transport(transaction_ms=4_000), room.transport()
    drift = room.name("drift")
    first.fence("w")
    first.deliver(box(drift, 1), commit(1), {})
    second.fence("w")
    vain, took = persistently(first, box(drift, 2), commit(2, "a"))
    assert vain > 1
    assert took > 2.0, "half of its transaction's time"
    for _ in range(2):
        with pytest.raises(FencedError):
            second.deliver(box(drift, 2), commit(2, "b"), {})
    with pytest.raises(FencedError):
        second.fence("w")
    first.deliver(box(drift, 3), commit(3, "a"), {})
    assert sequences(room, drift) == [1, 2, 3]


def test_a_successor_that_is_slow_to_say_its_name_is_not_fenced_in_turn(room, commit):
    first, successor = room.transport(), room.transport()
    drift = room.name("drift")
    first.fence("w")
    first.deliver(box(drift, 1), commit(1), {})
    successor.fence("w")
    for _ in range(3):
        with pytest.raises(CommitError):
            first.deliver(box(drift, 2), commit(2, "a"), {})
        time.sleep(0.1)
    successor.announce(commit(1, "b"))
    with pytest.raises(FencedError):
        first.deliver(box(drift, 2), commit(2, "a"), {})
    successor.deliver(box(drift, 2), commit(2, "b"), {})
    assert sequences(room, drift) == [1, 2]


def test_a_start_that_is_tried_again_does_not_fence_who_took_over_meanwhile(room, commit):
    slow, other = room.transport(), room.transport()
    drift = room.name("drift")
    slow.fence("w")
    slow.fence("w")
    other.fence("w")
    other.deliver(box(drift, 1), commit(1), {})
    with pytest.raises(FencedError):
        slow.fence("w")
    other.deliver(box(drift, 2), commit(2), {})
    assert sequences(room, drift) == [1, 2]


class DeadError(Exception):
    """Stands for kill -9 within the process."""


def dies_at(step):
    def on_step(name):
        if name == step:
            raise DeadError(step)

    return on_step


@pytest.mark.parametrize("step", ["commit.5", "commit.6"])
def test_what_a_dead_worker_left_open_is_invisible_and_its_successor_delivers_it_once(room, commit, step):
    drift = room.name("drift")
    dead = room.transport()
    dead.fence("w")
    dead.deliver(box(drift, 1), commit(1), {})
    with pytest.raises(DeadError):
        dead.deliver(box(drift, 2, 3), commit(2), {}, dies_at(step))
    successor = room.transport()
    successor.fence("w")
    assert successor.commit_record("w") == commit(1)
    assert sequences(room, drift) == [1]
    successor.deliver(box(drift, 2, 3), commit(2), {})
    assert sequences(room, drift) == [1, 2, 3]


def test_a_worker_that_outlasts_its_transaction_opens_a_new_producer_and_goes_on(room, commit):
    transport = room.transport(transaction_ms=1_200)
    drift = room.name("drift")
    transport.fence("w")
    transport.deliver(box(drift, 1), commit(1), {})

    def sleeps(step):
        if step == "commit.6":
            time.sleep(2)  # the broker looks for transactions to abort five times a second

    with pytest.raises(CommitError):
        transport.deliver(box(drift, 2), commit(2), {}, sleeps)
    persistently(transport, box(drift, 2), commit(2))
    assert sequences(room, drift) == [1, 2]


def test_a_commit_whose_answer_is_lost_counts_once(own_broker, proxy, new_room, commit):
    room = new_room(own_broker.bootstrap)
    transport = room.transport(bootstrap=(own_broker.address("PROXIED"),))
    drift = room.name("drift")
    transport.fence("w")
    transport.deliver(box(drift, 1), commit(1), {})
    proxy.lose = END_TXN
    transport.deliver(box(drift, 2), commit(2), {})
    assert proxy.lost == 1
    transport.deliver(box(drift, 3), commit(3), {})
    assert sequences(room, drift) == [1, 2, 3]


@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "killed"])
def test_deliveries_go_on_after_the_broker_was_restarted(own_broker, new_room, commit, clean):
    room = new_room(own_broker.bootstrap)
    transport = room.transport()
    drift = room.name("drift")
    transport.fence("w")
    transport.deliver(box(drift, 1), commit(1), {})
    own_broker.restart(clean=clean)
    for _ in range(5):
        try:
            transport.deliver(box(drift, 2), commit(2), {})
            break
        except CommitError:
            time.sleep(0.5)
    assert transport.commit_record("w") == commit(2)
    assert sequences(room, drift) == [1, 2]


def test_a_broker_that_is_away_is_a_commit_error_that_names_it_and_nothing_is_lost(own_broker, new_room, commit):
    room = new_room(own_broker.bootstrap)
    transport = room.transport(transaction_ms=3_000, patience_ms=2_000)
    drift = room.name("drift")
    transport.fence("w")
    transport.deliver(box(drift, 1), commit(1), {})
    own_broker.kill()
    with pytest.raises(CommitError, match="may or may not"):
        transport.deliver(box(drift, 2), commit(2), {})
    assert not [thread for thread in threading.enumerate() if isinstance(thread, Sender)]
    own_broker.start()
    transport.deliver(box(drift, 2), commit(2), {})
    assert sequences(room, drift) == [1, 2]


@pytest.mark.parametrize("of", ["drift", "__transaction_state"], ids=["output", "coordinator"])
def test_a_leader_that_dies_costs_no_record_and_little_time(cluster, new_room, commit, of):
    room = new_room(*cluster.bootstrap)
    transport = room.transport()
    drift = room.name("drift")
    transport.fence("w")
    for n in range(1, 13):
        if n == 4:
            led = drift if of == "drift" else of
            leader = room.admin.describe_topics([led])[0]["partitions"][0]["leader_id"]
            begin = time.monotonic()
            room.bootstrap = tuple(b.bootstrap for node, b in cluster.brokers.items() if node != leader)
            cluster.brokers[leader].kill()
        for _ in range(30):
            try:
                transport.deliver(box(drift, n), commit(n), {})
                break
            except CommitError:
                time.sleep(0.5)
    assert time.monotonic() - begin < 60
    assert sequences(room, drift) == list(range(1, 13))


def test_an_output_that_the_broker_refuses_becomes_a_stub_with_its_id_and_sequence(room, commit):
    drift = room.topic("drift", max_message_bytes="3000")
    transport = room.transport()
    transport.fence("w")
    outbox = box(drift, 1)
    outbox.add(drift, "m/1/*", b'{"id":"2","subject":"m/1/*","sequence":2,"data":{"x":"%s"}}' % (b"y" * 9000), 2)
    outbox.extend(box(drift, 3).records)
    transport.deliver(outbox, commit(1), {})
    assert sequences(room, drift) == [1, 2, 3]
    assert values(room, drift)[1].startswith(b'{"id":"2","subject":"m/1/*","sequence":2,"data":{"refused"')


def test_many_outputs_to_a_topic_of_small_batches_arrive_whole_and_in_order(room, commit):
    drift = room.topic("drift", max_message_bytes="20000")
    transport = room.transport()
    transport.fence("w")
    transport.deliver(box(drift, *range(2_000)), commit(1), {})
    assert sequences(room, drift) == list(range(2_000))


def test_missing_output_topics_are_made_compacted_where_the_last_record_counts(room):
    transport = room.transport()
    transport.fence("w")
    settings = transport.cluster.settings(room.outputs())
    policies = {topic.removeprefix(room.prefix): s["cleanup.policy"] for topic, s in settings.items()}
    assert policies == {"thresholds": "compact", "drift": "delete", "commits": "compact", "clock": "delete"}
    assert settings[room.name("clock")]["retention.ms"] == "-1"
    assert transport.shortcomings() == []


def test_missing_output_topics_that_may_not_be_made_are_all_named(room):
    with pytest.raises(TopicError) as caught:
        room.transport(create=False).fence("w")
    assert all(room.name(topic) in str(caught.value) for topic in ("clock", "commits", "drift", "thresholds"))


def test_unfit_settings_of_output_topics_are_reported(room):
    room.topic("drift", max_message_bytes="2000")
    room.topic("thresholds")
    lines = room.transport().shortcomings()
    assert len(lines) == 2
    assert "max.message.bytes is 2000" in lines[0]
    assert "cleanup.policy is delete: set compact" in lines[1]


def test_published_gives_what_was_published_since_the_marks(room, commit):
    transport = room.transport()
    drift = room.name("drift")
    transport.fence("w")
    transport.deliver(box(drift, 1, 2), commit(1), {})
    marks = transport.ends([drift])
    transport.deliver(box(drift, 3), commit(2), {})
    assert [r.sequence for r in transport.published([drift])] == [1, 2, 3]
    assert [(r.key, r.sequence) for r in transport.published([drift], marks)] == [("m/1/*", 3)]
    assert list(transport.published([room.name("no-such-topic")])) == []


def test_clock_marks_come_back_in_the_order_in_which_they_were_published(room, commit):
    transport = room.transport()
    transport.fence("w")
    for n in range(1, 4):
        outbox = Outbox()
        outbox.add(room.name("clock"), "w", b'{"n":%d}' % n)
        transport.deliver(outbox, commit(n), {})
    assert transport.clock_marks() == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


def test_an_open_transaction_of_somebody_else_on_the_commit_log_is_waited_for(room, commit):
    transport = room.transport()
    transport.fence("w")
    foreign = room._keep(
        KafkaProducer(bootstrap_servers=room.bootstrap[0], transactional_id=room.name("foreign"), acks="all")
    )
    foreign.init_transactions()
    foreign.begin_transaction()
    foreign.send(room.name("commits"), b"x", b"another", partition=0).get(5)
    ends = threading.Timer(1.0, foreign.abort_transaction)
    ends.start()
    transport.deliver(Outbox(), commit(1), {})
    ends.join()
    assert transport.commit_record("w") == commit(1)


def test_group_offsets_show_lag_tools_how_far_the_worker_has_read(room, commit):
    topic = room.topic("in", partitions=2)
    room.fill(topic, [b"1", b"2"])
    transport = room.transport()
    transport.confirm(commit(1, positions={topic: {0: 2, 1: 0}}))
    offsets = room.admin.list_group_offsets({"streameval-w": None})["streameval-w"]
    assert {(tp.partition, o.offset) for tp, o in offsets.items() if tp.topic == topic} == {(0, 2), (1, 0)}


def test_group_offsets_that_cannot_be_written_stop_nothing(room, commit):
    topic = room.name("gone")
    room.transport().confirm(commit(1, positions={topic: {0: 2}}))


def test_a_free_port_is_free_and_no_outgoing_connection_takes_it():
    with socket.create_server(("127.0.0.1", port := free_port())) as server:
        assert port in candidates()
        with socket.create_connection(server.getsockname()) as client:
            assert client.getsockname()[1] not in candidates()


@pytest.mark.bench
def test_the_cost_of_a_delivery(room, commit):
    """Prints medians and 99th percentiles, in ms, and the same for what a commit asks the cluster besides."""
    transport = room.transport()
    drift = room.name("drift")
    transport.fence("w")
    n = 0
    for outputs, rounds in ((0, 100), (10, 100), (5_000, 5)):
        outbox = Outbox()
        for i in range(outputs):
            outbox.add(drift, f"m/1/{i}", b'{"id":"%d","sequence":0,"data":"%s"}' % (i, b"x" * 660), 0)
        times = {"deliver": [], "commit_record": [], "ends": [], "topic_ids": []}
        for _ in range(rounds):
            n += 1
            for name, act in (
                ("deliver", lambda box=outbox, n=n: transport.deliver(box, commit(n), {})),
                ("commit_record", lambda: transport.commit_record("w")),
                ("ends", lambda: transport.ends([drift])),
                ("topic_ids", lambda: transport.topic_ids([drift])),
            ):
                begin = time.perf_counter()
                act()
                times[name].append(1000 * (time.perf_counter() - begin))
        line = ", ".join(f"{k} {np.median(v):.1f} (p99 {np.percentile(v, 99):.0f})" for k, v in times.items())
        print(f"{outputs} outputs: {line} ms")
    assert n == 205
