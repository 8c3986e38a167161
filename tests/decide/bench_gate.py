"""False moves per ten windows on stationary streams, and events to a move after the prevalence changed (METHODS,
section 4: 0 at prevalence .05 and 1:10, .18 at .01 and 1:100, 0 at .001 and 1:100; after .05 -> .15 within 9.5k).

Run by hand: ``python tests/decide/bench_gate.py [streams] [seed]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from streameval.decide.gate import Gate
from streameval.decide.objectives import Capacity, Cost, FBeta, Objective, Precision, Recall
from streameval.decide.prior_move import prior_threshold
from streameval.engine.window import Block, Window
from streameval.evidence.binary import BinaryEvidence

WINDOW, STEP = 20_000, 500


def scored(rng: np.random.Generator, prevalence: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores of two Gaussian classes two deviations apart (AUC .921), and their labels."""
    y = (rng.random(n) < prevalence).astype(np.int8)
    x = rng.normal(2.0 * y, 1.0)
    return x, y


def score(x: np.ndarray, prevalence: float) -> np.ndarray:
    """The probability that belongs to x at a prevalence."""
    return 1.0 / (1.0 + np.exp(-(np.log(prevalence / (1.0 - prevalence)) + 2.0 * (x - 1.0))))


def windows(rng: np.random.Generator, prevalence: float, spans: list[tuple[float, int]]) -> Iterator[BinaryEvidence]:
    """The sliding window after every step, scored by a model of `prevalence`, over spans of (prevalence, events)."""
    parts: list[BinaryEvidence] = []
    held = BinaryEvidence.empty()
    for true, events in spans:
        for _ in range(events // STEP):
            x, y = scored(rng, true, STEP)
            parts.append(BinaryEvidence.of(score(x, prevalence), y))
            held = held + parts[-1]
            if len(parts) > WINDOW // STEP:
                held = held - parts.pop(0)
            yield held


def false_moves(gate: Gate, best: float, prevalence: float, seed: int, events: int = 10 * WINDOW) -> int:
    """Moves in ten windows of a stream that never changes, from the best threshold on."""
    moves, since, in_force = 0, 10**9, best
    for number, held in enumerate(windows(np.random.default_rng(seed), prevalence, [(prevalence, events + WINDOW)])):
        if number < WINDOW // STEP:
            continue
        move = gate.propose(held, in_force, since)
        since += STEP
        if move is not None:
            moves, since, in_force = moves + 1, 0, move.threshold
    return moves


def delay(objective: Objective, prevalence: float, longest: int, seed: int) -> tuple[int, float | None]:
    """Events from a threefold prevalence to the first move, and where it went; None where none came."""
    rng = np.random.default_rng(seed)
    gate, window = Gate(objective), Window(WINDOW, 100)
    in_force = objective.fp / (objective.fp + objective.fn) if isinstance(objective, Cost) else 0.5
    warm = max(2 * WINDOW, round(150 / prevalence))
    for first in range(0, warm + longest, STEP):
        x, y = scored(rng, prevalence if first < warm else 3 * prevalence, STEP)
        window.push(Block(first, first + STEP - 1, BinaryEvidence.of(score(x, prevalence), y)))
        if first >= warm:
            move = gate.propose(window.evidence(), in_force, 10**9)
            if move is not None:
                return first + STEP - warm, move.threshold
    return longest, None


def true_best(objective: Objective, prevalence: float) -> float:
    """The objective's threshold on very many events."""
    x, y = scored(np.random.default_rng(99), prevalence, 2_000_000)
    solution = objective.solve(BinaryEvidence.of(score(x, prevalence), y))
    assert solution is not None
    return solution.threshold


def main() -> None:
    """Print both tables."""
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print("false moves per ten windows of 20,000")
    cases: list[tuple[str, Objective, float]] = [
        ("cost 1:10", Cost(1.0, 10.0), 0.05),
        ("cost 1:100", Cost(1.0, 100.0), 0.01),
        ("cost 1:100", Cost(1.0, 100.0), 0.001),
        ("f1", FBeta(), 0.05),
        ("precision .5", Precision(0.5), 0.05),
        ("recall .8", Recall(0.8), 0.05),
        ("capacity .05", Capacity(0.05), 0.05),
    ]
    for name, objective, prevalence in cases:
        least = 100 if prevalence > 0.005 else 1
        gate = Gate(objective, positives=least)
        best = true_best(objective, prevalence)
        counts = [false_moves(gate, best, prevalence, seed) for seed in range(first, first + streams)]
        print(f"  {name:14s} prevalence {prevalence:<6} {np.mean(counts):.2f}")
    print("events from a threefold prevalence to the move, in windows that grow to 100 positives (median, largest)")
    for cost, prevalence, longest in ((10.0, 0.05, 60_000), (100.0, 0.01, 100_000), (100.0, 0.001, 400_000)):
        found = [delay(Cost(1.0, cost), prevalence, longest, seed) for seed in range(first, first + streams)]
        known = [(events, threshold) for events, threshold in found if threshold is not None]
        delays = [events for events, _ in known]
        best = prior_threshold(1.0, cost, prevalence, 3 * prevalence)
        print(
            f"  cost 1:{cost:<4.0f} prevalence {prevalence:<6} {np.median(delays):.0f}, {max(delays)}, to "
            f"{np.median([threshold for _, threshold in known]):.4f} (in the end {best:.4f}); "
            f"{len(found) - len(known)} of {len(found)} not within {longest}"
        )
    x, y = scored(np.random.default_rng(0), 0.05, WINDOW)
    held = BinaryEvidence.of(score(x, 0.05), y)
    begun = time.perf_counter()
    for _ in range(200):
        Gate(Cost(1.0, 10.0)).propose(held, 1 / 11, 10**9)
    print(f"a proposal: {(time.perf_counter() - begun) / 200 * 1e6:.0f} us on {held.bins.size} bins")


if __name__ == "__main__":
    main()
