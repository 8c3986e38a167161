"""One model's fold: waiting predictions and matured cohorts in, decisions out, in order of logical time.

``advance(now)`` takes every act whose logical time is < now: cohorts that close (their names are admitted, their scores
feed the label-free estimates), cohorts that mature (their rows go to the cells), amendments, steps and retirements.

Invariant: the outputs, and their order, are a function of the events and of the configuration: how often ``advance`` is
called on the way to the same ``now`` changes nothing.

Source: DESIGN "The one idea" and "Time".
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from streameval.engine.cell import Cell
from streameval.engine.clock import BEGINNING
from streameval.engine.comparing import Comparing
from streameval.engine.fresh import Fresh, Tick
from streameval.engine.places import ABSENT, VERSIONS, Values, Versions
from streameval.engine.rows import PARTITIONS, Output, Rows, TooLate
from streameval.engine.thinning import marked, thin
from streameval.engine.window import Block, Correction
from streameval.evaluate.calibration.champion import CalibrationMap
from streameval.events.columns import Outcomes, Predictions
from streameval.evidence.binary import BinaryEvidence
from streameval.join import NEVER, Amendments, Cohorts, Join, Labelled, Pauses
from streameval.order import distinct

if TYPE_CHECKING:
    from streameval.config import Model

InForce = tuple[float | None, CalibrationMap | None]
"""The threshold and the map that subscribers have."""
TOGETHER = 1 << 15
"""Rows whose evidence is made at once, at most (a single step may have more)."""
CellKey = tuple[int, int, int]
"""(version's place, segment name's place or -1 for the whole, value's place or 0)."""


class ModelFold:
    """The state of one model and what moves it.

    Args:
        config: The model's configuration.
        interval: Length of a cohort (ms).
    """

    def __init__(self, config: Model, interval: int) -> None:
        self.config = config
        self.interval = interval
        self.names = tuple(config.segments)
        self.kpis = tuple(config.kpis)
        self.versions = Versions()
        self.values = [Values() for _ in self.names]
        self.matured_to = BEGINNING
        """Start of the last cohort that has matured (ms)."""
        labels = config.labels
        self.join = Join(
            interval=interval,
            wait=labels.wait,
            amend=labels.amend,
            early=labels.early,
            give_up=labels.give_up,
            missing=labels.missing,
            kpis=self.kpis,
            shards=PARTITIONS,
            tags=len(self.names),
        )
        self.cells: dict[CellKey, Cell] = {}
        self.fresh: dict[int, Fresh] = {}
        self.labelled = Labelled()
        """First labels of rows whose cohort has not closed yet."""
        self.comparing = Comparing(config)
        self.earlier: dict[tuple[str, str], InForce] = {}
        """What an earlier lineage left in force, by version and segment."""
        self.counted_from: int | None = None
        self.left: tuple[int, int] | None = None
        """From when to when (prediction time, ms) cohorts left unproven, since somebody took note of it."""
        self.matured = 0
        self.unlabelled = 0

    # -- events in -----------------------------------------------------------------------------------------------------

    def put(self, part: int, columns: Predictions, lt: np.ndarray) -> None:
        """The model's predictions of one partition, in log order, with their logical times, i64[n]."""
        kind, identity = self.versions.coded(columns.version)
        tags = [values.coded(part, column) for values, column in zip(self.values, columns.segments, strict=False)]
        if self.config.labels.selective == "propensity" and columns.propensity is not None:
            kind = marked(self.config, columns.id_hash, kind, columns.propensity)
        self.join.put(part, columns.ts, lt, columns.id_hash, columns.score, kind, identity, columns.offset, tags)

    def match(self, part: int, columns: Outcomes, lt: np.ndarray) -> None:
        """Outcomes of one partition, in log order, with their logical times, i64[n]."""
        own = {name: columns.kpis[name] for name in self.kpis if name in columns.kpis}
        self.join.match(part, columns.ts, lt, columns.id_hash, columns.label, own, columns.heartbeat)

    # -- acts ----------------------------------------------------------------------------------------------------------

    def advance(self, now: int, leaps: Pauses) -> list[Output | TooLate]:
        """Take every act whose logical time is < ``now``, outputs in order of logical time; `leaps` as for the join."""
        if now >= NEVER:
            # The end of the logs is no silence of a version.
            return self._until(now, leaps)
        outputs: list[Output | TooLate] = []
        while True:
            retirement = self._next_retirement()
            outputs += self._until(min(now, retirement + 1), leaps)
            if retirement + 1 > now:
                return outputs
            if self._next_retirement() == retirement:
                outputs += self._retire(retirement)

    def _until(self, now: int, leaps: Pauses) -> list[Output | TooLate]:
        acts = self.join.advance(now, leaps)
        if self.config.labels.selective == "propensity":
            thin(acts.matured, acts.amended, [acts.closed, acts.labelled])
        late = acts.late
        outputs: list[Output | TooLate] = [
            TooLate(int(at), int(part), int(offset), int(ts))
            for at, part, offset, ts in zip(late.at, late.part, late.offset, late.ts, strict=True)
        ]
        ticks: list[tuple[int, int, Tick]] = []
        self._admit(acts.closed, acts.matured)
        outputs += self._close(acts.closed, ticks)
        self._label(acts.labelled, now)
        steps = self._mature(acts.matured, now)
        steps.sort(key=lambda step: (step[0], step[1]))
        blocks = self._blocks([rows for _, _, rows in steps])
        amended = acts.amended
        done = 0

        def amend(at: int) -> None:
            nonlocal done
            if done < len(amended) and amended.at[done] <= at:
                due = int(np.searchsorted(amended.at, at, side="right"))
                self._amend(amended, slice(done, due))
                done = due

        def tick(at: int) -> None:
            while ticks and ticks[0][0] <= at:
                _, place, moment = ticks.pop(0)
                amend(moment.at)
                outputs.extend(self.cells[place, -1, 0].tick(moment, self.fresh[place]))

        ticks.sort()
        for (at, key, rows), block in zip(steps, blocks, strict=True):
            # At one logical time predictions close before others mature.
            tick(at)
            amend(at)
            cell = self.cells[key]
            outputs += cell.step(at, rows, block, self._whole(key), self.fresh.get(key[0]))
            for bucket in cell.closed:
                outputs += self.comparing.close(at, cell.identity, bucket)
        tick(NEVER)
        if done < len(amended):
            self._amend(amended, slice(done, len(amended)))
        for fresh in self.fresh.values():
            fresh.absorb(now - 1)
        outputs.sort(key=lambda output: output.at)
        return outputs

    def _blocks(self, parts: list[Rows]) -> list[Block]:
        """The blocks of the steps' rows; the evidence of many small steps is made at once, at half its cost."""
        evidence: list[BinaryEvidence] = []
        while len(evidence) < len(parts):
            left = parts[len(evidence) :]
            sizes = [len(part) for part in left]
            taken = left[: max(1, int(np.searchsorted(np.cumsum(sizes), TOGETHER, side="right")))]
            group = np.repeat(np.arange(len(taken)), sizes[: len(taken)])
            evidence += Rows.join(taken).evidence(self.config, group, len(taken))
        return [
            Block(int(rows.cohort[0]), int(rows.cohort[-1]), known) for rows, known in zip(parts, evidence, strict=True)
        ]

    def _label(self, labelled: Labelled, now: int) -> None:
        """Give first labels to the groups of their predictions, from when both are there and the cohort has closed."""
        labelled = Labelled.join([self.labelled, labelled])
        known = np.maximum(labelled.at, labelled.start + self.interval)
        due = known < now
        self.labelled = labelled.take(~due)
        labelled, known = labelled.take(due), known[due]
        order = np.argsort(known, kind="stable")
        labelled, known = labelled.take(order), known[order]
        places = self.versions.of(labelled.kind, labelled.start)
        for place in distinct(places).tolist():
            # A late prediction of a version that never had another one has no groups.
            if place != VERSIONS and place in self.fresh:
                mine = places == place
                delay = (labelled.at - labelled.ts)[mine]
                self.fresh[place].label(known[mine], labelled.start[mine], delay, labelled.label[mine])

    def _admit(self, closed: Cohorts, matured: Cohorts) -> None:
        """Give places to versions and segment values of cohorts that closed."""
        last = np.append(self.matured_to, matured.start)
        if len(closed):
            # At one logical time cohorts close before others mature.
            since = last[np.searchsorted(matured.at, closed.at)] + 1
            self.versions.admit(closed.kind, closed.bounds, since)
            for values, code in zip(self.values, closed.tags, strict=True):
                values.admit(code, closed.bounds, since)
        self.matured_to = int(last[-1])

    def _close(self, closed: Cohorts, ticks: list[tuple[int, int, Tick]]) -> list[Output]:
        outputs: list[Output] = []
        if len(closed.start) == 0:
            return outputs
        ends = np.repeat(closed.at, np.diff(closed.bounds))
        versions = self.versions.of(closed.kind, ends - self.interval)
        for place in distinct(versions).tolist():
            mine = versions == place
            if place < VERSIONS:
                self.versions.seen(place, int(ends[mine][-1]))
            if place not in self.fresh:
                self.fresh[place] = self._groups()
                first = int(ends[mine][0])
                outputs.append(self._cell((place, -1, 0)).begin(first))
            ticks += [(tick.at, place, tick) for tick in self.fresh[place].push(ends[mine], closed.score[mine])]
        return outputs

    def _groups(self) -> Fresh:
        evaluate, labels = self.config.evaluate, self.config.labels
        return Fresh(evaluate.events, evaluate.window, labels.wait, labels.amend, self.interval)

    def _mature(self, matured: Cohorts, now: int) -> list[tuple[int, CellKey, Rows]]:
        """Give the matured rows to their cells; the steps that they, or their deadlines, bring."""
        steps: list[tuple[int, CellKey, Rows]] = []
        if len(matured.start):
            self._distribute(matured, steps, now)
        if min((cell.steps.deadline for cell in self.cells.values()), default=NEVER) < now:
            for key, cell in self.cells.items():
                steps += [(at, key, rows) for at, rows in cell.plan(None, now)]
        return steps

    def _distribute(self, matured: Cohorts, steps: list[tuple[int, CellKey, Rows]], now: int) -> None:
        self.matured += len(matured.ts)
        self.unlabelled += int((matured.label < 0).sum())
        if matured.unproven.any():
            self._leave(matured)
        first = self.join.first_label
        j = int(np.searchsorted(matured.at, NEVER if first is None else first))
        if j == len(matured.start):
            return
        if self.counted_from is None:
            self.counted_from = int(matured.start[j])
        skip = int(matured.bounds[j])
        sizes = np.diff(matured.bounds[j:])
        rows = Rows(
            at=np.repeat(matured.at[j:], sizes),
            cohort=np.repeat(matured.start[j:], sizes),
            id_hash=matured.id_hash[skip:],
            score=matured.score[skip:],
            label=matured.label[skip:],
            kpis={name: x[skip:] for name, x in matured.kpis.items()},
        )
        versions = self.versions.of(matured.kind[skip:], rows.cohort)
        segments = [values.of(code[skip:], rows.cohort) for values, code in zip(self.values, matured.tags, strict=True)]
        places = distinct(versions).tolist()
        for place in places:
            mine = None if len(places) == 1 else np.flatnonzero(versions == place)
            own = rows if mine is None else rows.take(mine)
            self._plan((place, -1, 0), own, steps, now)
            for name, column in enumerate(segments):
                values = column if mine is None else column[mine]
                order = np.argsort(values, kind="stable")
                ranked = values[order]
                cuts = [0, *(np.flatnonzero(np.diff(ranked)) + 1).tolist(), len(ranked)]
                for a, b in pairwise(cuts):
                    if ranked[a] != ABSENT:
                        self._plan((place, name, int(ranked[a])), own.take(order[a:b]), steps, now)

    def _leave(self, matured: Cohorts) -> None:
        """Note the cohorts that left whole, without labels."""
        of_row = np.repeat(matured.unproven, np.diff(matured.bounds))
        places = self.versions.of(matured.kind[of_row], np.repeat(matured.start, np.diff(matured.bounds))[of_row])
        at = np.repeat(matured.at, np.diff(matured.bounds))[of_row]
        for place in distinct(places).tolist():
            if place in self.fresh:
                for moment, count in zip(*np.unique(at[places == place], return_counts=True), strict=True):
                    self.fresh[place].left(int(moment), int(count))
        start = matured.start[matured.unproven]
        first = int(start[0]) if self.left is None else self.left[0]
        self.left = first, int(start[-1]) + self.interval

    def _plan(self, key: CellKey, rows: Rows, steps: list[tuple[int, CellKey, Rows]], now: int) -> None:
        steps += [(at, key, due) for at, due in self._cell(key).plan(rows, now)]

    def _cell(self, key: CellKey) -> Cell:
        cell = self.cells.get(key)
        if cell is None:
            place, name, value = key
            segment = "*" if name < 0 else f"{self.names[name]}={self.values[name].name(value)}"
            cell = Cell(self.config, self.versions.name(place), segment, self.interval)
            cell.take_up(*self.earlier.get((cell.version, segment), (None, None)))
            self.cells[key] = cell
        return cell

    def _whole(self, key: CellKey) -> Cell:
        return self.cells[key[0], -1, 0]

    # -- amendments ----------------------------------------------------------------------------------------------------

    def _amend(self, amended: Amendments, part: slice) -> None:
        """Correct the rows of a part of the amendments wherever they are counted."""
        start = amended.start[part]
        versions = self.versions.of(amended.kind[part], start)
        segments = [values.of(code[part], start) for values, code in zip(self.values, amended.tags, strict=True)]
        came_late = (amended.old_label[part] != 1) & (amended.new_label[part] == 1)
        for place in distinct(versions[versions != ABSENT]).tolist():
            of_version = versions == place
            if place in self.fresh:
                self.fresh[place].late(start[of_version & came_late])
            self._correct((place, -1, 0), amended, part, of_version)
            for name, values in enumerate(segments):
                for value in distinct(values[of_version]).tolist():
                    if value != ABSENT:
                        self._correct((place, name, value), amended, part, of_version & (values == value))

    def _correct(self, key: CellKey, amended: Amendments, part: slice, mine: np.ndarray) -> None:
        cell = self.cells.get(key)
        if cell is None or self.counted_from is None:
            return
        rows = np.flatnonzero(mine & (amended.start[part] >= self.counted_from)) + part.start
        cohort, score = amended.start[rows], amended.score[rows]
        places, first, group = np.unique(cell.window.places(cohort), return_index=True, return_inverse=True)
        was, now = (
            Rows(
                amended.at[rows],
                cohort,
                amended.id_hash[rows],
                score,
                label[rows],
                {name: x[rows] for name, x in kpis.items()},
            )
            for label, kpis in ((amended.old_label, amended.old_kpis), (amended.new_label, amended.new_kpis))
        )
        before, after = (known.evidence(self.config, group, len(places)) for known in (was, now))
        for correction in map(Correction, cohort[first].tolist(), before, after):
            cell.window.correct(correction)
        if cell.unseen is not None:
            before, after = (known.unlabelled(group, len(places)) for known in (was, now))
            for correction in map(Correction, cohort[first].tolist(), before, after):
                cell.unseen.correct(correction)

    # -- versions ------------------------------------------------------------------------------------------------------

    def _next_retirement(self) -> int:
        seen = self.versions.last_seen.values()
        # Without a live version: the first that can appear retires so much later at the earliest.
        return (min(seen) if seen else self.join.next_close) + self.config.retire_after

    def _retire(self, at: int) -> list[Output]:
        outputs: list[Output] = []
        for place, seen in sorted(self.versions.last_seen.items()):
            if seen + self.config.retire_after == at:
                for key in sorted(key for key in self.cells if key[0] == place):
                    outputs += self.cells.pop(key).end(at)
                self.fresh.pop(place, None)
                self.comparing.end(self.versions.name(place))
                self.versions.retire(place, self.matured_to + 1, self.join.reaches_back[0])
        return outputs

    def end(self, at: int) -> list[Output]:
        """The model is no longer configured: tombstones for all its keys."""
        return [output for _, cell in sorted(self.cells.items()) for output in cell.end(at)]

    # -- state ---------------------------------------------------------------------------------------------------------

    def relearn(self) -> None:
        """The configuration changed in a way that learning must answer: cells begin anew, thresholds stay in force."""
        for key, old in list(self.cells.items()):
            cell = Cell(self.config, old.version, old.segment, self.interval)
            cell.inherit(old)
            self.cells[key] = cell
        self.comparing = Comparing(self.config)

    def state(self) -> dict[str, Any]:
        """Plain values of everything but the retained rows, which the join exports on its own."""
        earlier = [
            [version, segment, threshold, None if known is None else [known.method, known.x, known.y]]
            for (version, segment), (threshold, known) in sorted(self.earlier.items(), key=lambda item: item[0])
        ]
        return {
            "earlier": earlier,
            "versions": self.versions.state(),
            "values": [values.state() for values in self.values],
            "matured_to": self.matured_to,
            "cells": [[list(key), cell.state()] for key, cell in sorted(self.cells.items())],
            "fresh": [[place, fresh.state()] for place, fresh in sorted(self.fresh.items())],
            "labelled": self.labelled.columns,
            "comparing": self.comparing.state(),
            "counted_from": self.counted_from,
            "matured": self.matured,
            "unlabelled": self.unlabelled,
        }

    def restore(self, state: dict[str, Any], join: dict[str, Any], load: Callable[[str], Any]) -> None:
        """Continue from ``state`` and the join's exported state, whose blobs ``load`` reads by name."""
        self.versions.restore(state["versions"])
        for values, known in zip(self.values, state["values"], strict=True):
            values.restore(known)
        self.matured_to = state["matured_to"]
        self.join = Join.restore(join, load)
        labels = self.config.labels
        self.join.wait, self.join.early, self.join.amend = labels.wait, labels.early, labels.amend
        self.join.give_up, self.join.missing = labels.give_up, labels.missing
        for (place, name, value), cell_state in state["cells"]:
            self._cell((place, name, value)).restore(cell_state)
        for place, fresh in state["fresh"]:
            self.fresh[place] = self._groups()
            self.fresh[place].restore(fresh)
        self.labelled = Labelled(*state["labelled"])
        self.earlier = {
            (version, segment): (threshold, None if known is None else CalibrationMap(*known))
            for version, segment, threshold, known in state["earlier"]
        }
        self.comparing.restore(state["comparing"])
        self.counted_from = state["counted_from"]
        self.matured, self.unlabelled = state["matured"], state["unlabelled"]
