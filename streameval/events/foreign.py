r"""What a message is instead of a JSON object: the format that it was written in, and how to write JSON.

Formats have their first bytes; what was meant to be JSON has its usual slips. Only refused messages come here.

Invariant: a text is a function of the message and carries no string of it. Sources: Confluent's wire format (a zero
byte, the schema's id in four); the magic numbers of each format's specification.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Mapping
from typing import Any, Final

_COMPRESSED: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x82SNAPPY\x00", "snappy"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy"),
    (b"BZh9", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
)
_FORMATS: Final = (
    (b"Obj\x01", "an Avro file"),
    (b"\xc3\x01", "Avro"),
    (b"PAR1", "Parquet"),
    (b"\xac\xed\x00\x05", "a serialized Java object"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
)
_CONFLUENT_PREFIX: Final = 5
_WIDE: Final = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_MAPS: Final = ((0x80, 0x90, "MessagePack"), (0xA0, 0xC0, "CBOR"))

_ENVELOPES: Final = ("payload", "data", "value", "after", "event", "body", "message", "record")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}\s*")
_ROW: Final = re.compile(r"a row of \d+ cells under \d+ columns")
_SLIPS: Final = (
    (r"'\s*[:,}\]]|[{\[,:]\s*'", "strings in single quotes, as str() writes a dict in Python: use json.dumps"),
    (r"(?<!\w)(?:True|False|None|undefined)(?!\w)", "True, False, None or undefined: JSON has true, false and null"),
    (r",\s*[}\]]", "a comma before a closing bracket: leave it out"),
    (r"/\*|//", "a comment: JSON has none"),
    (r"[{,]\s*[A-Za-z_$][\w$]*\s*:", "a key without quotes: put each key in double quotes"),
    (r"[:,\[]\s*(?:\+|\.\d|-?0\d|-?\d+\.(?!\d))", "no number of JSON's: write 0.5 and 1, and not .5, 1., +1 or 01"),
)
_SLIP: Final = tuple((re.compile(pattern), said) for pattern, said in _SLIPS)
_CELLS: Final = re.compile(r"[^{}\[\]]*[,;\t|][^{}\[\]]*")
_PAIRS: Final = re.compile(r"\s*[\w.]+=\S")


def format_of(message: bytes) -> str | None:
    """Which format a message is in, told by how it begins, with the cure; None where it may be JSON.

    >>> format_of(bytes(5) + b'{"id": 1}')
    "Confluent's prefix (a zero byte, a schema id of four) before JSON: use a serializer without schema registry"
    """
    for magic, name in _COMPRESSED:
        if message.startswith(magic):
            return (
                f"the value is compressed ({name}): send JSON, and let the Kafka producer compress (compression.type)"
            )
    for magic, name in _FORMATS:
        if message.startswith(magic):
            return f"the value is {name}: send JSON"
    for encoding in _WIDE:
        with contextlib.suppress(UnicodeDecodeError):
            if b"\0" in message[:4] and message.decode(encoding)[:1] in ("{", "["):
                return f"the value is {encoding[:6].upper()}: encode it as UTF-8"
    if message[:1] == b"\0" and len(message) > _CONFLUENT_PREFIX:
        prefix = "Confluent's prefix (a zero byte, a schema id of four) before"
        if message[_CONFLUENT_PREFIX:].lstrip()[:1] in (b"{", b"["):
            return f"{prefix} JSON: use a serializer without schema registry"
        return f"{prefix} Avro or Protobuf: send JSON, as a serializer without schema registry writes it"
    return next((f"the value looks like {name}: send JSON" for a, b, name in _MAPS if a <= message[0] < b), None)


def slip_in(message: bytes, bare: str) -> str | None:
    """What went wrong in a text that is no JSON, with the cure; None where nothing usual did.

    Args:
        message: the text's bytes.
        bare: the text, with all its strings made empty.
    """
    text = bare.strip()
    if text.startswith("<"):
        return "XML or HTML: send JSON"
    if "\0" in text:
        return "a zero byte: send the JSON's own bytes, without the end of a C string"
    if _BASE64.fullmatch(message) and _decoded(message).lstrip()[:1] == b"{":
        return "base64: send the JSON itself"
    if text.startswith(("data:", "event:")):
        return "a server-sent event: send what stands behind data:"
    if text[:1] not in ("{", "["):
        if _ROW.fullmatch(text):
            return f"{text}: quote cells that hold commas"
        if _PAIRS.match(text):
            return "pairs of name=value: send a JSON object"
        if _CELLS.fullmatch(text):
            return "it looks like a line of CSV: send JSON (streameval replay reads whole CSV files)"
        return None
    return next((said for pattern, said in _SLIP if pattern.search(text)), None)


def within_text(value: object) -> str:
    """What a JSON value that is no object is, with the cure.

    >>> within_text([{}]), within_text('{"id": 1}')[:42]
    ('an array: send each of its events as a message of its own', 'a string that holds JSON, so it was encode')
    """
    if isinstance(value, list):
        return "an array: send each of its events as a message of its own"
    if isinstance(value, str):
        if value.lstrip()[:1] == "{":
            return "a string that holds JSON, so it was encoded twice: send the object itself"
        if _BASE64.fullmatch(value.encode()) and _decoded(value.encode()).lstrip()[:1] == b"{":
            return "a string of base64: send the JSON object itself"
    return "no JSON object: send one object a message"


def envelope_of(field: str, payload: Mapping[str, Any]) -> str | None:
    """Where in a message the event seems to stand, if its missing field is found there.

    >>> envelope_of("id", {"schema": {}, "payload": {"id": 1}})
    'payload'
    """
    return next((name for name in _ENVELOPES if isinstance(payload.get(name), dict) and field in payload[name]), None)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text.strip().translate(bytes.maketrans(b"-_", b"+/")) + b"==")
    except binascii.Error:
        return b""
