"""What a version's whole cell knows before labels come: the prevalence of now, performance, and a prior that moved.

Groups that mature teach the filter (see `prevalence_filter`) and put earlier estimates to the test; groups that wait
carry the filter on to now. A threshold moves on that alone where nothing but the prior changed, and stays where a test
says otherwise: where matured labels show other score distributions within the classes, where no mixture of the classes
explains the waiting scores, where PACC contradicts the mixture, and where a diagnosis has found another kind of change.

A window of labels that has not yet seen the new prevalence would move the threshold back. So while the filter's
prevalence and the window's are apart beyond doubt, the window decides nothing (`is_ahead`), and once the prevalence has
moved the threshold, labels decide again when those of the new regime come, without the older ones (`regime_from`).

Invariant: a function of the version's groups, ticks and matured steps in logical time.

Source: METHODS, sections 3, 4 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import Any, Final

import numpy as np

from streameval import records
from streameval.decide.gate import Gate, Move
from streameval.decide.prior_move import prior_moved, widened
from streameval.detect.diagnosis import State
from streameval.detect.label_counts import LabelCounts, total
from streameval.detect.life import Watch
from streameval.engine.fresh import Fresh, Group, Matured, Tick
from streameval.engine.identity import Identity
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.evaluate.estimate import Estimate
from streameval.evaluate.mixture import REFERENCE_POSITIVES, MixtureReference
from streameval.evaluate.prevalence_filter import Belief, PrevalenceFilter, ahead
from streameval.evaluate.seed import seed_of
from streameval.evaluate.unlabelled import Backtest, point_metrics, shifted
from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.bins import EDGES, threshold_bin
from streameval.evidence.coarse import coarse_counts
from streameval.evidence.window import WindowEvidence

_MIXED: Final = frozenset({"none", "label_shift", "pending", "inconclusive"})
"""States in which the classes may still score as in the reference: then the tests decide."""
_SEEN: Final = frozenset({"none", "covariate_shift", "label_shift"})
"""States in which the calibration map still holds, or is corrected."""
_LEAST_LABELLED: Final = 0.5
_FAR: Final = 0.5
_WITNESSES: Final = 4
"""Steps' worth of predictions that a change must have lasted, so that the tests of the assumption can see it too."""
_ALPHA: Final = 3e-5
"""Level of the test whether the scores are explained: it is put to them some hundred times a week."""
_EDGE: Final = 1e-6
_UNBOUNDED: Final = frozenset({"cost", "log_loss"})


