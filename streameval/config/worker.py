"""The whole configuration: one worker, its transport and topics, its clocks, and its models.

Invariant: a :class:`Config` that exists is consistent in itself: names are distinct, no output topic is read as input,
every mapping names a topic that is read and a model that is configured.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, model_validator

from streameval.config.ids import Ids
from streameval.config.model import (
    INHERITED,
    Alignment,
    Calibration,
    Drift,
    Evaluate,
    Labels,
    Model,
    Reference,
    Retraining,
    Thresholds,
)
from streameval.config.quantities import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Bytes,
    Count,
    Duration,
    LocalPath,
    Name,
    PositiveDuration,
    TopicName,
)
from streameval.config.section import RefusedError, Section, setting
from streameval.config.transport import Transport

__all__ = ["OUTPUTS", "Commit", "Config", "Lateness", "Rejected", "Serve", "TopicMapping", "Topics"]

OUTPUTS: Final = (
    "thresholds",
    "calibration",
    "drift",
    "retrain",
    "metrics",
    "alignment",
    "rejected",
    "clock",
    "commits",
)
"""Keys of ``topics`` that streameval writes to."""

PREDICTION_FIELDS: Final = (
    "id",
    "model",
    "version",
    "ts",
    "score",
    "scores",
    "value",
    "group",
    "decision",
    "segments",
    "features",
    "latency_ms",
    "propensity",
)
OUTCOME_FIELDS: Final = ("id", "model", "ts", "label", "values")
_WHOLE_FOLDERS: Final = {"segments", "features", "values", "scores"}
_A: Final = {"prediction": "a prediction", "outcome": "an outcome"}
_NEW_START: Final = "start with another state directory and worker name"


def _output(what: str) -> Any:
    return setting(f"topic of {what}", change="refused", restarts=_NEW_START, default=what.split(maxsplit=1)[0])


class Topics(Section):
    """Names of the topics read and written."""

    predictions: tuple[TopicName, ...] = setting(
        "topics of prediction events", default=("predictions",), min_length=1, max_length=64
    )
    outcomes: tuple[TopicName, ...] = setting(
        "topics of outcome events", default=("outcomes",), min_length=1, max_length=64
    )
    thresholds: TopicName = _output("thresholds in force (compacted)")
    calibration: TopicName = _output("calibration maps in force (compacted)")
    drift: TopicName = _output("drift alarms")
    retrain: TopicName = _output("retrain requests")
    metrics: TopicName = _output("metrics with intervals")
    alignment: TopicName = _output("alignment of loss and KPIs")
    rejected: TopicName = _output("rejected events, with reasons")
    clock: TopicName = _output("clock marks, read again by a replay")
    commits: TopicName = _output("commits of this worker and its small state (compacted)")

    @model_validator(mode="after")
    def _distinct(self) -> Topics:
        owner: dict[str, str] = {}
        named = [("predictions", t) for t in self.predictions] + [("outcomes", t) for t in self.outcomes]
        named += [(key, getattr(self, key)) for key in OUTPUTS]
        for key, topic in named:
            if topic in owner:
                raise RefusedError(
                    f"the topic {topic!r} stands under {owner[topic]} and under {key}",
                    "each topic has one purpose: rename one",
                )
            owner[topic] = key
        return self


class Commit(Section):
    """When a checkpoint closes: at the first of these bounds."""

    every: PositiveDuration = setting("wall time", default=SECOND)
    outputs: Count = setting("output records", default=5000, le=50_000)
    bytes: Bytes = setting("bytes of output records", default=4 * 2**20, ge=65_536, le=256 * 2**20)
    state_every: PositiveDuration = setting(
        "wall time between two commits that also publish the state, all but the rows that wait, to the commits topic: "
        "from it and the retained logs a lost state directory is made anew",
        default=5 * MINUTE,
    )


class Lateness(Section):
    """How far an event's time may trail the newest of its partition without holding anything up."""

    predictions: Duration = setting("of prediction topics", default=MINUTE)
    outcomes: Duration = setting("of outcome topics", default=HOUR)


class Rejected(Section):
    """What is told about an event that was rejected."""

    payload: Literal["none", "hash", "full"] = setting(
        "what of the event itself is kept: none (its offset finds it), a hash, or all, cut at 4 KiB", default="none"
    )
    per_interval: Count = setting(
        "single records of one reason per topic, partition and interval; the rest become one record with a count",
        default=100,
    )


class Serve(Section):
    """The status page, probes (`/healthz`, `/readyz`) and Prometheus metrics of a running worker."""

    host: str = setting(
        "address to listen on; the default can be reached from this machine only, a container needs 0.0.0.0",
        default="127.0.0.1",
        min_length=1,
        max_length=253,
    )
    port: int | None = setting("port to listen on; none: nothing is served", default=None, ge=0, le=65_535)
    segments: Count = setting(
        "segments of a model's version that /metrics names and whose past the page keeps; alarms of the others are "
        'counted as segment="other"',
        default=50,
        le=1000,
    )
    stalled_after: PositiveDuration = setting(
        "how long the loop may stand still, or a partition give nothing though events are there, before /healthz says "
        "so with 503; ten times as long where an open transaction hides them",
        default=2 * MINUTE,
    )


