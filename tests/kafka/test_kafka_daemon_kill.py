"""kill -9 of the real daemon at every numbered step and at random instants; what a foreign reader sees stays."""

from __future__ import annotations

import random
import signal
import time

import pytest

STEPS = [f"start.{n}" for n in range(1, 7)] + [f"commit.{n}" for n in range(1, 9)]


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_of_the_daemon_changes_nothing_that_is_published(filled_scene, clean, nursery, step):
    count = 1 if step.startswith("start") else 3
    killed = nursery.start(filled_scene.config, until_end=True, at=step, count=count)
    assert killed.wait() == -signal.SIGKILL, killed.text()[-2000:]
    worker = nursery.start(filled_scene.config, until_end=True)
    assert worker.wait() == 0, worker.text()[-2000:]
    filled_scene.check(clean)


@pytest.mark.slow
def test_kills_at_random_instants_change_nothing_that_is_published(filled_scene, clean, nursery):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(8):
        worker = nursery.start(filled_scene.config, until_end=True)
        time.sleep(rng.uniform(0.1, 1.5))
        worker.kill()
    worker = nursery.start(filled_scene.config, until_end=True)
    assert worker.wait() == 0, worker.text()[-2000:]
    filled_scene.check(clean)
