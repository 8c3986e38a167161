"""How the labels of a version come: their delays and losses, watched and published, and the provisional view.

Three shares of every matured group are watched: labels slower than half of the reference's were, predictions that got
no label (where a missing one is not a negative), positives that came after maturity. An alarm is an advisory drift
record of the monitor `label_delay`, `label_loss` or `late_positives`; while labels come slower or faster than the
provisional view assumes, the view says so.

Invariant: a function of the version's groups and of logical time. Nothing here moves a threshold.

Source: METHODS, section 8.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, Final

import numpy as np

from streameval import records
from streameval.detect.label_pipeline import GROUPS, ShareMonitor, Signal
from streameval.engine.foreseeing import interval
from streameval.engine.fresh import Fresh, Past
from streameval.engine.identity import Identity
from streameval.engine.rows import Output
from streameval.evaluate.label_delay import Delays
from streameval.evaluate.provisional import Immature, provisional

_MONITORS: Final = ("label_delay", "label_loss", "late_positives")
_BEYOND: Final = 4.0
"""Standard deviations of a group's losses from which its delays are not compared."""


class Arriving:
    """The label pipeline of one version.

    Args:
        identity: The version's whole cell.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.monitors = {
            name: ShareMonitor(identity.config.drift.promise, monitors=len(_MONITORS)) for name in _MONITORS
        }
        self.slow: int | None = None
        """Labels of this bucket of age and later are slow: half of the reference's were."""
        self.caution: str | None = None
        """What the last alarm of the delays said, until a new reference is learnt."""
        self.usual_loss: float | None = None
        """Share of a group's predictions that got no label, as last learnt."""
        self._delays: list[tuple[int, Delays]] = []

    def step(self, at: int, through: list[Past], fresh: Fresh) -> list[Output]:
        """Groups have matured: the records of alarms."""
        outputs: list[Output] = []
        for past in through:
            end = past.last + self.identity.interval
            cut_off = False
            if self.identity.config.labels.missing == "drop":
                lost = max(past.events - past.labelled, 0)
                cut_off = self._cut_off(lost, past.events)
                outputs += self._tell(at, past, "label_loss", self.monitors["label_loss"].step(lost, past.events, end))
            if not cut_off:
                outputs += self._delayed(at, past, end)
        for past in fresh.over(at):
            positives = past.positives + past.late
            end = past.last + self.identity.interval
            signal = self.monitors["late_positives"].step(past.late, positives, end)
            outputs += self._tell(at, past, "late_positives", signal)
        return outputs

    def _cut_off(self, lost: int, events: int) -> bool:
        """Whether a group lost more labels than groups do: those that came are then the quick ones."""
        mean = self.monitors["label_loss"].mean
        self.usual_loss = usual = self.usual_loss if mean is None else mean
        if usual is None:
            return False
        return lost > usual * events + _BEYOND * sqrt(usual * (1.0 - usual) * events + 1.0)

    def _delayed(self, at: int, past: Past, end: int) -> list[Output]:
        monitor = self.monitors["label_delay"]
        counts = past.delays.counts.sum(axis=0)
        if not counts.any():
            return []
        if self.slow is None:
            self._delays.append((end, past.delays))
            if len(self._delays) < GROUPS:
                return []
            total = np.sum([delays.counts for _, delays in self._delays], axis=(0, 1))
            self.slow = int(np.searchsorted(np.cumsum(total), total.sum() / 2.0)) + 1
            for until, delays in self._delays:
                by_age = delays.counts.sum(axis=0)
                monitor.step(int(by_age[self.slow :].sum()), int(by_age.sum()), until)
            self._delays = []
            return []
        signal = monitor.step(int(counts[self.slow :].sum()), int(counts.sum()), end)
        if signal is not None:
            self.slow = None
            self.caution = "labels_slower" if signal.direction == "up" else "labels_faster"
        elif monitor.mean is not None:
            self.caution = None
        return self._tell(at, past, "label_delay", signal)

    def _tell(self, at: int, past: Past, monitor: str, signal: Signal | None) -> list[Output]:
        if signal is None:
            return []
        end = past.last + self.identity.interval
        data = records.Drift(
            **self.identity.named,
            monitor=monitor,
            tier="advisory",
            statistic=signal.statistic,
            direction="up" if signal.direction == "up" else "down",
            change_at=records.rfc3339(signal.change_at),
            diagnosis=None,
            bound=signal.bound,
            detector="e_sr",
            before=records.Interval(signal.before),
            after=records.Interval(signal.after),
            window=records.Window.of(past.first, end, past.events),
            alarm_at=records.rfc3339(at),
            configuration=self.identity.configuration,
        )
        return [self.identity.output(at, "drift", data)]

    # -- records -------------------------------------------------------------------------------------------------------

    def flow(self, at: int, fresh: Fresh) -> records.LabelFlow | None:
        """How labels came over the last two waits; None before anything has matured."""
        known = fresh.known(at)
        through = [past for past in fresh.past if past.at >= at - 2 * fresh.wait - fresh.interval]
        if not through:
            return None
        events = sum(past.events for past in through)
        over = [past for past in fresh.past if past.at + fresh.amend <= at]
        late, positives = sum(past.late for past in over), sum(past.positives + past.late for past in over)
        waiting = sum(group.events for group in fresh.waiting)
        return records.LabelFlow(
            delay_p50=known.quantile(0.5),
            delay_p90=known.quantile(0.9),
            share_labelled=min(sum(past.labelled for past in through) / events, 1.0) if events else None,
            share_late_positives=late / positives if positives else None,
            waiting=waiting,
            unproven=fresh.unproven_lately(at),
        )

    def provisional(self, at: int, fresh: Fresh) -> records.Provisional | None:
        """The view of waiting groups by the labels seen so far; None where too few are."""
        groups = fresh.waiting
        immature = [
            Immature(
                group.events,
                at - (group.first + group.last + self.identity.interval) // 2,
                *(int(seen) for seen in group.delays.labels),
            )
            for group in groups
        ]
        missing = self.identity.config.labels.missing == "negative"
        view = provisional(immature, fresh.known(at), missing_is_negative=missing)
        if view is None:
            return None
        used = groups[: view.groups]
        prevalence = interval(view.prevalence)
        if prevalence is None or not used:
            return None
        return records.Provisional(
            prevalence=prevalence,
            positives=view.positives,
            negatives=view.negatives,
            share_seen=min(view.share_seen, 1.0),
            window=records.Window.of(used[0].first, used[-1].last + self.identity.interval, view.events),
            caution=self.caution,
        )

    # -- state ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "monitors": {name: monitor.state() for name, monitor in self.monitors.items()},
            "slow": self.slow,
            "caution": self.caution,
            "usual_loss": self.usual_loss,
            "delays": [[end, delays.state()] for end, delays in self._delays],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.monitors = {name: ShareMonitor.restore(monitor) for name, monitor in state["monitors"].items()}
        self.slow, self.caution, self.usual_loss = state["slow"], state["caution"], state["usual_loss"]
        self._delays = [(end, Delays.restore(delays)) for end, delays in state["delays"]]
