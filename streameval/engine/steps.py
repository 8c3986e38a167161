"""When a cell takes a step: enough of its predictions have matured, or the oldest has waited long enough.

Counted at prediction time and never by labels, so that the moment of a step tells nothing about them.

Invariant: the steps and their rows are a function of the cell's matured rows and of logical time, however they arrive.

Source: DESIGN "Time" (a step); METHODS section 1 (n must not depend on labels).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streameval.engine.rows import Rows
from streameval.join.pauses import NEVER


class Steps:
    """The rows of one cell that wait for its next step.

    Args:
        events: A step is taken when so many predictions have matured.
        every: Or when the oldest of them has waited so long (ms).
    """

    __slots__ = ("count", "events", "every", "oldest", "parts")

    def __init__(self, events: int, every: int) -> None:
        self.events = events
        self.every = every
        self.parts: list[Rows] = []
        self.count = 0
        self.oldest = NEVER

    @property
    def deadline(self) -> int:
        """When the waiting rows step at the latest (logical time, ms)."""
        return self.oldest + self.every

    def plan(self, rows: Rows | None, now: int) -> list[tuple[int, Rows]]:
        """Take rows in and give the steps before ``now``: (logical time, the rows that the step consumes)."""
        steps: list[tuple[int, Rows]] = []
        n = 0 if rows is None else len(rows)
        a = 0
        while True:
            at, end = NEVER, n
            need = self.events - self.count
            if rows is not None and a + need <= n:
                last = a + need - 1
                at = int(rows.at[last])
                # A step consumes whole cohorts.
                end = last + int(np.searchsorted(rows.cohort[last:], rows.cohort[last], side="right"))
            if rows is not None and self.count == 0 and a < n:
                self.oldest = int(rows.at[a])
            if self.deadline < at:
                at = self.deadline
                if at >= now:
                    break
                if rows is not None:
                    end = a + int(np.searchsorted(rows.at[a:], at, side="right"))
            if at >= now:
                break
            if rows is not None and end > a:
                self.parts.append(rows.take(slice(a, end)))
            steps.append((at, Rows.join(self.parts)))
            self.parts, self.count, self.oldest = [], 0, NEVER
            a = end
        if rows is not None and a < n:
            rest = rows.take(slice(a, n))
            self.parts.append(rest)
            self.count += len(rest)
        return steps

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        rows = Rows.join(self.parts).state() if self.parts else None
        return {"rows": rows, "count": self.count, "oldest": self.oldest}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.parts = [Rows.restore(state["rows"])] if state["rows"] is not None else []
        self.count, self.oldest = state["count"], state["oldest"]
