"""Reference: what a cell's monitors take for normal, fixed when learning ends.

A monitor's mean has constant bounds, or, where the hours show a season, bounds for each hour.

Invariant: a function of the learnt blocks and hours, of what was given, and of the threshold in force; bounds hold at
99.9 % a side, widened where the blocks show over-dispersion that no season explains.
Source: METHODS, section 1.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streameval.detect.esr import DIRECTIONS, Esr
from streameval.detect.examples import HOUR
from streameval.detect.family import COST, LABEL, MONITORS, RESIDUAL, Family, family_of
from streameval.detect.history import Block, History
from streameval.detect.hours import Hours
from streameval.detect.label_counts import LabelCounts
from streameval.detect.overdispersion import dispersion
from streameval.detect.season import DAY, WEEK, Season, Wave, season_of

Floats = npt.NDArray[np.float64]

LEAST_EVENTS_TO_A_FALSE_ALARM: Final = 1e6


def log_threshold_of(events: int, over_ms: int, promise_ms: int, monitors: int) -> float:
    """Log of c: the events of `promise_ms` at the rate of `events` in `over_ms`, for each of so many monitors.

    One false alarm is then expected in that time over all of them; c is at least a million events a monitor.
    """
    promised = events * promise_ms / max(over_ms, 1)
    return float(np.log(max(LEAST_EVENTS_TO_A_FALSE_ALARM, promised) * monitors))


@dataclass(slots=True)
class Reference:
    """The counts of a reference with its family of monitors.

    `phi` is float64[monitors], the over-dispersion that bounds are widened by and that tempers the evidence (to the
    power 1 / phi), or None for independent events; `log_threshold` the log of c; times in ms. `hours` are those that
    the season was fitted to, kept only where there is one.
    """

    start: int
    end: int
    counts: LabelCounts
    family: Family
    phi: Floats | None
    log_threshold: float
    season: Season = field(default_factory=lambda: Season("unknown", {}))
    hours: Hours | None = None
    known: InitVar[tuple[Floats, Floats] | None] = None

    up: Floats = field(init=False)
    """float64[monitors]: upper bounds of the means without change and without season."""
    down: Floats = field(init=False)
    """float64[monitors]: lower bounds."""
    _mean: Floats = field(init=False)
    _hours: dict[int, tuple[Floats, Floats]] = field(init=False, default_factory=dict)
    _detectable: float | None = field(init=False, default=None)

    def __post_init__(self, known: tuple[Floats, Floats] | None) -> None:
        cells = self.family.cells(self.counts)
        self._mean = self.family.values @ cells / max(self.counts.events, 1)
        if known is None:
            up, down = np.array([self.family.bounds(m, cells, self.phi) for m in range(len(MONITORS))]).T
            known = up.copy(), down.copy()
        self.up, self.down = known

    @property
    def seasonal(self) -> bool:
        """Whether any monitor's bounds depend on the hour."""
        return bool(self.season.waves)

    def block(self) -> Block:
        """The reference as one block of a history."""
        return Block(self.start, self.end, self.counts, self.counts.events)

    def bounds(self, monitor: int) -> tuple[float, float]:
        """`(up, down)` of a monitor's mean without change, at the threshold in force, without season."""
        return float(self.up[monitor]), float(self.down[monitor])

    def bounds_at(self, hour: int) -> tuple[Floats, Floats]:
        """`(up, down)`, float64[monitors] each, of the means in an hour since the epoch."""
        if not self.season.waves:
            return self.up, self.down
        known = self._hours.get(hour % WEEK)
        if known is None:
            up, down = self.up.copy(), self.down.copy()
            for monitor, (high, low) in self.season.bounds(hour).items():
                middle = float(np.sqrt(high * low))
                tolerance = self.family.tolerance(monitor, middle, float(self._mean[LABEL]))
                up[monitor], down[monitor] = min(high + tolerance, 1.0), max(low - tolerance, 0.0)
            known = self._hours[hour % WEEK] = up, down
        return known

    def bounds_over(self, first: int, last: int) -> tuple[Floats, Floats]:
        """`(up, down)` that hold in all hours from `first` to `last`: for events whose hour is not known."""
        every = [self.bounds_at(hour) for hour in range(first, min(last, first + 7 * DAY) + 1)]
        return np.max([up for up, _ in every], axis=0), np.min([down for _, down in every], axis=0)

    def detector(self) -> Esr:
        """A new detector that watches from the reference's end on."""
        tempering = None if self.phi is None else 1.0 / self.phi
        return Esr(self.family.values, self.up.copy(), self.down.copy(), self.log_threshold, self.end, tempering)

    def move(self, threshold: float, esr: Esr, at: int) -> None:
        """Put another threshold in force at `at` (ms): the cost's bounds and M begin anew, the other monitors go on."""
        if self.family.move(threshold):
            cells = self.family.cells(self.counts)
            self._mean[COST] = float(self.family.values[COST] @ cells) / max(self.counts.events, 1)
            self.up[COST], self.down[COST] = self.family.bounds(COST, cells, self.phi)
            self._hours = {}
            if self.hours is not None:
                again = _season(self.family, self.counts, self.hours, self.start, cells, self.phi)
                waves = {**self.season.waves}
                waves.pop(COST, None)
                if COST in again.waves:
                    waves[COST] = again.waves[COST]
                self.season = Season(self.season.known, waves)
            esr.relaid(self.family.values)
            esr.restart(COST, float(self.up[COST]), float(self.down[COST]), at)

    def smallest_detectable_ratio(self) -> float:
        """The smallest factor of the prevalence that can raise an alarm: its upper bound by its mean.

        With a season, on average over a day.
        """
        if self._detectable is None:
            self._detectable = self._smallest_detectable_ratio()
        return self._detectable

    def _smallest_detectable_ratio(self) -> float:
        if LABEL not in self.season.waves:
            return float(self.up[LABEL]) * self.counts.events / max(self.counts.positives, 1)
        hours = [(self.bounds_at(hour)[0][LABEL], self.season.at(hour)[LABEL][0]) for hour in range(DAY)]
        return float(np.mean([up / mean for up, mean in hours]))

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "start": self.start,
            "end": self.end,
            "counts": self.counts.state(),
            "family": self.family.state(),
            "phi": self.phi,
            "log_threshold": self.log_threshold,
            "up": self.up.copy(),
            "down": self.down.copy(),
            "season": self.season.known,
            "waves": [
                {"monitor": m, "beta": w.beta, "covariance": w.covariance.flatten(), "dispersion": w.dispersion}
                for m, w in self.season.waves.items()
            ],
            "hours": None if self.hours is None else self.hours.state(),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Reference:
        """The reference that `state` described."""
        waves = {}
        for wave in state["waves"]:
            beta = np.array(wave["beta"], dtype=np.float64)
            covariance = np.array(wave["covariance"], dtype=np.float64).reshape(beta.size, beta.size)
            waves[int(wave["monitor"])] = Wave(beta, covariance, float(wave["dispersion"]))
        hours = state["hours"]
        known = np.array(state["up"], dtype=np.float64), np.array(state["down"], dtype=np.float64)
        return cls(
            int(state["start"]),
            int(state["end"]),
            LabelCounts.restore(state["counts"]),
            Family.restore(state["family"]),
            None if state["phi"] is None else np.array(state["phi"], dtype=np.float64),
            float(state["log_threshold"]),
            Season(state["season"], waves),
            None if hours is None else Hours.restore(hours),
            known,
        )


