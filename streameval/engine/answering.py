"""What follows from a diagnosis at once.

==================  ====================================================================================================
state               answer
==================  ====================================================================================================
none                nothing
covariate_shift     no recalibration, and a cost threshold stays (its best value on a probability never moves); an
                    objective that depends on the scores' distribution may move again at once
label_shift         the prior of the map in force is corrected, and the threshold moves to what the new prevalence asks
                    for of the reference
miscalibration      the recalibration that does best on the events since the change is put in force
concept_drift       a new model is asked for, if it pays (see `diagnosing`)
inconclusive,       nothing
confounded
==================  ====================================================================================================

Only the whole has a map. A map that does more than correct the prior is not replaced by one that does only that: it is
learnt anew from the events since the change. Labels of scores whose decision we changed are left out of maps and of the
prevalence (see `streameval.detect.case`).

Invariant: a function of the case, of the map and of the threshold in force.

Source: METHODS, sections 3, 4 and 5 (table).
"""

from __future__ import annotations

from math import log, sqrt
from typing import TYPE_CHECKING, Final

from scipy.special import expit, logit

from streameval import records
from streameval.decide.prior_move import prior_moved
from streameval.detect.case import Case
from streameval.detect.window_pair import without
from streameval.engine.diagnosing import Closed
from streameval.engine.rows import Output
from streameval.evaluate.calibration import Identity, PriorShift
from streameval.evaluate.estimate import Estimate, Z

if TYPE_CHECKING:
    from streameval.engine.cell import Cell

_OF_SCORES: Final = frozenset({"f_beta", "precision", "recall", "capacity", "value"})
"""Objectives whose best threshold moves with the distribution of the scores."""


def answered(
    at: int, closed: Closed, cell: Cell, whole: Cell, prevalence: records.Prevalence, window: records.Window
) -> list[Output]:
    """Answer a diagnosis: the records of what was put in force.

    Args:
        at: ms, logical time.
        closed: the case and its diagnosis.
        cell: whose it is.
        whole: the cell of all predictions of the version, the same one for the whole.
        prevalence: for the records.
        window: what they rest on.
    """
    case, state = closed.case, closed.diagnosis.state
    threshold = cell.threshold(whole)
    outputs: list[Output] = []
    if state == "covariate_shift" and cell.config.objective.kind in _OF_SCORES:
        cell.moving.reopen()
    if state in ("label_shift", "miscalibration") and cell.calibrating is not None:
        known = cell.published_map
        champion = cell.calibrating.champion
        prior_alone = champion.method in (Identity.name, PriorShift.name)
        method = None if state == "miscalibration" else PriorShift.name if prior_alone else champion.method
        outputs += cell.calibrating.adopt(at, method, without(case.after, case.left_out), window)
        if cell.published_map is not None and cell.published_map is not known:
            cell.moving.mapped(at, threshold, known, cell.published_map)
    if state == "label_shift" and cell.unseen is None:
        # Where labels are selective, the reference's classes are those of the labelled alone.
        move = prior_moved(cell.moving.gate, case.before, _prevalence(case), threshold, "label_shift")
        if move is not None:
            past = cell.window.blocks
            outputs.append(cell.moving.move(at, move, move.reason, whole.published_map, prevalence, window, past))
            cell.watching.watch.epoch(move.threshold, at)
    return outputs


def _prevalence(case: Case) -> Estimate:
    """The prevalence since a label shift, read from the scores that are not left out.

    The odds of any set of scores move by the same factor as the prevalence's, for each class keeps its scores.
    """
    (n0, k0), (n1, k1) = (
        (float(kept.events - kept.positives), float(kept.positives))
        for kept in (without(window, case.left_out) for window in (case.before, case.after))
    )
    moved = log(k1 / n1) - log(k0 / n0)
    error = sqrt(1.0 / k1 + 1.0 / n1 + 1.0 / k0 + 1.0 / n0)
    middle = float(logit(case.before.positives / case.before.events)) + moved
    value, low, high = expit([middle, middle - Z * error, middle + Z * error]).tolist()
    return Estimate(value, low, high)
