r"""Other people's payloads: from their names and nesting to the contract's fields.

A field of the contract is taken from the dotted path that the mapping gives it. A field that the mapping does not name
is read under its own name; the empty path says "ignore that one". Constants, and the model that a topic is bound to,
win over anything in the payload. ``segments.country`` as a *field* fills one entry of a named group, as do
``features.x``, ``scores.x`` and ``values.x``. In a path a number indexes a list, and ``\.`` is a dot in a name.

Invariant: mapping only moves values; every rule of the contract is applied to its result, as to a native event. Fields
that no model uses are checked for their names and then left where they are.
Source: design, "Events in".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from streameval.errors import ConfigValueError
from streameval.events.contract import UNUSED, Outcome, Prediction

GROUPS: Final = {"prediction": ("segments", "features", "scores"), "outcome": ("values",)}
"""Contract fields that are objects of names, by event."""

_NONE: Final[Mapping[str, Collection[str]]] = {}

FIELDS: Final = {"prediction": Prediction.__struct_fields__, "outcome": Outcome.__struct_fields__}
"""Contract fields, by event."""


@dataclass(frozen=True, slots=True)
class TopicMapping:
    """How one topic's payloads are read.

    Attributes:
        topic: the topic.
        event: which event its messages are.
        model: the one model that the topic is bound to, or None to read it from the payload.
        fields: contract field (``score``, ``segments.country``) -> dotted path in the payload; "" ignores the field.
        constants: contract field -> value.
    """

    topic: str
    event: Literal["prediction", "outcome"]
    model: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)


class Mapper:
    """A `TopicMapping` made ready to be applied.

    Raises:
        ConfigValueError: a field is not of the contract, or a path has an empty piece.

    >>> fields = {"score": "out.p", "segments.country": "geo"}
    >>> mapper = Mapper(TopicMapping("t", "prediction", model="m", fields=fields))
    >>> mapper.apply({"id": "a", "ts": 1, "out": {"p": 0.5}, "geo": "DE"})
    {'id': 'a', 'ts': 1, 'model': 'm', 'score': 0.5, 'segments': {'country': 'DE'}}
    """

    __slots__ = ("_constants", "_moves", "_own", "event", "paths")

    def __init__(self, mapping: TopicMapping) -> None:
        self.event = mapping.event
        constants = dict(mapping.constants)
        if mapping.model is not None:
            constants["model"] = mapping.model
        fixed = [(_target(name, mapping), value) for name, value in constants.items()]
        self._constants = [(target, value) for target, value in fixed if target[0] not in UNUSED]
        moved = {name: path for name, path in mapping.fields.items() if name not in constants}
        moves = [(_target(name, mapping), _pieces(path, name, mapping)) for name, path in moved.items() if path]
        self._moves = [(target, path) for target, path in moves if target[0] not in UNUSED]
        taken = {name for name in (*constants, *mapping.fields) if "." not in name} | UNUSED
        self._own = tuple(name for name in FIELDS[mapping.event] if name not in taken)
        self.paths: dict[str, str] = {name: path for name, path in moved.items() if path}
        """Contract field -> dotted path, for texts to a person."""

    def places(self, fields: Collection[str], within: Mapping[str, Collection[str]] = _NONE) -> list[tuple[str, ...]]:
        """Where the payload holds these fields, as pieces; of objects of names also the names in ``within``."""
        places: list[tuple[str, ...]] = []
        for target, path in [((name,), (name,)) for name in self._own] + self._moves:
            if target[0] in fields:
                inner = within.get(target[0], ()) if len(target) == 1 else ()
                places += [path, *((*path, name) for name in inner)]
        return places

    def apply(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload (a decoded JSON object) as an object with the contract's fields; the payload is not changed."""
        event = {name: payload[name] for name in self._own if name in payload}
        for target, value in self._constants:
            _place(event, target, value)
        for target, path in self._moves:
            node: Any = payload
            for piece in path:
                if isinstance(node, dict):
                    node = node.get(piece)
                elif isinstance(node, list) and piece.isdecimal() and int(piece) < len(node):
                    node = node[int(piece)]
                else:
                    node = None
                    break
            # null is "not given" in the whole contract; a path that leads nowhere is the same.
            if node is not None:
                _place(event, target, node)
        return event


def _place(event: dict[str, Any], target: tuple[str, ...], value: Any) -> None:
    if len(target) == 1:
        event[target[0]] = value
        return
    group = event.get(target[0])
    # A copy: the group may be the payload's own object.
    event[target[0]] = {**(group if isinstance(group, dict) else {}), target[1]: value}


def _target(name: str, mapping: TopicMapping) -> tuple[str, ...]:
    head, dot, rest = name.partition(".")
    if head in FIELDS[mapping.event] and (not dot or (rest and head in GROUPS[mapping.event])):
        return (head, rest) if dot else (head,)
    near = difflib.get_close_matches(head, FIELDS[mapping.event], 1)
    raise ConfigValueError(
        f"{name!r} is not a field of a {mapping.event}",
        where=f"mapping of topic {mapping.topic}",
        cure=f"did you mean {near[0]!r}?" if near else f"fields are {', '.join(FIELDS[mapping.event])}",
    )


def _pieces(path: str, name: str, mapping: TopicMapping) -> tuple[str, ...]:
    pieces = tuple(piece.replace("\\.", ".") for piece in re.split(r"(?<!\\)\.", path))
    if all(pieces):
        return pieces
    raise ConfigValueError(
        f"the path {path!r} of {name!r} has an empty piece",
        where=f"mapping of topic {mapping.topic}",
        cure="write names with single dots between them, and \\. for a dot in a name",
    )
