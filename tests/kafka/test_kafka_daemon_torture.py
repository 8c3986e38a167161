"""Faults of all kinds, mixed at random from a seed, against the live daemon; the oracle is one clean pass at the end.

By hand, for as long as wanted::

    TORTURE_SECONDS=600 TORTURE_SEED=7 pytest -m slow -s tests/kafka/test_kafka_daemon_torture.py
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from broker import Broker
from events_stream import BUSY, HOUR, START, Stream
from proxy import END_TXN, Proxy
from scene import Scene, counted
from worker_process import Nursery, Worker

from tests.ports import free_port

STEPS = [f"start.{n}" for n in range(1, 7)] + 2 * [f"commit.{n}" for n in range(1, 9)]


class Torture:
    """One broker behind a proxy, one identity, and whatever may happen to them."""

    def __init__(self, folder: Path, nursery: Nursery, seed: int) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.nursery = nursery
        self.broker = Broker(folder / "broker", proxied=free_port()).start()
        self.proxy = Proxy(self.broker.proxied, ("127.0.0.1", self.broker.ports["PROXIED"]))
        (folder / "scene").mkdir()
        # A core now and then, so that a deleted state is sometimes made anew from one and sometimes from the logs.
        every = {"every": "100ms", "state_every": "3s"}
        self.scene = Scene([self.broker.bootstrap], folder / "scene", [self.broker.address("PROXIED")], commit=every)
        self.scene.make_topics()
        self.worker: Worker | None = None
        self.told: list[str] = []

    def say(self, what: str) -> None:
        self.told.append(what)
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)

    def run(self, stream: Stream, seconds: float) -> None:
        begin = time.monotonic()
        for index, part in enumerate(stream.parts):
            self.keep_running()
            self.scene.feed(part)
            due = begin + seconds * (index + 1) / len(stream.parts)
            while time.monotonic() < due:
                # Dense enough that faults meet, rare enough that there is something to lose; a quiet end.
                if index < 0.8 * len(stream.parts) and self.rng.random() < 0.15:
                    fault = self.rng.choice(FAULTS)
                    self.say(fault.__name__)
                    fault(self)
                self.keep_running()
                time.sleep(self.rng.uniform(0.0, 0.4))
        # Without further faults, but for those that a process was born with.
        deadline = time.monotonic() + 90
        at = START + stream.hours * HOUR
        while not self.scene.marked(8):
            assert time.monotonic() < deadline, "it did not come to rest"
            self.keep_running()
            # Silence of all partitions at once, as after a freeze, moves nothing: somebody must still speak.
            at += 1_000
            event = {"id": f"rest-{at}", "model": "fraud", "ts": at, "score": 0.5}
            self.scene.feed({("predictions", BUSY): [json.dumps(event).encode()]})
            time.sleep(1.0)
        self.keep_running()
        self.say(f"last stop: {self.worker.stop()}")

    def keep_running(self) -> None:
        if self.worker is not None and self.worker.alive:
            return
        if self.worker is not None and self.worker.status not in (0, -signal.SIGKILL, -signal.SIGTERM):
            last = self.worker.text().splitlines()[-1]
            self.say(f"ended with {self.worker.status}: {last}")
            assert self.worker.status in (5, 6, 7), self.worker.text()[-3000:]
            if self.worker.status == 5:
                assert (
                    "another copy of this state went on" in last
                    or "is committed" in last
                    or "no checkpoint is whole" in last
                )
                assert "delete" in last or "point the worker" in last or "use the state" in last
                shutil.rmtree(self.scene.state)
        job = {"transaction_ms": 2_000, "patience_ms": 3_000, "batch": self.rng.choice([50, 500, 8_192])}
        if self.rng.random() < 0.4:
            job |= {"at": self.rng.choice(STEPS), "count": self.rng.randint(1, 6)}
        self.worker = self.nursery.start(self.scene.config, **job)

    # -- faults -------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        self.worker.kill()

    def stop(self) -> None:
        self.worker.stop()

    def freeze(self) -> None:
        self.worker.signal(signal.SIGSTOP)
        time.sleep(self.rng.choice([0.3, 3.0]))
        self.worker.signal(signal.SIGCONT)

    def restart_broker(self) -> None:
        self.broker.restart(clean=self.rng.random() < 0.5)

    def freeze_broker(self) -> None:
        with self.broker.frozen():
            time.sleep(self.rng.uniform(0.5, 4.0))

    def lose_an_answer(self) -> None:
        self.proxy.lose = self.rng.choice([END_TXN, END_TXN, 0, 22, 24])

    def cut_the_network(self) -> None:
        self.proxy.cut()
        time.sleep(self.rng.uniform(0.1, 3.0))
        self.proxy.mend()

    def delete_the_state(self) -> None:
        self.worker.kill()
        shutil.rmtree(self.scene.state, ignore_errors=True)

    def restore_a_snapshot(self) -> None:
        self.worker.kill()
        snapshot = self.folder / "snapshot"
        if snapshot.exists():
            shutil.rmtree(self.scene.state, ignore_errors=True)
            snapshot.rename(self.scene.state)
        elif self.scene.state.exists():
            shutil.copytree(self.scene.state, snapshot)

    def truncate_the_newest_checkpoint(self) -> None:
        self.worker.kill()
        found = sorted(self.scene.state.glob("checkpoints/*.state"))
        if found:
            found[-1].write_bytes(found[-1].read_bytes()[: self.rng.randrange(100)])

    def second_worker(self) -> None:
        other = self.folder / f"state-{self.rng.randrange(3)}"
        config = self.scene.config | {"state": str(other)}
        second = self.nursery.start(config, transaction_ms=2_000, patience_ms=3_000)
        time.sleep(self.rng.uniform(0.5, 3.0))
        if self.rng.random() < 0.5:
            second.kill()
        else:
            self.worker.kill()
            self.worker, self.scene.config = second, config


FAULTS = [
    Torture.kill,
    Torture.kill,
    Torture.stop,
    Torture.freeze,
    Torture.restart_broker,
    Torture.freeze_broker,
    Torture.lose_an_answer,
    Torture.lose_an_answer,
    Torture.cut_the_network,
    Torture.delete_the_state,
    Torture.restore_a_snapshot,
    Torture.truncate_the_newest_checkpoint,
    Torture.second_worker,
]


def tortured(folder: Path, nursery: Nursery, seed: int, seconds: float) -> None:
    print(f"seed {seed}, {seconds} s")
    torture = Torture(folder, nursery, seed)
    try:
        torture.run(Stream(seed=seed, predictions=6_000, slices=max(20, int(seconds))), seconds)
        for _ in range(8):
            worker = nursery.start(torture.scene.config, until_end=True)
            if worker.wait(60) == 0:
                break
            torture.worker = worker
            torture.say(f"finishing ended with {worker.status}: {worker.text().splitlines()[-1]}")
            if worker.status == 5:
                shutil.rmtree(torture.scene.state)
        else:
            pytest.fail(f"it did not come to its end, seed {seed}")
        counts = counted(torture.scene.check())
        assert counts["metrics"] > 20, f"seed {seed}"
        print(f"seed {seed}: {len(torture.told)} happenings, {dict(counts)}")
    finally:
        torture.scene.close()
        torture.proxy.close()
        torture.broker.kill()


@pytest.mark.timeout(240)
def test_a_while_of_faults_changes_nothing_that_is_published(tmp_path, nursery):
    tortured(tmp_path, nursery, int(os.environ.get("TORTURE_SEED", random.randrange(1 << 30))), 15)


@pytest.mark.slow
@pytest.mark.skipif("TORTURE_SECONDS" not in os.environ, reason="by hand: TORTURE_SECONDS=600 pytest -m slow -s")
@pytest.mark.timeout(0)
def test_many_minutes_of_faults_change_nothing_that_is_published(tmp_path, nursery):
    seconds = float(os.environ["TORTURE_SECONDS"])
    tortured(tmp_path, nursery, int(os.environ.get("TORTURE_SEED", random.randrange(1 << 30))), seconds)
