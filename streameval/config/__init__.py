"""Configuration: what a person may say to streameval, checked before anything runs.

One YAML (or JSON) file becomes one frozen :class:`Config`. Unknown keys are refused, every field has a description,
a unit and (all but ``transport`` and ``models``) a default that works, and every error names the file, the path in it
and the cure. Durations are whole milliseconds from here on. ``config/reference.md`` is made from these models.
"""

from streameval.config.change import Change, changes, digest
from streameval.config.ids import Ids
from streameval.config.loading import load, parse
from streameval.config.model import (
    METRIC_NAMES,
    Calibration,
    Drift,
    Evaluate,
    Kpi,
    Labels,
    Model,
    Reference,
    Retraining,
    Thresholds,
)
from streameval.config.objective import Capacity, Cost, FBeta, Objective, Precision, Recall, Value
from streameval.config.offline import OfflineMetric, OfflineReport
from streameval.config.quantities import bytes_of, duration_ms, duration_text
from streameval.config.section import Section
from streameval.config.transport import Kafka, LogDir, Secret, Security, Transport
from streameval.config.worker import Commit, Config, Lateness, Rejected, Serve, TopicMapping, Topics

__all__ = [
    "METRIC_NAMES",
    "Calibration",
    "Capacity",
    "Change",
    "Commit",
    "Config",
    "Cost",
    "Drift",
    "Evaluate",
    "FBeta",
    "Ids",
    "Kafka",
    "Kpi",
    "Labels",
    "Lateness",
    "LogDir",
    "Model",
    "Objective",
    "OfflineMetric",
    "OfflineReport",
    "Precision",
    "Recall",
    "Reference",
    "Rejected",
    "Retraining",
    "Secret",
    "Section",
    "Security",
    "Serve",
    "Thresholds",
    "TopicMapping",
    "Topics",
    "Transport",
    "Value",
    "bytes_of",
    "changes",
    "digest",
    "duration_ms",
    "duration_text",
    "load",
    "parse",
]
