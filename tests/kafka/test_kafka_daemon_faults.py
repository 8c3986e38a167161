"""Faults of the broker, the network and the process while the daemon runs live, fed by a foreign producer.

Every run reads an empty partition, an idle one and one an hour behind; the oracle is one clean pass.
"""

from __future__ import annotations

import json
import signal
import time

import kafka.errors as kafka_errors
import pytest
from events_stream import Stream
from proxy import END_TXN
from scene import Scene, counted
from test_kafka_daemon import feed_live, finish

from streameval.errors import ConnectionFailedError
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_faults import explained


def test_a_second_worker_of_the_same_identity_takes_over_and_the_first_stays_out(make_scene, nursery, tmp_path):
    scene, stream = make_scene(), Stream(seed=11, predictions=3_000)
    scene.make_topics()
    first = nursery.start(scene.config)
    feed_live(scene, first, stream.parts[:8])
    first.await_log("caught_up")
    beside = nursery.start(scene.config)
    assert beside.wait() == 7, "two processes on one state directory"
    elsewhere = scene.config | {"state": str(tmp_path / "elsewhere")}
    second = nursery.start(elsewhere)
    second.await_log("caught_up")
    feed_live(scene, second, stream.parts[8:])
    assert first.wait() == 7
    assert "took over" in first.text().splitlines()[-1]
    assert second.stop() == 0
    scene.config = elsewhere
    finish(scene, nursery)
    scene.check()


def test_a_process_frozen_beyond_its_transactions_time_goes_on_after_it(make_scene, nursery):
    scene, stream = make_scene(), Stream(seed=12, predictions=3_000)
    scene.make_topics()
    worker = nursery.start(scene.config, transaction_ms=1_200, at="commit.6", count=2, pause=2.5)
    for index, part in enumerate(stream.parts):
        scene.feed(part)
        if index == 5:
            worker.await_log("paused_by_test")
        if index in (8, 14):
            worker.signal(signal.SIGSTOP)
            time.sleep(2.0)
            worker.signal(signal.SIGCONT)
        time.sleep(0.05)
    time.sleep(1)
    assert worker.stop() == 0, worker.text()[-2000:]
    finish(scene, nursery)
    scene.check()


@pytest.mark.slow
def test_a_broker_that_restarts_dies_and_is_away_for_a_while_costs_nothing(own_broker, make_scene, nursery):
    scene, stream = make_scene(on=own_broker), Stream(seed=13, predictions=4_000)
    scene.make_topics()
    worker = nursery.start(scene.config, patience_ms=2_000)
    feed_live(scene, worker, stream.parts[:5])
    own_broker.restart(clean=True)
    feed_live(scene, worker, stream.parts[5:10])
    own_broker.restart(clean=False)
    feed_live(scene, worker, stream.parts[10:15])
    own_broker.kill()
    time.sleep(8)
    assert worker.alive, worker.text()[-2000:]
    own_broker.start()
    feed_live(scene, worker, stream.parts[15:])
    time.sleep(3)
    assert worker.stop() == 0, worker.text()[-2000:]
    finish(scene, nursery)
    assert counted(scene.check())["metrics"] > 20


@pytest.mark.slow
def test_leaders_that_die_in_a_cluster_of_three_cost_nothing(cluster, tmp_path, nursery):
    (tmp_path / "scene").mkdir()
    scene, stream = Scene(cluster.bootstrap, tmp_path / "scene"), Stream(seed=14, predictions=3_000)
    scene.make_topics()
    worker = nursery.start(scene.config)
    for node in cluster.brokers:
        step = 5 * (node - 1)
        feed_live(scene, worker, stream.parts[step : step + 5])
        cluster.brokers[node].kill()
        feed_live(scene, worker, stream.parts[step + 5 : step + 6] if node == 3 else [])
        time.sleep(1)
        cluster.brokers[node].start()
    feed_live(scene, worker, stream.parts[16:])
    time.sleep(2)
    assert worker.stop() == 0, worker.text()[-2000:]
    finish(scene, nursery)
    scene.check()
    scene.close()


def test_commits_whose_answers_are_lost_and_a_network_that_goes_cost_nothing(own_broker, proxy, make_scene, nursery):
    scene = make_scene(on=own_broker, through=[own_broker.address("PROXIED")])
    stream = Stream(seed=15, predictions=3_000)
    scene.make_topics()
    worker = nursery.start(scene.config)
    for index, part in enumerate(stream.parts):
        if index in (4, 8, 12):
            proxy.lose = END_TXN
        if index in (6, 14):
            proxy.cut()
        feed_live(scene, worker, [part])
        deadline = time.monotonic() + 5
        while proxy.lose is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        if index in (6, 14):
            time.sleep(1)
            proxy.mend()
    time.sleep(2)
    assert proxy.lost >= 2
    assert worker.stop() == 0, worker.text()[-2000:]
    finish(scene, nursery)
    scene.check()


def test_labels_that_are_silent_for_hours_stop_the_mature_clock_and_no_negatives_flood_in(make_scene, nursery):
    scene, stream = make_scene(), Stream(seed=16, predictions=4_000, label_silence=(0.3, 0.8))
    scene.make_topics()
    worker = nursery.start(scene.config)
    feed_live(scene, worker, stream.parts[:15], pause=0.1)
    worker.await_log("labels_stalled")
    feed_live(scene, worker, stream.parts[15:], pause=0.1)
    scene.await_marks(8)
    assert worker.stop() == 0
    finish(scene, nursery)
    scene.check()


def test_messages_as_large_as_the_broker_allows_stall_nothing(make_scene, nursery):
    scene, stream = make_scene(), Stream(seed=17, predictions=2_000)
    scene.make_topics()
    worker = nursery.start(scene.config)
    giants: list[bytes | None] = [
        b"[" * 1_000_000,
        b'{"id":"' + b"x" * 1_000_000 + b'","model":"fraud","ts":1700000000000,"score":0.5}',
        json.dumps({f"f{i}": i for i in range(60_000)}).encode(),
        b"\x00" * 1_000_000,
    ]
    for index, part in enumerate(stream.parts):
        large = {("predictions", 0): giants, ("outcomes", 2): giants} if index % 4 == 0 else {}
        feed_live(scene, worker, [large, part])
    scene.await_marks(8)
    assert worker.stop() == 0
    finish(scene, nursery)
    seen = scene.check()
    reasons = {
        json.loads(value)["data"]["reason"]
        for (topic, _), values in seen.items()
        if topic == "rejected"
        for value in values
    }
    assert {"not_json", "too_deep"} & reasons
    assert counted(seen)["metrics"] > 0


def test_a_partition_whose_leader_is_away_is_a_failure_that_passes():
    connection = Connection(("127.0.0.1:9",))
    for error in (kafka_errors.UnknownBrokerIdError(-1), kafka_errors.LeaderNotAvailableError()):
        assert isinstance(explained(error, connection, doing="reading offsets"), ConnectionFailedError)
