"""Write `chart/values.schema.json`: what the chart's values may be, the daemon's own configuration included.

Invariant: Helm refuses a wrong configuration before anything is installed, by the schema that the daemon itself prints
(`streameval schema config`), less the keys that the chart sets.

    python deploy/values_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streameval.schema import all_schemas

TARGET = Path(__file__).parent / "chart" / "values.schema.json"

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAMES: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
OBJECT: Schema = {"type": "object"}
OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
SECONDS: Schema = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
QUANTITY: Schema = {"type": ["string", "integer"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
OBJECT_NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
SWITCH: Schema = {"type": "boolean"}


def closed(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object with these keys and no others."""
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return made | {"required": list(required)} if required else made


def configuration() -> tuple[Schema, Schema]:
    """The schema of `config` and the definitions that it refers to; what the chart sets is left out, so refused."""
    whole = all_schemas()["config"]
    definitions = whole.pop("$defs")
    whole.pop("$schema", None)
    del whole["properties"]["state"]
    for key in ("host", "port"):
        del definitions["Serve"]["properties"][key]
    return whole, definitions


def schema() -> Schema:
    """The schema of all values."""
    config, definitions = configuration()
    resource = {"type": "object", "additionalProperties": QUANTITY}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the streameval chart",
        **closed(
            ("image", "config", "shards"),
            image=closed(
                ("repository",),
                repository={"type": "string", "minLength": 1, "pattern": r"^[^\s:@]+(:[0-9]+/[^\s:@]+)?$"},
                tag={"type": "string", "pattern": r"^[\w.-]*$"},
                digest={"type": "string", "pattern": r"^(sha256:[0-9a-f]{64})?$"},
                pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
            ),
            imagePullSecrets={"type": "array", "items": closed(("name",), name=OBJECT_NAME)},
            config=config,
            shards={"type": "integer", "minimum": 1, "maximum": 1000},
            secrets={
                "type": "array",
                "items": closed(
                    ("name", "mountPath"), name=OBJECT_NAME, mountPath={"type": "string", "pattern": "^/[^:]+$"}
                ),
            },
            env={"type": "array", "items": {"type": "object", "required": ["name"]}},
            port={**PORT, "minimum": 1024},
            persistence=closed(
                enabled=SWITCH,
                size=QUANTITY,
                storageClass=TEXT,
                accessModes={
                    "type": "array",
                    "minItems": 1,
                    "items": {"enum": ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]},
                },
                whenDeleted={"enum": ["Retain", "Delete"]},
            ),
            resources=closed(requests=resource, limits=resource),
            terminationGracePeriodSeconds={"type": "integer", "minimum": 10},
            podDisruptionBudget=closed(
                enabled=SWITCH,
                maxUnavailable={"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+%$"},
            ),
            networkPolicy=closed(
                enabled=SWITCH, **{"from": OBJECTS}, kafkaPorts={"type": "array", "items": PORT}, egress=OBJECTS
            ),
            serviceAccount=closed(create=SWITCH, name={"anyOf": [OBJECT_NAME, {"const": ""}]}, annotations=NAMES),
            monitoring=closed(
                podMonitor=closed(enabled=SWITCH, interval=SECONDS, scrapeTimeout=SECONDS, labels=NAMES),
                prometheusRule=closed(enabled=SWITCH, labels=NAMES, alertLabels=NAMES),
                dashboard=closed(enabled=SWITCH, labels=NAMES, annotations=NAMES),
            ),
            nameOverride=TEXT,
            fullnameOverride=TEXT,
            commonLabels=NAMES,
            podLabels=NAMES,
            podAnnotations=NAMES,
            nodeSelector=NAMES,
            tolerations=OBJECTS,
            affinity=OBJECT,
            priorityClassName=TEXT,
            topologySpreadConstraints=OBJECTS,
            extraVolumes=OBJECTS,
            extraVolumeMounts=OBJECTS,
            # Helm puts this one in for charts that others depend on.
            **{"global": OBJECT},
        ),
        "$defs": definitions,
    }


def text() -> str:
    """The file's text."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
