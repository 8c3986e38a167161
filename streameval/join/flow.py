"""The flow of one model's labels: when they were heard, and when they were silent for longer than they use to be.

A *sign* that labels flow is the first label of a prediction, if it comes within the wait for labels, or a heartbeat.
Signs are followed together and by *source* (a topic of outcomes, once it has brought `ESTABLISHED` of them, if they are
more than a twentieth of all): where one of several feeds stands still, the others do not speak for it. How long a
silence is usual is learnt from the longest one of each block of time: twice what three quarters of the last `BLOCKS`
blocks kept to. So a feed of one label in ten days, a daily file and a night without labels are no silence, and one
outage does not hide the next.

From where a source is silent for longer than its *limit* until its next sign is a pause, and so is the time before the
first sign of all. A source that is silent beyond its limit for longer than `give_up`, while others speak, is dropped.

Invariant: a function of the signs in order of (time, source) and of nothing else: not of how they are batched.

Source: DESIGN, "Time".
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from streameval.join.pauses import NEVER, Pauses

I64 = NDArray[np.int64]

ALL: Final = -1
"""The source that stands for all of them together."""
BLOCKS: Final = 32
"""So many blocks of time tell what is usual."""
TRUSTED: Final = 8
"""While fewer are known, what is heard is taken for usual; later a silence teaches at most twice the limit."""
ESTABLISHED: Final = 32
"""Signs from which on a single source is missed when it is silent."""
LIGHT: Final = 20
"""A source that brings less than one in so many signs is not missed."""
_DAY: Final = 86_400_000
_LEAST: Final = 3
"""A silence of so few intervals is none."""


class _Source:
    """Its last sign, its limit (ms), how many signs it has given; the longest silence of each of the last blocks.

    `missed`: whether it is, when it is silent.
    """

    __slots__ = ("block", "last", "limit", "longest", "missed", "signs")

    def __init__(self, last: int, block: int, limit: int) -> None:
        self.last = last
        self.block = block
        self.limit = limit
        self.signs = 0
        self.missed = False
        self.longest = [0]

    @property
    def usual(self) -> int:
        return sorted(self.longest)[3 * len(self.longest) // 4]

    def learn(self, silence: int, first: int, last: int) -> None:
        """A silence has ended that lay in the blocks from ``first`` to ``last``."""
        if len(self.longest) >= TRUSTED:
            silence = min(silence, 2 * self.limit)
        self.longest = [*self.longest, *[0] * min(last - self.block, BLOCKS)][-BLOCKS:]
        self.block = last
        for back in range(1, min(last - first + 1, len(self.longest)) + 1):
            self.longest[-back] = max(self.longest[-back], silence)


class LabelFlow:
    """When the labels of a model flow; see the module.

    Args: durations in ms: `interval` of a cohort, `wait` for labels, `give_up` after which a silent source is dropped.

    >>> flow = LabelFlow(interval=10, wait=800, give_up=5000)
    >>> flow = flow.heard(np.arange(1000, 2001, 50), np.zeros(21, np.int64))
    >>> flow.silent
    (2100, 2000)
    """

    def __init__(self, interval: int, wait: int, give_up: int) -> None:
        self.interval = interval
        self.wait = wait
        self.give_up = give_up
        self._sources: dict[int, _Source] = {}
        self._past: list[tuple[int, int, int]] = []
        """Pauses that have ended: the last sign before, when they began and when they ended."""

    @property
    def _block(self) -> int:
        return max(_LEAST * self.interval, min(self.wait // 8, _DAY))

    # -- signs ---------------------------------------------------------------------------------------------------------

    def heard(self, at: I64, part: I64) -> Self:
        """The flow with further signs: their times int64[n] ms, none before an earlier one, and sources int64[n]."""
        if not len(at):
            return self
        new = copy(self)
        new._hear(at, part)  # noqa: SLF001 - of its own class
        return new

    def _hear(self, at: I64, part: I64) -> None:
        self._sources = {key: copy(source) for key, source in self._sources.items()}
        self._past = list(self._past)
        order = np.argsort(at, kind="stable")
        at, part = at[order], part[order]
        signs = {ALL: at} | {int(one): at[part == one] for one in np.unique(part)}
        told = [(time, key, place) for key, times in signs.items() for time, place in self._telling(key, times)]
        for time, key, place in sorted(told):
            self._tell(key, time, place, signs)
        for key, times in signs.items():
            source = self._sources.get(key)
            if source is not None:
                source.last = int(times[-1])
                source.signs += len(times)

    def _telling(self, key: int, times: I64) -> list[tuple[int, int]]:
        """The signs (time, place) of a source that end a silence worth a word, or are the first in their block."""
        source = self._sources.get(key)
        before = np.concatenate([times[:1] if source is None else [source.last], times[:-1]])
        tells = (times - before >= self.interval) | (times // self._block != before // self._block)
        tells[0] |= source is None
        return [(int(times[place]), int(place)) for place in np.flatnonzero(tells)]

    def _tell(self, key: int, time: int, place: int, signs: dict[int, I64]) -> None:
        source = self._sources.get(key)
        if source is None:
            if key == ALL:
                self._past.append((-NEVER, -NEVER, time))
            source = self._sources[key] = _Source(time, time // self._block, _LEAST * self.interval)
            source.missed = key == ALL
            source.signs = -place  # so that with those of this batch it comes to what was heard since
            return
        last = int(signs[key][place - 1]) if place else source.last
        if time - last > source.limit and source.missed:
            self._past.append((last, last + source.limit, time))
        source.learn(time - last, last // self._block, time // self._block)
        # Of many sources one is silent for long now and then.
        others = 0 if key == ALL else (len(self._sources) - 1).bit_length() - 1
        source.limit = max(_LEAST * self.interval, source.usual * (20 + 7 * others) // 10)
        if key != ALL:
            all_signs = self._sources[ALL].signs + int(np.searchsorted(signs[ALL], time, side="right"))
            source.missed = source.signs + place + 1 >= max(ESTABLISHED, all_signs // LIGHT)
            self._drop_beside(key, time, signs)

    def _drop_beside(self, key: int, time: int, signs: dict[int, I64]) -> None:
        """Drop the other sources that have given up."""
        for other, source in list(self._sources.items()):
            if other in (ALL, key) or time - source.last <= source.limit + self.give_up:
                continue
            place = int(np.searchsorted(signs.get(other, self._none), time, side="right"))
            last = int(signs[other][place - 1]) if place else source.last
            if time - last > source.limit + self.give_up:
                if source.missed:
                    self._past.append((last, last + source.limit, time))
                del self._sources[other]

    _none: I64 = np.zeros(0, np.int64)

    # -- silence -------------------------------------------------------------------------------------------------------

    @property
    def silent(self) -> tuple[int, int]:
        """When the labels are silent if nothing more is heard, or since when; and the last sign of that source."""
        missed = ((source.last + source.limit, source.last) for source in self._sources.values() if source.missed)
        return min(missed, default=(-NEVER, -NEVER))

    def pauses(self) -> Pauses:
        """All pauses, the one to come, or that goes on, last."""
        return Pauses([*((begin, end) for _, begin, end in self._past), (self.silent[0], NEVER)])

    def next_end(self, after: int) -> int:
        """When the next pause of a source ended after a time; `NEVER` if none has."""
        return min((end for _, _, end in self._past if end > after), default=NEVER)

    def last_before(self, begin: int, end: int) -> int:
        """The last sign before a pause, or before the earliest of those that it is made of."""
        return min(last for last, one, other in self._past if begin <= one and other <= end)

    def forget(self, before: int) -> None:
        """Drop the pauses that ended before a time."""
        self._past = [pause for pause in self._past if pause[2] >= before]

    # -- state ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` continues exactly."""
        sources = [
            [key, source.last, source.block, source.limit, source.signs, source.missed, list(source.longest)]
            for key, source in sorted(self._sources.items())
        ]
        return {"sources": sources, "past": [list(pause) for pause in self._past]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``; the durations are the constructor's."""
        self._sources = {}
        for key, last, block, limit, signs, missed, longest in state["sources"]:
            source = self._sources[key] = _Source(last, block, limit)
            source.signs, source.missed, source.longest = signs, missed, list(longest)
        self._past = [(last, begin, end) for last, begin, end in state["past"]]
