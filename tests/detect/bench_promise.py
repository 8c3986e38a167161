"""How often streams that never change raise a confirmed alarm, against what was promised.

Run by hand: ``python tests/detect/bench_promise.py [millions of events] [seed]``. First with the least promise, a
million events to a false alarm over all monitors and directions together, so that there is something to count; then
with that of a year. Last through the whole engine, columns in and records out, at 1,000 events a second.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from binary_streams import STEP, YEAR, scores

from streameval.detect.examples import Examples
from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import bin_of

MINUTE = 60_000
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 100
STREAMS = [(0.05, 2.0), (0.3, 1.0), (0.005, 3.0), (0.05, 0.0)]


def alarms(events: int, promise_ms: int) -> Counter:
    """Alarms by detector and monitor, in streams of a million events each."""
    found: Counter = Counter()
    for number in range(max(events // 1_000_000, 1)):
        prevalence, apart = STREAMS[number % len(STREAMS)]
        rng = np.random.default_rng(SEED + number)
        watch = Watch(20_000, 250, promise_ms, costs=(1.0, 10.0), advisory=())
        for k in range(1_000_000 // STEP):
            score, y = scores(rng, STEP, prevalence=prevalence, apart=apart, trained=0.05)
            at = np.full(STEP, k * MINUTE)
            examples = Examples(at, rng.integers(0, 2**63, STEP).astype(np.uint64), bin_of(score), y)
            evidence = BinaryEvidence.of(score, y)
            for alarm in watch.step(evidence, k * MINUTE, (k + 1) * MINUTE, 1 / 11, lambda e=examples: e):
                found[alarm.detector, alarm.monitor] += 1
    return found


def through_the_engine(events: int) -> None:
    """The whole engine over a stream that never changes: its drift records by tier."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "engine"))
    import bench_engine

    found: Counter = Counter()
    made = bench_engine.stream

    def still(n: int, rate: float, seed: int = 1):
        ts, ids, score, _, kind = made(n, rate, seed)
        rng = np.random.default_rng(SEED + seed)
        return ts, ids, score, (rng.random(n) < score).astype(np.float64), kind

    bench_engine.stream = still
    publish = bench_engine.Publisher.publish

    def counted(publisher, model, output):
        if output.topic == "drift":
            found[output.data.tier, output.data.segment == "*"] += 1
        return publish(publisher, model, output)

    bench_engine.Publisher.publish = counted
    done, begun = 0, time.process_time()
    while done < events:
        size = min(events - done, 2_000_000)
        bench_engine.run(bench_engine.Columns(size, 1000.0), bench_engine.config())
        done += size
    seconds = time.process_time() - begun
    print(f"engine, {done:,} events and 11 cells: {dict(found)} in {seconds:.0f} s")


def main() -> None:
    """Print counts beside promises."""
    events = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 10_000_000
    found = alarms(events, 1)
    print(
        f"{events:,} events, c = 1e6 * 8: {sum(found.values())} alarms (at most {events // 10**6} expected)",
        dict(found),
    )
    found = alarms(events, YEAR)
    print(f"{events:,} events, one false alarm a year promised: {sum(found.values())} alarms", dict(found))
    through_the_engine(events)


if __name__ == "__main__":
    main()
