r"""What is no JSON value where nobody reads it: NaN and Infinity, numbers beyond a double, half a surrogate pair.

Many producers write them into features, and a field that nobody reads never rejects an event. So a message that was
refused is read again with stand-ins for such literals: an empty list, which no strict field takes; and within a string
a character, tried twice with different ones. Where both come to the same, what was replaced is not read.

Invariant: an event that is read by means of stand-ins has in every field that is read what the message says there, or
nothing that the field takes. Costs nothing where messages are JSON.

Source: RFC 8259, sections 6 and 8.2; Python's ``json.dumps`` and Java's Jackson write NaN and Infinity, and cutting a
text in JavaScript leaves half a pair.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final, TypeVar

from streameval.events.malformed import REFUSALS

_Event = TypeVar("_Event")

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|NaN|-?Infinity|-?[0-9][0-9.eE+-]*')
_MARKS: Final = (b"NaN", b"Infinity", b"\\u")
_HEX: Final = "[0-9a-fA-F]{2}"
_HALF: Final = re.compile(rf"\\u[dD][89abAB]{_HEX}\\u[dD][c-fC-F]{_HEX}|(\\u[dD][89a-fA-F]{_HEX})|\\.")
_LONGEST_DOUBLE: Final = 308  # digits of a number without exponent that is surely within a double


def read_past(
    message: bytes, error: Exception, read: Callable[[bytes], _Event], used: Callable[[_Event], object]
) -> tuple[_Event, bytes] | None:
    """The event of a message that `read` refuses for what is not read, and the message that it was read from.

    Args:
        message: what was refused.
        error: why.
        read: decodes a message, or raises one of `REFUSALS`.
        used: what is read of an event, to be compared.

    Returns:
        None where the fault lies elsewhere, or in what is read.
    """
    if "out of range" not in str(error) and not any(mark in message for mark in _MARKS):
        return None
    try:
        texts = _stand_ins(message)
        events = [read(text) for text in texts]
    except REFUSALS:
        return None
    if not events or used(events[0]) != used(events[-1]):
        return None
    return events[0], texts[0]


def _stand_ins(message: bytes) -> list[bytes]:
    r"""The message with stand-ins, twice where strings needed some; nothing where there was nothing to replace.

    >>> _stand_ins(b'{"a": NaN, "b": "NaN", "c": -1e400, "d": 1e40}')
    [b'{"a": [], "b": "NaN", "c": [], "d": 1e40}']
    >>> _stand_ins(rb'"\ud83d"') == [rb'"\ufffd"', rb'"\ufffc"']
    True
    """
    halves = 0

    def half(found: re.Match[str]) -> str:
        nonlocal halves
        halves += found[1] is not None
        return found[0] if found[1] is None else "\\ufffd"

    def stand_in(found: re.Match[str]) -> str:
        token = found[0]
        if token[0] == '"':
            return _HALF.sub(half, token) if "\\u" in token else token
        return "[]" if token[-1] in "Ny" or _overflows(token) else token

    text = message.decode()
    replaced = _TOKEN.sub(stand_in, text)
    if replaced == text:
        return []
    return [(replaced if n == 0 else replaced.replace("\\ufffd", "\\ufffc")).encode() for n in range(1 + (halves > 0))]


def _overflows(number: str) -> bool:
    if len(number) <= _LONGEST_DOUBLE and "e" not in number and "E" not in number:
        return False
    try:
        return math.isinf(float(number))
    except ValueError:
        return False  # no number either: it stays what it was refused for
