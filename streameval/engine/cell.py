"""One cell (model, version, segment): what a step does with the rows that have matured.

A step takes its rows as evidence and in this order: window, calibration, monitors, diagnosis and its answer, threshold,
retraining, metrics. Each of these keeps its own part of the state and makes its own records; the cell only says in
which order.

Invariant: a function of the cell's earlier steps, of the step's rows, of the corrections before it and, for a segment,
of the whole's threshold and map; all times are logical.

Source: DESIGN "The way of an event" and "Time"; METHODS sections 1 to 5b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streameval import records
from streameval.detect.own_move import OwnMove
from streameval.engine.aligning import Aligning, Bucket
from streameval.engine.answering import answered
from streameval.engine.arriving import Arriving
from streameval.engine.calibrating import Calibrating
from streameval.engine.clock import BEGINNING
from streameval.engine.diagnosing import Diagnosing
from streameval.engine.foreseeing import Foreseeing, interval
from streameval.engine.fresh import Fresh, Tick
from streameval.engine.identity import WHOLE, Identity
from streameval.engine.measuring import Foreseen, Measuring
from streameval.engine.moving import Moving
from streameval.engine.rows import Output, Rows
from streameval.engine.selecting import selective_prevalence
from streameval.engine.siblings import Siblings
from streameval.engine.steps import Steps
from streameval.engine.watching import Watching
from streameval.engine.window import EVERYTHING, Block, Window
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.evaluate.prevalence import windowed
from streameval.evaluate.selective import Selection
from streameval.evidence.binary import BinaryEvidence

if TYPE_CHECKING:
    from streameval.config import Model

__all__ = ["WHOLE", "Cell"]


class Cell:
    """The state of one cell.

    Args:
        config: The model's configuration.
        version, segment: Whose cell it is.
        interval: Length of a cohort (ms).
    """

    def __init__(self, config: Model, version: str, segment: str, interval: int) -> None:
        self.config = config
        self.version = version
        self.segment = segment
        self.interval = interval
        self.identity = Identity(config, version, segment, interval)
        objective = config.objective
        costs = (objective.fp, objective.fn) if objective.kind == "cost" else None
        self.steps = Steps(config.evaluate.events, config.evaluate.every)
        self.window = Window(config.evaluate.window, config.thresholds.positives)
        selective = config.labels.selective == "unknown"
        self.unseen = Window(EVERYTHING, 0) if selective else None
        """Where labels are selective: the window's predictions without a label, as if they were negatives."""
        self.calibrating = Calibrating(self.identity) if segment == WHOLE else None
        self.watching = Watching(self.identity, costs or (1.0, 1.0))
        self.diagnosing = Diagnosing(self.identity, costs)
        self.moving = Moving(self.identity)
        self.measuring = Measuring(self.identity, costs)
        self.aligning = Aligning(self.identity) if segment == WHOLE else None
        # What is known before labels come is known of predictions whose labels will come.
        foresees = segment == WHOLE and not selective
        self.foreseeing = Foreseeing(self.identity, costs) if foresees else None
        self.arriving = Arriving(self.identity) if foresees else None
        self.siblings = Siblings()
        """Of the whole: how far its segments are from it."""
        self.closed: list[Bucket] = []
        """Buckets of the loss and the KPIs that the last step closed."""
        self.published_at = BEGINNING
        self.published_closed = 0
        """Predictions of the version that had closed by then."""

    @property
    def own_threshold(self) -> float | None:
        """The threshold published under the cell's key; None where the whole's serves."""
        return self.moving.own

    @property
    def published_map(self) -> CalibrationMap | None:
        """The map published under the cell's key."""
        return None if self.calibrating is None else self.calibrating.published

    # -- the life of a cell --------------------------------------------------------------------------------------------

    def begin(self, at: int) -> Output:
        """The first record of a version: the threshold in force from the start."""
        threshold = self.threshold(self)
        reason = "initial" if threshold == self.config.threshold else "inherited"
        return self.moving.record(at, threshold, None, reason, known=self.published_map)

    def take_up(self, threshold: float | None, calibration: CalibrationMap | None) -> None:
        """Hold to what subscribers have from an earlier lineage: the map stays until another one proves better."""
        if threshold is not None:
            self.moving.own = threshold
        if calibration is not None and self.calibrating is not None:
            self.calibrating.published, self.calibrating.inherited = calibration, True

    def end(self, at: int) -> list[Output]:
        """Tombstones for what was published under the cell's key in compacted topics."""
        outputs = []
        if self.own_threshold is not None:
            outputs.append(self.identity.output(at, "thresholds", None))
        if self.published_map is not None:
            outputs.append(self.identity.output(at, "calibration", None))
        return outputs

    def inherit(self, old: Cell) -> None:
        """Keep what is in force with subscribers; all that was learnt is left behind."""
        self.moving.own = old.moving.own
        if self.calibrating is not None and old.calibrating is not None:
            self.calibrating.published = old.calibrating.published
        self.published_at = old.published_at
        self.steps = old.steps

    def threshold(self, whole: Cell) -> float:
        """The threshold in force: the cell's own, else the whole's."""
        if self.own_threshold is not None:
            return self.own_threshold
        return self.config.threshold if whole.own_threshold is None else whole.own_threshold

    def plan(self, rows: Rows | None, now: int) -> list[tuple[int, Rows]]:
        """The steps before ``now`` that these rows, or the cell's deadline, bring."""
        return self.steps.plan(rows, now)

    # -- a step --------------------------------------------------------------------------------------------------------

    def step(self, at: int, rows: Rows, block: Block, whole: Cell, fresh: Fresh | None) -> list[Output]:
        """Evaluate, detect, decide on the rows of one step, whose evidence ``block`` is; the outputs in order."""
        start, end = block.first, block.last + self.interval
        # Detectors consume a cohort once, as it matured; corrections that came since then change windows only.
        matured = block.evidence
        evidence = self.window.push(block).evidence
        if self.unseen is not None:
            self.unseen.push(Block(block.first, block.last, rows.without_label()))
            self.unseen.cut(self.window.blocks[0].first)
        self.closed = []
        regime = None if whole.foreseeing is None else whole.foreseeing.regime_from
        if regime is not None and start >= regime:
            self.window.cut(regime)
            if self.unseen is not None:
                self.unseen.cut(self.window.blocks[0].first)
        if evidence.events == 0:
            return self._came_through(at, rows, 0, fresh)
        threshold = self.threshold(whole)
        self.moving.matured(start, evidence.events, threshold)
        outputs: list[Output] = []
        if self.calibrating is not None:
            known = self.published_map
            outputs += self.calibrating.step(at, evidence, self._window())
            if self.published_map is not None and self.published_map is not known:
                self.moving.mapped(at, threshold, known, self.published_map)
        if self.aligning is not None:
            self.closed, told = self.aligning.step(at, rows, threshold)
            outputs += told
        alarms, told = self.watching.step(at, rows, matured, start, end, threshold)
        outputs += told
        told, closed = self.diagnosing.step(at, matured, end, self._own_moves(whole))
        outputs += told
        confirmed = [alarm for alarm in alarms if alarm.tier == "confirmed"]
        for alarm in confirmed:
            self.window.cut(alarm.change_at)
            if self.unseen is not None:
                self.unseen.cut(self.window.blocks[0].first)
            outputs += self.diagnosing.alarmed(at, alarm, end, self.watching.watch, self._own_moves(whole))
            if self.foreseeing is not None:
                self.foreseeing.alarmed()
        outputs += self._came_through(at, rows, evidence.events, fresh)
        window: BinaryEvidence | None = None
        if closed is not None:
            prevalence = self._prevalence(self.window.evidence(), fresh)
            outputs += answered(at, closed, self, whole, prevalence, self._window())
            threshold = self.threshold(whole)
        if self.moving.may_move and not whole.is_ahead and (regime is None or start >= regime):
            self.moving.judge(self.window.blocks)
            window = self.window.evidence()
            selection = self._selection()
            if selection is not None:
                move = self.moving.propose_selective(selection, threshold)
            elif self is whole:
                move = self.moving.propose(window, threshold)
            else:
                worth = whole.siblings.pseudo_events(self.segment)
                move = self.moving.propose_shrunk(window, threshold, whole.window.evidence(), worth)
            if move is not None and (self.moving.vetoes(move) or whole.moving.vetoes(move)):
                move = None
            if move is not None:
                prevalence = self._prevalence(window, fresh)
                past = self.window.blocks
                outputs.append(
                    self.moving.move(at, move, move.reason, whole.published_map, prevalence, self._window(), past)
                )
                threshold = move.threshold
                self.watching.watch.epoch(threshold, at)
        outputs += self.diagnosing.ask(at, end, threshold, self.moving)
        if confirmed or self._due(at):
            outputs += self._published(
                at, window if window is not None else self.window.evidence(), threshold, whole, fresh
            )
        return outputs

    def tick(self, tick: Tick, fresh: Fresh) -> list[Output]:
        """Look at the scores that wait for labels, and decide what they alone can decide (for the whole)."""
        at = tick.at
        fresh.absorb(at)
        if self.foreseeing is None or self.arriving is None:
            return []
        watch, standing, threshold = self.watching.watch, self.diagnosing.standing, self.threshold(self)
        through = self.foreseeing.tick(tick, fresh, watch, standing, self.published_map, threshold)
        outputs = self.arriving.step(at, [matured.past for matured in through], fresh)
        if not self.window.blocks:
            return outputs
        self.foreseeing.look_ahead(at, self.window.total, fresh, watch, standing)
        if self.moving.may_move and 2 * self.moving.since_move >= self.window.total.events:
            move = self.foreseeing.move(self.moving.gate, threshold, fresh, watch, standing)
            if move is not None and not self.moving.vetoes(move):
                prevalence = self._prevalence(self.window.evidence(), fresh)
                past = self.window.blocks
                outputs.append(
                    self.moving.move(at, move, move.reason, self.published_map, prevalence, self._window(), past)
                )
                threshold = move.threshold
                watch.epoch(threshold, at)
                self.foreseeing.moved()
        if self._due(at) and self._has_news(at, fresh):
            outputs += self._published(at, self.window.evidence(), threshold, self, fresh)
        return outputs

    def _has_news(self, at: int, fresh: Fresh) -> bool:
        """Whether scores alone are worth a record: as many as a step's, or all of the time that a step may take."""
        least = self.config.evaluate
        return fresh.closed - self.published_closed >= least.events or at - self.published_at >= least.every

    @property
    def is_ahead(self) -> bool:
        """Whether the prevalence of now is known to be another than the window's: then its labels decide nothing."""
        if self.foreseeing is None:
            return False
        total = self.window.total
        return self.foreseeing.is_ahead(total.positives, total.events, self.watching.watch, self.diagnosing.standing)

    def _came_through(self, at: int, rows: Rows, events: int, fresh: Fresh | None) -> list[Output]:
        """Groups of waiting predictions that this step made through."""
        if self.segment != WHOLE or fresh is None:
            return []
        fresh.absorb(at)
        through = fresh.mature(at, rows)
        if self.foreseeing is None or self.arriving is None:
            return []
        window = self.window.evidence() if through else None
        watch, standing = self.watching.watch, self.diagnosing.standing
        self.foreseeing.matured(through, events, window, fresh, watch, standing)
        return self.arriving.step(at, [matured.past for matured in through], fresh)

    def _due(self, at: int) -> bool:
        return at - self.published_at >= self.config.evaluate.publish_every

    def _published(
        self, at: int, window: BinaryEvidence, threshold: float, whole: Cell, fresh: Fresh | None
    ) -> list[Output]:
        self.published_at = at
        self.published_closed = self.published_closed if fresh is None else fresh.closed
        watch, foreseen = self.watching.watch, None
        if self.foreseeing is not None and self.arriving is not None and fresh is not None:
            since = self.window.blocks[-1].last + self.interval
            standing = self.diagnosing.standing
            foreseen = Foreseen(
                self.foreseeing.estimated(fresh, watch, standing, self.published_map, threshold, since),
                self.arriving.provisional(at, fresh),
                self.arriving.flow(at, fresh),
            )
        prevalence = self._prevalence(window, fresh)
        if self is not whole:
            whole.siblings.note(self.segment, window, whole.window.evidence())
        return self.measuring.record(
            at, window, self._window(), threshold, watch, prevalence, whole.published_map, foreseen, self._selection()
        )

    def _selection(self) -> Selection | None:
        """The window with the predictions whose label is not seen, where labels are selective."""
        return None if self.unseen is None else Selection(self.window.evidence(), self.unseen.evidence())

    def _prevalence(self, window: BinaryEvidence, fresh: Fresh | None) -> records.Prevalence:
        """The prevalence of a window by its labels, and for the whole that of now without them."""
        selection = self._selection()
        if selection is not None:
            return selective_prevalence(selection)
        labelled = interval(windowed(window))
        if self.foreseeing is None or fresh is None:
            return records.Prevalence(labelled)
        return self.foreseeing.prevalence(labelled, fresh, self.watching.watch, self.diagnosing.standing)

    def _own_moves(self, whole: Cell) -> list[OwnMove]:
        """What we published that changed decisions on this cell's predictions."""
        own = self.moving.own_moves
        if self is whole:
            return own
        # Maps are the whole's, and so is the threshold until the segment has its own.
        of_whole = [move for move in whole.moving.own_moves if move.by_map or self.own_threshold is None]
        return sorted([*own, *of_whole])

    def _window(self) -> records.Window:
        blocks = self.window.blocks
        return records.Window.of(blocks[0].first, blocks[-1].last + self.interval, self.window.total.events)

    # -- state ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "steps": self.steps.state(),
            "window": self.window.state(),
            "unseen": None if self.unseen is None else self.unseen.state(),
            "calibrating": None if self.calibrating is None else self.calibrating.state(),
            "watching": self.watching.state(),
            "diagnosing": self.diagnosing.state(),
            "moving": self.moving.state(),
            "measuring": self.measuring.state(),
            "aligning": None if self.aligning is None else self.aligning.state(),
            "foreseeing": None if self.foreseeing is None else self.foreseeing.state(),
            "arriving": None if self.arriving is None else self.arriving.state(),
            "siblings": self.siblings.state(),
            "published_at": self.published_at,
            "published_closed": self.published_closed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.steps.restore(state["steps"])
        self.window.restore(state["window"])
        if self.unseen is not None and state["unseen"] is not None:
            self.unseen.restore(state["unseen"])
        if self.calibrating is not None:
            self.calibrating.restore(state["calibrating"])
        self.watching.restore(state["watching"])
        self.diagnosing.restore(state["diagnosing"])
        self.moving.restore(state["moving"])
        self.measuring.restore(state["measuring"])
        if self.aligning is not None:
            self.aligning.restore(state["aligning"])
        self.siblings.restore(state["siblings"])
        # What the labels are said to be may have changed since.
        if self.foreseeing is not None and state["foreseeing"] is not None:
            self.foreseeing.restore(state["foreseeing"])
        if self.arriving is not None and state["arriving"] is not None:
            self.arriving.restore(state["arriving"])
        self.published_at, self.published_closed = state["published_at"], state["published_closed"]
