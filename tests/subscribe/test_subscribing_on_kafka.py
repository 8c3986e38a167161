"""A subscription on a real broker: committed records only, to the true end, through everything a broker does."""

import threading
import time

import pytest
from broker import Broker
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, NewPartitions, ResourcePattern
from kafka.admin import ResourceType as Resource
from published import START, calibration, eventually, threshold

from streameval import config, subscribe
from streameval.errors import TransportError
from streameval.subscribe import origin
from streameval.transport.protocol import Outbox


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A broker that is away is noticed soon."""
    monkeypatch.setattr(origin, "PATIENCE_MS", 2_000)


def names(room):
    return {"thresholds": room.name("thresholds"), "calibration": room.name("calibration")}


def following(room, bootstrap="", **options):
    options = {"every": 0.05, "timeout": 20.0} | options
    return subscribe.thresholds(f"kafka://{bootstrap or room.bootstrap[0]}", topics=names(room), **options)


def now(current, segment="*"):
    return current.threshold("fraud", version="3", segment=segment, default=-1.0).value


def topics(room, partitions=1, **configs):
    for topic in names(room):
        room.topic(topic, partitions, cleanup_policy="compact", **configs)


def send(producer, topic, *entries):
    for key, value in entries:
        last = producer.send(topic, value, key=key.encode())
    last.get(30)


def test_what_the_daemons_transport_publishes_is_in_force_and_withdrawn_by_its_tombstones(room, commit):
    outputs = room.outputs() | {room.name("calibration"): {"cleanup.policy": "compact", "partitions": "3"}}
    transport = room.transport(outputs=outputs)
    transport.fence("w")
    changes = []

    def publish(n, *records):
        outbox = Outbox()
        for topic, key, value in records:
            outbox.add(room.name(topic), key, value, n)
        transport.deliver(outbox, commit(n), {})

    own, whole = threshold(0.2, segment="country=DE"), threshold(0.3)
    knots = calibration([0.0, 1.0], [0.0, 0.5])
    publish(1, ("thresholds", *own), ("thresholds", *whole), ("calibration", *knots))
    with following(room, on_change=changes.append) as current:
        assert (now(current, "country=DE"), now(current)) == (0.2, 0.3)
        assert current.calibrate("fraud", 0.5, version="3") == 0.25
        assert current.healthy
        publish(2, ("thresholds", own[0], None), ("thresholds", *threshold(0.4, sequence=1)))
        eventually(lambda: (now(current, "country=DE"), now(current)) == (0.4, 0.4))
        eventually(lambda: len(changes) == 2)
        publish(3, ("calibration", knots[0], None))
        eventually(lambda: current.calibrate("fraud", 0.5, version="3") == 0.5)
    with following(room) as current:
        assert now(current, "country=DE") == 0.4
        assert len(current.view.held()) == 1


def test_open_and_aborted_transactions_are_not_in_force_and_the_end_is_waited_for(room):
    topics(room, partitions=2)
    send(room.producer(), room.name("thresholds"), threshold(0.3))
    producer = room.producer(transactional_id=room.name("t"), transaction_timeout_ms=30_000)
    producer.init_transactions()
    producer.begin_transaction()
    send(producer, room.name("thresholds"), threshold(0.9))
    with pytest.raises(TransportError, match="open transaction"):
        following(room, timeout=5.0)
    threading.Timer(1.0, producer.commit_transaction).start()
    with following(room) as current:
        assert now(current) == 0.9  # not 0.3, which a reader to the last stable offset would have found
        producer.begin_transaction()
        send(producer, room.name("thresholds"), threshold(0.1))
        producer.abort_transaction()
        send(room.producer(), room.name("thresholds"), threshold(0.6, segment="s=1", at=START + 1))
        eventually(lambda: now(current, "s=1") == 0.6)
        assert now(current) == 0.9


def test_of_a_thousand_records_a_key_the_last_one_counts(room):
    topics(room, partitions=3)
    keys = [f"s={i}" for i in range(20)]
    producer = room.producer(linger_ms=20, compression_type="gzip")
    entries = [threshold(i % 997 / 1000, segment=keys[i % 20], sequence=i // 20, at=START + i) for i in range(5_000)]
    send(producer, room.name("thresholds"), *entries)
    expected = {keys[i % 20]: i % 997 / 1000 for i in range(5_000)}
    with following(room) as current:
        assert {segment: now(current, segment) for segment in keys} == expected


def test_topics_that_are_not_there_yet_are_followed_once_they_are_and_so_are_new_partitions(room):
    with following(room) as current:
        assert current.healthy
        assert now(current) == -1.0
        topics(room)
        send(room.producer(), room.name("thresholds"), threshold(0.3))
        eventually(lambda: now(current) == 0.3, 20)


def test_partitions_added_and_topics_made_anew_are_followed(room, monkeypatch):
    monkeypatch.setattr("streameval.subscribe.kafka_log._DESCRIBED", 0.1)
    topics(room)
    name = room.name("thresholds")
    send(room.producer(), name, threshold(0.3))
    with following(room) as current:
        room.admin.create_partitions({name: NewPartitions(4)})
        time.sleep(0.5)
        room.producer().send(name, threshold(0.5, segment="s=1")[1], key=b"fraud/3/s=1", partition=3)
        eventually(lambda: now(current, "s=1") == 0.5, 20)
        assert now(current) == 0.3

        room.admin.delete_topics([name])
        eventually(lambda: not current.healthy, 20)
        assert (now(current), now(current, "s=1")) == (0.3, 0.5)
        room.topic("thresholds", cleanup_policy="compact")
        eventually(lambda: "is empty" in (current.problem or ""), 20)
        assert now(current) == 0.3
        send(room.producer(), name, threshold(0.7))
        eventually(lambda: now(current) == 0.7, 20)
        assert now(current, "s=1") == 0.7  # of the new topic only the whole is known
        eventually(lambda: current.healthy)


@pytest.mark.slow
def test_a_broker_that_goes_away_and_comes_back_is_told_and_lived_through(own_broker, new_room):
    room = new_room(own_broker.bootstrap)
    topics(room)
    send(room.producer(), room.name("thresholds"), threshold(0.3))
    with following(room) as current:
        own_broker.kill()
        eventually(lambda: not current.healthy, 20)
        assert own_broker.bootstrap in current.problem
        assert now(current) == 0.3
        own_broker.start()
        eventually(lambda: current.healthy, 30)
        send(room.producer(), room.name("thresholds"), threshold(0.4))
        eventually(lambda: now(current) == 0.4, 20)
        with own_broker.frozen():
            eventually(lambda: not current.healthy, 30)
            assert now(current) == 0.4
        eventually(lambda: current.healthy, 30)
        send(room.producer(), room.name("thresholds"), threshold(0.5))
        eventually(lambda: now(current) == 0.5, 20)


@pytest.mark.slow
def test_without_a_broker_it_is_an_error_that_names_it_or_the_defaults_by_choice(tmp_path, new_room):
    late = Broker(tmp_path / "broker")
    room = new_room(late.bootstrap)
    with pytest.raises(TransportError, match=late.bootstrap):
        following(room, timeout=4.0)
    try:
        with following(room, timeout=0.1, unready="default") as current:
            assert now(current) == -1.0
            late.start()
            topics(room)
            send(room.producer(), room.name("thresholds"), threshold(0.3))
            eventually(lambda: now(current) == 0.3, 40)
    finally:
        late.kill()


def test_reading_the_two_topics_is_all_that_is_to_be_granted(secured, new_room, monkeypatch):
    room = new_room(secured.bootstrap)
    topics(room)
    send(room.producer(), room.name("thresholds"), threshold(0.3))
    monkeypatch.setenv("SUBSCRIBERS_PASSWORD", "str4nger-secret")
    security = config.Security(
        protocol="SASL_SSL",
        mechanism="SCRAM-SHA-512",
        username="stranger",
        password={"env": "SUBSCRIBERS_PASSWORD"},
        ca_file=secured.secured.certificates.authority,
    )
    options = {"bootstrap": secured.address("SASLTLS"), "security": security}
    with pytest.raises(TransportError, match="no permission on the topic"):
        following(room, timeout=3.0, **options)
    literal, op = ACLResourcePatternType.LITERAL, ACLOperation
    room.admin.create_acls(
        [
            ACL("User:stranger", "*", right, ACLPermissionType.ALLOW, ResourcePattern(Resource.TOPIC, name, literal))
            for name in names(room).values()
            for right in (op.READ, op.DESCRIBE)
        ]
    )
    with following(room, **options) as current:
        assert now(current) == 0.3
    monkeypatch.setenv("SUBSCRIBERS_PASSWORD", "wr0ng")
    with pytest.raises(TransportError, match="refused the login of user 'stranger'") as told:
        following(room, timeout=3.0, **options)
    assert "wr0ng" not in str(told.value)
