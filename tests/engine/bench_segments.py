"""What segments cost: messages in, records and commits out, by how many names there are and how their values combine.

Predictions of one version at 1,000 a second, each with `names` segments of one of `values` values, and their outcomes a
minute later, through the decoder and the engine in batches of 5,000; after every tenth batch the state is taken as a
commit takes it. Where the values are drawn together all names have the same one: as many cells, and `values`
combinations in place of `values ** names`.

    python tests/engine/bench_segments.py [predictions]
"""

from __future__ import annotations

import random
import sys
import time
from typing import NamedTuple

import numpy as np

from streameval.config import Config, parse
from streameval.engine import Engine
from streameval.events import Batch
from streameval.transport import codec

BATCH = 5_000
START = 1_700_000_000_000
Logs = dict[str, list[bytes]]


def config(names: int) -> Config:
    model = {
        "name": "fraud",
        "objective": {"kind": "cost", "fp": 1, "fn": 5},
        "labels": {"wait": "10m", "amend": "10m", "missing": "negative"},
        "segments": [f"s{name}" for name in range(names)],
    }
    lateness = {"predictions": "1s", "outcomes": "1m"}
    return parse({"transport": {"kind": "logdir", "path": "events"}, "lateness": lateness, "models": [model]})


def logs(n: int, names: int, values: int, *, together: bool) -> Logs:
    rng = random.Random(1)
    predictions, outcomes = [], []
    for i in range(n):
        ts, score = START + i, rng.betavariate(0.4, 3.0)
        drawn = [rng.randrange(values) for _ in range(names)]
        segments = ",".join(f'"s{name}":"v{drawn[0 if together else name]}"' for name in range(names))
        event = f'{{"id":"e{i}","model":"fraud","ts":{ts},"score":{score:.6f},"version":"1","segments":{{{segments}}}}}'
        predictions.append(event.encode())
        outcomes.append(f'{{"id":"e{i}","ts":{ts + 60_000},"label":{int(rng.random() < score)}}}'.encode())
    return {"predictions": predictions, "outcomes": outcomes}


class Cost(NamedTuple):
    """CPU seconds of reading, and of each commit; bytes of the last state, and of each commit's new rows."""

    reading: float
    commits: list[float]
    state: int
    rows: list[int]


def run(read: Logs, settings: Config, batch: int = BATCH) -> tuple[Cost, Engine]:
    """All messages, the log furthest behind first."""
    engine = Engine(settings)
    for topic in read:
        engine.clocks.add(topic, 0, empty=False)
    at = dict.fromkeys(read, 0)
    clocks = engine.clocks.partitions
    known: set[str] = set()
    reading, commits, rows, state, batches = 0.0, [], [], b"", 0
    while open_ := [topic for topic in sorted(at) if at[topic] < len(read[topic])]:
        topic = min(open_, key=lambda topic: clocks[topic, 0].now)
        values = read[topic][at[topic] : at[topic] + batch]
        offsets = np.arange(at[topic], at[topic] + len(values))
        at[topic] += len(values)
        began = time.process_time()
        engine.receive(Batch(topic, 0, offsets, list(values)))
        engine.advance()
        reading += time.process_time() - began
        batches += 1
        if batches % 10 == 0:
            began = time.process_time()
            facts, blobs = engine.export(known)
            state = codec.encode(facts)
            commits.append(time.process_time() - began)
            rows.append(sum(blob.nbytes for blob in blobs.values() if blob is not None))
            known = set(blobs)
    return Cost(reading, commits, len(state), rows), engine


def main(n: int = 400_000) -> None:
    for names, values in ((0, 0), (1, 20), (4, 20), (5, 20), (8, 50)):
        for together in (True, False) if names > 1 else (True,):
            cost, engine = run(logs(n, names, values, together=together), config(names))
            how = "" if names < 2 else "together" if together else "each for itself"
            print(
                f"{names} x {values:2} {how:16}{2 * n / cost.reading / 1e3:5.0f} thousand messages a second, "
                f"{len(engine.models['fraud'].cells):4} cells; a commit: {np.mean(cost.commits) * 1e3:6.1f} ms, "
                f"state {cost.state / 1e6:6.2f} MB, rows {np.mean(cost.rows) / 1e6:5.2f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
