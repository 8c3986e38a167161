"""Names: the model, version and segment values of predictions, by which evidence is kept and records are named.

Invariant: a name that leaves here is plain text of bounded length, whatever the event held. Text that is none, and
numbers whose digits cannot be told, are faults; a segment's value that is neither text nor number counts as not given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import numpy as np
from msgspec import UNSET

from streameval.events.columns import I16, OTHER_MODEL, Texts
from streameval.events.contract import DEFAULT_VERSION, NAME_CHARACTERS, OTHER, WHOLE, Prediction
from streameval.events.rejected import BAD_STRING, OUT_OF_RANGE
from streameval.events.repeated import Fault
from streameval.plain import is_plain

# No decoded text is half a surrogate pair, so these stand for what is no name without being taken for one.
_HUGE: Final = "\ud800"
_ODD: Final = "\udfff"
_TEXT: Final = frozenset({str})


def names_of(
    events: Sequence[Prediction], codes: Mapping[str, int], segments: Sequence[Sequence[str]]
) -> tuple[I16, list[Texts]]:
    """The events' models, int16[n] (-2: not configured), their versions, and the values of their segments.

    Args:
        events: n predictions.
        codes: the configured models' codes, by name.
        segments: names of the segments of each configured model, in order, by code.
    """
    models = [event.model for event in events]
    present = set(models)
    if len(present) == 1:
        code = codes.get(present.pop(), OTHER_MODEL)
        return np.full(len(events), code, np.int16), list(map(Texts.of, _of_model(code, events, segments)))
    model = np.array([codes.get(name, OTHER_MODEL) for name in models], dtype=np.int16)
    columns: list[list[str]] = [[""] * len(events)]
    for code in dict.fromkeys(model.tolist()):
        rows = np.flatnonzero(model == code).tolist()
        own = _of_model(code, [events[row] for row in rows], segments)
        columns += [[""] * len(events) for _ in range(len(own) - len(columns))]
        for column, said in zip(columns, own, strict=False):
            for row, text in zip(rows, said, strict=True):
                column[row] = text
    return model, list(map(Texts.of, columns))


def _of_model(model: int, events: Sequence[Prediction], segments: Sequence[Sequence[str]]) -> list[list[str]]:
    """The versions, and the values of each segment, of one model's events."""
    if model == OTHER_MODEL:
        return [[""] * len(events)]
    versions = texts([event.version or DEFAULT_VERSION for event in events])
    if not segments[model]:
        return [versions]
    groups = [event.segments for event in events]
    try:
        return [versions, *(texts([group.get(name, "") for group in groups]) for name in segments[model])]
    except AttributeError:
        return [versions, *(texts([_value(group, name) for group in groups]) for name in segments[model])]


def _value(group: Any, segment: str) -> Any:
    """A segment's value, or what counts as none, where some events hold no object of segments."""
    if isinstance(group, dict):
        return group.get(segment, "")
    return "" if group is UNSET or group is None else _ODD


def name_faults(names: Sequence[Texts]) -> dict[int, Fault]:
    """Rows to be rejected for their version, the first of the columns, or for a segment's value."""
    faults: dict[int, Fault] = {}
    for column, field in zip(names, ("version", *repeat("segments[...]", len(names) - 1)), strict=True):
        wrong = {code: fault for code, text in enumerate(column.distinct) if (fault := _fault(field, text))}
        for code, fault in wrong.items():
            for row in np.flatnonzero(column.code == code).tolist():
                faults.setdefault(row, fault)
    return faults


def _fault(field: str, text: str) -> Fault | None:
    if text == _HUGE:
        return OUT_OF_RANGE, f"$.{field} is a number beyond 2^53, whose last digits get lost: send it as a string"
    if len(text) > NAME_CHARACTERS:
        return BAD_STRING, f"$.{field} has more than {NAME_CHARACTERS} characters: send a shorter one"
    if text != _ODD and not is_plain(text):
        return BAD_STRING, f"$.{field} has control, formatting or invisible characters: send plain text"
    if text == OTHER:
        return BAD_STRING, f"$.{field} is {OTHER}, as records call all that have no key of their own: send another name"
    return None


def usable(column: Texts) -> tuple[Texts, int]:
    """A column without what is no name, and how many rows had such a value.

    >>> column, unusable = usable(Texts.of(texts(["DE", ["DE"], ""])))
    >>> column.code.tolist(), column.distinct, unusable
    ([0, 1, 1], ['DE', ''], 1)
    """
    if _ODD not in column.distinct:
        return column, 0
    odd = column.distinct.index(_ODD)
    said = ["" if code == odd else column.distinct[code] for code in column.code.tolist()]
    return Texts.of(said), int(np.count_nonzero(column.code == odd))


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
