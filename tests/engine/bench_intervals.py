"""How often the published intervals that are no metric's hold the truth.

Those of metrics, of the calibration's parts and of the labelled prevalence are in `tests/evaluate/bench_coverage.py`;
what is said ahead of labels by the whole engine (fused and provisional prevalence, bands of estimated metrics) is in
`bench_foreseeing.py`. Here are the others: prevalence of scores alone, points of the reliability diagram, error of the
map in force on the very events that it has learnt, gaps between online and offline, gains of moves that the gate has
let pass, costs in a request for a new model, effects of a diagnosis (99 %), Kendall's tau and the rate of disagreement,
and bounds under selective labels. The world is in closed form (`streameval.stories.world`): the truth is no estimate.

Run: python tests/engine/bench_intervals.py [runs] [seed]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from streameval.decide.gate import Gate
from streameval.decide.objectives import Cost
from streameval.decide.prior_move import prior_moved
from streameval.decide.retraining import Retrain, RetrainingPolicy
from streameval.detect.diagnosis import diagnose
from streameval.engine.offline import _difference
from streameval.engine.window import Block, Window
from streameval.evaluate import binary_metrics, calibration_measures, reliability
from streameval.evaluate.alignment import Agreement, Level, Pair
from streameval.evaluate.calibration import Champion
from streameval.evaluate.mixture import MixtureReference
from streameval.evaluate.selective import Selection
from streameval.evidence import BinaryEvidence, ScoreHistogram
from streameval.evidence.coarse import coarse_counts
from streameval.stories.world import World

COSTS, BEST = (1.0, 10.0), 1 / 11
USUAL = World()
WEAKER = World(separation=1.5)
WRONG = World(slope=0.8, offset=-0.3)
OVER = World(slope=2.0, offset=1.5)
LARGE = 1_000_000
Held = Iterator[tuple[str, tuple[float, float], float]]
"""(name, interval, truth)."""


def evidence(rng: np.random.Generator, n: int, world: World = USUAL) -> BinaryEvidence:
    score, positive = world.draw(rng, n)
    return BinaryEvidence.of(score, positive.astype(np.int8))


def unlabelled(rng: np.random.Generator) -> Held:
    """Label-free prevalence and PACC: a reference of 20,000, scores of 5,000, as every step has them."""
    mixture = MixtureReference(evidence(rng, 20_000))
    for prevalence in (0.05, 0.10):
        histogram = ScoreHistogram.of(World(prevalence=prevalence).draw(rng, 5000)[0])
        coarse = coarse_counts(histogram.bins, histogram.counts)
        for name, found in (
            ("label_free", mixture.prevalence(histogram)),
            ("label_free, quick", mixture.quick(coarse)),
            ("pacc", mixture.pacc(coarse)),
        ):
            if found is not None:
                yield f"{name} {prevalence}", found[1:], prevalence


def diagram(rng: np.random.Generator) -> Held:
    """Each point of the reliability diagram, given the scores in it."""
    for n in (500, 20_000):
        score, positive = WRONG.draw(rng, n)
        points = reliability(BinaryEvidence.of(score, positive.astype(np.int8)))
        p = WRONG.posterior(np.sort(score).clip(1e-9, 1 - 1e-9))
        cuts = np.cumsum([point["events"] for point in points])[:-1].astype(int)
        for point, group in zip(points, np.split(p, cuts), strict=True):
            yield f"reliability points of {n}", (point["low"], point["high"]), float(group.mean())


def map_in_force(rng: np.random.Generator) -> Held:
    """The relative error of the champion's map on the window that it was learnt from."""
    champion, window = Champion(10_000), BinaryEvidence.empty()
    for _ in range(40):
        part = evidence(rng, 500, OVER)
        champion.step(part)
        window = window + part
    if champion.map.method == "identity":
        return
    found = calibration_measures(window, champion.map.predict_many(window.mean_scores))
    assert found is not None
    score, _ = OVER.draw(np.random.default_rng(0), LARGE // 5)
    p = OVER.posterior(score.clip(1e-9, 1 - 1e-9))
    squared = float(((champion.map.predict_many(score) - p) ** 2).mean())
    yield "calibration_of_map 20000", found.relative_error[1:], (squared / (p.mean() * (1 - p.mean()))) ** 0.5


def gaps(rng: np.random.Generator) -> Held:
    """Online less offline, of a model that is as it was and of one that is not."""
    for name, world in (("same", USUAL), ("worse", WEAKER)):
        online, offline = (binary_metrics(evidence(rng, 5000, w), BEST, COSTS) for w in (world, USUAL))
        truths = {
            "auc": world.auc - USUAL.auc,
            "cost": world.cost(BEST, *COSTS) - USUAL.cost(BEST, *COSTS),
        }
        for metric, truth in truths.items():
            yield f"gap of {metric}, {name}", _difference(online[metric], offline[metric])[1:], truth


def gains(rng: np.random.Generator) -> Held:
    """Expected gains of the moves that were made: by labels, and before labels by the prevalence of scores."""
    gate = Gate(Cost(*COSTS))
    for prevalence in (0.08, 0.15):
        world = World(prevalence=prevalence)

        def won(threshold: float, world: World = world) -> float:
            return world.cost(BEST, *COSTS) - world.cost(threshold, *COSTS)

        move = gate.propose(evidence(rng, 20_000, world), BEST, 10**9)
        if move is not None:
            yield f"expected_gain, labels, {prevalence}", move.expected_gain[1:], won(move.threshold)
        reference = evidence(rng, 20_000)
        said = MixtureReference(reference).prevalence(ScoreHistogram.of(world.draw(rng, 5000)[0]))
        move = None if said is None else prior_moved(gate, reference, said, BEST)
        if move is not None:
            yield f"expected_gain, scores, {prevalence}", move.expected_gain[1:], won(move.threshold)


def first_moves(rng: np.random.Generator) -> Held:
    """The same of a move in a stream, made at the first step that lets it pass: what it wins on the mixed window."""
    gate, window, changed, step = Gate(Cost(*COSTS)), Window(20_000, 100), World(prevalence=0.15), 500
    for k in range(120):
        window.push(Block(k, k, evidence(rng, step, USUAL if k < 40 else changed)))
        move = gate.propose(window.evidence(), BEST, 10**9) if k >= 40 else None
        if move is not None:
            share = min((k - 39) * step / window.total.events, 1.0)
            before, after = (w.cost(BEST, *COSTS) - w.cost(move.threshold, *COSTS) for w in (USUAL, changed))
            yield "expected_gain, first in a stream", move.expected_gain[1:], (1.0 - share) * before + share * after
            return


def requests(rng: np.random.Generator) -> Held:
    """The costs in a request for a new model, read from 6,000 and 20,000 events."""
    world = World(separation=0.5)
    best = world.cost(world.best_threshold(*COSTS), *COSTS)
    for n in (6000, 20_000):
        after = evidence(rng, n, world)
        asked = RetrainingPolicy(COSTS).consider("concept_drift", 0, evidence(rng, 50_000), after, BEST, 1)
        if isinstance(asked, Retrain):
            yield f"attainable {n}", asked.attainable[1:], best
            yield f"in_force {n}", asked.in_force[1:], world.cost(BEST, *COSTS)


def effects(rng: np.random.Generator) -> Held:
    """The 99 % interval of the effect of T_{Y|S}."""
    for name, world in (("none", USUAL), ("concept", WEAKER), ("miscalibration", WRONG)):
        score = world.draw(np.random.default_rng(0), LARGE // 5)[0].clip(1e-9, 1 - 1e-9)
        p = world.posterior(score)
        squared = float(((p - USUAL.posterior(score)) ** 2).mean())
        truth = (squared / (p.mean() * (1 - p.mean()))) ** 0.5
        found = diagnose(evidence(rng, 50_000), evidence(rng, 5000, world)).interval
        if found is not None:
            yield f"99 %: effect, {name}", found, truth


def alignments(rng: np.random.Generator) -> Held:
    """Tau and the rate of disagreement, of pairs whose gains are normal and correlated."""
    for pairs in (20, 100):
        for rho in (0.0, 0.7):
            agreement = Agreement()
            for x, y in rng.multivariate_normal([0.0, 0.0], [[1.0, rho], [rho, 1.0]], pairs):
                agreement.add(Pair(Level(x, 0.0), Level(y, 0.0)))
            found = agreement.summary()
            assert found.tau is not None
            assert found.disagreement is not None
            angle = float(np.arcsin(rho) / np.pi)
            yield f"tau of {pairs} pairs, {rho}", found.tau[1:], 2.0 * angle
            yield f"disagreement of {pairs} pairs, {rho}", found.disagreement[1:], 0.5 - angle


def bounds(rng: np.random.Generator) -> Held:
    """Bounds where labels are seen from .05 on only: they must hold the truth whatever the others are."""
    score, positive = USUAL.draw(rng, 5000)
    y, seen = positive.astype(np.int8), score >= 0.05
    selection = Selection(
        BinaryEvidence.of(score[seen], y[seen]), BinaryEvidence.of(score[~seen], np.zeros((~seen).sum(), np.int8))
    )
    large, labels = USUAL.draw(np.random.default_rng(0), LARGE)
    truths = {
        "recall": float((large[labels] >= BEST).mean()),
        "cost": USUAL.cost(BEST, *COSTS),
        "prevalence": USUAL.prevalence,
    }
    for name, found in selection.bounds(BEST, COSTS).items():
        if name in truths:
            yield f"bounds of {name}", found[1:], truths[name]


PARTS = (unlabelled, diagram, map_in_force, gaps, gains, first_moves, requests, effects, alignments, bounds)

if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print(f"coverage of intervals of 95 % where nothing else is said, {runs} runs (truth above, below it; intervals)")
    for part in PARTS:
        held: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
        for run in range(runs):
            for name, (low, high), truth in part(np.random.default_rng([seed, run])):
                held[name].append((truth > high, truth < low))
        for name, missed in held.items():
            above, below = np.mean(missed, axis=0).tolist()
            print(f"  {name:34}{1.0 - above - below:.3f} ({above:.3f} {below:.3f}) of {len(missed)}", flush=True)
