"""Calibration: maps from scores to probabilities, and the contest in which the best of them is in force."""

from streameval.evaluate.calibration.beta import Beta
from streameval.evaluate.calibration.calibrator import Calibrator
from streameval.evaluate.calibration.champion import (
    CALIBRATORS,
    CalibrationMap,
    Champion,
    Measures,
    Switch,
    competing,
)
from streameval.evaluate.calibration.identity import Identity
from streameval.evaluate.calibration.isotonic import Isotonic
from streameval.evaluate.calibration.online_platt import OnlinePlatt
from streameval.evaluate.calibration.platt import Platt
from streameval.evaluate.calibration.prior import PriorShift

__all__ = [
    "CALIBRATORS",
    "Beta",
    "CalibrationMap",
    "Calibrator",
    "Champion",
    "Identity",
    "Isotonic",
    "Measures",
    "OnlinePlatt",
    "Platt",
    "PriorShift",
    "Switch",
    "competing",
]
