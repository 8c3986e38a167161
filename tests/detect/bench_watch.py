"""What the whole family finds and how soon, and what a step costs.

Run by hand: ``python tests/detect/bench_watch.py [streams] [seed]``. Reference 10,000 events at prevalence .05 (AUC
.92), in steps of 500, one false alarm a year at 500 events a minute promised.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from itertools import islice

import numpy as np
from binary_streams import STEP, YEAR, frozen, step
from seasonal_streams import daily, feed, steps

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
    first_seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for name, change in CHANGES.items():
        delays, first = [], Counter[str]()
        for seed in range(streams):
            rng = np.random.default_rng(first_seed + seed)
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
    costs(streams)


def costs(streams: int) -> None:
    """Print the median time of a step in each phase, and what is stored."""
    for name, rate, per_day, events, advisory in (
        ("learning, on guard", daily(amplitude=0.0), 1_000_000, 10**9, ()),
        ("watching", daily(amplitude=0.0), 1_000_000, 20_000, ()),
        ("watching, with ADWIN", daily(amplitude=0.0), 1_000_000, 20_000, ("ADWIN",)),
        ("watching a season, steps of an hour", daily(), 12_000, 30_000, ()),
    ):
        watch, times = Watch(events, 250, YEAR, costs=(1.0, 10.0), advisory=advisory), []
        for stepped in islice(steps(np.random.default_rng(0), rate, per_day), 60 + 20 * streams):
            begun = time.process_time()
            feed(watch, stepped)
            times.append(time.process_time() - begun)
        size = len(frozen(watch.state()))
        print(f"{name:36s} {np.median(times[60:]) * 1e6:4.0f} us a step, state of {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
