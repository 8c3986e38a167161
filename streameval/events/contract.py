"""The two events that people send, as msgspec structs: the one description that decoding and JSON Schema share.

Invariant: a rule that one field can tell by itself (type, range, length) stands here, in the annotation, and is
enforced by msgspec in C; rules that need another field, the model or the batch stand in ``decode``.

- What says which event it is and what it says is *strict*: id, model, ts, version, score, label, and the values that a
  model declares as KPIs. An event is rejected where they are wrong.
- What refines it, a segment or the propensity, counts as not given where it cannot be used, and is counted.
- What the models do not use never rejects an event, whatever stands there: fields that the contract does not name,
  those of other tasks (kept as raw bytes, so that their keys can be counted), segments and values that no model
  configures.

Absent is `UNSET`, not `None`: the search for repeated keys must know how many keys a message should have. A field
whose value is ``null`` counts as not given.

Source: design, "Events in"; JSON Schema draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

ID_BYTES: Final = 512
"""Largest id, in bytes of UTF-8."""

NAME_CHARACTERS: Final = 200
"""Largest version or segment value, in characters: they become parts of record keys."""

WHOLE: Final = 2**53
"""Below it, either way, a double holds every whole number. A KPI has at most so many units of its scale, so that sums
of squares stay exact and finite; a double beyond it is no name, for its last digits are not known."""

DEFAULT_VERSION: Final = "0"
"""Version of a prediction that names none."""

OTHER: Final = "~other"
"""What records call the versions, or the values of a segment, that have no key of their own: no event may use it."""

_INT64: Final = 2**63 - 1

# 1 and 1.0 are one number in JSON, and some producers cannot help writing the second.
_Whole = Annotated[int, Meta(ge=-_INT64, le=_INT64)] | Annotated[float, Meta(multiple_of=1, gt=-WHOLE, lt=WHOLE)]
type_ts = Annotated[datetime, Meta(tz=True)] | _Whole
type_id = Annotated[str, Meta(min_length=1, max_length=ID_BYTES)] | _Whole

_ID = "Joins outcome and prediction. A non-empty string of at most 512 bytes; a whole number stands for its digits."
_TS = "RFC 3339 with offset (2024-05-01T12:00:00.000Z), or epoch milliseconds as a whole number; from 1990 to 2100."
_UNUSED = " Not used by binary models: whatever stands here is let pass."


def _unused(description: str, example: object) -> Meta:
    return Meta(description=description + _UNUSED, extra_json_schema={"examples": [example]})


class Prediction(msgspec.Struct, gc=False, omit_defaults=True):
    """One prediction of one model.

    >>> msgspec.json.decode(b'{"id":"a","model":"fraud","ts":1714564800000,"score":0.25}', type=Prediction).score
    0.25
    """

    id: Annotated[type_id, Meta(description=_ID)]
    model: Annotated[str, Meta(min_length=1, description="Name of the model, as configured.")]
    ts: Annotated[type_ts, Meta(description="When the prediction was made. " + _TS)]
    version: Annotated[
        str | _Whole | UnsetType | None,
        Meta(
            description="Version of the model, a string or a whole number; '0' when empty or not given. Not '~other'."
        ),
    ] = UNSET
    score: Annotated[
        float | UnsetType | None, Meta(description="Binary: P(positive), in [0, 1]. Ranking: any finite number.")
    ] = UNSET
    scores: Annotated[Raw | UnsetType, _unused("Multiclass: class -> probability.", {"a": 0.25, "b": 0.75})] = UNSET
    value: Annotated[Raw | UnsetType, _unused("Regression: the predicted number.", 12.5)] = UNSET
    group: Annotated[Raw | UnsetType, _unused("Ranking: the list that this item was ranked in.", "query-7")] = UNSET
    decision: Annotated[Raw | UnsetType, _unused("What was done with the prediction.", "block")] = UNSET
    segments: Annotated[
        Any,
        Meta(
            description="Segment name -> value; numbers and booleans become their JSON text, null is not given. A list "
            "or an object counts as not given; '~other' is refused. Segments that the configuration does not name are "
            "let pass.",
            extra_json_schema={"examples": [{"country": "DE"}]},
        ),
    ] = UNSET
    features: Annotated[
        Raw | UnsetType, _unused("Feature name -> number; null is missing.", {"age": 37, "income": None})
    ] = UNSET
    latency_ms: Annotated[Raw | UnsetType, _unused("How long the model took, in milliseconds.", 3.5)] = UNSET
    propensity: Annotated[
        Any,
        Meta(
            description="P(the label will be observed), in (0, 1], where labels.selective is propensity; anything else "
            "counts as not given.",
            extra_json_schema={"examples": [0.1]},
        ),
    ] = UNSET


class Outcome(msgspec.Struct, gc=False, omit_defaults=True):
    """What came of a prediction: its label, its KPI values, or both.

    A *heartbeat* holds only a time, and a model or none: it proves that labels flow up to that time.

    >>> msgspec.json.decode(b'{"id":"a","ts":1714564800000,"label":true}', type=Outcome).label
    True
    """

    ts: Annotated[type_ts, Meta(description="When the outcome became known. " + _TS)]
    id: Annotated[type_id | UnsetType, Meta(description=_ID + " Only a heartbeat has none.")] = UNSET
    model: Annotated[
        Annotated[str, Meta(min_length=1)] | UnsetType | None,
        Meta(description="Only predictions of this model are meant; every model's when not given."),
    ] = UNSET
    label: Annotated[
        bool | int | float | str | UnsetType | None,
        Meta(description="Binary: 0, 1, true or false. Multiclass: a class. Regression: a number. Ranking: relevance."),
    ] = UNSET
    values: Annotated[
        Any,
        Meta(
            description="KPI name -> number (revenue, click, ...), at most 2^53 units of the scale that the "
            "configuration gives it; null is not given. Values that the configuration does not name are let pass.",
            extra_json_schema={"examples": [{"revenue": 120.5}]},
        ),
    ] = UNSET


UNUSED: Final = frozenset({"scores", "value", "group", "decision", "features", "latency_ms"})
"""Fields of the contract that no binary model uses."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What decoding must know of a configured model.

    Attributes:
        name: the model's name in events.
        task: ``binary`` (others are refused by the configuration before they come here).
        segments: configured segment names, in order.
        kpis: the outcome values that the model reads: name -> scale, the unit in which they are counted.
        propensity: whether the model reads the propensity of its predictions.
    """

    name: str
    task: str = "binary"
    segments: tuple[str, ...] = ()
    kpis: Mapping[str, float] = field(default_factory=dict)
    propensity: bool = False


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (draft 2020-12) of the two events, by name.

    >>> sorted(schemas()), schemas()["outcome"]["required"]
    (['outcome', 'prediction'], ['ts'])
    """
    heartbeat = {"propertyNames": {"enum": ["ts", "model"]}}
    # One of these must be there; a struct cannot say so, and decoding says it per task.
    alternatives: dict[str, tuple[type[msgspec.Struct], list[dict[str, Any]]]] = {
        "prediction": (Prediction, [{"required": [field]} for field in ("score", "scores", "value")]),
        "outcome": (Outcome, [{"required": ["id", "label"]}, {"required": ["id", "values"]}, heartbeat]),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, (struct, choices) in alternatives.items():
        _, components = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
        found[name] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **components[struct.__name__],
            "anyOf": choices,
        }
    return found
