"""What evidence and evaluation cost, as ratios of one run: to scikit-learn's exact metrics and to a loop over river's.

Run: python tests/evaluate/bench_evaluate.py
"""

import timeit

import numpy as np
from river import metrics
from sklearn import metrics as sk

from streameval.evaluate import MixtureReference, binary_metrics, calibration_error, reliability, river_metrics
from streameval.evaluate.calibration import Champion
from streameval.evidence import BinaryEvidence, ScoreHistogram, WindowEvidence, bin_of, split


def microseconds(f, number=20):
    f()
    return min(timeit.repeat(f, number=number, repeat=5)) / number * 1e6


def example(n, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.beta(0.3, 2, n)
    return score, (rng.random(n) < score).astype(np.int8), rng.integers(0, 5, n).astype(np.int32)


def exact(score, label):
    sk.roc_auc_score(label, score)
    sk.average_precision_score(label, score)
    sk.log_loss(label, score)
    sk.brier_score_loss(label, score)
    sk.f1_score(label, score >= 0.3)


def river_loop(score, label):
    kept = (metrics.LogLoss(), metrics.ROCAUC(), metrics.F1())
    for s, y in zip(score.tolist(), label.tolist(), strict=True):
        for metric in kept:
            metric.update(bool(y), s >= 0.3 if metric.requires_labels else {True: s, False: 1 - s})


if __name__ == "__main__":
    score, label, group = example(20_000)
    whole = BinaryEvidence.of(score, label)
    step = BinaryEvidence.of(score[:500], label[:500])
    window = WindowEvidence()
    window.add(whole)
    champion = Champion()
    reference, histogram = MixtureReference(whole), ScoreHistogram.of(score[:5000])

    ours = microseconds(lambda: binary_metrics(whole, 0.3, (1.0, 10.0)))
    print(f"window of 20,000 examples in {len(whole.bins)} bins, a step of 500 in {len(step.bins)}")
    theirs = microseconds(lambda: exact(score, label), 2)
    print(f"binary_metrics: {ours:.0f} us; scikit-learn's exact ones x {theirs / ours:.0f}")
    bin_cost = microseconds(lambda: BinaryEvidence.of(score, label), 10) / len(score)
    river_cost = microseconds(lambda: river_loop(score[:2000], label[:2000]), 1) / 2000
    print(f"evidence, an example: {bin_cost * 1e3:.0f} ns; river's loop of three metrics x {river_cost / bin_cost:.0f}")
    table = {
        "bin_of, ns an example": microseconds(lambda: bin_of(score)) / len(score) * 1e3,
        "split in 5 groups, ns an example": microseconds(lambda: split(score, label, group, 5)) / len(score) * 1e3,
        "split of 60 examples in 5 groups": microseconds(lambda: split(score[:60], label[:60], group[:60], 5)),
        "evidence + evidence (step + step)": microseconds(lambda: step + step),
        "window.add of a step": microseconds(lambda: window.add(step)),
        "window.evidence": microseconds(window.evidence),
        "binary_metrics of a step": microseconds(lambda: binary_metrics(step, 0.3, (1.0, 10.0))),
        "calibration_error": microseconds(lambda: calibration_error(whole)),
        "reliability": microseconds(lambda: reliability(whole)),
        "river_metrics, two": microseconds(lambda: river_metrics(whole, 0.3, ["F1", "GeometricMean"])),
        "champion.step of 500": microseconds(lambda: champion.step(step)),
        "champion.step of 20,000": microseconds(lambda: champion.step(whole)),
        "mixture, reference made": microseconds(lambda: MixtureReference(whole)),
        "mixture, prevalence": microseconds(lambda: reference.prevalence(histogram)),
    }
    for name, cost in table.items():
        ratio = "" if "ns" in name else f" us {cost / ours:8.2f} x binary_metrics"
        print(f"{name:36} {cost:7.0f}{ratio}")