class Foreseeing:
    """What is known ahead of the labels.

    Args:
        identity: Whose it is.
        costs: The price of a false positive and of a false negative; None where the objective has none.
    """

    def __init__(self, identity: Identity, costs: tuple[float, float] | None) -> None:
        self.identity = identity
        self.costs = costs
        self.filter = PrevalenceFilter()
        self.backtest = Backtest()
        self.holds = True
        """Whether matured labels show the reference's score distributions within the classes."""
        self.explained = True
        """Whether a mixture of these explains the scores that wait."""
        self.since_alarm: int | None = None
        """Labelled events that matured since the last confirmed alarm; None before any."""
        self.full: Belief | None = None
        """The filter run forward over all full groups."""
        self.now: Belief | None = None
        """And over the open one, as of the last tick or maturity."""
        self.ahead_from: tuple[int, int] | None = None
        """Time (ms) and closed predictions when the prevalence of now was first found ahead of the labels, if it is."""
        self.regime_from: int | None = None
        """Since when (ms of prediction time) the prevalence is that for which it last moved the threshold."""
        self._of: int | None = None
        self._classes: LabelCounts | None = None
        self._mixture: MixtureReference | None = None

    # -- what it rests on ----------------------------------------------------------------------------------------------

    def _rest_on(self, watch: Watch, standing: State) -> MixtureReference | None:
        """The mixture of the classes in force; None while label-free estimates must be silent."""
        classes = watch.before if watch.reference is None else watch.reference.counts
        if classes is None or (watch.reference is None and standing not in _MIXED):
            return None
        if classes is not self._classes:
            self._classes, self._mixture = classes, None
            if classes.positives >= REFERENCE_POSITIVES and classes.positives < classes.events:
                evidence = BinaryEvidence(classes.bins, classes.counts, np.zeros_like(classes.counts))
                self._mixture = MixtureReference(evidence)
            of = seed_of(classes.bins, classes.counts)
            if self._mixture is not None and of != self._of:
                self._of, self.holds, self.explained = of, True, True
                self.filter.trust(self._mixture.logit_variance)
        return self._mixture

    def state_of(self, watch: Watch, standing: State) -> str:
        """What kind of change the model stands in; none once a reference's worth of events has matured since."""
        if watch.phase == "learning" and self.since_alarm is None:
            return "learning"
        learnt = self.since_alarm is None or self.since_alarm >= self.identity.config.reference.events
        return "none" if learnt and standing != "pending" else standing

    # -- moments -------------------------------------------------------------------------------------------------------

    def alarmed(self) -> None:
        """A confirmed alarm: what earlier estimates were worth says nothing of the time from now on."""
        self.since_alarm = 0
        self.backtest = Backtest()

    def matured(
        self,
        groups: Sequence[Matured],
        events: int,
        window: BinaryEvidence | None,
        fresh: Fresh,
        watch: Watch,
        standing: State,
    ) -> None:
        """A step of so many labelled events; ``groups`` are those that it made through (then ``window`` is given)."""
        if self.since_alarm is not None:
            self.since_alarm += events
        if not groups:
            return
        mixture = self._rest_on(watch, standing)
        if mixture is not None and window is not None:
            self.holds = mixture.holds(window)
        for group in groups:
            self._learn(group, mixture)
        self._run_forward(fresh, mixture)

    def _learn(self, matured: Matured, mixture: MixtureReference | None) -> None:
        first = self.filter.belief is None
        free = None
        if mixture is not None and self.holds and self.filter.belief is not None:
            counts = mixture.merged(coarse_counts(matured.bins, matured.counts.sum(axis=0)))
            share, variance = mixture.observed(counts[np.newaxis], np.array([self.filter.belief.prevalence]))
            free = float(share[0]), float(variance[0])
        self.filter.matured(matured.events, matured.positives, free)
        if first and mixture is not None:
            self.filter.trust(mixture.logit_variance)
        group = matured.group
        if group.estimated is not None and matured.events >= _LEAST_LABELLED * group.events:
            negatives, positives = matured.counts.astype(np.float64)
            flagged = int(np.searchsorted(matured.bins, threshold_bin(group.threshold)))
            realised = point_metrics(negatives, positives, _middles(matured.bins), flagged, self.costs)
            self.backtest.judge(group.events, group.estimated, realised)

    def _run_forward(self, fresh: Fresh, mixture: MixtureReference | None) -> None:
        """The filter from the last matured group over all that wait, each used once."""
        belief = self.filter.belief
        if belief is None:
            return
        waiting = list(fresh.full)
        silent = mixture is None or not self.holds or not self.explained
        if silent or mixture is None or not waiting:
            for _ in waiting:
                belief = ahead(belief, None, self.filter.noise)
        else:
            counts = np.stack([mixture.merged(group.coarse) for group in waiting])
            at = np.full(len(waiting), _prevalence(belief))
            run = _follow(belief, mixture, counts, at, self.filter.noise)
            if max(abs(later.x - belief.x) for later in run) > _FAR:
                # The linear estimate is best near the truth: a second run begins where the first one came to.
                at = np.array([_prevalence(later) for later in run])
                run = _follow(belief, mixture, counts, at, self.filter.noise)
            belief = run[-1]
        self.full = belief
        self._look(fresh, mixture)

    def _look(self, fresh: Fresh, mixture: MixtureReference | None) -> None:
        """Over the open group, too."""
        self.now = self.full
        if self.full is None or mixture is None or not self.holds or not self.explained or fresh.open is None:
            return
        self.now = self._ahead(self.full, mixture, fresh.open_coarse)

    def _ahead(self, belief: Belief, mixture: MixtureReference, coarse: np.ndarray) -> Belief:
        at = np.array([_prevalence(belief)])
        counts = mixture.merged(coarse)[np.newaxis]
        share, variance = mixture.observed(counts, at)
        later = ahead(belief, (float(share[0]), float(variance[0])), self.filter.noise)
        if abs(later.x - belief.x) > _FAR:
            share, variance = mixture.observed(counts, np.array([_prevalence(later)]))
            later = ahead(belief, (float(share[0]), float(variance[0])), self.filter.noise)
        return later

    def tick(
        self,
        tick: Tick,
        fresh: Fresh,
        watch: Watch,
        standing: State,
        known: CalibrationMap | None,
        threshold: float,
    ) -> list[Matured]:
        """Enough scores have closed since the last tick; a group that is full now may have matured already."""
        mixture = self._rest_on(watch, standing)
        if not tick.full:
            self._look(fresh, mixture)
            return []
        group = fresh.fill()
        if group is None:
            return []
        if mixture is not None:
            explained = _explained(mixture, fresh)
            if explained != self.explained:
                self.explained = explained
                self._run_forward(fresh, mixture)
            elif self.full is not None:
                silent = not self.holds or not explained
                self.full = (
                    ahead(self.full, None, self.filter.noise)
                    if silent
                    else self._ahead(self.full, mixture, group.coarse)
                )
        elif self.full is not None:
            self.full = ahead(self.full, None, self.filter.noise)
        self.now = self.full
        self._estimate(group, fresh, known, threshold)
        through = fresh.settle(tick.at)
        if through is None:
            return []
        self._learn(through, mixture)
        self._run_forward(fresh, mixture)
        return [through]

    # -- decisions -----------------------------------------------------------------------------------------------------

    def speaks(self, watch: Watch, standing: State) -> bool:
        """Whether scores without labels say anything now."""
        return self._rest_on(watch, standing) is not None and self.holds and self.explained

    def is_ahead(self, positives: int, events: int, watch: Watch, standing: State) -> bool:
        """Whether the prevalence of now is another than that of a window of labels, beyond doubt."""
        if self.now is None or not events or not self.speaks(watch, standing):
            return False
        share = (positives + 0.5) / (events + 1.0)
        apart = abs(self.now.x - log(share / (1.0 - share)))
        errors = sqrt(self.now.xx) + 1.0 / sqrt(events * share * (1.0 - share))
        return apart > self.identity.config.thresholds.z * errors

    def look_ahead(self, at: int, window: WindowEvidence, fresh: Fresh, watch: Watch, standing: State) -> None:
        """Note at a tick since when the prevalence of now is ahead of the window's labels."""
        if not self.is_ahead(window.positives, window.events, watch, standing):
            self.ahead_from = None
        elif self.ahead_from is None:
            self.ahead_from = at, fresh.closed

    def moved(self) -> None:
        """The threshold moved on the prevalence of now: labels of earlier predictions are of another regime."""
        self.regime_from = None if self.ahead_from is None else self.ahead_from[0]

    def move(self, gate: Gate, in_force: float, fresh: Fresh, watch: Watch, standing: State) -> Move | None:
        """The move that the prevalence of now asks for; None where only labels may decide, or know as much."""
        if self.now is None or self.ahead_from is None:
            return None
        if fresh.closed - self.ahead_from[1] < _WITNESSES * self.identity.config.evaluate.events:
            return None
        mixture, classes = self._rest_on(watch, standing), self._classes
        if mixture is None or classes is None:
            return None
        if watch.reference is not None:
            # All that matured since without an alarm shows the same classes, and makes the gain surer.
            classes = total([classes, watch.history.total()])
        move = prior_moved(gate, classes, self.now.estimate, in_force)
        if move is None or not _explained(mixture, fresh):
            return None
        recent = fresh.recent()
        free, check = mixture.quick(recent), mixture.pacc(recent)
        return None if free is None or check is None or mixture.contradicted(free, check) else move

    # -- performance ---------------------------------------------------------------------------------------------------

    def _estimate(self, group: Group, fresh: Fresh, known: CalibrationMap | None, threshold: float) -> None:
        if fresh.latest is not None:
            group.estimated, group.threshold = self._expected(fresh.latest, known, threshold), threshold

    def _expected(
        self, scores: tuple[np.ndarray, np.ndarray], known: CalibrationMap | None, threshold: float
    ) -> dict[str, float]:
        bins, counts = scores
        score = _middles(bins)
        q = score if known is None else np.clip(known.predict_many(score), 0.0, 1.0)
        apart = self._apart()
        if apart is not None:
            q = shifted(q, *apart)
        positives = counts * q
        flagged = int(np.searchsorted(bins, threshold_bin(threshold)))
        return point_metrics(counts - positives, positives, score, flagged, self.costs)

    def _apart(self) -> tuple[float, float] | None:
        """The prevalences of what has matured and of now, where they differ beyond doubt: maps know only the first."""
        matured, now = self.filter.belief, self.now
        if matured is None or now is None:
            return None
        low, value, high = widened(now.estimate, self.identity.config.thresholds.z)
        return None if low <= matured.prevalence <= high else (matured.prevalence, value)

    # -- records -------------------------------------------------------------------------------------------------------

    def prevalence(
        self, labelled: records.Interval | None, fresh: Fresh, watch: Watch, standing: State
    ) -> records.Prevalence:
        """All that is known of the prevalence of now, beside that of a window's labels."""
        mixture = self._rest_on(watch, standing)
        free = check = None
        if mixture is not None:
            recent = fresh.recent()
            check = mixture.pacc(recent)
            free = mixture.of_coarse(recent) if self.holds and self.explained else None
            if free is not None and check is not None and mixture.contradicted(free, check):
                free = None
        fused = None if self.now is None else self.now.estimate
        return records.Prevalence(labelled, interval(free), interval(fused), interval(check))

    def estimated(
        self,
        fresh: Fresh,
        watch: Watch,
        standing: State,
        known: CalibrationMap | None,
        threshold: float,
        since: int,
    ) -> records.Estimated:
        """The metrics of the latest full group, expected; ``since`` (ms) is the end of what has matured."""
        state = self.state_of(watch, standing)
        said: dict[str, Any] = {"state": state, "since": records.rfc3339(since)}
        if state not in _SEEN:
            return records.Estimated(**said, silent="learning" if state == "learning" else "state")
        group = fresh.full[-1] if fresh.full else None
        if group is None or fresh.latest is None:
            return records.Estimated(**said, silent="no_scores")
        bands = self.backtest.bands(group.events)
        if not bands:
            return records.Estimated(**said, silent="backtest")
        expected = self._expected(fresh.latest, known, threshold)
        metrics = {
            name: records.Interval(
                value,
                max(0.0, value - bands[name]),
                value + bands[name] if name in _UNBOUNDED else min(1.0, value + bands[name]),
            )
            for name, value in expected.items()
            if name in bands
        }
        window = records.Window.of(group.first, group.last + self.identity.interval, group.events)
        return records.Estimated(**said, metrics=metrics, window=window)

    # -- state ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "filter": self.filter.state(),
            "backtest": self.backtest.state(),
            "holds": self.holds,
            "explained": self.explained,
            "since_alarm": self.since_alarm,
            "full": None if self.full is None else list(self.full),
            "now": None if self.now is None else list(self.now),
            "of": self._of,
            "ahead_from": None if self.ahead_from is None else list(self.ahead_from),
            "regime_from": self.regime_from,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.filter = PrevalenceFilter.restore(state["filter"])
        self.backtest = Backtest.restore(state["backtest"])
        self.holds, self.explained, self.since_alarm = state["holds"], state["explained"], state["since_alarm"]
        self.full = None if state["full"] is None else Belief(*state["full"])
        self.now = None if state["now"] is None else Belief(*state["now"])
        self._of, self.regime_from = state["of"], state["regime_from"]
        self.ahead_from = None if state["ahead_from"] is None else (state["ahead_from"][0], state["ahead_from"][1])


