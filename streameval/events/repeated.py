"""Keys that stand twice in one JSON object.

JSON parsers keep the last of them in silence, so two producers that disagree would be read as one. Finding them by a
second parse would double the cost of decoding; instead keys are *counted*. In JSON every key's closing quote is
followed by a colon, and no string can hold ``":`` without a backslash before the quote, so

    (occurrences of ``":`` in a message) >= (keys of the message) - (keys with white space before their colon)

and the decoded struct tells how many contract keys the message has. Where no quote is followed by white space and the
counts agree, nothing is repeated: proven by a few vectorised passes over the joined bytes of many messages. Only
messages where they differ (fields that the contract does not name, strings with escaped quotes, repeated keys) are
looked at one by one: first with the ignored fields as raw slices, and only if that leaves a doubt by a full parse.

Invariant: the answer is exact and depends on the message alone. Only what is read counts: the top-level fields that are
used, and the segments and values that a model configures.

Nesting deeper than `MAX_DEPTH` is found on the same way: opening brackets are counted, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from streameval.events.columns import I64
from streameval.events.rejected import DUPLICATE_KEY, TOO_DEEP

MAX_DEPTH: Final = 64
"""Deepest nesting of objects and arrays that is accepted, the event itself being 1."""

_CHUNK: Final = 512  # messages joined at a time: some 100 kB, which stay in the cache
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_BRACKETS: Final = re.compile(rb"[^\[\]{}]+")
_SPACED_KEY: Final = re.compile(rb'"[ \t\r\n]+:')
_QUOTE, _COLON, _SPACE, _BRACE = b'": {'

_slices = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Fault = tuple[str, str]
"""(reason, detail)."""


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were repeated."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    self.repeated.append(key)
                seen.add(key)


def depth(message: bytes) -> int:
    """Deepest nesting of brackets outside strings; the message need not be well-formed.

    >>> depth(b'{"a": [1, {"b": "[[["}]}')
    3
    """
    brackets = np.frombuffer(_BRACKETS.sub(b"", _STRING.sub(b"", message)), dtype=np.uint8)
    if not len(brackets):
        return 0
    # In ASCII the closing bracket of both kinds is its opening one + 2, and bit 1 tells them apart.
    steps = np.where(brackets & 2, 1, -1)
    return int(np.cumsum(steps).max())


def suspects(messages: Sequence[bytes], keys: int, keys_each: Callable[[], I64]) -> list[tuple[int, int]]:
    """Messages whose keys must be looked at, as (index, surplus of ``":`` over the expected keys), ascending.

    The surplus is -1 where white space before a colon makes the count worthless, or nesting may be too deep.

    Args:
        messages: n well-formed JSON objects.
        keys: the number of contract keys in all of them together.
        keys_each: gives int64[n], the number in each; called only when the totals differ.
    """
    chunks = [messages[start : start + _CHUNK] for start in range(0, len(messages), _CHUNK)]
    colons: list[I64] = []  # places of a colon behind a quote, by chunk
    spaced: list[int] = []
    for number, chunk in enumerate(chunks):
        symbols = np.frombuffer(b"\n".join(chunk) + b"\n", dtype=np.uint8)
        quote, following = symbols[:-1] == _QUOTE, symbols[1:]
        colons.append(np.flatnonzero(quote & (following == _COLON)))
        # The newline that joins messages follows a brace, so a quote before white space lies inside one of them.
        before_space = np.flatnonzero(quote & (following <= _SPACE))
        if len(before_space):
            inside = np.unique(np.searchsorted(_ends(chunk), before_space, side="right"))
            spaced += [number * _CHUNK + i for i in inside.tolist() if _SPACED_KEY.search(chunk[i])]
        # Braces and brackets differ in the bit that lower case has.
        opening = np.flatnonzero((symbols | 0x20) == _BRACE)
        if len(opening) > MAX_DEPTH and bool((opening[MAX_DEPTH:] - opening[:-MAX_DEPTH] < max(map(len, chunk))).any()):
            nested = np.diff(np.searchsorted(opening, _ends(chunk)), prepend=0)
            spaced += [number * _CHUNK + i for i in np.flatnonzero(nested > MAX_DEPTH).tolist()]
    if sum(map(len, colons)) == keys and not spaced:
        return []
    found = [np.diff(np.searchsorted(at, _ends(chunk)), prepend=0) for at, chunk in zip(colons, chunks, strict=True)]
    surplus = np.concatenate(found) - keys_each()
    surplus[spaced] = -1
    doubtful = np.flatnonzero(surplus)
    return list(zip(doubtful.tolist(), surplus[doubtful].tolist(), strict=True))


def inspect(
    messages: Sequence[bytes],
    doubtful: Sequence[tuple[int, int]],
    fields: Collection[str],
    paths: Sequence[Sequence[str]],
) -> dict[int, Fault]:
    """What is wrong with the messages that `suspects` named: a repeated key, too deep nesting, or nothing.

    Args:
        messages: as given to `suspects`.
        doubtful: as it answered.
        fields: the contract's top-level fields.
        paths: what is read, as for `repeated`.

    Returns:
        The faults by index.
    """
    faults: dict[int, Fault] = {}
    shape: list[str] = []
    ignored: list[str] = []
    for index, surplus in doubtful:
        message = messages[index]
        if surplus > 0:
            slices = _slices(message)
            names = list(slices)
            if names != shape:  # a stream has few shapes, and its messages come in runs of one
                shape, ignored = names, [name for name in names if name not in fields]
            values = b" ".join([slices[name] for name in ignored])
            # Each ignored field accounts for its own key and for the keys (and quoted colons) inside it.
            if surplus == len(ignored) + values.count(b'":'):
                continue
        fault = too_deep(message) or repeated(message, paths)
        if fault:
            faults[index] = fault
    return faults


def too_deep(message: bytes) -> Fault | None:
    """The fault of a message that nests beyond `MAX_DEPTH`, else None."""
    if message.count(b"[") + message.count(b"{") <= MAX_DEPTH or depth(message) <= MAX_DEPTH:
        return None
    return TOO_DEEP, f"objects and arrays nest deeper than {MAX_DEPTH}: send a flatter message"


def repeated(message: bytes, paths: Iterable[Sequence[str]]) -> Fault | None:
    """The fault of a message in which a key on one of the paths stands twice, else None: a full parse.

    Args:
        message: a well-formed JSON object, not too deep.
        paths: what is read of it, as pieces.

    >>> repeated(b'{"id": 1, "x": {"a": 1, "a": 2}}', [["id"]]) is None
    True
    >>> repeated(b'{"id": 1, "x": {"a": 1, "a": 2}}', [["x", "a"]])
    ('duplicate_key', 'the key at $.x.a is given more than once: send each key once')
    """
    root = json.loads(message, object_pairs_hook=_Object, parse_int=_nothing, parse_float=_nothing)
    for path in paths:
        node: Any = root
        for piece in path:
            if isinstance(node, _Object):
                if piece in node.repeated:
                    return DUPLICATE_KEY, f"the key at $.{'.'.join(path)} is given more than once: send each key once"
                node = node.get(piece)
            elif isinstance(node, list) and piece.isdecimal() and int(piece) < len(node):
                node = node[int(piece)]
            else:
                break
    return None


def distinct_strings(message: bytes) -> bool:
    """Whether all strings of a message differ, so that no key can stand twice in it; False also when in doubt.

    >>> distinct_strings(b'{"a": "b"}'), distinct_strings(b'{"a": "a"}')
    (True, False)
    """
    if b"\\" in message:
        return False
    strings = message.split(b'"')[1::2]
    return len(set(strings)) == len(strings)


def _nothing(_: str) -> None:
    """Stands for every number: their values are not asked for, and huge ones would cost time or be refused."""


def keys_within(values: Sequence[Any]) -> int:
    """How many keys raw JSON values hold together, those with white space before their colon left out.

    >>> keys_within([b'{"a": {"b": 1}}', b"[]"])
    2
    """
    symbols = np.frombuffer(b"".join(values), dtype=np.uint8)
    return int(np.count_nonzero((symbols[:-1] == _QUOTE) & (symbols[1:] == _COLON)))


def _ends(messages: Sequence[bytes]) -> I64:
    """int64[n]: where each message ends in the joined bytes, the newline after it included."""
    return np.asarray(np.cumsum(np.fromiter(map(len, messages), np.int64, len(messages)) + 1), dtype=np.int64)
