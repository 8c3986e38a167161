"""A provisional view of predictions whose labels still come: how many positives there will be, from those seen so far.

Of matured cohorts it is known which share F1(a) of the positives, and F0(a) of the negatives, had been seen by age a.
A group of n predictions of age a with rate r1 of positives shows about n F1(a) r1 of them; so r1 is estimated by
Σ k1 / Σ n F1(a), and r0 likewise, over the groups old enough for F >= .5. Where a missing label will be taken for a
negative only positives are waited for, and their rate is the prevalence.

A label pipeline that has become slower looks like a fall of the prevalence here: delays are watched beside it.

Invariant: indexed by prediction time, so that traffic which doubles changes nothing: both sums double.

Source: METHODS, section 8; the reporting-delay adjustment of Lawless (1994, "Adjustments for reporting delays").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streameval.evaluate.estimate import Estimate, Z
from streameval.evaluate.label_delay import Delays

LEAST_SHARE: Final = 0.5
"""A group's labels say something only when so large a share of them has come."""


class Immature(NamedTuple):
    """A group of predictions: how many, its age (ms) and the labels seen so far, by label."""

    events: int
    age: int
    negatives: int
    positives: int


@dataclass(frozen=True, slots=True)
class Provisional:
    """The prevalence that the groups will have.

    `share_seen` is the share of their positives that has come, `positives` and `negatives` the labels seen, `groups`
    how many of the groups given (the oldest come first) were old enough.
    """

    prevalence: Estimate
    events: int
    positives: int
    negatives: int
    share_seen: float
    groups: int


def provisional(groups: Sequence[Immature], known: Delays, *, missing_is_negative: bool) -> Provisional | None:
    """The view of immature groups by the delays of matured ones; None where no group is old enough.

    >>> import numpy as np
    >>> known = Delays()
    >>> known.add(np.ones(100, int), np.repeat([1_000, 90_000], 50))
    >>> view = provisional([Immature(1000, 60_000, 0, 25)], known, missing_is_negative=True)
    >>> round(view.prevalence.value, 3), round(view.share_seen, 3)
    (0.05, 0.5)
    """
    labels = (1,) if missing_is_negative else (0, 1)
    if any(not known.labels[label] for label in labels):
        return None
    events = positives = negatives = used = 0
    seen, exposed = [0, 0], [0.0, 0.0]
    uncertain = [0.0, 0.0]
    for group in groups:
        shares = {label: known.share_by(label, group.age) for label in labels}
        if min(shares.values()) < LEAST_SHARE:
            continue
        used += 1
        events += group.events
        positives += group.positives
        negatives += group.negatives
        for label, share in shares.items():
            seen[label] += (group.negatives, group.positives)[label]
            exposed[label] += group.events * share
            # One table of delays serves all groups: its errors add up, they do not cancel.
            uncertain[label] += group.events * math.sqrt(share * (1.0 - share) / int(known.labels[label]))
    if not events:
        return None
    rate = [seen[label] / exposed[label] if exposed[label] else 0.0 for label in (0, 1)]
    relative = [
        1.0 / max(seen[label], 1) + (uncertain[label] / exposed[label]) ** 2 if label in labels else 0.0
        for label in (0, 1)
    ]
    if missing_is_negative:
        value = min(rate[1], 1.0)
        se = value * math.sqrt(relative[1] * (1.0 - value)) if seen[1] else 1.0 / exposed[1]
    else:
        if not rate[0] + rate[1]:
            return None
        value = rate[1] / (rate[0] + rate[1])
        se = value * (1.0 - value) * math.sqrt(sum(relative))
        if not seen[1] or not seen[0]:
            se = 1.0 / max(exposed)
    interval = Estimate(value, max(0.0, value - Z * se), min(1.0, value + Z * se))
    return Provisional(interval, events, positives, negatives, exposed[1] / events, used)
