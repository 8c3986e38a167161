"""What the whole family finds and how soon, and what a step costs.

Run by hand: ``python tests/detect/bench_watch.py [streams]``. Reference 10,000 events at prevalence .05 (AUC .92), in
steps of 500, one false alarm a year at 500 events a minute promised.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np
from binary_streams import STEP, YEAR, step

from streameval.detect.life import Watch

MINUTE = 60_000
CHANGES = {
    "none": {},
    "prevalence .08": {"prevalence": 0.08},
    "prevalence .10": {"prevalence": 0.10},
    "concept, AUC .76": {"apart": 1.0},
    "concept, AUC .86": {"apart": 1.5},
}


def main() -> None:
    """Print found changes, median delays and which monitor was first; then the time of a step."""
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    for name, change in CHANGES.items():
        delays, first = [], Counter[str]()
        for seed in range(streams):
            rng = np.random.default_rng(seed)
            watch = Watch(10_000, 250, YEAR, costs=(1.0, 10.0), advisory=())
            for k in range(180):
                evidence = step(rng) if k < 40 else step(rng, **change)
                alarms = watch.step(evidence, k * MINUTE, (k + 1) * MINUTE, 1 / 11)
                if alarms:
                    delays.append((k - 39) * STEP)
                    first[alarms[0].monitor] += 1
                    break
        delay = f"{np.median(delays):.0f}" if delays else "-"
        print(f"{name:18s} found {len(delays)}/{streams}, median delay {delay}, first {dict(first)}")
    rng = np.random.default_rng(0)
    steps = [step(rng) for _ in range(150)]
    spent = {}
    for advisory in ((), ("ADWIN",)):
        watch, times = Watch(10_000, 250, YEAR, costs=(1.0, 10.0), advisory=advisory), []
        for k, evidence in enumerate(steps):
            begun = time.perf_counter()
            watch.step(evidence, k * MINUTE, (k + 1) * MINUTE, 1 / 11)
            times.append(time.perf_counter() - begun)
        spent[advisory] = float(np.median(times[40:]))
    alone, advised = spent.values()
    print(f"a watching step: {alone * 1e6:.0f} us, with ADWIN {advised / alone:.2f} times that")


if __name__ == "__main__":
    main()
