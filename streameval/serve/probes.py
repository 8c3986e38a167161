"""Liveness and readiness: does the loop turn and the reading move, and has the worker caught up once.

Invariant: a verdict follows from the pulse and the time alone, and gives its reason. A worker that starts is alive,
however long its state takes to restore or rebuild: to kill it would only make it begin again.
"""

from __future__ import annotations

from typing import NamedTuple

from streameval.serve import words
from streameval.serve.vitals import Pulse, Vitals

__all__ = ["Verdict", "liveness", "readiness"]


class Verdict(NamedTuple):
    """Yes or no, and why."""

    good: bool
    reason: str


def liveness(pulse: Pulse, now: float, stalled_after: float) -> Verdict:
    """Whether the loop turns, and moves where events are: `now` in monotonic seconds, `stalled_after` in seconds.

    >>> class Still:
    ...     turned, ready, doing, stalled = 100.0, True, "committing", {}
    >>> liveness(Still(), 400.0, 120.0)
    Verdict(good=False, reason='the loop has stood still for 5 min, while committing')
    """
    if pulse.turned is None:
        return Verdict(True, f"starting: {pulse.doing}")
    still = now - pulse.turned
    if still > stalled_after:
        return Verdict(False, f"the loop has stood still for {words.seconds(still)}, while {pulse.doing}")
    if pulse.stalled:
        place, how = min(pulse.stalled.items())
        more = len(pulse.stalled) - 1
        others = f", nor do {words.count(more, 'other partition')}" if more else ""
        return Verdict(False, f"{place} does not move{others}: {how}")
    return Verdict(True, pulse.doing)


def readiness(pulse: Pulse, vitals: Vitals | None) -> Verdict:
    """Whether the state is restored and the inputs were caught up with once; from then on it stays."""
    if pulse.ready:
        return Verdict(True, "the inputs were caught up with")
    if pulse.turned is None or vitals is None or vitals.lag is None:
        return Verdict(False, f"starting: {pulse.doing}")
    return Verdict(False, f"catching up: {words.count(vitals.lag, 'event')} to read")
