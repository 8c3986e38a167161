"""What stands for a record that the broker refuses: the same id, key and sequence, without its data.

Invariant: a function of the record alone, so that a worker that makes the record again knows the stub that was
published in its place. Source: DESIGN, "State, recovery, exactly once".
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["stub"]

_TEXT: Final = 256
"""Longest attribute that a stub keeps, in characters."""


def stub(value: bytes) -> bytes:
    """A small record in the place of one that the broker refuses: same id, sequence and key, without its data.

    >>> stub(b'{"id":"a","subject":"m/1/*","sequence":7,"data":{"x":[1,2]}}')
    b'{"id":"a","subject":"m/1/*","sequence":7,"data":{"refused":"by the broker","bytes":60}}'
    """
    event = msgspec.json.decode(value)
    kept = {}
    if isinstance(event, dict):
        kept = {name: item for name, item in event.items() if name != "data" and len(str(item)) <= _TEXT}
    return msgspec.json.encode({**kept, "data": {"refused": "by the broker", "bytes": len(value)}})
