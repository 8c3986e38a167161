"""The label pipeline watched: do labels come as they used to?

One monitor watches one share of the labels of a matured group: those that took longer than half of the reference's
labels did, those that never came, those that came too late. Labels of one group often come together (a nightly batch),
so they are not independent: the reference is twenty groups, whose own spread widens the bounds and tempers the evidence
exactly as over-dispersion does for every other monitor, always, and not only where it is significant.

An alarm is advisory: it never moves anything. But while the pipeline is slower, a fall of the provisional prevalence is
no news of the model, and the record says so.

Invariant: a function of the groups in their order. After an alarm the monitor learns anew, from the next group on.

Source: METHODS, sections 1 (e-SR, over-dispersion) and 8.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

import numpy as np

from streameval.detect.esr import Esr

GROUPS: Final = 20
"""Groups of a reference."""

_Z: Final = 3.09
_TOLERANCE: Final = 0.05
_LEAST_EVENTS: Final = 1e6
_VALUES: Final = np.array([[0.0, 1.0]])


class Signal(NamedTuple):
    """A share that is not what it was: which way, since when (ms), and what it was and is."""

    direction: str
    change_at: int
    statistic: float
    bound: float
    before: float
    after: float


class ShareMonitor:
    """One share, by group.

    Args:
        promise_ms: At most one false alarm is expected in this time, over `monitors` of them.
        monitors: How many share that promise.

    >>> monitor = ShareMonitor(promise_ms=10**9)
    >>> rng = np.random.default_rng(0)
    >>> found = [monitor.step(int(rng.binomial(200, 0.1)), 200, 1000 * k) for k in range(60)]
    >>> any(found), monitor.step(120, 200, 60_000).direction
    (False, 'up')
    """

    def __init__(self, promise_ms: int, monitors: int = 1) -> None:
        self.promise_ms = promise_ms
        self.monitors = monitors
        self.learnt: list[tuple[int, int, int]] = []
        """(hits, labels, end ms) of the reference's groups while they are collected."""
        self.mean: float | None = None
        """The reference's share; None while learning."""
        self._esr: Esr | None = None
        self._since: list[tuple[int, int, int]] = []

    def step(self, hits: int, labels: int, end: int) -> Signal | None:
        """Take in a matured group: so many of its labels are hits; `end` (ms) is that of its predictions."""
        if not labels:
            return None
        if self._esr is None or self.mean is None:
            self.learnt.append((hits, labels, end))
            if len(self.learnt) == GROUPS:
                self._watch()
            return None
        self._since = [*self._since[-GROUPS:], (hits, labels, end)]
        crossings = self._esr.step(np.array([float(labels - hits), float(hits)]), end)
        if not crossings:
            return None
        first = crossings[0]
        later = [group for group in self._since if group[2] > first.change_at] or self._since[-1:]
        after = sum(group[0] for group in later) / sum(group[1] for group in later)
        bound = float(np.exp(min(self._esr.log_threshold, 700.0)))
        statistic = float(np.exp(min(first.log_statistic, 700.0)))
        signal = Signal(first.direction, first.change_at, statistic, bound, self.mean, after)
        self.learnt, self._since, self._esr, self.mean = [], [], None, None
        return signal

    def _watch(self) -> None:
        hits, labels, ends = np.array(self.learnt, np.float64).T
        total = float(labels.sum())
        mean = float(hits.sum()) / total
        variance = max(mean * (1.0 - mean), 1.0 / total)
        spread = float((labels * (hits / labels - mean) ** 2).sum()) / (len(labels) - 1)
        phi = 2.0 * max(1.0, spread / variance)
        reach = _Z * float(np.sqrt(variance * phi / total))
        up = min(mean + reach + _TOLERANCE * max(mean, 0.1), 1.0)
        down = max(mean - reach - _TOLERANCE * max(mean, 0.1), 0.0)
        promised = total * self.promise_ms / max(float(ends[-1] - ends[0]), 1.0)
        least = float(np.log(max(_LEAST_EVENTS, promised) * 2.0 * self.monitors))
        self.mean = mean
        self._esr = Esr(_VALUES, np.array([up]), np.array([down]), least, int(ends[-1]), np.array([1.0 / phi]))
        self.learnt = []

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "promise": self.promise_ms,
            "monitors": self.monitors,
            "learnt": [list(group) for group in self.learnt],
            "mean": self.mean,
            "esr": None if self._esr is None else self._esr.state(),
            "since": [list(group) for group in self._since],
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """The inverse of ``state``."""
        new = cls(state["promise"], state["monitors"])
        new.learnt = [(h, n, end) for h, n, end in state["learnt"]]
        new.mean = state["mean"]
        new._esr = None if state["esr"] is None else Esr.restore(state["esr"])
        new._since = [(h, n, end) for h, n, end in state["since"]]
        return new
