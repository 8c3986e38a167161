"""The scores of the latest closed cohorts of a version, without labels: what the label-free estimates read.

Invariant: ``histogram(at)`` holds the latest cohorts that had closed by ``at``, as many as hold the window's events,
whatever closed after it and however the closings were batched.

Source: DESIGN "Time" (fresh evidence).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streameval.evidence.histogram import ScoreHistogram


class FreshScores:
    """A sliding window over closed cohorts' scores.

    Args:
        events: Scores in the window (a few more, to make whole cohorts).
    """

    def __init__(self, events: int) -> None:
        self.events = events
        self.at = np.empty(0, dtype=np.int64)
        self.score = np.empty(0, dtype=np.float64)

    def push(self, at: np.ndarray, score: np.ndarray) -> None:
        """Scores f64[n] of cohorts that closed at i64[n], ascending and not before any pushed earlier."""
        # All that is here closed before any time that will be asked for, so only its latest cohorts can matter.
        if len(self.at) > 2 * self.events:
            keep = self._first(len(self.at))
            self.at, self.score = self.at[keep:], self.score[keep:]
        self.at = np.concatenate((self.at, at))
        self.score = np.concatenate((self.score, score))

    def histogram(self, at: int) -> ScoreHistogram:
        """The window as it was at a logical time."""
        end = int(np.searchsorted(self.at, at, side="right"))
        return ScoreHistogram.of(self.score[self._first(end) : end])

    def _first(self, end: int) -> int:
        if end <= self.events:
            return 0
        return int(np.searchsorted(self.at[:end], self.at[end - self.events]))

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        first = np.flatnonzero(np.append(True, self.at[1:] != self.at[:-1])[: len(self.at)])
        return {"at": self.at[first], "scores": np.diff(np.append(first, len(self.at))), "score": self.score}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.at, self.score = np.repeat(state["at"], state["scores"]), state["score"]
