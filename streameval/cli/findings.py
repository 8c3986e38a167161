"""The points that ``check`` looks at, each a function from a configuration to findings.

Invariant: nothing is changed and no lock is kept; a point that cannot be judged says so instead of passing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from streameval.cli.rate import Rate, measured
from streameval.cli.stored import newest
from streameval.config import Config, Kafka, LogDir, duration_text
from streameval.config.worker import OUTPUTS
from streameval.errors import ConfigValueError, StreamevalError
from streameval.transport.opening import open_transport
from streameval.transport.protocol import MAX_RECORD, Transport

__all__ = ["Finding", "examine"]

ROW_BYTES = 40
"""A retained row, at most (design, "Speed and size to reach")."""
SUPPOSED = 1000
"""Events a second that memory is reckoned for where the logs cannot tell."""


class Finding(NamedTuple):
    """What one point came to; ``cure`` is empty where there is nothing to do."""

    level: Literal["ok", "warn", "fail"]
    point: str
    found: str
    cure: str = ""


def examine(config: Config) -> Iterator[Finding]:
    """All points, in the order in which a start would meet them."""
    from streameval.daemon.reports import with_reports  # noqa: PLC0415 - brings the engine, which takes a second

    yield from _names(config)
    try:
        config = with_reports(config)
    except StreamevalError as error:
        yield _failed("reference reports", error)
    else:
        yield from _reports(config)
    if config.ids.key is not None:
        yield _id_key(config)
    yield from _state(config)
    rate: Rate | None = None
    try:
        transport = open_transport(config)
    except StreamevalError as error:
        yield _failed("transport", error)
    else:
        try:
            yield from _transport(config, transport)
            rate = measured(config, transport)
        except StreamevalError as error:
            yield _failed("transport", error)
        finally:
            transport.close()
    yield from _memory(config, rate)


def _failed(point: str, error: StreamevalError) -> Finding:
    found = f"{error.where}: {error.what}" if error.where else error.what
    return Finding("fail", point, found, error.cure)


def _names(config: Config) -> Iterator[Finding]:
    # River takes a second to import: only a check that gets this far pays for it.
    from streameval.detect.advisory import check_names  # noqa: PLC0415
    from streameval.evaluate.river_metrics import validate  # noqa: PLC0415

    for model in config.models:
        for point, check, names in (
            ("river metrics", validate, model.evaluate.river),
            ("advisory detectors", check_names, model.drift.advisory),
        ):
            try:
                check(tuple(names))
            except ConfigValueError as error:
                yield Finding("fail", point, f"model {model.name}, {error.where}: {error.what}", error.cure)
            else:
                yield Finding("ok", point, f"model {model.name}: {', '.join(names) or 'none'}")


def _reports(config: Config) -> Iterator[Finding]:
    for model in config.models:
        for path, report in zip(model.reference.reports, model.reference.offline, strict=True):
            of = "every version" if report.version is None else f"version {report.version}"
            what = f"{report.events} scored examples" if report.events else "no scored examples"
            found = f"{model.name}, {of}: {', '.join(report.metrics)}; {what}"
            cure = "" if report.events else "give the scored examples too: then its metrics have intervals"
            yield Finding("ok", f"reference report {path.name}", found, cure)


def _id_key(config: Config) -> Finding:
    try:
        ids, _ = config.ids.read()
    except StreamevalError as error:
        return _failed("ids.key", error)
    return Finding("ok", "ids.key", f"ids are hashed with the key of fingerprint {ids.fingerprint[:8]}")


def _state(config: Config) -> Iterator[Finding]:
    directory = Path(config.state)
    home = _existing(directory)
    if not directory.exists() and home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        yield Finding("ok", "state", f"{directory} does not exist yet and can be made")
        return
    if not directory.is_dir():
        what = "not a directory" if directory.exists() else f"cannot be made in {home}"
        yield Finding("fail", "state", f"{directory}: {what}", "name another directory under state, or its rights")
        return
    if not os.access(directory, os.W_OK | os.X_OK):
        yield Finding("fail", "state", f"{directory} cannot be written", "give this user the right to write there")
        return
    stored = newest(directory)
    manifests = sorted((directory / "checkpoints").glob("*.json"))
    if stored is None and manifests:
        yield Finding(
            "fail", "state", f"{directory}: no checkpoint can be read", "delete it: it is rebuilt from the logs"
        )
    elif stored is None:
        yield Finding("ok", "state", f"{directory} is writable and holds no checkpoint yet")
    elif stored.worker != config.worker:
        what = f"{directory} belongs to worker {stored.worker}, not to {config.worker}"
        yield Finding("fail", "state", what, "name another state directory, or that worker")
    else:
        yield Finding("ok", "state", f"{directory} holds checkpoint {stored.n}, {_size(stored.size)}")


def _transport(config: Config, transport: Transport) -> Iterator[Finding]:
    chosen = config.transport
    inputs = transport.partitions((*config.topics.predictions, *config.topics.outcomes))
    if isinstance(chosen, Kafka):
        yield Finding("ok", "transport", f"Kafka answers at {', '.join(chosen.bootstrap)}")
        yield _outputs(chosen, transport.partitions(getattr(config.topics, key) for key in OUTPUTS))
    else:
        yield from _directory(chosen)
    for topic, partitions in inputs.items():
        if partitions:
            yield Finding("ok", "topic", f"{topic} has {_many(len(partitions), 'partition')}")
        else:
            where = f"{chosen.path}/{topic}/0.jsonl" if isinstance(chosen, LogDir) else topic
            yield Finding("warn", "topic", f"{topic} has no partition yet", f"it is read as soon as there is {where}")
    record = transport.commit_record(config.worker)
    said = "nothing yet" if record is None else f"{record.n}, lineage {record.lineage}"
    yield Finding("ok", "commits", f"the last commit of {config.worker} is {said}")
    yield from _retention(config, transport)
    shortcomings = getattr(transport, "shortcomings", None)
    if shortcomings is not None:
        found = shortcomings()
        yield from (Finding("warn", "topic settings", said) for said in found)
        if not found:
            yield Finding("ok", "topic settings", f"fit records of {MAX_RECORD:,} bytes")


def _retention(config: Config, transport: Transport) -> Iterator[Finding]:
    """Whether the inputs are kept for as long as rows wait: what a lost state is made anew from."""
    kept_for = getattr(transport, "kept_for", None)
    if kept_for is None:
        return
    needed = max(model.labels.wait + model.labels.amend for model in config.models)
    for topic, kept in kept_for((*config.topics.predictions, *config.topics.outcomes)).items():
        if kept is None:
            cure = "grant DescribeConfigs on the topic to have it checked"
            yield Finding("ok", "retention", f"{topic}: how long it is kept cannot be seen", cure)
        elif 0 <= kept < needed:
            found = f"{topic} is kept for {duration_text(kept)}, rows wait for up to {duration_text(needed)}"
            cure = "raise retention.ms, or a lost state directory cannot be made anew"
            yield Finding("warn", "retention", found, cure)
        else:
            yield Finding("ok", "retention", f"{topic} is kept {duration_text(kept) if kept >= 0 else 'for ever'}")


def _outputs(chosen: Kafka, found: dict[str, list[int]]) -> Finding:
    missing = ", ".join(topic for topic, partitions in found.items() if not partitions)
    if not missing:
        return Finding("ok", "output topics", "all are there")
    if chosen.create_topics:
        return Finding("ok", "output topics", f"{missing} will be created")
    return Finding("fail", "output topics", f"{missing} are missing", "create them, or set transport.create_topics")


def _directory(chosen: LogDir) -> Iterator[Finding]:
    path = Path(chosen.path)
    home = _existing(path)
    if not path.exists():
        level: Literal["warn", "fail"] = "warn" if os.access(home, os.W_OK | os.X_OK) else "fail"
        yield Finding(level, "transport", f"{path} does not exist", "put events into PATH/predictions/0.jsonl")
    elif not path.is_dir():
        yield Finding("fail", "transport", f"{path} is not a directory", "name the directory of the logs")
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("fail", "transport", f"{path} cannot be written", "give this user the right: outputs go there")
    else:
        yield Finding("ok", "transport", f"{path} is readable and writable")


def _memory(config: Config, rate: Rate | None) -> Iterator[Finding]:
    kept = max(model.labels.wait + model.labels.amend for model in config.models)
    if rate is None:
        said = f"the logs tell no rate; at {SUPPOSED:,} predictions a second"
        a_second = float(SUPPOSED)
    else:
        said = f"{rate.a_second:,.3g} predictions a second, as in the last {_many(rate.events, 'event')} of the logs"
        a_second = rate.a_second
    rows = a_second * kept / 1000
    need = rows * ROW_BYTES
    has = _machine()
    text = f"{said}, kept for at most {duration_text(kept)}: {rows:,.0f} rows, {_size(need)}"
    text += "" if has is None else f" of {_size(has)}"
    doubtful: Literal["warn", "fail"] = "warn" if rate is None else "fail"
    if rows > config.max_rows:
        text += f"; max_rows is {config.max_rows:,}"
        yield Finding(doubtful, "memory", text, "raise max_rows, or shorten labels.wait and labels.amend")
    elif has is not None and need > has / 2:
        yield Finding(doubtful, "memory", text, "give the process more memory, or shorten labels.wait and labels.amend")
    else:
        yield Finding("ok", "memory", f"{text}; max_rows is {config.max_rows:,}")


def _machine() -> int | None:
    """Bytes of memory that this process may use, as far as the machine says: its own, or its container's."""
    found = []
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):
        pass  # no such limit here, or it is "max"
    return min(found, default=None)


def _existing(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())


def _size(size: float) -> str:
    """Bytes for people.

    >>> _size(40), _size(4_000_000)
    ('40 B', '4.0 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _many(n: int, one: str) -> str:
    return f"{n:,} {one}{'' if n == 1 else 's'}"
