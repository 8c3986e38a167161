"""Reading the reference reports that a configuration names: what each version reached on its validation set.

A report is a .json file ``{"version": "3", "metrics": {"auc": 0.91}, "examples": "valid.parquet"}``, whose examples are
a file beside it or a list of ``{"score", "label"}``; or it is the scored, labelled examples alone (.jsonl, .csv,
.parquet, also compressed). From examples all metrics follow, with intervals; what is said and computed is taken as
computed.

Invariant: what a file says ends up in the configuration (``reference.offline``), so that the state knows it. A file
that cannot be read is an error that names the file, the line and the cure.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from pydantic import ValidationError

from streameval.config import Config, Model, OfflineMetric, OfflineReport
from streameval.engine.offline import measured, pack
from streameval.errors import InputError
from streameval.evidence.binary import BinaryEvidence
from streameval.plain import cleaned
from streameval.transport.file_formats import json_lines

if TYPE_CHECKING:
    from streameval.evaluate.estimate import Estimate

__all__ = ["with_reports"]

_CURE: Final = (
    'a report is {"version": "3", "metrics": {"auc": 0.91}, "examples": "valid.jsonl"}; all keys may be absent'
)
_EXAMPLE_CURE: Final = 'each example is {"score": P(positive) in [0, 1], "label": 0 or 1}'
_LEAST: Final = 2


class _Example(Struct):
    score: float
    label: int


class _Report(Struct, forbid_unknown_fields=True):
    version: str | None = None
    metrics: dict[str, float] = {}
    examples: str | list[_Example] | None = None


def with_reports(config: Config) -> Config:
    """The configuration with what its reports say; one without reports as it is.

    Raises:
        InputError: a report cannot be read.
    """
    if not any(model.reference.reports for model in config.models):
        return config
    models = tuple(_with_reports(model) if model.reference.reports else model for model in config.models)
    return config.model_copy(update={"models": models})


def _with_reports(model: Model) -> Model:
    found: dict[str | None, Path] = {}
    reports = []
    for path in model.reference.reports:
        report = _read(path, model)
        if report.version in found:
            of = "every version" if report.version is None else f"version {report.version}"
            what = f"model {model.name} has two reports of {of}: the other is {found[report.version]}"
            raise InputError(what, where=str(path), cure='say "version" in a .json report, or take one out')
        found[report.version] = path
        reports.append(report)
    reference = model.reference.model_copy(update={"offline": tuple(reports)})
    return model.model_copy(update={"reference": reference})


def _read(path: Path, model: Model) -> OfflineReport:
    if path.suffix.lower() != ".json":
        return _report(model, None, {}, _from_file(path))
    try:
        said = msgspec.json.decode(path.read_bytes(), type=_Report)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path), cure="check the path") from error
    except msgspec.DecodeError as error:
        raise InputError(f"not a reference report: {error}", where=str(path), cure=_CURE) from error
    examples = None
    if isinstance(said.examples, str):
        examples = _from_file(path.parent / said.examples)
    elif said.examples is not None:
        examples = _evidence(((f"example {n}", e) for n, e in enumerate(said.examples, 1)), path)
    if examples is None and not said.metrics:
        raise InputError("the report says neither metrics nor examples", where=str(path), cure=_CURE)
    try:
        return _report(model, said.version, said.metrics, examples)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = cleaned(".".join(map(str, first["loc"])))
        raise InputError(f"not a reference report: {place}: {first['msg']}", where=str(path), cure=_CURE) from error


def _from_file(path: Path) -> BinaryEvidence:
    decoder = msgspec.json.Decoder(_Example)

    def examples() -> Iterable[tuple[str, _Example]]:
        with json_lines(path, ("score", "label")) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield f"line {number}", decoder.decode(line)
                    except msgspec.DecodeError as error:
                        where = f"{path}, line {number}"
                        raise InputError(f"not an example: {error}", where=where, cure=_EXAMPLE_CURE) from error

    return _evidence(examples(), path)


def _evidence(examples: Iterable[tuple[str, _Example]], path: Path) -> BinaryEvidence:
    scores: list[float] = []
    labels: list[int] = []
    for place, example in examples:
        if not 0.0 <= example.score <= 1.0 or example.label not in (0, 1):
            what = f"not an example: score {example.score}, label {example.label}"
            raise InputError(what, where=f"{path}, {place}", cure=_EXAMPLE_CURE)
        scores.append(example.score)
        labels.append(example.label)
    evidence = BinaryEvidence.of(np.array(scores, dtype=np.float64), np.array(labels, dtype=np.int8))
    if min(evidence.positives, evidence.negatives) < _LEAST:
        what = f"{evidence.positives} positive and {evidence.negatives} negative examples are no reference"
        raise InputError(what, where=str(path), cure=f"give at least {_LEAST} of each label")
    return evidence


def _report(
    model: Model, version: str | None, said: dict[str, float], evidence: BinaryEvidence | None
) -> OfflineReport:
    metrics: dict[str, Any] = {name: OfflineMetric(value=value) for name, value in said.items()}
    if evidence is None:
        return OfflineReport(version=version, metrics=metrics)
    objective = model.objective
    costs = (objective.fp, objective.fn) if objective.kind == "cost" else None
    computed: dict[str, Estimate] = measured(evidence, model.threshold, costs, {})
    metrics |= {name: OfflineMetric(value=e.value, low=e.low, high=e.high) for name, e in computed.items()}
    return OfflineReport(version=version, metrics=metrics, events=evidence.events, examples=pack(evidence))
