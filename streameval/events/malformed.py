"""Why a message cannot be decoded: from bytes that msgspec refused to a reason, a place and a cure.

Only refused messages come here (about one in a hundred in a bad week), so clarity wins over speed; but the work is
linear in the message's length, which `too_large` bounds.

Invariant: a message that msgspec refuses always gets a reason; syntax is judged before fields, so a message that is no
JSON is never blamed on a field that happened to come before the fault. Texts carry no string of the payload.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from streameval.errors import InvariantError
from streameval.events.foreign import envelope_of, format_of, slip_in, within_text
from streameval.events.rejected import (
    BAD_STRING,
    BAD_TIME,
    BYTE_ORDER_MARK,
    EMPTY,
    HUGE_NUMBER,
    LONE_SURROGATE,
    MISSING_FIELD,
    NAIVE_TIME,
    NOT_FINITE,
    NOT_JSON,
    NOT_OBJECT,
    NOT_UTF8,
    OUT_OF_RANGE,
    TRUNCATED,
    WRONG_TYPE,
)
from streameval.events.repeated import Fault, too_deep
from streameval.events.timestamps import time_fault

REFUSALS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a message that it cannot decode."""

_BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"')
_CONSTANT: Final = re.compile(r"(?<![\w.])[-+]?(nan|inf(inity)?)(?!\w)", re.IGNORECASE)
_PLACE: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>[^`]*)`)?$", re.DOTALL)
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_parse = msgspec.json.Decoder().decode

_HALF: Final = "half of a surrogate pair is no character: send whole characters"
_CURES: Final = {
    "id": "send a non-empty string of at most 512 bytes, or an integer",
    "model": "send the model's name as a string",
    "ts": "send RFC 3339 with offset (2024-05-01T12:00:00Z) or epoch milliseconds as a whole number",
    "version": "send a string, or a whole number",
    "score": "send a number, not a string",
    "label": "send 0 or 1",
}


def explain(message: bytes, decode: Callable[[bytes], object]) -> Fault:
    """Why `decode` refuses the message.

    >>> class Event(msgspec.Struct):
    ...     id: str
    >>> explain(b'{"id": 1}', msgspec.json.Decoder(Event).decode)[1]
    '$.id: expected `str`, got `int`: send a non-empty string of at most 512 bytes, or an integer'
    """
    if not message.strip():
        return EMPTY, "the message is empty: send one JSON object, or no value at all for a tombstone"
    if message.startswith(_BYTE_ORDER_MARKS):
        encoding = "UTF-8" if message.startswith(b"\xef") else "UTF-16"
        return BYTE_ORDER_MARK, f"the message starts with {encoding}'s byte order mark: encode as UTF-8 without one"
    if foreign := format_of(message):
        return NOT_JSON, foreign
    fault = utf8_fault(message) or too_deep(message)
    if fault:
        return fault
    text = message.decode()
    try:
        decode(message)
    except msgspec.ValidationError as error:
        # The first bad field is reported before what follows it was read: look for bad syntax behind it.
        return _syntax_fault(message, text) or field_fault(str(error), _payload(message))
    except msgspec.DecodeError as error:
        return _syntax_fault(message, text) or (NOT_JSON, f"{error}: send one JSON object")
    raise InvariantError("a message was refused and then decoded", where="events.malformed", cure="report it")


def shown(number: float) -> str:
    """A number as people find it in the message: not rounded, and never long.

    >>> shown(1.0000001), shown(3), shown(10**400)
    ('1.0000001', '3', 'about 1e400')
    """
    if isinstance(number, int) and number.bit_length() > 63:
        return f"about {'-' if number < 0 else ''}1e{int(number.bit_length() * 0.30103)}"
    return repr(number)


def utf8_fault(message: bytes) -> Fault | None:
    """The fault of a message that is not UTF-8, else None."""
    try:
        message.decode()
    except UnicodeDecodeError as error:
        cure = "encode the message as UTF-8"
        if message.lstrip()[:1] != b"{":
            cure = "send JSON in UTF-8 (Avro, Protobuf and other binary formats are not read)"
        return NOT_UTF8, f"byte {error.start} is not UTF-8: {cure}"
    return None


