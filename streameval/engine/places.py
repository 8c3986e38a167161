"""Which versions and segment values of a model get cells of their own: bounded, and never by order of reading.

Each text (a version, or a value of one segment name) has a *code*, which rows carry, and may have a *place*, which is
its cell's. Places are given cohort by cohort, in the order in which cohorts close, as long as there are free ones;
within a cohort the most frequent text comes first, then by name. What has no place belongs to the cell `OTHER`. A
version's place comes free when it retires; a value keeps its own. Every segment name is for itself: nothing here grows
with the number of combinations of their values.

A row stays where it was counted when it matured, so that an amendment finds it: rows that had matured before their text
got its place stay with `OTHER`, and those of a version that has retired since are nowhere any more.

Only so many values of a name can get a place: of each partition the first `CANDIDATES` that differ, in the order of its
log. All others have a hash for a code, by which they find the place that another partition's candidate got. Once all
places are taken, what has none is forgotten, and whatever is new shares one code.

Invariant: which row belongs to which place is a function of the partitions' logs, and of the cohorts that closed and
matured, in order.

Source: DESIGN "Events in" (cardinality).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import xxhash

from streameval.engine.clock import BEGINNING
from streameval.events.columns import Texts
from streameval.events.contract import OTHER

VALUES: Final = 50
"""Values of one segment name that get a cell of their own."""
VERSIONS: Final = 20
"""Live versions of a model that get cells of their own."""
ABSENT: Final = -1
"""The place of a segment value that the event does not have."""
CANDIDATES: Final = 1000
"""Values of one segment name that a partition's log may propose for a place."""
IDENTITIES: Final = 20_000
"""Versions that have a code of their own; past it they share codes by hash, and get no place."""

_STRANGER: Final = 0
"""The code of all texts that cannot get a place."""
_NOT_GIVEN: Final = 1
"""The code of a value that the event does not have."""
_HASHED: Final = 1 << 31
"""Codes from here on are hashes: of a value that its partition did not propose. One of a million such values meets the
hash of one that has a place with probability 0.02, and is counted there."""


