"""Regrowth: a join's rows read anew from the logs, where only its core (`Join.core`) was kept.

The core says what had become of every retained cohort: which are open, when the others matured, which predictions of
theirs were duplicates of rows that have expired since. With that, whether a prediction of the logs is a row, waits for
T or had been turned away follows from itself alone, and nothing is decided or counted a second time.

Invariant: given every event that the join had been given and that is not older than `Join.reaches_back`, it ends as the
join was: the same rows with the same labels and values, the same outcomes and predictions waiting. Older events may be
given too and change nothing. Only two counters, `matched` and `orphans`, can differ by the outcomes of the last
`early` that met a row which has expired since.

Source: DESIGN, "State, recovery, exactly once" (state lost).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streameval.errors import InvariantError
from streameval.join.join import Columns, Join, by_identity, without_heartbeats
from streameval.join.pauses import NEVER
from streameval.join.pending import Pending

STRETCH = 2**18  # as the join's own


class Regrowth(Join):
    """A join that takes up events that it had before. `regrow` as the clocks move, `finish`, then it is a join."""

    _growing = True
    _grown = -NEVER

    @classmethod
    def of(cls, core: dict[str, Any]) -> Self:
        """From what `Join.core` gave."""
        return cls.restore(core, _no_blob)

    def _queue(self, queue: Pending, columns: Columns) -> None:
        if self._growing:
            queue.add(columns)
        else:
            super()._queue(queue, columns)

    def regrow(self, until: int) -> None:
        """Take up all events with a logical time < `until`: none earlier will be given."""
        until = min(until, self.now)
        while self._grown < until:
            to = min(self._predictions.limit(until, STRETCH), self._outcomes.limit(until, STRETCH))
            self._grow(max(to, self._grown + 1))

    def finish(self) -> None:
        """All events have been given."""
        self.regrow(self.now)
        self._growing = False

    def _grow(self, until: int) -> None:
        p = by_identity(self._predictions.peek(until))
        keep = self._were_rows(p)
        rows = {name: column[keep] for name, column in p.items()}
        outcomes = self._recent.run(without_heartbeats(self._outcomes.peek(until))[0])
        runs = [*self._recent.runs, outcomes]
        pairs = self._pairs(rows, rows["ts"] // self.interval * self.interval, runs)
        if len(rows["hash"]):
            self._rows.add_new(rows)
        self._recent.matched(runs, pairs.of, pairs.outcome)
        counted = self.repeated, self.amended, self.orphans
        self._apply(pairs, runs, None)
        self._rows.settle()
        self._recent.settle(outcomes, until)
        # All of this was counted when it came.
        self.repeated, self.amended, orphans = counted
        self._recent.count_from(orphans)
        self._predictions.drop(until)
        self._outcomes.drop(until)
        self._grown = until

    def _were_rows(self, p: Columns) -> NDArray[np.int64]:
        """Which of the predictions, sorted by identity and log order, had become rows that are retained."""
        start = p["ts"] // self.interval * self.interval
        due = np.full(len(start), -NEVER, np.int64)
        for cohorts, at in ((self._open.start, None), (self._done.start, self._done.at)):
            if len(cohorts):
                place = np.minimum(np.searchsorted(cohorts, start), len(cohorts) - 1)
                found = cohorts[place] == start
                due[found] = NEVER if at is None else at[place[found]]
        keep = np.flatnonzero((p["lt"] <= due) & ~self._outliving.among(p["part"], p["offset"]))
        needle, run, row = self._rows.find(p["hash"][keep])
        again = np.zeros(len(keep), bool)
        again[needle[self._rows.column("version", run, row) == p["version"][keep][needle]]] = True
        keep = keep[~again]
        first = np.ones(len(keep), bool)
        first[1:] = np.any([p[name][keep[1:]] != p[name][keep[:-1]] for name in ("hash", "version")], axis=0)
        return keep[first]


def _no_blob(name: str) -> bytes:
    raise InvariantError("a core has no blobs", where=f"blob {name}", cure="report it")
