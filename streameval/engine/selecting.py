"""What a cell says where decisions decide which labels are seen.

Invariant: a number that the missing labels could change has no value in a record, only bounds. Log loss, Brier score
and calibration error are of the labelled predictions, and keep theirs: how right a probability was is known where the
label is.

Source: METHODS, section 4 (selective labels).
"""

from __future__ import annotations

from collections.abc import Iterable

from streameval import records
from streameval.evaluate.estimate import Estimate
from streameval.evaluate.prevalence import windowed
from streameval.evaluate.selective import RANKED, Selection


def selective_record(selection: Selection, bounds: dict[str, Estimate], others: Iterable[str]) -> records.Selective:
    """The selection's part of a metrics record; `others` are names of metrics that count all decisions."""
    low, high = selection.range or (None, None)
    return records.Selective(
        labelled_share=selection.share,
        labelled_from=low,
        labelled_to=None if high is None else min(high, 1.0),
        bounds={name: _open(e) for name, e in bounds.items()},
        unidentified=sorted({*bounds, *RANKED, *others}) if selection.unseen.events else [],
    )


def without_values(
    metrics: dict[str, records.Interval], selection: Selection, bounds: dict[str, Estimate], others: Iterable[str]
) -> dict[str, records.Interval]:
    """The metrics, those that are not identified with bounds, if there are any, instead of a value."""
    if not selection.unseen.events:
        return metrics
    said = dict.fromkeys((*RANKED, *others), records.Interval(None)) | {name: _open(e) for name, e in bounds.items()}
    return {name: said.get(name, known) for name, known in metrics.items()}


def selective_prevalence(selection: Selection) -> records.Prevalence:
    """The prevalence: bounds only, unless every label was seen."""
    none, all_ = windowed(selection.filled(0)), windowed(selection.filled(1))
    if none is None or all_ is None:
        return records.Prevalence(None)
    if none.value == all_.value:
        return records.Prevalence(records.Interval(*none))
    return records.Prevalence(records.Interval(None, none.low, all_.high))


def _open(estimate: Estimate) -> records.Interval:
    return records.Interval(None, estimate.low, estimate.high)
