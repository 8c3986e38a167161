"""kill -9 at every numbered step of start and commit, on a real broker: a foreign reader sees one clean pass."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from broker import Broker
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

import streameval

pytestmark = pytest.mark.slow  # the daemon's own kill tests go through the same steps

LOOP = Path(__file__).with_name("tally_on_kafka.py")
OUTPUTS = ("sums0", "sums1", "sums2")
STEPS = [f"start.{n}" for n in range(1, 7)] + [f"commit.{n}" for n in range(1, 9)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A broker whose topics this module makes anew for each run."""
    one = Broker(tmp_path_factory.mktemp("kill"))
    yield one.start()
    one.kill()


def fill(broker: Broker) -> None:
    """Numbers in two partitions and none in a third, with an aborted transaction between them."""
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        while names := [name for name in admin.list_topics() if not name.startswith("__")]:
            admin.delete_topics(names, raise_errors=False)
            time.sleep(0.1)
        admin.create_topics({"numbers": {"num_partitions": 3}})
        admin.wait_for_topics(["numbers"])
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id="numbers")
    producer.init_transactions()
    for aborted, numbers in ((False, range(20)), (True, range(500, 510)), (False, range(20, 40))):
        producer.begin_transaction()
        for number in numbers:
            producer.send("numbers", b"%d" % number, partition=0)
            if number % 2:
                producer.send("numbers", b"%d" % (2000 + number), partition=2)
        producer.flush()
        (producer.abort_transaction if aborted else producer.commit_transaction)()
    producer.close()


def seen(broker: Broker) -> dict[str, list[tuple[bytes, bytes | None]]]:
    """What a read_committed reader of its own sees of the outputs."""
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    ends = consumer.end_offsets([TopicPartition(topic, 0) for topic in OUTPUTS])
    consumer.assign(list(ends))
    consumer.seek_to_beginning()
    found = {topic: [] for topic in OUTPUTS}
    deadline = time.monotonic() + 20
    while any(consumer.position(tp) < end for tp, end in ends.items()):
        assert time.monotonic() < deadline
        for tp, records in consumer.poll(200).items():
            found[tp.topic] += [(record.key, record.value) for record in records]
    consumer.close()
    return found


def loop(broker: Broker, state: Path, seed: int, step: str = "never", count: int = 1) -> int:
    command = [sys.executable, str(LOOP), broker.bootstrap, str(state), str(seed), step, str(count)]
    # The package that is under test here, be it the wheel or a checkout.
    environment = {**os.environ, "PYTHONPATH": str(Path(streameval.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    print(done.stderr)
    return done.returncode


@pytest.fixture(scope="module")
def clean(alone, tmp_path_factory):
    fill(alone)
    assert loop(alone, tmp_path_factory.mktemp("clean") / "state", 0) == 0
    found = seen(alone)
    assert [len(found[topic]) for topic in OUTPUTS] == [13, 0, 6]
    return found


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_changes_nothing_that_is_published(alone, clean, tmp_path, step):
    fill(alone)
    state = tmp_path / "state"
    assert loop(alone, state, 1, step, 1 if step.startswith("start") else 2) == -signal.SIGKILL
    assert loop(alone, state, 2) == 0
    assert seen(alone) == clean


def test_a_lost_state_directory_is_rebuilt_and_publishes_nothing_twice(alone, clean, tmp_path):
    fill(alone)
    assert loop(alone, tmp_path / "state", 1, "commit.7", 4) == -signal.SIGKILL
    shutil.rmtree(tmp_path / "state")
    assert loop(alone, tmp_path / "state", 2) == 0
    assert seen(alone) == clean


@pytest.mark.slow
def test_kills_and_restarts_at_random_change_nothing_that_is_published(alone, clean, tmp_path):
    fill(alone)
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    generator = random.Random(seed)
    for attempt in range(60):
        if generator.random() < 0.15:
            alone.restart(clean=generator.random() < 0.5)
        step = "never" if attempt > 20 else generator.choice(STEPS)
        if loop(alone, tmp_path / "state", generator.randrange(99), step, generator.randint(1, 4)) == 0:
            break
    else:
        pytest.fail(f"the loop did not come to its end, seed {seed}")
    assert seen(alone) == clean, f"seed {seed}"
