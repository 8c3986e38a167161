"""How often the published 95 % intervals hold the truth, metric by metric.

Two normal classes two standard deviations apart; the score is that of a model whose logit is off (slope 1.3, shift .5),
so that the calibration error is not 0. Threshold for costs 1:10. The KPI is revenue: log-normal (sigma 1) on the
positives, nothing on the others. Where a metric is absent (no positives, say) the run does not count for it; the share
of runs that count is printed where it is below 1.

The least of the sizes is that of a segment's window. Other published intervals: `tests/engine/bench_intervals.py`.

Run: python tests/evaluate/bench_coverage.py [runs] [seed]
"""

import sys

import numpy as np
from scipy.special import expit, logit

from streameval.evaluate import binary_metrics, calibration_measures, windowed
from streameval.evidence import BinaryEvidence

DISTANCE, COSTS, THRESHOLD = 2.0, (1.0, 10.0), 1 / 11
CASES = ((0.05, 200), (0.05, 500), (0.05, 2000), (0.05, 20_000), (0.001, 500), (0.001, 2000), (0.001, 20_000))


def draw(rng, n, prevalence):
    """Scores, labels, revenue and true probabilities."""
    y = (rng.random(n) < prevalence).astype(np.int8)
    truth = DISTANCE * (rng.normal(size=n) + DISTANCE * y) - DISTANCE**2 / 2 + logit(prevalence)
    revenue = np.where(y == 1, rng.lognormal(3.0, 1.0, n), 0.0)
    return expit(1.3 * truth + 0.5), y, revenue, expit(truth)


def estimates(score, y, revenue):
    """Everything that is published with an interval, by name."""
    evidence = BinaryEvidence.of(score, y, {"revenue": revenue}, {"revenue": 0.01})
    found = dict(binary_metrics(evidence, THRESHOLD, COSTS, {"revenue": 0.01}))
    measures = calibration_measures(evidence)
    if measures is not None:
        found["calibration_error"] = measures.relative_error
        found |= {name: getattr(measures, name) for name in ("reliability", "resolution", "uncertainty")}
    prevalence = windowed(evidence)
    if prevalence is not None:
        found["prevalence"] = prevalence
    return found


def truths(prevalence):
    """The values in the population, from ten million events of which half are positives, weighted back."""
    rng = np.random.default_rng(1)
    n = 5_000_000
    score, y, _, p = draw(rng, n, 0.5)
    z = logit(p) + logit(prevalence)
    p, score = expit(z), expit(1.3 * z + 0.5)
    w = np.where(y == 1, prevalence, 1 - prevalence) * 2
    order = np.argsort(-score)
    tp, flagged = np.cumsum((w * y)[order]), np.cumsum(w[order])
    positives = tp[-1]
    decided = score >= THRESHOLD
    hit, alarm, missed = (float((w * m).sum()) for m in (decided & (y == 1), decided & (y == 0), ~decided & (y == 1)))
    right = np.where(y == 1, score, 1 - score)
    below = np.cumsum((w * (y == 0))[order[::-1]])[::-1]
    mean = float(p @ w / n)
    return {
        "log_loss": float(-np.log(right) @ w / n),
        "brier": float((1 - right) ** 2 @ w / n),
        "auc": float((below * (w * y)[order]).sum() / positives / below[0]),
        "average_precision": float((tp / flagged * (w * y)[order]).sum() / positives),
        "precision": hit / (hit + alarm),
        "recall": hit / (hit + missed),
        "f1": 2 * hit / (2 * hit + alarm + missed),
        "cost": (COSTS[0] * alarm + COSTS[1] * missed) / n,
        "calibration_error": float(np.sqrt((score - p) ** 2 @ w / n / (mean * (1 - mean)))),
        "reliability": float((score - p) ** 2 @ w / n),
        "resolution": float((p - mean) ** 2 @ w / n),
        "uncertainty": mean * (1 - mean),
        "prevalence": prevalence,
        "revenue": prevalence * float(np.exp(3.5)),
    }


def coverage(prevalence, n, runs, seed=0):
    """Name -> (share of intervals that hold the truth, share of runs in which there is one, below, above)."""
    rng = np.random.default_rng(seed)
    truth = truths(prevalence)
    held = {name: [] for name in truth}
    for _ in range(runs):
        found = estimates(*draw(rng, n, prevalence)[:3])
        for name, e in found.items():
            held[name].append((e.low <= truth[name] <= e.high, truth[name] > e.high, truth[name] < e.low))
    return {name: (*np.mean(hits, axis=0).tolist(), len(hits) / runs) if hits else None for name, hits in held.items()}


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    columns = CASES
    table = {c: coverage(*c, runs, seed) for c in CASES}
    print("coverage of intervals of 95 % (truth above, below it; share of runs with one), by prevalence and events")
    print(f"{'':18}" + "".join(f"{f'{p} {n}':>26}" for p, n in columns))
    for name in truths(0.05):
        cells = []
        for c in columns:
            found = table[c][name]
            cells.append(
                "-"
                if found is None
                else f"{found[0]:.3f} ({found[1]:.3f} {found[2]:.3f})" + (f" {found[3]:.2f}" if found[3] < 1 else "")
            )
        print(f"{name:18}" + "".join(f"{c:>26}" for c in cells))
