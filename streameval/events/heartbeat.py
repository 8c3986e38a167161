"""Heartbeats: outcome messages that hold a time, a model or none, and nothing else.

They prove that labels flow up to their time, where positives are rare or the pipeline has nothing to send. One that
held anything else would hide a mistake: a producer that misnames ``id`` and ``label`` must be told, not believed.

Invariant: whether a message is a heartbeat is a function of its bytes and of where its topic's mapping finds the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

NATIVE = frozenset({("ts",), ("model",)})
"""Where a message in the contract's own form holds the time and the model."""

_slices = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_heartbeat(message: bytes, places: Collection[tuple[str, ...]] = NATIVE) -> bool:
    """Whether a JSON object holds nothing but what stands at these places.

    >>> is_heartbeat(b'{"ts": 1, "model": "fraud"}'), is_heartbeat(b'{"ts": 1, "label": 0}')
    (True, False)
    >>> is_heartbeat(b'{"event": {"at": 1}}', {("event", "at")})
    True
    """
    return all(place in places for place in _places(message, ()))


def _places(value: bytes | msgspec.Raw, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where the values of an object stand that are no objects themselves, or empty ones."""
    for name, inner in _slices(value).items():
        here = (*above, name)
        within = list(_places(inner, here)) if bytes(memoryview(inner)[:1]) == b"{" else []
        yield from within or [here]
