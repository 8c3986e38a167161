"""What truly happened, where that is known: a story's truth beside what the daemon said.

Real streams have none; a story has, and a report that shows both lets a reader judge the daemon by it.

Invariant: what was said is read from the records alone (as a `Series` holds them), and counts for the chapter in which
it was published.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from streameval.serve import words
from streameval.serve.series import Alarm, Key, Series

__all__ = ["Answer", "Chapter", "Truth", "answers", "beside"]

Verdict = Literal["right", "missed", "in vain", "undecided"]

_QUIET = frozenset({"none", "labels", "labels_stalled", "traffic"})
"""What changes nothing about the model and the world it scores: no alarm of its own is due."""
_ABOUT_LABELS = frozenset({"late", "label_delay", "label_loss", "offline_gap"})
"""Monitors of the pipeline of outcomes, and of the offline report: no claim that the world has changed."""
_OPEN = frozenset({"pending", "inconclusive"})


class Chapter(msgspec.Struct, frozen=True):
    """A stretch of a story in which nothing changes.

    Attributes:
        at, until: epoch ms.
        kind: what had changed at its beginning; none: nothing.
        said: the same for people.
        prevalence, auc, best_threshold: as they truly are.
        costs: (threshold, expected cost per event).
    """

    at: int
    until: int
    kind: str
    said: str
    prevalence: float
    auc: float
    best_threshold: float
    costs: list[tuple[float, float]]

    def excess(self, threshold: float) -> float:
        """By how much a threshold truly costs more than the best one, as a share of that one's cost.

        >>> Chapter(0, 1, "none", "", .1, .9, .3, [(0.0, 2.0), (0.3, 1.0), (1.0, 2.0)]).excess(0.3)
        0.0
        """
        thresholds, costs = zip(*self.costs, strict=True)
        best = float(np.interp(self.best_threshold, thresholds, costs))
        return float(np.interp(threshold, thresholds, costs)) / best - 1.0


class Truth(msgspec.Struct, frozen=True):
    """What truly happens in a story.

    Attributes:
        story, sentence, seed, model: which story, about what, of which seed and model.
        wait: how long labels are waited for (ms).
        chapters: in order.
        prevalence, best_threshold: (epoch ms, value), in force until the next.
        stalled: since when no labels flow (epoch ms), where the daemon said so: no record does.
    """

    story: str
    sentence: str
    seed: int
    model: str
    wait: int
    chapters: list[Chapter]
    prevalence: list[tuple[int, float]]
    best_threshold: list[tuple[int, float]]
    stalled: int | None = None


class Answer(NamedTuple):
    """What the daemon said and did in one chapter.

    Attributes:
        chapter: the chapter.
        alarms: its confirmed alarms of the model, without those that turned out to be none.
        states: the diagnoses among them, in order of first appearance.
        moves: thresholds that were published in it.
        maps: calibration maps of another method that were put in force in it.
        retrainings: requests for retraining.
        threshold: in force at its end.
        stalled: since when no labels flow (epoch ms), if the daemon said so.
        verdict: of all that: as the truth asks for, or not.
    """

    chapter: Chapter
    alarms: list[Alarm]
    states: list[str]
    moves: int
    maps: int
    retrainings: int
    threshold: float | None
    stalled: int | None
    verdict: Verdict


def answers(truth: Truth, series: Series | None) -> list[Answer]:
    """What was said in each chapter about the whole model."""
    found = []
    stalled = truth.stalled
    for chapter, following in zip(truth.chapters, [*truth.chapters[1:], None], strict=True):
        # What is said of the last chapter may come after its last event: labels are late.
        until = chapter.until if following is not None else chapter.until + 100 * truth.wait
        own = stalled if stalled is not None and chapter.at <= stalled < until else None
        found.append(_answer(chapter, until, series or Series(key=Key(truth.model, "0")), own))
    return found


def _answer(chapter: Chapter, until: int, series: Series, stalled: int | None) -> Answer:
    alarms = [
        alarm
        for alarm in series.alarms
        if alarm.confirmed and chapter.at <= alarm.at < until and alarm.diagnosis != "none"
        if alarm.monitor not in _ABOUT_LABELS
    ]
    states = list(dict.fromkeys(alarm.diagnosis for alarm in alarms if alarm.diagnosis))
    moves = [move for move in series.moves if chapter.at <= move.at < until and move.previous is not None]
    maps = [champion for champion in series.remapped if chapter.at <= champion.at < until]
    asked = [request for request in series.requests if chapter.at <= request.at < until]
    times = [move.at for move in series.moves]
    place = bisect_right(times, until - 1)
    threshold = series.moves[place - 1].threshold if place else None
    verdict = _verdict(chapter.kind, alarms, states, len(asked))
    if chapter.kind == "labels_stalled" and verdict == "right":
        verdict = "missed" if stalled is None else "in vain" if moves or maps else "right"
    return Answer(chapter, alarms, states, len(moves), len(maps), len(asked), threshold, stalled, verdict)


def _verdict(kind: str, alarms: list[Alarm], states: list[str], asked: int) -> Verdict:
    if asked and kind != "concept_drift":
        return "in vain"
    if kind in _QUIET:
        wrong = [state for state in states if state not in (*_OPEN, "confounded")]
        return "right" if not alarms or (states and not wrong) else "in vain"
    if not alarms:
        return "missed"
    decided = [state for state in states if state not in _OPEN]
    if not decided:
        return "undecided"
    if kind == "concept_drift" and not asked:
        return "missed"
    return "right" if kind in decided else "missed"


def beside(truth: Truth, series: Series | None) -> list[tuple[str, str, str, str]]:
    """The table of truth and answer: when, what truly happened, what was said and done, the verdict."""
    return [
        (words.day(answer.chapter.at), _true(answer.chapter), _said(answer), answer.verdict)
        for answer in answers(truth, series)
    ]


def _true(chapter: Chapter) -> str:
    return (
        f"{chapter.said}: prevalence {words.percent(chapter.prevalence)}, AUC {words.number(chapter.auc, 3)}, "
        f"best threshold {words.number(chapter.best_threshold, 3)}"
    )


def _said(answer: Answer) -> str:
    chapter = answer.chapter
    told = []
    if answer.alarms:
        first = answer.alarms[0]
        after = words.seconds((first.at - chapter.at) / 1000)
        more = "" if len(answer.alarms) == 1 else f" and {len(answer.alarms) - 1} more"
        told.append(f"{words.change(first.monitor, first.direction)}, confirmed after {after}{more}")
        named = [words.reason(state) for state in answer.states]
        told.append(f"diagnosis: {words.listing(named)}" if named else "no diagnosis")
    else:
        told.append("no confirmed change")
    if answer.maps:
        told.append("recalibrated")
    if answer.threshold is not None:
        moved = {0: "threshold kept at", 1: "threshold moved to"}.get(
            answer.moves, f"threshold moved {answer.moves} times, to"
        )
        told.append(f"{moved} {words.number(answer.threshold, 3)}, {_dear(chapter.excess(answer.threshold))}")
    if answer.stalled is not None:
        told.append(f"no labels flow since {words.day(answer.stalled)}")
    told.append("retraining asked for" if answer.retrainings else "no retraining")
    return "; ".join(told)


def _dear(excess: float) -> str:
    """What a threshold truly costs beside the best one.

    >>> _dear(0.0004), _dear(0.267)
    ('at the least cost', '27 % above the least cost')
    """
    return "at the least cost" if excess < 0.005 else f"{round(100 * excess)} % above the least cost"
