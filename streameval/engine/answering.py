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
learnt anew from the events since the change.

Invariant: a function of the case, of the map and of the threshold in force.

Source: METHODS, sections 3, 4 and 5 (table).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streameval import records
from streameval.decide.prior_move import prior_moved
from streameval.engine.diagnosing import Closed
from streameval.engine.rows import Output
from streameval.evaluate.calibration import Identity, PriorShift
from streameval.evaluate.estimate import proportion

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
        outputs += cell.calibrating.adopt(at, method, case.after, window)
        if cell.published_map is not None and cell.published_map is not known:
            cell.moving.mapped(at, threshold, known, cell.published_map)
    if state == "label_shift":
        after = case.after
        now = proportion(after.positives, after.events - after.positives)
        move = prior_moved(cell.moving.gate, case.before, now, threshold, "label_shift")
        if move is not None:
            outputs.append(cell.moving.move(at, move, move.reason, whole.published_map, prevalence, window))
            cell.watching.watch.epoch(move.threshold, at)
    return outputs
