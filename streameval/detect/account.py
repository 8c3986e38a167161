"""Account: what is kept of a confirmed alarm, so that a person can check it from the record alone.

Invariant: plain values, bounded by the merged bins and by the length of the path; a function of the alarm's windows.
Source: METHODS, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.detect.conformal import FUNCTIONS
from streameval.detect.esr import DIRECTIONS, Crossing
from streameval.detect.examples import HOUR
from streameval.detect.family import MONITORS, Family, family_of
from streameval.detect.guard import Caught
from streameval.detect.label_counts import LabelCounts
from streameval.detect.reference import Reference
from streameval.evidence.bins import EDGES

Path = Sequence[tuple[int, npt.NDArray[np.float32]]]
"""(end of a step, ms; log of the statistic by monitor and direction)."""

_ROW: Final = len(DIRECTIONS)


def watched(
    crossings: list[Crossing],
    reference: Reference,
    before: LabelCounts,
    after: LabelCounts,
    path: Path,
    end: int,
) -> dict[str, Any]:
    """The account of an alarm of e-SR at the end (ms) of a step."""
    first = crossings[0]
    family = reference.family
    up, down = (bound[first.monitor] for bound in reference.bounds_at((end - 1) // HOUR))
    phi = 1.0 if reference.phi is None else float(reference.phi[first.monitor])
    values = family.values[first.monitor]
    return {
        "phase": "watching",
        **_crossed(crossings, MONITORS, path),
        "threshold": float(np.exp(reference.log_threshold)),
        "bound": float(up if first.direction == "up" else down),
        **_windows(family, values, before, after),
        "overdispersion": phi,
        "tempering": 1.0 / phi,
        "season": reference.season.known,
        "smallest_detectable_ratio": reference.smallest_detectable_ratio(),
        "reference": {"from": reference.start, "to": reference.end, "events": reference.counts.events},
    }


def guarded(
    caught: Caught,
    before: LabelCounts,
    after: LabelCounts,
    path: Path,
    maps: tuple[float, tuple[float, float], float],
    since: int,
) -> dict[str, Any]:
    """The account of an alarm of the guard, while a reference was learnt.

    `maps` are the threshold in force, the costs and the limit of the weighted residual; `since` (ms) is when the window
    before began. The means are those of the monitors on that window's own map.
    """
    first = caught.crossings[0]
    family = family_of(before, *maps)
    values = family.values[MONITORS.index(FUNCTIONS[first.monitor])]
    return {
        "phase": "learning",
        **_crossed(caught.crossings, FUNCTIONS, path),
        "threshold": float(np.exp(caught.log_threshold)),
        **_windows(family, values, before, after),
        "overdispersion": caught.phi,
        "tempering": 1.0 / caught.phi,
        "reference": {"from": since, "to": first.change_at, "events": before.events},
    }


def _crossed(crossings: list[Crossing], names: Sequence[str], path: Path) -> dict[str, Any]:
    first = crossings[0]
    row = first.monitor * _ROW + DIRECTIONS.index(first.direction)
    return {
        "log_statistic": first.log_statistic,
        "crossed": [{"monitor": names[c.monitor], "direction": c.direction} for c in crossings],
        "path": [[at, float(statistics[row])] for at, statistics in path],
    }


def _windows(
    family: Family, values: npt.NDArray[np.float64], before: LabelCounts, after: LabelCounts
) -> dict[str, Any]:
    cells_before, cells_after = family.cells(before), family.cells(after)
    size = family.edges.size - 1

    def whole(counts: npt.NDArray[np.float64]) -> list[int]:
        return [int(c) for c in counts]

    return {
        "mean_before": float(values @ cells_before / max(before.events, 1)),
        "mean_after": float(values @ cells_after / max(after.events, 1)),
        "events_before": before.events,
        "events_after": after.events,
        "positives_before": before.positives,
        "positives_after": after.positives,
        # Both windows by merged score bin: what a person needs to repeat the tests.
        "counts": {
            "score_from": EDGES[family.edges[:-1]].tolist(),
            "negatives_before": whole(cells_before[:size]),
            "positives_before": whole(cells_before[size:]),
            "negatives_after": whole(cells_after[:size]),
            "positives_after": whole(cells_after[size:]),
        },
    }