def field_fault(error: str, payload: object, sources: dict[str, str] | None = None) -> Fault:
    """A msgspec validation error as a fault.

    Args:
        error: its text.
        payload: the decoded message (times are told by their value), or None.
        sources: contract field -> path in a mapped payload.
    """
    match = _PLACE.match(error)
    what, where = (match["what"], match["where"] or "$") if match else (error, "$")
    if where == "$" and what.startswith("Expected `object`"):
        return NOT_OBJECT, f"the message is {within_text(payload)}"
    field = re.split(r"[.\[]", where.removeprefix("$."), maxsplit=1)[0]
    if what.startswith("Object missing"):
        field = what.split("`")[1]
        where = f"$.{field}"
        envelope = envelope_of(field, payload) if isinstance(payload, dict) and sources is None else None
        if envelope:
            text = f"{where}: the field is missing, but there is $.{envelope}.{field}: unwrap it, or use mappings"
            return MISSING_FIELD, text
        what = "the field is missing"
    if sources and field in sources:
        where += f" (read from {sources[field]})"
    cure = _CURES.get(field, "see the contract (streameval schema)")
    if field == "ts":
        found = _time(what, payload)
        if found:
            return found
    return _reason(what), f"{where}: {_lower(what)}: {cure}"


def _reason(what: str) -> str:
    if what == "the field is missing":
        return MISSING_FIELD
    if "out of range" in what:
        return HUGE_NUMBER
    if "of length" in what:
        return BAD_STRING
    if re.match(r"Expected `\w+` [<>]", what):
        return OUT_OF_RANGE
    return WRONG_TYPE


def _time(what: str, payload: object) -> Fault | None:
    if "timezone" in what:
        return NAIVE_TIME, "$.ts has no offset, so it could be any hour: append Z for UTC, or +hh:mm"
    value = payload.get("ts") if isinstance(payload, dict) else None
    if isinstance(value, float):
        text = f"$.ts is {shown(value)}, not a whole number of milliseconds: cut the fraction off"
        return time_fault(value) or (BAD_TIME, text)
    if what.startswith("Invalid"):
        if isinstance(value, str) and value.strip().replace(".", "", 1).isdecimal():
            return BAD_TIME, "$.ts is a number in quotes: send epoch milliseconds as a number"
        return BAD_TIME, f"$.ts is not RFC 3339: {_CURES['ts']}"
    return None


def _slip_at(message: bytes, place: str) -> str:
    """What went wrong at the byte that a text names."""
    found = _BYTE.search(place)
    at = int(found[1]) if found else len(message)
    if message[at : at + 1] and message[at] < ord(" "):
        return "a raw control character, as a line break in a string: escape it"
    # The byte named is the one behind what should not be there.
    if place.startswith("trailing characters") and b"{" in message[at - 1 :]:
        return "more than one JSON object: send each as a message of its own"
    return "send one JSON object a message"


def _syntax_fault(message: bytes, text: str) -> Fault | None:
    try:
        _parse(text)
    except (msgspec.ValidationError, RecursionError):
        return None
    except msgspec.DecodeError as error:
        problem = str(error)
    else:
        return None
    place = problem.removeprefix("JSON is malformed: ")
    if "surrogate" in problem or "unexpected end of escaped utf-16" in problem:
        return LONE_SURROGATE, f"{place}: {_HALF}"
    bare = _STRING.sub('""', text)
    if _CONSTANT.search(bare):
        return NOT_FINITE, "NaN and Infinity are not JSON: leave the field out, or send null where it is optional"
    if "truncated" in problem:
        # msgspec says so as well of half a pair that is nearer to the end than another half would reach.
        with contextlib.suppress(ValueError):
            json.loads(text, parse_int=str, parse_float=str)
            return LONE_SURROGATE, _HALF
        return TRUNCATED, "the JSON ends too early: check size limits and the producer's flush"
    return NOT_JSON, f"{place}: {slip_in(message, bare) or _slip_at(message, place)}"


def _payload(message: bytes) -> Any:
    try:
        return _parse(message)
    except msgspec.DecodeError:
        return None  # a number beyond a double somewhere: the typed error says where, the value is not needed


def _lower(what: str) -> str:
    return what[:1].lower() + what[1:]
