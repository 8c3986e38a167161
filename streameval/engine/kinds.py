"""Which versions and segment values of a model get cells of their own: bounded, and never by order of reading.

A *kind* is a model-wide code of one (version, segment values). Values are admitted cohort by cohort, in the order in
which cohorts close; within a cohort the most frequent come first, then by name. At most ``VALUES`` values of a segment
name and ``VERSIONS`` live versions are admitted; all others belong to ``other``.

Invariant: the admitted names are a function of the closed cohorts in order; a value that is found to be ``other``
stays so (a version's place comes free again when a version retires).

Source: DESIGN "Events in" (cardinality).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import xxhash

from streameval.order import distinct

VALUES = 50
"""Values of one segment name that get a cell of their own."""
VERSIONS = 20
"""Live versions of a model that get cells of their own."""
OTHER = "other"
"""The name of the cell of all that was not admitted."""
ABSENT = -1
"""The code of a segment value that the event does not have."""
UNRESOLVED = -2
RAW_KINDS = 50_000
"""Kinds that may wait to be resolved at once; past it what is not admitted yet is ``other`` at once."""
IDENTITIES = 20_000
"""Versions that get an identity of their own; past it they share codes by hash."""

Kind = tuple[str, tuple[str, ...]]


class Kinds:
    """The kinds of one model and what they resolve to.

    Args:
        names: The model's segment names, in the order of the values in a kind.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.raw: list[Kind] = []
        self.codes: dict[Kind, int] = {}
        self.identities: dict[str, int] = {}
        self.versions: list[str | None] = []
        self.last_seen: list[int] = []
        self.values: list[list[str]] = [[] for _ in names]
        self.version_of = np.empty(0, dtype=np.int16)
        self.values_of = np.empty((len(names), 0), dtype=np.int16)

    def intern(self, kind: Kind) -> int:
        """The code of a kind (a new one if it was not seen yet). Values that can only be ``other`` share one code."""
        version, values = kind
        crowded = len(self.raw) >= RAW_KINDS
        values = tuple(
            value if value in known or not value or not (crowded or len(known) >= VALUES) else OTHER
            for value, known in zip(values, self.values, strict=True)
        )
        if crowded and version not in self.versions:
            version = OTHER
        kind = (version, values)
        code = self.codes.get(kind)
        if code is None:
            code = len(self.raw)
            self.codes[kind] = code
            self.raw.append(kind)
            self.version_of = np.append(self.version_of, np.int16(UNRESOLVED))
            self.values_of = np.append(self.values_of, np.full((len(self.names), 1), UNRESOLVED, np.int16), axis=1)
        return code

    def identity(self, version: str) -> int:
        """A small int for the version as it was sent: identity of a prediction is (model, version, id)."""
        code = self.identities.get(version)
        if code is None:
            if len(self.identities) >= IDENTITIES:
                return IDENTITIES + xxhash.xxh3_64_intdigest(version.encode()) % (np.iinfo(np.int16).max - IDENTITIES)
            code = self.identities[version] = len(self.identities)
        return code

    def admit(self, kinds: np.ndarray, counts: np.ndarray) -> None:
        """Resolve the kinds of one closed cohort: codes i32[k] with how often each stands in it, i64[k]."""
        if not (self.version_of[kinds] == UNRESOLVED).any():
            return
        versions: Counter[str] = Counter()
        values: list[Counter[str]] = [Counter() for _ in self.names]
        for code, count in zip(kinds.tolist(), counts.tolist(), strict=True):
            version, parts = self.raw[code]
            versions[version] += count
            for counter, part in zip(values, parts, strict=True):
                if part:
                    counter[part] += count
        for version in _by_count(versions):
            place = self._free()
            if place is None:
                break
            if version not in self.versions and version != OTHER:
                self.versions[place : place + 1] = [version]
                self.last_seen[place : place + 1] = [0]
        for known, counter in zip(self.values, values, strict=True):
            for value in _by_count(counter):
                if value not in known and value != OTHER and len(known) < VALUES:
                    known.append(value)
        self.resolve(kinds)

    def resolve(self, kinds: np.ndarray) -> None:
        """Resolve kinds against the names admitted so far."""
        for code in kinds[self.version_of[kinds] == UNRESOLVED].tolist():
            self._resolve(code)

    def places(self, kinds: np.ndarray) -> np.ndarray:
        """int64[n]: the places of the versions of kinds i32[n], resolved or not; ``VERSIONS`` for one without."""
        places: np.ndarray = self.version_of[kinds].astype(np.int64)
        for code in distinct(kinds[places == UNRESOLVED]).tolist():
            version = self.raw[code][0]
            places[kinds == code] = self.versions.index(version) if version in self.versions else VERSIONS
        return places

    def _free(self) -> int | None:
        for place, version in enumerate(self.versions):
            if version is None:
                return place
        return len(self.versions) if len(self.versions) < VERSIONS else None

    def _resolve(self, code: int) -> None:
        version, parts = self.raw[code]
        self.version_of[code] = self.versions.index(version) if version in self.versions else VERSIONS
        for name, part in enumerate(parts):
            known = self.values[name]
            self.values_of[name, code] = ABSENT if not part else known.index(part) if part in known else VALUES

    def version(self, place: int) -> str:
        """The name of an admitted version (``other`` for the place behind them)."""
        return OTHER if place == VERSIONS else self.versions[place] or OTHER

    def value(self, name: int, place: int) -> str:
        """The name of an admitted segment value (``other`` for the place behind them)."""
        return OTHER if place == VALUES else self.values[name][place]

    def retire(self, place: int) -> None:
        """Free a version's place; its kinds resolve anew if it comes back."""
        version = self.versions[place]
        self.versions[place] = None
        for code, (raw, _) in enumerate(self.raw):
            if raw == version or self.version_of[code] == VERSIONS:
                self.version_of[code] = UNRESOLVED

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {
            "raw": [[version, list(values)] for version, values in self.raw],
            "identities": list(self.identities),
            "versions": list(self.versions),
            "last_seen": list(self.last_seen),
            "values": [list(known) for known in self.values],
            "version_of": self.version_of,
            "values_of": self.values_of,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.raw = [(version, tuple(values)) for version, values in state["raw"]]
        self.codes = {kind: code for code, kind in enumerate(self.raw)}
        self.identities = {version: code for code, version in enumerate(state["identities"])}
        self.versions = list(state["versions"])
        self.last_seen = list(state["last_seen"])
        self.values = [list(known) for known in state["values"]]
        self.version_of = state["version_of"]
        self.values_of = state["values_of"].reshape(len(self.names), len(self.raw))


def _by_count(counter: Counter[str]) -> list[str]:
    return [name for name, _ in sorted(counter.items(), key=lambda item: (-item[1], item[0]))]
