"""Siblings: how far the segments of a version are from its whole, and so how much the whole counts for each of them.

Each segment says how far it is whenever it publishes its metrics; segments of one name (all countries, say) are taken
together.

Invariant: a function of the segments' windows and the whole's at those logical times.

Source: METHODS, section 4; `streameval.decide.shrinkage`.
"""

from __future__ import annotations

from typing import Any

from streameval.decide.shrinkage import Distance, distance, pseudo_events
from streameval.evidence.binary import BinaryEvidence


class Siblings:
    """The latest distances of all segments."""

    def __init__(self) -> None:
        self.distances: dict[str, Distance] = {}

    def note(self, segment: str, evidence: BinaryEvidence, whole: BinaryEvidence) -> None:
        """Take down how far a segment's window is from the whole's."""
        found = distance(evidence, whole)
        if found is not None:
            self.distances[segment] = found

    def pseudo_events(self, segment: str) -> float:
        """For how many events of a segment's own the whole counts."""
        name = segment.partition("=")[0]
        return pseudo_events(d for known, d in sorted(self.distances.items()) if known.partition("=")[0] == name)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues exactly."""
        return {segment: list(d) for segment, d in sorted(self.distances.items())}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.distances = {segment: Distance(*d) for segment, d in state.items()}
