"""Section 3 of the methods: root mean squared error of the prevalence of 5,000 scores, at 5 % and at 10 %.

Two normal classes two standard deviations apart; a reference of a million events at 5 %, so its own error is small.
Then V_ref, the floor that a reference of 20,000 events sets, and the filter that fuses labels and scores: how far it is
off twenty groups of 1,000 after the last labels, with and without the scores, and with and without its jumps.

Run: python tests/evaluate/bench_prevalence.py [samples] [seed]
"""

import sys

import numpy as np
from scipy.special import expit, logit

from streameval.evaluate import prevalence_filter
from streameval.evaluate.mixture import MixtureReference, pacc
from streameval.evaluate.prevalence_filter import PrevalenceFilter, ahead
from streameval.evidence import BinaryEvidence, ScoreHistogram

METHODS = {"matured labels": (0.0032, 0.0042), "PACC": (0.0055, 0.0065), "mixture": (0.0057, 0.0064)}
FLOOR = {0.05: 0.050, 0.01: 0.22}


def sample(rng, n, prevalence, model_prevalence=0.05):
    """Scores of a model made at one prevalence, and labels, at another."""
    y = (rng.random(n) < prevalence).astype(np.int8)
    return expit(2.0 * rng.normal(size=n) + 4.0 * y - 2.0 + logit(model_prevalence)), y


def rmse(samples, n=5000, prevalences=(0.05, 0.10), reference_events=1_000_000, seed=5):
    """Root mean squared errors by method, one for each prevalence; and the share of mixture intervals that cover."""
    rng = np.random.default_rng(seed)
    evidence = BinaryEvidence.of(*sample(rng, reference_events, 0.05))
    reference = MixtureReference(evidence)
    errors = {name: [] for name in METHODS}
    covered = []
    for prevalence in prevalences:
        rows = []
        for _ in range(samples):
            score, y = sample(rng, n, prevalence)
            histogram = ScoreHistogram.of(score)
            found = reference.prevalence(histogram)
            rows.append((y.mean(), pacc(evidence, histogram), found.value))
            covered.append(found.low <= prevalence <= found.high)
        for name, column in zip(METHODS, np.array(rows).T, strict=True):
            errors[name].append(float(np.sqrt(np.mean((column - prevalence) ** 2))))
    return errors, float(np.mean(covered))


def floor(prevalence, references, seed=6):
    """The standard deviation, over references of 20,000 events, of the estimate on very many scores, as a share."""
    rng = np.random.default_rng(seed)
    histogram = ScoreHistogram.of(sample(rng, 1_000_000, prevalence, prevalence)[0])
    values = []
    while len(values) < references:
        found = MixtureReference(BinaryEvidence.of(*sample(rng, 20_000, prevalence, prevalence)))
        # Below 250 positives it must be silent: what it would say shows why.
        found.positives = 250
        values.append(found.prevalence(histogram).value)
    return float(np.std(values) / prevalence)


KINDS = ("constant", "rare", "jump", "walk")


def paths(rng):
    """Prevalences of 40 groups that have matured and of 20 that wait, by kind of stream."""
    wander = expit(logit(0.05) + np.cumsum(rng.normal(0.0, 0.05, 60)))
    return {
        "constant": np.full(60, 0.05),
        "rare": np.full(60, 0.01),
        "jump": np.where(np.arange(60) < 45, 0.05, 0.15),
        "walk": wander,
    }


def follow(streams, kinds=KINDS, size=1000, reference_events=20_000, seed=7):
    """By kind: relative root mean squared error of the prevalence now, fused and by labels alone; coverage; bias."""
    found = {}
    for kind in kinds:
        rows = []
        for number in range(streams):
            rng = np.random.default_rng(seed * 1000 + number)
            path = paths(rng)[kind]
            start = 0.01 if kind == "rare" else 0.05
            events = 4 * reference_events if kind == "rare" else reference_events
            mixture = MixtureReference(BinaryEvidence.of(*sample(rng, events, start, start)))
            one = PrevalenceFilter()
            for step, p in enumerate(path[:40].tolist()):
                score, y = sample(rng, size, p, start)
                said = None
                if one.belief is not None:
                    share, variance = _observed(mixture, score, one.belief.prevalence)
                    said = (share, variance)
                one.matured(size, int(y.sum()), said)
                if step == 0:
                    one.trust(mixture.logit_variance)
            belief = one.belief
            for p in path[40:].tolist():
                said = _observed(mixture, sample(rng, size, p, start)[0], belief.prevalence)
                belief = ahead(belief, said, one.noise)
            true, estimate = path[-1], belief.estimate
            covered = estimate.low <= true <= estimate.high
            rows.append((estimate.value / true - 1, one.belief.prevalence / true - 1, covered))
        fused, labels, covered = np.array(rows, float).T
        found[kind] = {
            "fused": float(np.sqrt(np.mean(fused**2))),
            "labels": float(np.sqrt(np.mean(labels**2))),
            "covered": float(covered.mean()),
            "bias": float(fused.mean()),
        }
    return found


def _observed(mixture, score, p):
    share, variance = mixture.observed(mixture.counts(ScoreHistogram.of(score))[np.newaxis], np.array([p]))
    return float(share[0]), float(variance[0])


if __name__ == "__main__":
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    errors, covered = rmse(samples, seed=seed)
    for name, row in errors.items():
        print(f"{name:16}" + "".join(f"{x:.4f} ({m:.4f})   " for x, m in zip(row, METHODS[name], strict=True)))
    print(f"mixture intervals that cover: {covered:.3f}")
    for prevalence, target in FLOOR.items():
        found = floor(prevalence, samples, seed + 1)
        print(f"floor of a reference of 20,000 at {prevalence}: {found:.3f} ({target:.3f}) of it")
    for title, chance in (("the filter", prevalence_filter._LOG_JUMP), ("without jumps", -1e9)):
        prevalence_filter._LOG_JUMP = chance
        for kind, row in follow(samples, seed=seed + 2).items():
            print(f"{title}: {kind:9}" + " ".join(f"{name} {value:+.3f}" for name, value in row.items()))
