"""The tiny loop of tests/transport/tally.py on Kafka, as a process: ``BOOTSTRAP STATE SEED STEP COUNT``.

Kills itself (-9) at the COUNT-th call of STEP; "never" lets it come to its end.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))

import tally

from streameval.errors import StreamevalError
from streameval.transport.kafka import Kafka, output_settings
from streameval.transport.kafka_connection import Connection


class Patient(Kafka):
    """Waits for what a fetch will bring: the loop asks one partition at a time and stops where nothing comes."""

    def read(self, topic, partition, max_events):
        while (batch := super().read(topic, partition, max_events)) is None and not self.caught_up((topic, partition)):
            time.sleep(0.005)
        return batch


def transport(bootstrap: str) -> Kafka:
    outputs = output_settings(compacted=[], kept=tally.OUTPUTS, commits="commits", clock="clock")
    return Patient(Connection((bootstrap,), patience_ms=10_000), outputs, transaction_ms=10_000)


def main() -> int:
    bootstrap, state, seed, step, count = sys.argv[1:]
    left = int(count)

    def on_step(name: str) -> None:
        nonlocal left
        left -= name == step
        if name == step and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        tally.run(transport(bootstrap), Path(state), int(seed), on_step=on_step)
    except StreamevalError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
