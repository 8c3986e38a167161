"""Selective labels: which moves of the threshold hold whatever the missing labels are.

The gain of a move counts only the band between two thresholds. Where labels are complete there, the missing ones do not
matter; where they are not, the gain is least with all of the band's missing labels 1 (when the threshold rises) or all
0 (when it falls). A move is let through where the gate does so on the labelled predictions and on both such fillings.
What an F-score or a recall gains depends on positives that nobody sees, so these objectives move nothing; what a
flagged event is worth is not known without its outcome, so for a value the band must be seen in full.

Invariant: no threshold outside the range of labelled scores is ever proposed, for nothing is known there.

Source: METHODS, section 4 (selective labels); Manski (1989).
"""

from __future__ import annotations

from typing import Final

from streameval.decide.gate import Gate, Move
from streameval.decide.objectives import Value
from streameval.decide.objectives.curve import band
from streameval.evaluate.selective import Selection

UNIDENTIFIED: Final = frozenset({"f_beta", "recall"})
"""Objectives whose gain depends on all positives, seen or not."""


def selective_move(gate: Gate, selection: Selection, in_force: float, events_since_move: int) -> Move | None:
    """The move that a window with missing labels asks for beyond doubt; its gain is the lesser of the fillings'.

    Args:
        gate: The objective and its bounds.
        selection: The window.
        in_force: The threshold in force.
        events_since_move: Matured, labelled events since it was put in force.
    """
    if not selection.unseen.events:
        return gate.propose(selection.labelled, in_force, events_since_move)
    known = selection.range
    if known is None or gate.objective.kind in UNIDENTIFIED or not gate.ready(selection.labelled, events_since_move):
        return None
    low, high = known
    fillings = (selection.labelled, selection.filled(0), selection.filled(1))
    for evidence in fillings:
        solution = gate.objective.solve(evidence)
        if solution is None or not low <= gate.limited(in_force, solution.threshold) <= high:
            continue
        moves = [gate.judge(filled, in_force, solution) for filled in fillings]
        sure = [move for move in moves if move is not None]
        if len(sure) < len(moves):
            continue
        if isinstance(gate.objective, Value) and any(band(selection.unseen, in_force, sure[0].threshold)):
            continue
        return min(sure, key=lambda move: move.expected_gain.value)
    return None
