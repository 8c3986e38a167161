"""Windows after a known change, and whole streams with one: what diagnoses are checked on."""

from __future__ import annotations

import numpy as np
from binary_streams import STEP, scores, step

from streameval.detect.case import Case
from streameval.detect.diagnosis import Diagnosis
from streameval.detect.life import Watch
from streameval.detect.own_move import OwnMove, threshold_move
from streameval.evidence.binary import BinaryEvidence

IN_FORCE = 0.5
MOVED = 0.05
LEARNT = 50
"""Steps of a played stream that are as the reference."""


def changed(
    rng: np.random.Generator,
    n: int = STEP,
    *,
    prevalence: float = 0.05,
    apart: float = 2.0,
    dearer: float = 0.0,
    slope: float = 1.0,
    shift: float = 0.0,
    prevented: tuple[float, float] | None = None,
) -> BinaryEvidence:
    """Events after a change.

    `dearer` moves the scores' logits and leaves P(y | s); `slope` and `shift` give the same order another scale; of the
    positives whose score lies in `prevented`, 80 % never come true.
    """
    score, y = scores(rng, n, prevalence=prevalence, apart=apart)
    z = np.log(score / (1.0 - score)) + dearer
    if dearer:
        y = (rng.random(n) < 1.0 / (1.0 + np.exp(-z))).astype(np.int8)
    score = 1.0 / (1.0 + np.exp(-(slope * z + shift)))
    if prevented is not None:
        low, high = prevented
        y = np.where((score >= low) & (score < high) & (rng.random(n) < 0.8), 0, y).astype(np.int8)
    return BinaryEvidence.of(score, y)


def played(
    rng: np.random.Generator,
    watch: Watch,
    change: dict[str, float],
    *,
    own: bool = False,
    respected: bool = True,
    late: bool = False,
    steps: int = 250,
) -> tuple[Diagnosis | None, int]:
    """The first diagnosis of a stream that changes after `LEARNT` steps, and the events since then.

    With `own` our threshold moves at the change, and prevents what it newly catches; with `late` it moves (and
    prevents) once the alarm has been raised. Without `respected` the case is told that decisions change no outcome.
    """
    moves: list[OwnMove] = []
    case: Case | None = None
    threshold = IN_FORCE
    for k in range(LEARNT + steps):
        if k == LEARNT and own:
            moves.append(threshold_move(k, threshold, MOVED))
            threshold = MOVED
        after = change if k >= LEARNT else {}
        prevented = (MOVED, IN_FORCE) if threshold < IN_FORCE else None
        evidence = changed(rng, prevented=prevented, **after) if after or prevented else step(rng)
        alarms = watch.step(evidence, k, k + 1, threshold)
        if case is not None:
            told = case.step(evidence, k + 1, moves if respected else None)
            if told is not None:
                return told, (k + 1 - LEARNT) * STEP
        for alarm in alarms:
            if alarm.tier == "confirmed" and watch.before is not None:
                case = Case.opened(alarm, k + 1, 40_000, watch.before, watch.changed, moves)
                if late and threshold == IN_FORCE:
                    moves.append(threshold_move(k + 1, threshold, MOVED))
                    threshold = MOVED
    return None, steps * STEP