def _season(family: Family, counts: LabelCounts, hours: Hours, since: int, cells: Floats, phi: Floats | None) -> Season:
    mean = family.values @ cells / max(counts.events, 1)
    variance = np.array([family.variance(monitor, cells) for monitor in range(len(MONITORS))])
    own = variance / np.maximum(mean, 1e-300)
    season = season_of(hours, family.by_band(counts), since, own)
    return season if phi is None else season.widened(phi * own)


def _dispersion(history: History, steps: Floats, family: Family, season: Season) -> tuple[Floats, bool]:
    expected = None
    if season.waves:
        cells = steps.sum(axis=0)
        constant = family.values @ cells / cells.sum()
        expected = np.stack([season.mean(block.start, block.end, constant) for block in history.blocks])
    return dispersion(steps, family.values, (LABEL, RESIDUAL), expected)


def _hourly(hours: Hours, history: History, family: Family, counts: LabelCounts, season: Season) -> tuple[Floats, bool]:
    own = (hours.hour * HOUR >= history.start) & hours.counts.any(axis=1)
    cells = hours.counts[own].astype(np.float64)
    if not cells.size:
        return np.zeros(len(MONITORS)), False
    values = family.by_band(counts)
    constant = values @ cells.sum(axis=0) / cells.sum()
    expected = np.stack([season.mean(h * HOUR, (h + 1) * HOUR, constant) for h in hours.hour[own].tolist()])
    return dispersion(cells, values, (LABEL, RESIDUAL), expected)


def reference_of(
    history: History,
    threshold: float,
    *,
    costs: tuple[float, float],
    sign_weight_above: float,
    promise_ms: int,
    segments: int,
    hours: Hours | None = None,
    given: LabelCounts | None = None,
) -> Reference:
    """Freeze what was learnt.

    The detector's threshold is c = max(1e6, events in `promise_ms`) * segments * monitors * 2, with the reference's own
    rate of events: one false alarm in that time for the whole model. Where over-dispersion is significant,
    twice phi of each monitor widens its bounds and tempers its evidence, also where that one is modest. `hours` show
    seasons; `given` counts set the score bins and the map instead of the learnt ones.
    """
    counts = history.total()
    family = family_of(counts if given is None else given, threshold, costs, sign_weight_above)
    steps = np.stack([family.cells(block.counts) for block in history.blocks])
    cells = steps.sum(axis=0)
    season = Season("unknown", {})
    if hours is not None:
        season = _season(family, counts, hours, history.start, cells, None)
    phi, significant = _dispersion(history, steps, family, season)
    if hours is not None and season.known != "unknown":
        # Blocks that were merged when they were old say little; hours are as they were.
        by_hour, also = _hourly(hours, history, family, counts, season)
        phi, significant = np.maximum(phi, by_hour), significant or also
    widened = 2.0 * np.maximum(1.0, phi) if significant else None
    if widened is not None and hours is not None and season.waves:
        season = _season(family, counts, hours, history.start, cells, widened)
    monitors = segments * len(MONITORS) * len(DIRECTIONS)
    return Reference(
        history.start,
        history.end,
        counts,
        family,
        widened,
        log_threshold_of(counts.events, history.end - history.start, promise_ms, monitors),
        season,
        hours.copy() if hours is not None and season.waves else None,
    )
