"""The matured past of a cell: blocks of whole cohorts in a sliding window, and the rows that wait for the next step.

A *block* is what one step consumed. The window is the sum of the latest blocks; an amendment changes the block that
holds its cohort, or waits for the block that will.

Invariant: the window's evidence is the sum of its blocks' evidence, exactly; cohorts are in order, in one block each.

Source: DESIGN "Time" (steps), METHODS sections 4 (windows) and 8 (amend = subtract and add again).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.window import WindowEvidence

EVERYTHING = 2**62
"""Events of a window that keeps all its blocks until it is cut."""
GROWTH = 50
"""A window that waits for positives holds at most this many times the events asked for."""


@dataclass(slots=True)
class Block:
    """What one step consumed: cohorts ``first`` to ``last`` (their starts, ms) and their labelled evidence."""

    first: int
    last: int
    evidence: BinaryEvidence

    def state(self) -> dict[str, Any]:
        """Plain values for ``restore``."""
        return {"first": self.first, "last": self.last, "evidence": self.evidence.state()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Block:
        """The inverse of ``state``."""
        return cls(state["first"], state["last"], BinaryEvidence.restore(state["evidence"]))


@dataclass(slots=True)
class Correction:
    """Matured rows whose labels or KPIs changed: the evidence that they had and the evidence that they have now.

    All lie in the block of one cohort; while there is no such block yet, in that cohort.
    """

    cohort: int
    before: BinaryEvidence
    after: BinaryEvidence

    def applied_to(self, evidence: BinaryEvidence) -> BinaryEvidence:
        """Evidence with the rows as they are now."""
        # Added first: of a row that changed twice, `before` holds what only the first change brings.
        return evidence + self.after - self.before


class Window:
    """The latest blocks of a cell.

    Args:
        events, positives: The window keeps the latest blocks that hold at least so many labelled events and
            positives.
    """

    def __init__(self, events: int, positives: int) -> None:
        self.events = events
        self.positives = positives
        self.blocks: deque[Block] = deque()
        self.total = WindowEvidence()
        self.waiting: list[Correction] = []
        self._evidence: BinaryEvidence | None = None

    def push(self, block: Block) -> Block:
        """Take a step's block in, with the corrections that waited for it, and let old blocks go."""
        if self.waiting:
            due = [c for c in self.waiting if c.cohort <= block.last]
            self.waiting = [c for c in self.waiting if c.cohort > block.last]
            for correction in due:
                # One from before the block is of a row that a restarted cell has never counted.
                if correction.cohort >= block.first:
                    block.evidence = correction.applied_to(block.evidence)
        self.blocks.append(block)
        self._evidence = None
        self.total.add(block.evidence)
        while len(self.blocks) > 1:
            oldest = self.blocks[0].evidence
            enough = self.total.events - oldest.events >= self.events
            if not enough or (
                self.total.positives - oldest.positives < self.positives and self.total.events <= GROWTH * self.events
            ):
                break
            self._drop()
        return block

    def places(self, cohort: np.ndarray) -> np.ndarray:
        """Which rows one correction may hold: equal numbers for the rows of cohorts i64[n] that share a block.

        Cohorts whose block has gone, or is still to come, have a number each.
        """
        if not self.blocks:
            return cohort
        first, last = np.array([(block.first, block.last) for block in self.blocks], dtype=np.int64).T
        at = np.minimum(np.searchsorted(last, cohort), len(last) - 1)
        # A block's number is that of its last cohort.
        return np.where((first[at] <= cohort) & (cohort <= last[at]), last[at], cohort)

    def correct(self, correction: Correction) -> None:
        """Change matured rows: in their block, or in the block to come; what has left the window changes nothing."""
        if not self.blocks or correction.cohort > self.blocks[-1].last:
            self.waiting.append(correction)
            return
        at = bisect_left([block.last for block in self.blocks], correction.cohort)
        block = self.blocks[at]
        if block.first <= correction.cohort:
            block.evidence = correction.applied_to(block.evidence)
            self._evidence = None
            self.total.add(correction.after)
            self.total.subtract(correction.before)

    def cut(self, before: int) -> None:
        """Let go of the blocks whose cohorts all lie before a time: what they say is of another regime."""
        while len(self.blocks) > 1 and self.blocks[0].last < before:
            self._drop()

    def _drop(self) -> None:
        self._evidence = None
        self.total.subtract(self.blocks.popleft().evidence)

    def evidence(self) -> BinaryEvidence:
        """The sum of the blocks: the same object until they change."""
        if self._evidence is None:
            self._evidence = self.total.evidence()
        return self._evidence

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "blocks": [block.state() for block in self.blocks],
            "waiting": [[c.cohort, c.before.state(), c.after.state()] for c in self.waiting],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.blocks = deque(Block.restore(block) for block in state["blocks"])
        self.total, self._evidence = WindowEvidence(), None
        for block in self.blocks:
            self.total.add(block.evidence)
        self.waiting = [
            Correction(cohort, BinaryEvidence.restore(before), BinaryEvidence.restore(after))
            for cohort, before, after in state["waiting"]
        ]