class _Places:
    """The codes of texts, and the places that some of them have; `limit` is how many there are."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.names: list[str | None] = []
        """By place; None: free again."""
        self._since: list[int] = []
        # By place: the start of the first cohort whose rows had not matured when it was given (ms).
        self._codes: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._next = 2
        # By code, `limit` where it has none; longer than there are codes: it grows by doubling.
        self._place = self._none(64)

    def _none(self, size: int) -> np.ndarray:
        place = np.full(size, self.limit, np.int16)
        place[_NOT_GIVEN] = ABSENT
        return place

    def name(self, place: int) -> str:
        """The text that has a place; `OTHER` for the place behind them."""
        return (self.names[place] if place < len(self.names) else None) or OTHER

    def of(self, code: np.ndarray, start: np.ndarray) -> np.ndarray:
        """int16[n]: the places of rows, `limit` for none, by their codes [n] and cohorts, int64[n] (starts, ms)."""
        place = self._at(code)
        if self._since and len(start) and int(start.min()) < max(self._since):
            since = np.full(self.limit + 2, BEGINNING)  # the last two are for `limit` and ABSENT
            since[: len(self._since)] = self._since
            place[start < since[place]] = self.limit
        return place

    def _at(self, code: np.ndarray) -> np.ndarray:
        place: np.ndarray = self._place[code]
        return place

    def admit(self, code: np.ndarray, bounds: np.ndarray, since: np.ndarray) -> None:
        """Give places to the texts of closed cohorts, in their order.

        Args:
            code: The rows' codes [n].
            bounds: int64[c + 1]; the rows of cohort j are `bounds[j]:bounds[j + 1]`.
            since: int64[c], for each cohort the start of the first one that had not matured when it closed (ms).
        """
        if self._free() is None:
            return
        rows = np.flatnonzero(self._at(code) == self.limit)
        cohort = np.searchsorted(bounds, rows, side="right") - 1
        cuts = np.flatnonzero(np.diff(cohort, prepend=-1, append=len(since)))
        for low, high in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            found, counts = np.unique(code[rows[low:high]], return_counts=True)
            new = [
                (-count, self._texts[one], one)
                for one, count in zip(found.tolist(), counts.tolist(), strict=True)
                if one in self._texts and self._place[one] == self.limit
            ]
            for _, text, one in sorted(new):
                place = self._free()
                if place is None:
                    return
                self.names[place : place + 1] = [text]
                self._since[place : place + 1] = [int(since[cohort[low]])]
                self._place[one] = place

    def _free(self) -> int | None:
        for place, name in enumerate(self.names):
            if name is None:
                return place
        return len(self.names) if len(self.names) < self.limit else None

    def _new(self, text: str) -> int:
        code = self._next
        self._next += 1
        if code == len(self._place):
            self._place = np.append(self._place, np.full(code, self.limit, np.int16))
        self._codes[text], self._texts[code] = code, text
        return code

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "codes": np.fromiter(self._texts, np.int32, len(self._texts)),
            "texts": list(self._texts.values()),
            "next": self._next,
            "places": [None if name is None else self._codes[name] for name in self.names],
            "since": list(self._since),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self._texts = dict(zip(state["codes"].tolist(), state["texts"], strict=True))
        self._codes = {text: code for code, text in self._texts.items()}
        self._next, self._since = state["next"], list(state["since"])
        self.names = [None if code is None else self._texts[code] for code in state["places"]]
        self._place = self._none(max(64, 1 << (self._next - 1).bit_length()))
        for place, code in enumerate(state["places"]):
            if code is not None:
                self._place[code] = place


class Versions(_Places):
    """The versions of a model. Its rows' `kind` is the code of their version."""

    def __init__(self) -> None:
        super().__init__(VERSIONS)
        # Lives that have ended: code, first cohort that matured in it, first that matured after it (starts, ms).
        self._ended: list[tuple[int, int, int]] = []
        self.last_seen: dict[int, int] = {}
        """By place of a live version: the end of the last cohort that it closed (ms)."""

    def coded(self, column: Texts) -> tuple[np.ndarray, np.ndarray]:
        """Codes int32[n] of n versions, and int16[n] what tells them apart: a prediction is (model, version, id)."""
        identity = np.array([self._identity(text) for text in column.distinct], np.int16)
        code = np.where(identity < self._next, identity, _STRANGER).astype(np.int32)
        return code[column.code], identity[column.code]

    def _identity(self, text: str) -> int:
        code = self._codes.get(text)
        if code is not None:
            return code
        if len(self._codes) < IDENTITIES:
            return self._new(text)
        first = IDENTITIES + 2
        return first + xxhash.xxh3_64_intdigest(text.encode()) % (np.iinfo(np.int16).max - first)

    def seen(self, place: int, at: int) -> None:
        """The version has rows in a cohort that ended then (ms)."""
        self.last_seen[place] = max(self.last_seen.get(place, 0), at)

    def of(self, code: np.ndarray, start: np.ndarray) -> np.ndarray:
        """As the base says; ABSENT for rows that matured in a life of their version that has ended."""
        place = super().of(code, start)
        if self._ended and len(start) and int(start.min()) < max(until for _, _, until in self._ended):
            for one, since, until in self._ended:
                place[(code == one) & (start >= since) & (start < until)] = ABSENT
        return place

    def retire(self, place: int, until: int, oldest: int) -> None:
        """Free a version's place.

        Args:
            place: The place.
            until: The start of the first cohort that has not matured (ms).
            oldest: No row of an earlier cohort is retained (ms).
        """
        code = self._codes[self.name(place)]
        self._ended = [life for life in self._ended if life[2] > oldest] + [(code, self._since[place], until)]
        self._place[code] = self.limit
        self.names[place] = None
        del self.last_seen[place]

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        seen, ended = self.last_seen.items(), self._ended
        return super().state() | {"last_seen": [list(one) for one in seen], "ended": [list(life) for life in ended]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        super().restore(state)
        self.last_seen = dict(state["last_seen"])
        self._ended = [(code, since, until) for code, since, until in state["ended"]]


class Values(_Places):
    """The values of one segment name."""

    def __init__(self) -> None:
        super().__init__(VALUES)
        # By partition, while places are free: the codes of the values that its log has named.
        self._candidates: dict[int, set[int]] = {}

    def coded(self, part: int, column: Texts) -> np.ndarray:
        """uint32[n]: the codes of n values ("" is none) that follow in a partition's log."""
        known = self._candidates.setdefault(part, set()) if self._free() is not None else None
        return np.array([self._code(text, known) for text in column.distinct], np.uint32)[column.code]

    def _code(self, text: str, known: set[int] | None) -> int:
        if not text:
            return _NOT_GIVEN
        code = self._codes.get(text)
        if known is None:
            return _STRANGER if code is None else code
        if code in known:
            return code
        if len(known) == CANDIDATES:
            return _hash(text)
        code = self._new(text) if code is None else code
        known.add(code)
        return code

    def _at(self, code: np.ndarray) -> np.ndarray:
        hashed = code >= _HASHED
        if not hashed.any():
            return super()._at(code)
        place = super()._at(np.where(hashed, _STRANGER, code))
        for one, text in enumerate(self.names):
            if text is not None:
                place[code == _hash(text)] = one
        return place

    def admit(self, code: np.ndarray, bounds: np.ndarray, since: np.ndarray) -> None:
        """Give places to the values of closed cohorts, in their order: see the base."""
        super().admit(code, bounds, since)
        if self._candidates and self._free() is None:
            self._candidates.clear()
            self._codes = {text: self._codes[text] for text in self.names if text is not None}
            self._texts = {code: text for text, code in self._codes.items()}

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        known = [[part, np.array(sorted(codes), np.int32)] for part, codes in sorted(self._candidates.items())]
        return super().state() | {"candidates": known}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        super().restore(state)
        self._candidates = {part: set(codes.tolist()) for part, codes in state["candidates"]}


def _hash(text: str) -> int:
    return _HASHED | xxhash.xxh3_64_intdigest(text.encode()) >> 33
