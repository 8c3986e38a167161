"""What thinning costs against weights 1/P: root mean square errors where labels are seen with known probabilities.

A flagged prediction (5 to 10 %) is always labelled, another one with the least propensity. *Ignored*: labels as they
come. *Weights*: each label counts 1/P. *Thinned*: each label kept with probability least/P. Errors are relative.

Run: python tests/engine/bench_thinning.py [runs] [seed]
"""

from __future__ import annotations

import sys

import numpy as np

from streameval.engine.thinning import falls_out

N, THRESHOLD = 50_000, 0.2


def measures(y: np.ndarray, flagged: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Recall, precision, prevalence and cost (1:10) of weighted events."""
    tp, fp, fn = (float(w[m].sum()) for m in (flagged & y, flagged & ~y, ~flagged & y))
    total = float(w.sum())
    return np.array([tp / (tp + fn), tp / (tp + fp), (tp + fn) / total, (fp + 10 * fn) / total])


def run(rng: np.random.Generator, least: float) -> dict[str, np.ndarray]:
    score = rng.beta(0.6, 9, N)
    y = rng.random(N) < score
    flagged = score >= THRESHOLD
    propensity = np.where(flagged, 1.0, least)
    seen = rng.random(N) < propensity
    kept = seen & ~falls_out(rng.integers(0, 2**64, N, dtype=np.uint64), propensity, least)
    return {
        "ignored": measures(y, flagged, seen * 1.0),
        "weights": measures(y, flagged, seen / propensity),
        "thinned": measures(y, flagged, kept * 1.0),
    }


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    score = rng.beta(0.6, 9, 5_000_000)
    truth = measures(rng.random(len(score)) < score, score >= THRESHOLD, np.ones(len(score)))
    print(f"relative RMSE, {N} predictions    recall precision prevalence  cost")
    for least in (0.5, 0.2, 0.05):
        found = [run(rng, least) for _ in range(runs)]
        for name in found[0]:
            error = np.sqrt(np.mean([(one[name] / truth - 1) ** 2 for one in found], axis=0))
            print(f"least {least:4} {name:22}" + "".join(f"{x:9.4f}" for x in error))
