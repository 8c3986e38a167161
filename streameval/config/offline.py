"""What a version reached offline: the content of a reference report, as part of the configuration.

Reports are files (``reference.reports``); what they say is filled in here when they are read, so that the state of a
model knows what it was compared with and no other room needs the file.

Invariant: equal content gives equal values, wherever the file lies.
"""

from __future__ import annotations

from streameval.config.quantities import Name, Number
from streameval.config.section import Section, setting

__all__ = ["OfflineMetric", "OfflineReport"]

_LEARNING = "the model's learning: reference, monitors, calibration"


class OfflineMetric(Section):
    """A metric of the validation set."""

    value: Number = setting("the value", change="restarts", restarts="the gap to online")
    low: Number | None = setting(
        "lower end of its 95 % interval", change="restarts", restarts="the gap to online", default=None
    )
    high: Number | None = setting(
        "upper end of its 95 % interval", change="restarts", restarts="the gap to online", default=None
    )


class OfflineReport(Section):
    """What one version, or every version, reached on its validation set."""

    version: Name | None = setting(
        "the version that it is of; without one, of every version", change="restarts", restarts=_LEARNING, default=None
    )
    metrics: dict[Name, OfflineMetric] = setting(
        "metrics by name, as in metrics records", change="restarts", restarts="the gap to online", default_factory=dict
    )
    events: int = setting("scored examples in it", change="restarts", restarts=_LEARNING, default=0, ge=0)
    examples: str = setting(
        "their histogram by score bin and label, packed", change="restarts", restarts=_LEARNING, default=""
    )
