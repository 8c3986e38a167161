"""Calibration: maps from scores to probabilities, and the contest in which the best of them is in force."""

from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evaluate.calibration.champion import CALIBRATORS, CalibrationMap, Champion, Measures, Switch
from streameval.evaluate.calibration.identity import Identity
from streameval.evaluate.calibration.isotonic import Isotonic
from streameval.evaluate.calibration.platt import Platt
from streameval.evaluate.calibration.prior import PriorShift

__all__ = [
    "CALIBRATORS",
    "CalibrationMap",
    "Calibrator",
    "Champion",
    "Identity",
    "Isotonic",
    "Measures",
    "Platt",
    "PriorShift",
    "Switch",
]
