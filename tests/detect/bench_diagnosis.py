"""Diagnosis against METHODS, section 5: right answers by kind of change and size, own actions, and false alarms.

Run by hand: ``PYTHONPATH=. python tests/detect/bench_diagnosis.py [runs] [seed]`` (200 runs take about three minutes).
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from binary_streams import YEAR, step
from changes import changed, played

from streameval.detect.change_tests import TOLERANCE
from streameval.detect.diagnosis import diagnose
from streameval.detect.esr import Esr
from streameval.detect.label_counts import total
from streameval.detect.life import Watch
from streameval.evidence.binary import BinaryEvidence

REFERENCE = 50_000
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 0
KINDS = {
    "none": ("none", {}),
    "covariate": ("covariate_shift", {"dearer": 1.0}),
    "label .05 -> .08": ("label_shift", {"prevalence": 0.08}),
    "label x 2": ("label_shift", {"prevalence": 0.10}),
    "miscalibration": ("miscalibration", {"slope": 0.7, "shift": -0.5}),
    "concept": ("concept_drift", {"apart": 1.0}),
    "concept + label": ("concept_drift", {"apart": 1.2, "prevalence": 0.10}),
    "label + miscalibration": ("miscalibration", {"slope": 0.7, "shift": -0.5, "prevalence": 0.10}),
}
METHODS = {
    2_000: (200, 194, 164, 200, 51, 153, 195, 200),
    5_000: (199, 199, 200, 200, 186, 200, 200, 200),
    20_000: (200, 199, 200, 199, 199, 200, 200, 199),
}


def table(runs: int) -> None:
    """Right answers of one look, the rest split into inconclusive and wrong."""
    print(f"right / inconclusive / wrong of {runs} (METHODS, of 200, by its coarser rule), reference {REFERENCE}")
    strict = Counter[int]()
    for n, known in METHODS.items():
        print(f"  n = {n}")
        for (name, (right, change)), published in zip(KINDS.items(), known, strict=True):
            found = Counter[str]()
            for run in range(runs):
                rng = np.random.default_rng([SEED, 1, n, run])
                diagnosis = diagnose(step(rng, REFERENCE), changed(rng, n, **change))
                found[diagnosis.state] += 1
                if name == "covariate" and diagnosis.interval is not None:
                    strict[n] += diagnosis.state == right and diagnosis.interval[1] <= TOLERANCE["y|s"]
            wrong = {state: count for state, count in found.items() if state not in (right, "inconclusive")}
            print(f"    {name:24s}{found[right]:4d} / {found['inconclusive']:3d} / {wrong or 0}  ({published})")
    print("  covariate with the interval within the tolerance itself:", dict(strict))


def doubled(runs: int) -> None:
    """The same with looks at doubled sizes until something is said, at most 40,000 events after the change."""
    print(f"looking again at double the events, from 5,000 to 40,000: state of {runs}, mean events")
    for reference in (20_000, REFERENCE):
        for name, (right, change) in KINDS.items():
            found, events = Counter[str](), 0
            for run in range(runs):
                rng = np.random.default_rng([SEED, 2, reference, run])
                before, after, n = step(rng, reference), changed(rng, 5_000, **change), 5_000
                while (state := diagnose(before, after).state) == "inconclusive" and n < 40_000:
                    after, n = after + changed(rng, n, **change), 2 * n
                found[state] += 1
                events += n
            print(f"  reference {reference:6d} {name:24s}{found[right]:4d} right {dict(found)} at {events / runs:.0f}")


def cases(runs: int) -> None:
    """The whole way: watch, alarm, case. One own move of the threshold lets 80 % of what it newly catches vanish."""
    print(f"from the stream to the diagnosis, {runs} runs each: states, median events from change to diagnosis")
    own = {"own": True}
    for name, change, how in (
        ("own move, left out", {}, own),
        ("own move, taken for the world's", {}, own | {"respected": False}),
        ("concept drift", {"apart": 1.0}, {}),
        ("concept drift, own move after the alarm", {"apart": 1.0}, {"late": True}),
        ("concept drift, own move at the change", {"apart": 1.0}, own),
        ("label shift", {"prevalence": 0.10}, {}),
        ("label shift, own move after the alarm", {"prevalence": 0.10}, {"late": True}),
        ("covariate shift", {"dearer": 1.0}, {}),
        ("miscalibration", {"slope": 0.7, "shift": -0.5}, {}),
    ):
        found, delays = Counter[str](), list[int]()
        for run in range(runs):
            watch = Watch(20_000, 250, YEAR, costs=(1.0, 10.0), advisory=())
            diagnosis, delay = played(np.random.default_rng([SEED, 3, run]), watch, change, **how)
            found["no alarm" if diagnosis is None else diagnosis.state] += 1
            delays.append(delay)
        print(f"  {name:42s}{dict(found)}, {np.median(delays):.0f}")


def false_alarms(runs: int) -> None:
    """False alarms of an impatient detector on a stationary stream: the answer must be "none"."""
    print(f"false alarms, {runs} runs: on the alarm's own events, and on 12 steps after it (METHODS: 43 % reject)")
    found = Counter[str]()
    for run in range(runs):
        rng = np.random.default_rng([SEED, 4, run])
        before = step(rng, REFERENCE)
        mean = np.array([before.positives / before.events])
        esr = Esr(np.array([[0.0, 1.0]]), mean, mean, np.log(5e5), 0)
        steps, crossings = list[BinaryEvidence](), []
        while not crossings:
            steps.append(step(rng))
            crossings = esr.step(steps[-1].counts.sum(axis=1).astype(float), len(steps))
        own = diagnose(before, total(steps[crossings[0].change_at :])).state
        later = diagnose(before, total(step(rng) for _ in range(12))).state
        found[f"{own} on its own events, {later} on those after it"] += 1
    for what, count in found.most_common():
        print(f"  {count:4d} {what}")


if __name__ == "__main__":
    RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    table(RUNS)
    doubled(max(RUNS // 4, 1))
    cases(max(RUNS // 5, 1))
    false_alarms(RUNS)
