"""The past of one cell as blocks of time: what a reference, a change point and over-dispersion are read from.

A block is one or more whole steps. When there are too many, neighbours are merged. While a reference is learnt the
blocks stay about equally large, because over-dispersion compares them. While a stream is watched they are kept finer
the younger they are, because a change is looked for near the present: a block is then no larger than a small share of
the events since it ended. What is older than any change that the detector may still find is merged into one.

Invariant: blocks are in order of time and add up to all that was appended; at most so many as the limit says.
Source: METHODS, sections 1 (blocks) and 5 (windows); exponential histograms after Datar et al. 2002.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from streameval.detect.label_counts import Histogram, LabelCounts, total

LEARNING_LIMIT: Final = 64
WATCHING_LIMIT: Final = 24


@dataclass(slots=True)
class Block:
    """Whole steps: `[start, end)` in ms of prediction time, and their counts."""

    start: int
    end: int
    counts: LabelCounts
    events: int


@dataclass(slots=True)
class History:
    """Blocks of the past, oldest first.

    >>> one = LabelCounts(np.array([3], np.int16), np.array([[1], [1]]))
    >>> history = History()
    >>> for k in range(200):
    ...     history.append(k, k + 1, one, recent=True)
    >>> (history.events, history.blocks[-1].events, len(history.blocks) <= WATCHING_LIMIT)
    (400, 2, True)
    """

    blocks: list[Block] = field(default_factory=list)
    events: int = 0
    positives: int = 0

    def append(self, start: int, end: int, evidence: Histogram, *, recent: bool, settled: int | None = None) -> None:
        """Take one step in.

        Args:
            start: ms, its first prediction time.
            end: ms, the first that is beyond it.
            evidence: its events.
            recent: whether young blocks are to stay finer than old ones.
            settled: ms; no change will be looked for before it.
        """
        counts = LabelCounts.of(evidence)
        block = Block(start, end, counts, counts.events)
        self.blocks.append(block)
        self.events += block.events
        self.positives += counts.positives
        limit = WATCHING_LIMIT if recent else LEARNING_LIMIT
        if len(self.blocks) > limit and settled is not None:
            self._settle(settled)
        while len(self.blocks) > limit:
            self._merge(recent=recent)

    def _settle(self, before: int) -> None:
        old = bisect_right([block.end for block in self.blocks], before)
        if old > 1:
            first, last = self.blocks[0], self.blocks[old - 1]
            counts = total([block.counts for block in self.blocks[:old]])
            self.blocks[:old] = [Block(first.start, last.end, counts, sum(b.events for b in self.blocks[:old]))]

    def _merge(self, *, recent: bool) -> None:
        events = np.array([block.events for block in self.blocks], dtype=np.float64)
        pairs = events[:-1] + events[1:]
        if recent:
            younger = events[::-1].cumsum()[::-1]
            after = np.append(younger[2:], 0.0)
            pairs = pairs / (after + 1.0)
        at = int(np.argmin(pairs))
        left, right = self.blocks[at], self.blocks[at + 1]
        merged = total([left.counts, right.counts])
        self.blocks[at : at + 2] = [Block(left.start, right.end, merged, left.events + right.events)]

    def after(self, block: Block) -> History:
        """These blocks, with one before them."""
        return _of([block, *self.blocks])

    def since(self, time: int) -> History:
        """The blocks that began at `time` or later; one that spans it belongs to neither side."""
        return _of([block for block in self.blocks if block.start >= time])

    def until(self, time: int) -> History:
        """The blocks that ended at `time` or before."""
        return _of([block for block in self.blocks if block.end <= time])

    def total(self) -> LabelCounts:
        """All blocks together."""
        return total(block.counts for block in self.blocks)

    @property
    def start(self) -> int:
        """The first block's start, in ms; 0 where there is none."""
        return self.blocks[0].start if self.blocks else 0

    @property
    def end(self) -> int:
        """The latest end, in ms; 0 where there is none."""
        return self.blocks[-1].end if self.blocks else 0

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"blocks": [{"start": b.start, "end": b.end, "counts": b.counts.state()} for b in self.blocks]}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> History:
        """The history that `state` described."""
        return _of(
            [
                Block(int(b["start"]), int(b["end"]), counts, counts.events)
                for b in state["blocks"]
                for counts in [LabelCounts.restore(b["counts"])]
            ]
        )


def _of(blocks: list[Block]) -> History:
    return History(blocks, sum(b.events for b in blocks), sum(b.counts.positives for b in blocks))
