"""Hours: events by hour of prediction time, label and band of score: what a season is learnt from.

They are kept through alarms. A season takes days to see and a reference may take minutes, so a busy stream could never
learn its own season if every alarm took its past away.

Invariant: hours are ascending and distinct; only those of the latest 22 days are kept (three whole weeks and a rest).
Source: METHODS, section 1, "Season".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.detect.bands import BAND_OF, BANDS, band_counts
from streameval.detect.examples import Examples
from streameval.detect.label_counts import Histogram
from streameval.evidence.exact import narrow

KEPT: Final = 22 * 24
_CELLS: Final = 2 * BANDS


class Hours:
    """The hours of a cell.

    >>> from streameval.detect.label_counts import LabelCounts
    >>> hours = Hours()
    >>> for hour in (5, 5, 6):
    ...     hours.add(hour, LabelCounts(np.array([0], np.int16), np.array([[3], [1]])))
    >>> hours.hour.tolist(), hours.counts.sum(axis=1).tolist()
    ([5, 6], [8, 4])
    """

    def __init__(self) -> None:
        self.hour = np.empty(0, dtype=np.int64)
        """int64[h]: hours since the epoch."""
        self.counts = np.empty((0, _CELLS), dtype=np.int64)
        """int64[h, cells]: events by label and band."""

    def add(self, hour: int, histogram: Histogram) -> None:
        """Count a histogram whose events are all of one hour, the latest so far or a later one."""
        self._count(np.array([hour]), band_counts(histogram)[np.newaxis])

    def add_examples(self, examples: Examples) -> None:
        """Count examples of several hours, none before the latest so far."""
        hours, which = np.unique(examples.hour, return_inverse=True)
        cell = BAND_OF[examples.bins] + BANDS * examples.label.astype(np.int64)
        found = np.bincount(which * _CELLS + cell, minlength=hours.size * _CELLS).reshape(-1, _CELLS)
        self._count(hours, found)

    def _count(self, hours: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        if self.hour.size and hours.size and self.hour[-1] == hours[0]:
            self.counts[-1] += counts[0]
            hours, counts = hours[1:], counts[1:]
        if hours.size:
            hour, every = np.concatenate([self.hour, hours]), np.concatenate([self.counts, counts])
            keep = int(np.searchsorted(hour, hours[-1] - KEPT, side="right"))
            self.hour, self.counts = hour[keep:], every[keep:]

    def copy(self) -> Hours:
        """These hours as they are now."""
        out = Hours()
        out.hour, out.counts = self.hour.copy(), self.counts.copy()
        return out

    def state(self) -> dict[str, Any]:
        """Plain values; counts in the narrowest type that holds them."""
        return {"hour": self.hour.astype(np.int32), "counts": narrow(self.counts).flatten()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Hours:
        """The hours that `state` described."""
        out = cls()
        out.hour = np.asarray(state["hour"]).astype(np.int64)
        out.counts = np.asarray(state["counts"]).astype(np.int64).reshape(-1, _CELLS)
        return out
