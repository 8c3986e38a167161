"""A case: a confirmed alarm on its way to a diagnosis.

It is opened by the alarm and looks at the windows before and after the change until they can tell. Both need 250
positives. That there is a change at all is read from the events *after the alarm* alone (those that raised it would
confirm a false alarm in 43 % of cases); what kind of change it is, from all events since the change. When the windows
are too small to tell, it looks again at twice the events. At a deadline it is closed as inconclusive.

Own moves. What we published may have changed the labels of the scores whose decision it changed. Those scores are left
out of the tests of labels. Further:

* a threshold that we moved within one after-window before the change, or between the change and the alarm, may itself
  be the cause. The case is then judged by the events from the change up to that move, if they suffice; else whatever
  is found is "confounded", and asks for nothing. The after-window counts as it was when it first held its 250
  positives: else a case that waits long would find some move near in the end;
* but no decision of ours moves the scores. Where these are distributed otherwise than before, and the scores that are
  not left out show a label shift or a covariate shift, that is what it is: our move was an answer to it, not its cause;
* a change that shows nowhere but in the scores that are left out is "confounded" as well;
* a move after the alarm (the answer to this very change, say) cannot have caused it: its scores are left out, no more.

Invariant: a function of the alarm, of the steps after it and of the own moves; the number of looks grows with the
logarithm of the events.
Source: METHODS, sections 4 ("Own actions") and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from streameval.detect.alarm import Alarm
from streameval.detect.change_tests import SCORE
from streameval.detect.diagnosis import LEAST_POSITIVES, Diagnosis, State, diagnose
from streameval.detect.history import History
from streameval.detect.label_counts import Histogram, LabelCounts, total
from streameval.detect.own_move import OwnMove
from streameval.detect.window_pair import Band, without


class Case:
    """One confirmed alarm until its diagnosis.

    Args:
        alarm: the alarm.
        alarm_at: ms, logical time of the step that raised it.
        deadline: events since the change after which the case is closed.
        before: all since the reference began, up to the change.
        after: all since the change.
        untouched: events from the change up to the first own move between it and the alarm; None without such a move.
    """

    def __init__(
        self,
        alarm: Alarm,
        alarm_at: int,
        deadline: int,
        before: LabelCounts,
        after: LabelCounts,
        untouched: LabelCounts | None = None,
    ) -> None:
        self.alarm = alarm
        self.alarm_at = alarm_at
        self.deadline = deadline
        self.before = before
        self.after = after
        self.untouched = untouched
        self.since = total([])
        """Events after the alarm."""
        self.reach: int | None = None
        """ms from the change to the end of the step at which the after-window first held its positives."""
        self.left_out: list[Band] = []
        """Score bins that the last look left out of the tests of labels (not kept)."""
        self.next_look = 0
        """Events after the alarm at which the windows are looked at again."""

    @classmethod
    def opened(
        cls,
        alarm: Alarm,
        alarm_at: int,
        deadline: int,
        before: LabelCounts,
        changed: History,
        moves: Sequence[OwnMove],
    ) -> Case:
        """The case of an alarm; `changed` holds the events since the change, `moves` the own moves so far."""
        between = [move.at for move in moves if not move.by_map and alarm.change_at < move.at < alarm.at]
        untouched = changed.until(min(between)).total() if between else None
        return cls(alarm, alarm_at, deadline, before, changed.total(), untouched)

    @property
    def may_be_told(self) -> bool:
        """Whether there is enough before the change to compare with."""
        return self.before.positives >= LEAST_POSITIVES

    def step(self, evidence: Histogram, end: int, moves: Sequence[OwnMove] | None) -> Diagnosis | None:
        """Take in a step after the alarm.

        Args:
            evidence: the step's events.
            end: ms, the end of the step.
            moves: our own, so far; None where decisions never change outcomes.

        Returns:
            The diagnosis, None while the windows do not suffice.
        """
        self.since, self.after = total([self.since, evidence]), total([self.after, evidence])
        if self.reach is None and self.after.positives >= LEAST_POSITIVES:
            self.reach = end - self.alarm.change_at
        late = self.after.events >= self.deadline or not self.may_be_told
        if self.since.events < self.next_look and not late:
            return None
        own, before_change, before_alarm = self._own(end, moves)
        self.left_out = judged = [move.band for move in own]
        after = self.after
        if before_alarm and self.untouched is not None and self.untouched.positives >= LEAST_POSITIVES:
            # No decision has changed yet in these events: only moves before the change are left out.
            after, before_alarm = self.untouched, False
            judged = [move.band for move in own if move.at <= self.alarm.change_at]
        found = self._look(after, judged)
        if found is None or found.state == "inconclusive":
            self.next_look = 2 * self.since.events
            if not late:
                return None
            found = found or Diagnosis("inconclusive")
        if (before_change or before_alarm) and found.state != "none" and not _of_the_world(found):
            return replace(found, state="confounded")
        return found

    def _own(self, end: int, moves: Sequence[OwnMove] | None) -> tuple[list[OwnMove], bool, bool]:
        """The moves in the windows; whether a threshold moved shortly before the change, or from it to the alarm."""
        change_at, alarm = self.alarm.change_at, self.alarm
        earliest = change_at - (end - change_at if self.reach is None else self.reach)
        # A guard's alarm has no reference: all earlier moves count.
        began = int(alarm.detail.get("reference", {"from": 0})["from"])
        # A map moves often and by little; only one near the change can have to do with it.
        own = [move for move in moves or () if (earliest if move.by_map else began) <= move.at < end]
        times = [move.at for move in own if not move.by_map and earliest <= move.at < alarm.at]
        return own, any(at <= change_at for at in times), any(at > change_at for at in times)

    def _look(self, after: LabelCounts, judged: list[Band]) -> Diagnosis | None:
        """What the windows say; `judged` is left out of `after`, `left_out` of what came after the alarm."""
        before, bands = self.before, self.left_out
        phi = max(float(self.alarm.detail.get("overdispersion", 1.0)), 1.0)
        if min(without(window, judged).positives for window in (before, after)) < LEAST_POSITIVES:
            return None
        fresh = diagnose(before, self.since, exclude=bands, phi=phi)
        if fresh.state == "none":
            if without(self.since, bands).positives < LEAST_POSITIVES:
                return None
            whole = diagnose(before, self.since, phi=phi) if bands else fresh
            state: State = "none" if whole.state == "none" else "confounded"
            return replace(fresh, state=state)
        found = diagnose(before, after, exclude=judged, phi=phi)
        # The alarm's own events can hide a change that those after it show; they are outnumbered at the next look.
        return replace(found, state="inconclusive") if found.state == "none" else found

    def state(self) -> dict[str, Any]:
        """Plain values."""
        untouched = self.untouched
        return {
            "alarm": {name: getattr(self.alarm, name) for name in Alarm.__slots__},
            "alarm_at": self.alarm_at,
            "deadline": self.deadline,
            "before": self.before.state(),
            "after": self.after.state(),
            "untouched": None if untouched is None else untouched.state(),
            "since": self.since.state(),
            "next_look": self.next_look,
            "reach": self.reach,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Case:
        """The case that `state` described."""
        untouched = state["untouched"]
        out = cls(
            Alarm(**state["alarm"]),
            int(state["alarm_at"]),
            int(state["deadline"]),
            LabelCounts.restore(state["before"]),
            LabelCounts.restore(state["after"]),
            None if untouched is None else LabelCounts.restore(untouched),
        )
        out.since, out.next_look = LabelCounts.restore(state["since"]), int(state["next_look"])
        out.reach = None if state["reach"] is None else int(state["reach"])
        return out


def _of_the_world(found: Diagnosis) -> bool:
    """Whether a change shows in the scores, which no decision of ours moves, and is one of their distribution alone."""
    scores = next((test for test in found.tests if test.name == SCORE), None)
    return found.state in ("label_shift", "covariate_shift") and scores is not None and scores.rejects
