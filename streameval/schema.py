"""JSON Schema (draft 2020-12) of everything that goes in or out, and of the configuration.

Invariant: nothing is written by hand twice: schemas of events come from the input contract, those of records from the
structs that make them, that of the configuration from its models.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from streameval.config import Config
from streameval.events.contract import schemas as event_schemas
from streameval.records import RECORDS, CloudEvent, Data
from streameval.transport.protocol import CommitRecord

__all__ = ["DIALECT", "all_schemas", "config_schema", "record_schema"]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def record_schema(kind: type[Data]) -> dict[str, Any]:
    """The schema of one type of record: the CloudEvents envelope with its ``type`` and ``data`` fixed.

    >>> from streameval.records import Drift
    >>> record_schema(Drift)["properties"]["type"]
    {'const': 'streameval.drift'}
    """
    (_, _), definitions = msgspec.json.schema_components([CloudEvent, kind], ref_template="#/$defs/{name}")
    envelope = definitions.pop("CloudEvent")
    return {
        "$schema": DIALECT,
        "title": kind.TYPE,
        "description": kind.__doc__ or "",
        "type": "object",
        "properties": envelope["properties"]
        | {
            "specversion": {"const": "1.0"},
            "type": {"const": kind.TYPE},
            "datacontenttype": {"const": "application/json"},
            "data": {"$ref": f"#/$defs/{kind.__name__}"},
        },
        # We always write every attribute, so those with a default are required as well.
        "required": list(CloudEvent.__struct_encode_fields__),
        "$defs": definitions,
    }


def config_schema() -> dict[str, Any]:
    """The schema of the configuration file, for editors: units, defaults and descriptions included."""
    return {"$schema": DIALECT} | Config.model_json_schema(mode="validation", ref_template="#/$defs/{model}")


def all_schemas() -> dict[str, dict[str, Any]]:
    """Every schema by name: ``prediction``, ``outcome``, records by their CloudEvents type, ``commit``, ``config``.

    >>> list(all_schemas())[:3], list(all_schemas())[-1]
    (['prediction', 'outcome', 'streameval.threshold'], 'config')
    """
    records = {name: record_schema(kind) for name, kind in RECORDS.items()}
    commit = {"$schema": DIALECT} | msgspec.json.schema(CommitRecord, ref_template="#/$defs/{name}")
    return {**event_schemas(), **records, "commit": commit, "config": config_schema()}
