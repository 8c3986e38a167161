"""Evaluate: metrics, calibration and prevalence, each a function of evidence, each with an interval."""

from streameval.evaluate.calibration_error import (
    brier_decomposition,
    calibration_error,
    calibration_in_the_large,
    calibration_measures,
    reliability,
    spiegelhalter,
)
from streameval.evaluate.estimate import Estimate
from streameval.evaluate.metrics import METRICS, Confusion, binary_metrics, confusion
from streameval.evaluate.mixture import MixtureReference, label_free, pacc
from streameval.evaluate.prevalence import DecayedPrevalence, windowed
from streameval.evaluate.river_metrics import river_metrics

__all__ = [
    "METRICS",
    "Confusion",
    "DecayedPrevalence",
    "Estimate",
    "MixtureReference",
    "binary_metrics",
    "brier_decomposition",
    "calibration_error",
    "calibration_in_the_large",
    "calibration_measures",
    "confusion",
    "label_free",
    "pacc",
    "reliability",
    "river_metrics",
    "spiegelhalter",
    "windowed",
]
