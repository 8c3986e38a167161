"""Numbers, times and names as a person reads them.

Invariant: the same input gives the same words on every machine: no locale, no time zone but UTC.
"""

from __future__ import annotations

import datetime as dt

DAY = 86_400_000

METRICS = {
    "log_loss": ("Log loss", "lower"),
    "brier": ("Brier score", "lower"),
    "auc": ("AUC", "higher"),
    "average_precision": ("Average precision", "higher"),
    "precision": ("Precision", "higher"),
    "recall": ("Recall", "higher"),
    "f1": ("F1", "higher"),
    "cost": ("Cost per decision", "lower"),
    "calibration_error": ("Calibration error", "lower"),
}
"""Metric -> (title, which side is better), in the order in which they are shown."""

SHARES = frozenset({"brier", "auc", "average_precision", "precision", "recall", "f1"})
"""Metrics that lie between 0 and 1."""

MONITORS = {
    "label": "the share of positives",
    "residual": "the calibration residual",
    "weighted_residual": "the weighted calibration residual",
    "cost": "the cost of decisions",
    "score": "the mean score",
    "late": "the share of positives that come late",
    # River's detectors are fed the Brier loss.
    "ADWIN": "the Brier loss (ADWIN)",
    "PageHinkley": "the Brier loss (Page-Hinkley)",
    "DDM": "the Brier loss (DDM)",
    "HDDMA": "the Brier loss (HDDM-A)",
}
"""Monitor -> what it watches."""

REASONS = {
    "gain": "a sure gain",
    "target_missed": "the target was missed",
    "prevalence": "the share of positives moved",
    "initial": "as configured",
}
"""Constant words that say too little by themselves."""

METHODS = {
    "identity": "scores as they are",
    "prior": "a shift of the prior",
    "platt": "Platt scaling",
    "online_platt": "online Platt scaling",
    "beta": "beta calibration",
    "isotonic": "isotonic regression",
}
"""Calibration method -> what it is."""

DIAGNOSES = {
    "none": "no change after all",
    "covariate_shift": "covariate shift: other scores, which mean what they meant",
    "label_shift": "label shift: another share of positives, nothing else",
    "miscalibration": "miscalibration: scores mean something else, in the same order",
    "concept_drift": "concept drift: the model ranks less well",
    "inconclusive": "inconclusive: too few positives to tell",
    "pending": "not diagnosed yet",
    "confounded": "confounded: a threshold of ours moved near it",
}
"""State that a diagnosis found -> its name and what it means, as the README's table says it."""

_WENT = {"up": "rose", "down": "fell"}


def metric(name: str) -> str:
    """Title of a metric: our own by name, River's classes and KPIs as people wrote them."""
    return METRICS[name][0] if name in METRICS else name


def monitor(name: str) -> str:
    """What a monitor watches.

    >>> monitor("cost"), monitor("some_new_one")
    ('the cost of decisions', 'some new one')
    """
    return MONITORS.get(name, reason(name))


def change(name: str, direction: str | None) -> str:
    """A change, as a clause.

    >>> change("cost", "up")
    'the cost of decisions rose'
    """
    return f"{monitor(name)} {_WENT.get(direction or '', 'changed')}"


def reason(code: str) -> str:
    """A constant snake_case word as prose.

    >>> reason("concept_drift"), reason("gain")
    ('concept drift', 'a sure gain')
    """
    return REASONS.get(code, code.replace("_", " "))


def method(name: str) -> str:
    """A calibration method.

    >>> method("online_platt"), method("some_new_one")
    ('online Platt scaling', 'some new one')
    """
    return METHODS.get(name, reason(name))


def diagnosis(state: str) -> str:
    """What a diagnosis found, with what that means.

    >>> diagnosis("concept_drift")
    'concept drift: the model ranks less well'
    """
    return DIAGNOSES.get(state, reason(state))


def number(value: float | None, digits: int = 3) -> str:
    """A number to `digits` significant digits, thousands apart.

    >>> number(0.123456), number(1234567), number(1e-7), number(12345.6), number(1.4952e34), number(None)
    ('0.123', '1,234,567', '1e-07', '12,346', '1.5e+34', '–')
    """
    if value is None:
        return "–"
    if abs(value) >= 1e15:
        return f"{value:.{digits}g}"
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(value: float | None) -> str:
    """A share.

    >>> percent(0.0512), percent(0.00042)
    ('5.12 %', '0.042 %')
    """
    return "–" if value is None else f"{number(100 * value)} %"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A number with its interval.

    >>> interval(0.3121, 0.3, 0.32)
    '0.312 (0.3 to 0.32)'
    """
    if value is None or low is None or high is None:
        return number(value)
    return f"{number(value)} ({number(low)} to {number(high)})"


def count(n: int, one: str, many: str | None = None) -> str:
    """A count of things.

    >>> count(1, "alarm"), count(2000, "alarm"), count(3, "retry", "retries")
    ('1 alarm', '2,000 alarms', '3 retries')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def day(ms: int | None) -> str:
    """The day of a time.

    >>> day(831391200500)
    '6 May 1996'
    """
    if ms is None:
        return "–"
    at = _utc(ms)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


def days(start: int | None, end: int | None) -> str:
    """A span of time to the day.

    >>> days(831391200500, 831391200500), days(831391200500, 831477600500)
    ('6 May 1996', '6 May 1996 to 7 May 1996')
    """
    first, last = day(start), day(end)
    return first if first == last else f"{first} to {last}"


def moment(ms: int | None) -> str:
    """A time to the minute.

    >>> moment(831391200500)
    '6 May 1996, 14:00'
    """
    return "–" if ms is None else f"{day(ms)}, {_utc(ms):%H:%M}"


def seconds(value: float) -> str:
    """A duration.

    >>> seconds(0.21), seconds(75), seconds(90061)
    ('0.21 s', '1 min 15 s', '1 d 1 h')
    """
    if value < 60:
        return f"{value:.2g} s"
    whole = round(value)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    leading = next(place for place, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[leading : leading + 2] if amount)


def listing(items: list[str]) -> str:
    """A list in prose.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def _utc(ms: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
