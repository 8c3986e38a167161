"""The structured log: JSON lines in a pipe, colours on a terminal.

Invariant: an event's name is a constant snake_case word and facts are keys. A drift, threshold or retrain record in the
log is the record on the topic: the same bytes stand under ``record``, so that
``jq -c 'select(.event == "drift") | .record'`` prints the topic's records. The log goes to stderr: stdout
belongs to the results of commands.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TextIO

import msgspec
import structlog

from streameval.errors import InputError, UsageError

__all__ = ["LOGGED", "configure", "log_record"]

LOGGED: Final = {
    "streameval.drift": ("drift", "warning"),
    "streameval.retrain": ("retrain", "warning"),
    "streameval.threshold": ("threshold", "info"),
}
"""CloudEvents type of the records that are logged -> event name and level."""

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


# Plain tracebacks: the pretty ones show local variables, and those may hold people's data or a secret.
_CONSOLE: Final = structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)


_REPEATS_EVERY: Final = 60.0
"""Seconds between two lines of one sentence of another library's."""
_SENTENCES: Final = 1_000
"""How many are remembered: a library may put facts into its sentences, and then no two are the same."""


class _Sparing(logging.Filter):
    """Lets a sentence of another library through once a minute, with how often it was said meanwhile.

    kafka-python says twenty times a second that a broker is away, which buries what people look for in a log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # The sentence without its facts: in those, each attempt has another port.
        sentence = record.name, str(record.msg)
        now = time.monotonic()
        since, left_out = self._said.get(sentence, (now - _REPEATS_EVERY, 0))
        spoken = now - since >= _REPEATS_EVERY
        if len(self._said) > _SENTENCES:
            self._said.clear()
        self._said[sentence] = (now, 0) if spoken else (since, left_out + 1)
        if spoken and left_out:
            record.left_out = left_out
        return spoken


class _Head(msgspec.Struct):
    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")


_HEAD: Final = msgspec.json.Decoder(_Head)


def configure(
    level: str = "info",
    *,
    stream: TextIO | None = None,
    colours: bool | None = None,
    clock: Callable[[], str] | None = None,
) -> None:
    """Set the process's log up; the standard library's loggers (kafka-python's) go the same way, from warnings on.

    Of those, a sentence that is repeated stands there once a minute, with the number that was left out.

    Args:
        level: debug, info, warning, error or critical.
        stream: where it goes; stderr by default.
        colours: for people (True) or JSON lines (False); by default people on a terminal, JSON in a pipe.
        clock: the time stamp's text; the present in UTC by default.

    Raises:
        UsageError: the level is none of these.
    """
    if level not in _LEVELS:
        raise UsageError(f"unknown log level {level!r}", cure=f"levels are {', '.join(_LEVELS)}")
    out = sys.stderr if stream is None else stream
    for_people = out.isatty() if colours is None else colours
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.TimeStamper(fmt="iso", utc=True) if clock is None else _stamper(clock),
    ]
    ending: list[structlog.typing.Processor] = (
        [_shortened, _CONSOLE]
        if for_people
        else [structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer(_dumps)]
    )
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, _foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    handler.addFilter(_Sparing())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, getattr(logging, level.upper())))


def log_record(record: bytes, log: Any = None) -> bool:
    """Log a record as it stands on its topic, if it is one of a decision (:data:`LOGGED`).

    Args:
        record: its bytes, from :func:`streameval.records.cloudevent`.
        log: a structlog logger; the process's own by default.

    Returns:
        Whether its type is one that is logged.

    Raises:
        InputError: it is not a CloudEvent.
    """
    try:
        head = _HEAD.decode(record)
    except msgspec.DecodeError as error:
        raise InputError(f"not a record: {error}", where="log", cure="see streameval schema") from error
    if head.type not in LOGGED:
        return False
    event, level = LOGGED[head.type]
    getattr(structlog.get_logger() if log is None else log, level)(event, record=msgspec.Raw(record))
    return True


def _stamper(clock: Callable[[], str]) -> structlog.typing.Processor:
    def stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["timestamp"] = clock()
        return event

    return stamp


def _foreign(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # Another library's sentence is a fact of ours: the event's name stays constant.
    event["message"] = event.get("event")
    event["event"] = "library"
    if (left_out := getattr(event.get("_record"), "left_out", None)) is not None:
        event["left_out"] = left_out
    return event


def _ordered(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _dumps(event: Any, **_: Any) -> str:
    # msgspec puts a Raw in as it is: the record's bytes, not a rendering of them.
    return msgspec.json.encode(event, enc_hook=str).decode()


def _shortened(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """On a terminal a record is shown by what a person wants to know of it."""
    record = event.pop("record", None)
    if isinstance(record, msgspec.Raw):
        data = msgspec.json.decode(_HEAD.decode(record).data)
        event.update({key: value for key, value in data.items() if isinstance(value, str | int | float)})
    return event
