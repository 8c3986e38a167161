"""What segments' thresholds cost above the best, by how they are chosen, and how much segments differ.

Twelve segments of 1,000 to 20,000 events (prevalence 5 %, cost 1:10); each one's odds are off by exp of a normal number
of a given deviation. Excess is the mean true cost above that of each segment's best threshold, as a share of the cost.
*Whole*: one threshold. *Own*: each segment's argmin. *Gated*: own, where the gate lets it move from the whole's.
*Pooled*: the solution with the whole's pseudo-events. *Shrunk*, as in the engine: pooled, where the gate lets the
segment move. (The gate is the dearer the more segments differ, for it waits for 100 positives and 3.5 standard errors.)

Run: python tests/decide/bench_shrinkage.py [runs] [seed]
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.special import expit, logit

from streameval.decide.gate import Gate
from streameval.decide.objectives import Cost
from streameval.decide.shrinkage import Pooled, distance, pseudo_events, shrunk
from streameval.evidence.binary import BinaryEvidence

COST = Cost(1.0, 10.0)
SIZES = np.geomspace(1000, 20_000, 12).astype(int)


def draw(rng: np.random.Generator, n: int, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a calibrated model of the whole, and the true probabilities of a segment with an offset."""
    y = rng.random(n) < 0.05
    z = 2.0 * rng.normal(2.0 * y, 1.0) - 2.0 + logit(0.05)
    return expit(z), expit(z + offset)


def true_cost(population: tuple[np.ndarray, np.ndarray], threshold: float) -> float:
    """The expected cost per event."""
    score, p = population
    flagged = score >= threshold
    return float(np.where(flagged, COST.fp * (1 - p), COST.fn * p).mean())


def run(rng: np.random.Generator, deviation: float) -> tuple[dict[str, float], float]:
    """Excess cost by way of choosing, event-weighted; and the whole's pseudo-events."""
    offsets = rng.normal(0.0, deviation, len(SIZES))
    windows = []
    for n, offset in zip(SIZES.tolist(), offsets.tolist(), strict=True):
        score, p = draw(rng, n, offset)
        windows.append(BinaryEvidence.of(score, (rng.random(n) < p).astype(np.int8)))
    whole = sum(windows[1:], windows[0])
    solution = COST.solve(whole)
    assert solution is not None
    known = [d for d in (distance(w, whole) for w in windows) if d is not None]
    worth = pseudo_events(known)
    gate, at = Gate(COST), solution.threshold
    paid: dict[str, float] = dict.fromkeys(("whole", "own", "pooled", "gated", "shrunk", "best"), 0.0)
    for window, n, offset in zip(windows, SIZES.tolist(), offsets.tolist(), strict=True):
        population = draw(rng, 100_000, offset)
        own = COST.solve(window)
        pooled = COST.solve(Pooled.of(window, whole, worth))
        assert own is not None
        assert pooled is not None
        gated, leaning = gate.propose(window, at, 10**9), shrunk(gate, window, whole, worth, at, 10**9)
        chosen = {
            "whole": at,
            "own": own.threshold,
            "pooled": pooled.threshold,
            "gated": at if gated is None else gated.threshold,
            "shrunk": at if leaning is None else leaning.threshold,
            "best": float(expit(logit(COST.fp / (COST.fp + COST.fn)) - offset)),
        }
        for name, threshold in chosen.items():
            paid[name] += n * true_cost(population, threshold)
    return {name: paid[name] / paid["best"] - 1.0 for name in paid if name != "best"}, worth


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print("deviation   whole     own  pooled   gated  shrunk   the whole's pseudo-events (median)")
    for deviation in (0.0, 0.3, 0.8, 1.5):
        rng = np.random.default_rng(seed)
        found = [run(rng, deviation) for _ in range(runs)]
        means = {name: np.mean([excess[name] for excess, _ in found]) for name in found[0][0]}
        print(
            f"{deviation:9} "
            + "".join(f"{100 * x:7.2f}%" for x in means.values())
            + f"   {np.median([worth for _, worth in found]):.0f}"
        )
