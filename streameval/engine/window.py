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

from streameval.evidence.binary import BinaryEvidence
from streameval.evidence.window import WindowEvidence

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
    """A matured row whose label or KPIs changed: the evidence that it had and the evidence that it has now."""

    cohort: int
    before: BinaryEvidence
    after: BinaryEvidence


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

    def push(self, block: Block) -> Block:
        """Take a step's block in, with the corrections that waited for it, and let old blocks go."""
        if self.waiting:
            due = [c for c in self.waiting if c.cohort <= block.last]
            self.waiting = [c for c in self.waiting if c.cohort > block.last]
            for correction in due:
                block.evidence = block.evidence - correction.before + correction.after
        self.blocks.append(block)
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

    def correct(self, correction: Correction) -> None:
        """Change a matured row: in its block, or in the block to come; one that has left the window changes nothing."""
        if not self.blocks or correction.cohort > self.blocks[-1].last:
            self.waiting.append(correction)
            return
        at = bisect_left([block.last for block in self.blocks], correction.cohort)
        block = self.blocks[at]
        if block.first <= correction.cohort:
            block.evidence = block.evidence - correction.before + correction.after
            self.total.subtract(correction.before)
            self.total.add(correction.after)

    def cut(self, before: int) -> None:
        """Let go of the blocks whose cohorts all lie before a time: what they say is of another regime."""
        while len(self.blocks) > 1 and self.blocks[0].last < before:
            self._drop()

    def _drop(self) -> None:
        self.total.subtract(self.blocks.popleft().evidence)

    def evidence(self) -> BinaryEvidence:
        """The sum of the blocks."""
        return self.total.evidence()

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "blocks": [block.state() for block in self.blocks],
            "waiting": [[c.cohort, c.before.state(), c.after.state()] for c in self.waiting],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.blocks = deque(Block.restore(block) for block in state["blocks"])
        self.total = WindowEvidence()
        for block in self.blocks:
            self.total.add(block.evidence)
        self.waiting = [
            Correction(cohort, BinaryEvidence.restore(before), BinaryEvidence.restore(after))
            for cohort, before, after in state["waiting"]
        ]
