"""Table 2 of the methods: log loss of the calibrators, prequential, 100,000 events, half-life 10,000, refit every 500.

Two normal classes two standard deviations apart (AUC .921), prevalence 5 %. The drifts set in at the half, where the
score's logit is distorted (slope .7, shift -.5; or bent) while the labels go on as before, or the prevalence trebles.
Run: python tests/evaluate/bench_calibration.py [streams] [seed]
"""

import sys
import time

import numpy as np
from scipy.special import expit, logit

from streameval.evaluate.calibration import CALIBRATORS, Champion, OnlinePlatt
from streameval.evidence import BinaryEvidence

N, STEP, PREVALENCE, DISTANCE = 100_000, 500, 0.05, 2.0
DISTORTIONS = {
    "stationary": lambda z: z,
    "prior x3": lambda z: z,
    "slope .7 shift -.5": lambda z: 0.7 * z - 0.5,
    "non-linear": lambda z: z - 0.6 * np.sin(z),
}
METHODS = {
    "identity": (0.1186, 0.1979, 0.1203, 0.1195),
    "prior": (0.1187, 0.1777, 0.1202, 0.1193),
    "platt": (0.1187, 0.1778, 0.1182, 0.1188),
    "beta": (None, None, None, None),
    "isotonic": (0.1195, 0.1786, 0.1188, 0.1187),
    "online_platt": (0.1188, 0.1761, 0.1182, 0.1189),
    "OPS, clip .01": (0.1205, 0.1797, 0.1191, 0.1202),
    "champion": (None, None, None, None),
    "oracle": (0.1186, 0.1752, 0.1178, 0.1175),
}


def stream(kind, rng):
    """Scores, labels and true probabilities."""
    late = np.arange(N) >= N // 2
    prevalence = np.where(late & (kind == "prior x3"), 3 * PREVALENCE, PREVALENCE)
    y = (rng.random(N) < prevalence).astype(np.int8)
    z = DISTANCE * (rng.normal(size=N) + DISTANCE * y) - DISTANCE**2 / 2
    clear = z + logit(PREVALENCE)
    score = np.where(late, expit(DISTORTIONS[kind](clear)), expit(clear))
    return score, y, expit(z + logit(prevalence))


def log_loss(p, y):
    return float(-np.log(np.where(y == 1, p, 1 - p)).mean())


class OneMove(OnlinePlatt):
    """Online Platt scaling whose batch form is one Newton step on the whole step's sums."""

    def _fit(self):
        new = self._learnt.latest
        held = np.flatnonzero(new.counts.sum(axis=0))
        z, (n0, n1) = self._logit(new.means[held]), new.counts[:, held]
        p = expit(self.slope * z + self.intercept)
        u = np.stack((z, np.ones_like(z)))
        self._a = self._a + (u * (n0 * p**2 + n1 * (1 - p) ** 2)) @ u.T
        self._theta = self._theta - np.linalg.solve(self._a, u @ (n0 * p - n1 * (1 - p))) / 0.1


def batches(streams):
    """Log loss of online Platt scaling, in parts and in one move a step, by the size of a step, and of the score."""
    for step in (500, 5000, 20_000):
        losses = {"score": [], "parts": [], "one move": []}
        for seed in range(streams):
            score, y, _ = stream("slope .7 shift -.5", np.random.default_rng(seed))
            score, y = score[N // 2 :], y[N // 2 :]
            maps = {"parts": OnlinePlatt(), "one move": OneMove()}
            losses["score"].append(log_loss(score, y))
            for name, c in maps.items():
                predicted = []
                for i in range(0, len(y), step):
                    predicted.append(c.predict_many(score[i : i + step]))
                    c.learn_evidence(BinaryEvidence.of(score[i : i + step], y[i : i + step]))
                losses[name].append(log_loss(np.clip(np.concatenate(predicted), 1e-15, 1 - 1e-15), y))
        yield step, {name: float(np.mean(values)) for name, values in losses.items()}


def run(streams, seed=7):
    seconds, steps = 0.0, 0
    table = {name: [] for name in METHODS}
    for kind in DISTORTIONS:
        rng = np.random.default_rng(seed)
        losses = {name: [] for name in METHODS}
        for _ in range(streams):
            score, y, truth = stream(kind, rng)
            losses["oracle"].append(log_loss(truth, y))
            maps = {c.name: c(10_000) for c in CALIBRATORS}
            maps["OPS, clip .01"] = OnlinePlatt(clip=0.01)
            champion = Champion(10_000)
            predicted = {name: [] for name in (*maps, "champion")}
            for i in range(0, N, STEP):
                part = slice(i, i + STEP)
                evidence = BinaryEvidence.of(score[part], y[part])
                predicted["champion"].append(champion.map.predict_many(score[part]))
                for name, c in maps.items():
                    predicted[name].append(c.predict_many(score[part]))
                    c.learn_evidence(evidence)
                begun = time.perf_counter()
                champion.step(evidence)
                seconds, steps = seconds + time.perf_counter() - begun, steps + 1
            for name, parts in predicted.items():
                losses[name].append(log_loss(np.clip(np.concatenate(parts), 1e-15, 1 - 1e-15), y))
        for name, values in losses.items():
            table[name].append(float(np.mean(values)))
    return table, seconds / steps


if __name__ == "__main__":
    table, step = run(*(map(int, sys.argv[1:]) if len(sys.argv) > 1 else (4,)))
    print(f"{'log loss / oracle (METHODS)':28}" + "".join(f"{kind:>26}" for kind in DISTORTIONS))
    for name, row in table.items():
        cells = [
            f"{x:.4f} {x / o:.4f} ({m / mo:.4f})" if m else f"{x:.4f} {x / o:.4f} (------)"
            for x, o, m, mo in zip(row, table["oracle"], METHODS[name], METHODS["oracle"], strict=True)
        ]
        print(f"{name:28}" + "".join(f"{c:>26}" for c in cells))
    print(f"champion step: {step * 1e6:.0f} us")
    print("online Platt scaling on distorted scores (slope .7, shift -.5), by the events of a step")
    for size, losses in batches(3):
        print(f"{size:28}" + "".join(f"{name:>16} {loss:.4f}" for name, loss in losses.items()))