def interval(estimate: Estimate | None) -> records.Interval | None:
    """An estimate as records say it."""
    return None if estimate is None else records.Interval(*estimate)


def _explained(mixture: MixtureReference, fresh: Fresh) -> bool:
    """Whether a mixture explains the latest scores that wait: all of the window, a quarter of them, and the last few.

    What moves a threshold is young: in the whole window scores from before a change would hide what is odd about it.
    """
    return all(mixture.explains(mixture.merged(fresh.recent(part)), _ALPHA) for part in (1, 4, 16))


def _follow(
    belief: Belief, mixture: MixtureReference, counts: np.ndarray, at: np.ndarray, noise: float
) -> list[Belief]:
    """The belief after each of some groups, their estimates linear at the prevalences float64[g]."""
    shares, variances = mixture.observed(counts, at)
    run: list[Belief] = []
    for share, variance in zip(shares.tolist(), variances.tolist(), strict=True):
        belief = ahead(belief, (share, variance), noise)
        run.append(belief)
    return run


def _prevalence(belief: Belief) -> float:
    """What the label-free estimate is expected to say."""
    return min(max(belief._replace(x=belief.x + belief.b).prevalence, _EDGE), 1.0 - _EDGE)


def _middles(bins: np.ndarray) -> np.ndarray:
    """float64[k]: the middle scores of bins int64[k]."""
    middles: np.ndarray = 0.5 * (EDGES[bins] + np.minimum(EDGES[bins + 1], 1.0))
    return middles
