"""Kinds: the model, version and segment values of predictions, by which evidence is kept and records are named.

Invariant: a kind that leaves here holds plain text of bounded length, whatever the event held. Text that is none, and
numbers whose digits cannot be told, are faults; a segment's value that is neither text nor number counts as not given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import numpy as np
from msgspec import UNSET

from streameval.events.columns import I32, NO_MODEL, Kind
from streameval.events.contract import DEFAULT_VERSION, NAME_CHARACTERS, WHOLE, Prediction
from streameval.events.rejected import BAD_STRING, OUT_OF_RANGE
from streameval.events.repeated import Fault
from streameval.plain import is_plain

# No decoded text is half a surrogate pair, so these stand for what is no name without being taken for one.
_HUGE: Final = "\ud800"
_ODD: Final = "\udfff"
_TEXT: Final = frozenset({str})


def kinds_of(events: Sequence[Prediction], segments: Mapping[str, Sequence[str]]) -> list[Kind | None]:
    """The kind of each event; None where its model is not configured.

    Args:
        events: n predictions.
        segments: names of the segments of each configured model, in order.
    """
    names = [event.model for event in events]
    present = list(dict.fromkeys(names))
    if len(present) == 1:
        return _of_model(present[0], events, segments.get(present[0]))
    kinds: list[Kind | None] = [None] * len(events)
    for name in present:
        rows = [row for row, other in enumerate(names) if other == name]
        for row, kind in zip(rows, _of_model(name, [events[row] for row in rows], segments.get(name)), strict=True):
            kinds[row] = kind
    return kinds


def _of_model(name: str, events: Sequence[Prediction], segments: Sequence[str] | None) -> list[Kind | None]:
    if segments is None:
        return [None] * len(events)
    versions = texts([event.version or DEFAULT_VERSION for event in events])
    if not segments:
        return list(zip(repeat(name, len(events)), versions, repeat((), len(events)), strict=True))
    groups = [event.segments for event in events]
    try:
        columns = [texts([group.get(segment, "") for group in groups]) for segment in segments]
    except AttributeError:
        columns = [texts([_value(group, segment) for group in groups]) for segment in segments]
    return list(zip(repeat(name, len(events)), versions, zip(*columns, strict=True), strict=True))


def _value(group: Any, segment: str) -> Any:
    """A segment's value, or what counts as none, where some events hold no object of segments."""
    if isinstance(group, dict):
        return group.get(segment, "")
    return "" if group is UNSET or group is None else _ODD


def kind_fault(kind: Kind) -> Fault | None:
    """What is wrong with a kind, so that its events are rejected."""
    _, version, segments = kind
    for name, text in (("version", version), *(("segments[...]", value) for value in segments)):
        if text == _HUGE:
            return OUT_OF_RANGE, f"$.{name} is a number beyond 2^53, whose last digits get lost: send it as a string"
        if len(text) > NAME_CHARACTERS:
            return BAD_STRING, f"$.{name} has more than {NAME_CHARACTERS} characters: send a shorter one"
        if text != _ODD and not is_plain(text):
            return BAD_STRING, f"$.{name} has control, formatting or invisible characters: send plain text"
    return None


def encoded(kinds: Sequence[Kind | None]) -> tuple[I32, list[Kind], int]:
    """Codes of kinds without faults, what they stand for, and how many segments' values are left out as unusable.

    Returns:
        int32[n] (`NO_MODEL` for None), the distinct kinds that they index, in order of first appearance, and a count.

    >>> codes, known, unusable = encoded([("m", "1", ("DE",)), None, ("m", "1", tuple(texts([["DE"]])))])
    >>> codes.tolist(), known, unusable
    ([0, -1, 1], [('m', '1', ('DE',)), ('m', '1', ('',))], 1)
    """
    places: dict[Kind, int] = {}
    code: dict[Kind | None, int] = {None: NO_MODEL}
    odd: dict[Kind | None, int] = {}
    for kind in dict.fromkeys(kinds):
        if kind is None:
            continue
        usable = kind
        if _ODD in kind[2]:
            odd[kind] = kind[2].count(_ODD)
            usable = (*kind[:2], tuple("" if value == _ODD else value for value in kind[2]))
        code[kind] = places.setdefault(usable, len(places))
    codes = np.fromiter(map(code.__getitem__, kinds), np.int32, len(kinds))
    return codes, list(places), sum(odd.get(kind, 0) for kind in kinds) if odd else 0


def texts(values: Sequence[Any]) -> list[str]:
    """Strings as they are; numbers and booleans as their JSON text, null as "" (not given).

    >>> texts(["DE", 1, 1.0, True, 1.5, None])
    ['DE', '1', '1', 'true', '1.5', '']
    """
    if set(map(type, values)) <= _TEXT:
        return list(values)
    return list(map(_text, values))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not value.is_integer():
            return repr(value)
        return str(int(value)) if abs(value) < WHOLE else _HUGE
    if isinstance(value, int):
        return str(value) if abs(value) < 2**63 else _HUGE
    return value if isinstance(value, str) else _ODD
