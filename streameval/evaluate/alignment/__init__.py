"""Alignment: does the loss that a model is trained on move the KPI that it is paid for?

Source: METHODS, section 6.
"""

from streameval.evaluate.alignment.agreement import Agreement, Pair, Summary
from streameval.evaluate.alignment.halves import HALVES, Halves
from streameval.evaluate.alignment.standardised import Level, difference, level

__all__ = ["HALVES", "Agreement", "Halves", "Level", "Pair", "Summary", "difference", "level"]
