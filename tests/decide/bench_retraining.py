"""When a new model pays, against METHODS, section 5b: best attainable cost and C* by kind of change.

Run by hand: ``PYTHONPATH=. python tests/decide/bench_retraining.py [runs] [seed]`` (about a minute).
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "detect"))

from binary_streams import step
from changes import changed

from streameval.decide.objectives import Cost
from streameval.decide.retraining import Retrain, RetrainingPolicy, counterfactual
from streameval.detect.diagnosis import diagnose

IN_FORCE = 1 / 11
COST = Cost(1.0, 10.0)
KINDS = {
    "none": ({}, None),
    "label .05 -> .08": ({"prevalence": 0.08}, (0.3227, 0.3204)),
    "covariate": ({"dearer": 1.0}, (0.4870, 0.4896)),
    "miscalibrated": ({"slope": 0.7, "shift": -0.5}, (0.2405, 0.2382)),
    "concept": ({"apart": 1.0}, (0.4324, 0.2862)),
    "concept + label": ({"apart": 1.2, "prevalence": 0.10}, None),
}


def main(runs: int = 100, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    reference = step(rng, 50_000)
    print("best attainable cost / C* (METHODS), on 400,000 events; asked of", runs, "on 20,000, by state")
    for name, (change, published) in KINDS.items():
        large = changed(rng, 400_000, **change)
        solution = COST.solve(large)
        assert solution is not None
        star, _ = counterfactual(reference, large, IN_FORCE, COST)
        states = Counter[str]()
        asked = 0
        for _run in range(runs):
            before, after = step(rng, 50_000), changed(rng, 20_000, **change)
            state = diagnose(before, after).state
            states[state] += 1
            answer = RetrainingPolicy((1.0, 10.0)).consider(state, 0, before, after, IN_FORCE, 1)
            asked += isinstance(answer, Retrain)
        print(f"  {name:18s}{solution.value:.4f} / {star:.4f} {published or ''}: asked {asked}, {dict(states)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