class TopicMapping(Section):
    """How somebody else's payload is read as one of our events."""

    topic: TopicName = setting("the topic whose payloads are mapped")
    event: Literal["prediction", "outcome"] = setting("which event they are")
    model: Name | None = setting("the model that all of them belong to; none: the payload says so", default=None)
    fields: dict[str, str] = setting(
        "our field (id, ts, score, label, segments.country, values.revenue, ...) to the dotted path in the payload; "
        "empty: the payload's own field of that name is not ours",
        default_factory=dict,
    )
    constants: dict[str, str | int | float | bool] = setting(
        "our field to a constant for all payloads", default_factory=dict
    )

    @model_validator(mode="after")
    def _known_fields(self) -> TopicMapping:
        known = PREDICTION_FIELDS if self.event == "prediction" else OUTCOME_FIELDS
        for target in (*self.fields, *self.constants):
            head, dot, tail = target.partition(".")
            if head not in known or (dot and (not tail or head not in _WHOLE_FOLDERS)):
                raise RefusedError(f"{target!r} is not a field of {_A[self.event]}", f"fields are: {', '.join(known)}")
        for target, path in self.fields.items():
            if path and not all(path.split(".")):
                raise RefusedError(f"{path!r} (of {target}) is not a dotted path", "write it as in payload.customer.id")
        twice = sorted(set(self.fields) & set(self.constants)) or ["model"] * (
            self.model is not None and ("model" in self.fields or "model" in self.constants)
        )
        if twice:
            raise RefusedError(f"{twice[0]!r} is given twice", "name each field once: as a path, or as a constant")
        return self


class Config(Section):
    """The configuration of one worker."""

    worker: Name = setting(
        "name of this worker: the source of its records and the key of its commits",
        change="refused",
        restarts=_NEW_START,
        default="streameval",
    )
    transport: Transport = setting("where events come from and records go to")
    topics: Topics = setting("names of the topics read and written", default=Topics())
    state: LocalPath = setting(
        "directory of checkpoints; relative to this file", default="./state", validate_default=True
    )
    commit: Commit = setting("when a checkpoint closes", default=Commit())
    lateness: Lateness = setting("how far events may trail the newest of their partition", default=Lateness())
    max_ahead: PositiveDuration = setting(
        "an event further ahead of its record's timestamp than this is rejected as future", default=10 * MINUTE
    )
    idle_after: PositiveDuration = setting(
        "wall time of silence after which a partition that is read to its end no longer holds the clock back",
        default=MINUTE,
    )
    interval: PositiveDuration = setting(
        "length of a cohort, 1s to 1d: predictions are gathered by the interval of their time",
        change="refused",
        restarts=_NEW_START,
        default=MINUTE,
        ge=SECOND,
        le=DAY,
    )
    max_rows: Count = setting(
        "predictions that may wait for outcomes at once; beyond it reading pauses, and says so", default=20_000_000
    )
    rejected: Rejected = setting("what is told about rejected events", default=Rejected())
    unknown_models: Literal["count", "reject"] = setting(
        "events of models that are not configured here: counted, or written to the rejected topic", default="count"
    )
    ids: Ids = setting("how ids are hashed", default=Ids())
    serve: Serve = setting("the status page, probes and metrics", default=Serve())
    mappings: tuple[TopicMapping, ...] = setting("how other people's payloads are read", default=(), max_length=64)
    models: tuple[Model, ...] = setting("the models", min_length=1, max_length=10_000)

    labels: Labels = setting("default of all models", default=Labels())
    reference: Reference = setting("default of all models", default=Reference())
    evaluate: Evaluate = setting("default of all models", default=Evaluate())
    calibration: Calibration = setting("default of all models", default=Calibration())
    thresholds: Thresholds = setting("default of all models", default=Thresholds())
    drift: Drift = setting("default of all models", default=Drift())
    retraining: Retraining = setting("default of all models", default=Retraining())
    alignment: Alignment = setting("default of all models", default=Alignment())
    retire_after: PositiveDuration = setting("default of all models", default=30 * DAY)

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, data: Any) -> Any:
        return inherit(data)

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        names: set[str] = set()
        for model in self.models:
            if model.name in names:
                raise RefusedError(f"two models are named {model.name!r}", "a model's name is its identity: rename one")
            names.add(model.name)
        mapped: set[str] = set()
        for mapping in self.mappings:
            read = self.topics.predictions if mapping.event == "prediction" else self.topics.outcomes
            if mapping.topic not in read:
                raise RefusedError(
                    f"a mapping names the topic {mapping.topic!r}, which is not read for {mapping.event}s",
                    f"add it under topics.{mapping.event}s",
                )
            if mapping.model is not None and mapping.model not in names:
                raise RefusedError(
                    f"a mapping names the model {mapping.model!r}, which is not configured", "add it, or rename"
                )
            if mapping.topic in mapped:
                raise RefusedError(
                    f"two mappings name the topic {mapping.topic!r}", "a topic has one mapping: join them"
                )
            mapped.add(mapping.topic)
        return self

    def model(self, name: str) -> Model:
        """The model of that name.

        Raises:
            KeyError: there is none.
        """
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(name)


def inherit(data: Any) -> Any:
    """The configuration with its top-level defaults copied into each model, key by key; a model's own keys win.

    >>> inherit({"labels": {"wait": "1d"}, "models": [{"name": "a", "labels": {"missing": "drop"}}]})["models"]
    [{'name': 'a', 'labels': {'wait': '1d', 'missing': 'drop'}}]
    """
    if not isinstance(data, dict) or not isinstance(data.get("models"), list | tuple):
        return data
    given = {key: data[key] for key in INHERITED if key in data}
    return data | {"models": [_with_defaults(model, given) for model in data["models"]]}


def _with_defaults(model: Any, given: dict[str, Any]) -> Any:
    if not isinstance(model, dict):
        return model
    merged = dict(model)
    for key, default in given.items():
        own = merged.get(key)
        if key not in merged:
            merged[key] = default
        elif isinstance(own, dict) and isinstance(default, dict):
            merged[key] = default | own
        elif isinstance(own, dict) and isinstance(default, BaseModel):
            merged[key] = default.model_dump(exclude_unset=True) | own
    return merged
