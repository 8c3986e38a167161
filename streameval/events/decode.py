"""The decoder: a batch of messages in, columns and rejections out.

Per message there is one msgspec call in C; everything else runs over whole columns. A refused message costs an
exception and its explanation, and leaves its neighbours alone.

Invariant: a message's row or rejection is a function of its bytes, its record timestamp and the configuration: of
nothing else in the batch. Source: design, "Events in"; speed: at most 2.5 µs an event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import xxhash
from msgspec import UNSET
from numpy.typing import NDArray

from streameval.errors import ConfigValueError
from streameval.events.columns import (
    ANY_MODEL,
    F64,
    I32,
    I64,
    NO_MODEL,
    OTHER_MODEL,
    U64,
    Batch,
    Kind,
    Outcomes,
    Predictions,
)
from streameval.events.contract import DEFAULT_VERSION, ID_BYTES, NAME_CHARACTERS, ModelSpec, Outcome, Prediction
from streameval.events.malformed import REFUSALS, explain, field_fault, utf8_fault
from streameval.events.mapping import GROUPS, Mapper, TopicMapping
from streameval.events.rejected import (
    BAD_STRING,
    FUTURE,
    MISSING_FIELD,
    NOT_OBJECT,
    OUT_OF_RANGE,
    TOO_LARGE,
    UNKNOWN_MODEL,
    WRONG_TYPE,
    Rejection,
    unknown_model,
)
from streameval.events.repeated import Fault, distinct_strings, inspect, repeated, suspects, too_deep
from streameval.events.timestamps import EARLIEST, LATEST, epoch_ms, time_fault

_Event = TypeVar("_Event", Prediction, Outcome)

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# true and 1.0 equal 1 and hash like it, so they are found as well.
_LABELS: Final[dict[Any, float]] = {0: 0.0, 1: 1.0, None: np.nan, UNSET: np.nan}
_BAD_LABEL: Final = 2.0
_TEXT: Final = frozenset({str})
_NO_TIMES: Final = np.empty(0, dtype=np.int64)
_NOTHING: Final[dict[str, Any]] = {}
_parse = msgspec.json.Decoder().decode


class _Form(Generic[_Event]):
    """One kind of event: its struct, and what the search for repeated keys must know of it."""

    def __init__(self, struct: type[_Event], name: str) -> None:
        self.struct: type[_Event] = struct
        self.name = name
        self.decode: Callable[[bytes], _Event] = msgspec.json.Decoder(struct).decode
        self.fields = struct.__struct_fields__
        self.names = frozenset(self.fields)
        self.groups = GROUPS[name]
        optional = self.fields[-len(struct.__struct_defaults__) :]
        self.readers = [attrgetter(field) for field in optional]
        self.group_places = [optional.index(group) for group in self.groups]


class _Reading(Generic[_Event]):
    """The messages of one batch that still count as events, and the faults of those that do not."""

    __slots__ = ("events", "faults", "messages", "times", "where")

    def __init__(self, messages: list[bytes], where: I64) -> None:
        self.messages = messages
        self.where = where  # int64[n], place in the batch
        self.events: list[_Event] = []
        self.faults: list[tuple[int, Fault, bytes, int | None]] = []  # place in the batch, fault, message, ts
        self.times: I64 | None = None

    @property
    def ts(self) -> I64:
        """int64[n]: the events' times, once they have been judged."""
        return _NO_TIMES if self.times is None else self.times

    def reject(self, faults: dict[int, Fault]) -> I64 | slice:
        """Takes out the messages at these indices; gives the index that takes what is left from a column."""
        if not faults:
            return slice(None)
        for index, fault in faults.items():
            ts = None if self.times is None else int(self.times[index])
            self.faults.append((int(self.where[index]), fault, self.messages[index], ts))
        keep = [index for index in range(len(self.messages)) if index not in faults]
        kept = np.array(keep, dtype=np.int64)
        self.messages = [self.messages[index] for index in keep]
        self.where = self.where[kept]
        if self.events:
            self.events = [self.events[index] for index in keep]
        if self.times is not None:
            self.times = self.times[kept]
        return kept


class Decoder:
    """Decodes batches for a set of models.

    Args:
        models: the models of this worker; outcomes refer to them by position.
        mappings: at most one for each topic and event.
        max_bytes: a longer message is `too_large`, unread.
        max_ahead: ms; a `ts` further than this beyond its record timestamp is `future`. None: not judged.

    Raises:
        ConfigValueError: a mapping names an unknown model or field, or two are for the same topic and event.

    Attributes:
        tombstones: messages without a value met so far (skipped: a deleted key is no event).

    >>> decoder = Decoder([ModelSpec("fraud", segments=("country",))])
    >>> text = b'{"id":"a","model":"fraud","ts":1714564800000,"score":0.25,"segments":{"country":"DE"}}'
    >>> rows, rejected = decoder.predictions(Batch("predictions", 0, np.array([7, 8]), [text, b"oops"]))
    >>> rows.score.tolist(), rows.kinds, [(bad.offset, bad.reason) for bad in rejected]
    ([0.25], [('fraud', '0', ('DE',))], [(8, 'not_json')])
    """

    def __init__(
        self,
        models: Sequence[ModelSpec],
        mappings: Iterable[TopicMapping] = (),
        max_bytes: int = 1_048_576,
        max_ahead: int | None = None,
    ) -> None:
        self.models = tuple(models)
        self.tombstones = 0
        self._max_bytes = max_bytes
        self._max_ahead = max_ahead
        self._codes = {model.name: code for code, model in enumerate(self.models)}
        self._kpis = tuple(dict.fromkeys(kpi for model in self.models for kpi in model.kpis))
        self._prediction = _Form(Prediction, "prediction")
        self._outcome = _Form(Outcome, "outcome")
        self._mappers: dict[tuple[str, str], Mapper] = {}
        for mapping in mappings:
            where = f"mapping of topic {mapping.topic}"
            if (mapping.topic, mapping.event) in self._mappers:
                raise ConfigValueError(f"a second mapping for its {mapping.event}s", where=where, cure="keep one")
            if mapping.model is not None and mapping.model not in self._codes:
                raise ConfigValueError(f"no model is named {mapping.model!r}", where=where, cure="add it to models")
            self._mappers[mapping.topic, mapping.event] = Mapper(mapping)

    def predictions(self, batch: Batch) -> tuple[Predictions, list[Rejection]]:
        """Predictions of a batch in offset order, and its rejections by offset.

        An event of a model that is not configured here is in both: as a row of kind -1, and as `unknown_model`.
        """
        reading = self._read(batch, self._prediction)
        score = np.array([event.score or 0.0 for event in reading.events], dtype=np.float64)
        faults: dict[int, Fault] = {}
        # A zero here is a score of zero or none at all: rare enough to ask each of them.
        for index in np.flatnonzero(~((score > 0) & (score <= 1))).tolist():
            event = reading.events[index]
            if event.model in self._codes and (fault := _score_fault(event)):
                faults[index] = fault
        score = score[reading.reject(faults)]
        keys = self._keys(reading.events)
        wrong = {key: fault for key in dict.fromkeys(keys) if key and (fault := _kind_fault(key))}
        if wrong:
            score = score[reading.reject({i: wrong[key] for i, key in enumerate(keys) if key in wrong})]
            keys = [key for key in keys if key not in wrong]
        kind, kinds = _encode(keys)
        unknown = kind == NO_MODEL
        rows = Predictions(
            batch.topic,
            batch.partition,
            np.asarray(batch.offsets, dtype=np.int64)[reading.where],
            reading.ts,
            _id_hashes(reading.events),
            np.where(unknown, np.nan, score + 0.0),  # + 0.0 makes -0.0 a plain zero
            _record_times(batch, reading.where),
            kind,
            kinds,
            self._propensities(reading.events),
        )
        return rows, _rejections(batch, reading, unknown)

    def _propensities(self, events: Sequence[Prediction]) -> F64 | None:
        """The propensities of predictions, if a model asks for them."""
        if not any(model.propensity for model in self.models):
            return None
        return np.array([event.propensity or np.nan for event in events], dtype=np.float64)

    def outcomes(self, batch: Batch) -> tuple[Outcomes, list[Rejection]]:
        """Outcomes of a batch in offset order, and its rejections by offset.

        An event of a model that is not configured here is in both: as a row of model -2, and as `unknown_model`.
        """
        reading = self._read(batch, self._outcome)
        codes = self._codes
        model = np.array(
            [codes.get(event.model, OTHER_MODEL) if event.model else ANY_MODEL for event in reading.events],
            dtype=np.int16,
        )
        label = np.array([_LABELS.get(event.label, _BAD_LABEL) for event in reading.events], dtype=np.float64)
        values = [event.values or None for event in reading.events]
        ours = model != OTHER_MODEL
        faults: dict[int, Fault] = {}
        for index in np.flatnonzero(ours & ~(label < _BAD_LABEL)).tolist():
            given = reading.events[index].label
            if given is None or given is UNSET:
                if not any(value is not None for value in (values[index] or {}).values()):
                    faults[index] = (MISSING_FIELD, "neither $.label nor $.values is given: send one of them")
            elif isinstance(given, str):
                faults[index] = (WRONG_TYPE, "$.label is a string, and the models here are binary: send 0 or 1")
            else:
                faults[index] = (OUT_OF_RANGE, f"$.label is {given:.6g}, and the models here are binary: send 0 or 1")
        kpis = {name: _kpi(name, values) for name in self._kpis}
        label[~ours] = np.nan
        left = reading.reject(faults)
        model, label = model[left], label[left]
        rows = Outcomes(
            batch.topic,
            batch.partition,
            np.asarray(batch.offsets, dtype=np.int64)[reading.where],
            reading.ts,
            _id_hashes(reading.events),
            _record_times(batch, reading.where),
            model,
            label,
            {name: column[left] for name, column in kpis.items()},
        )
        return rows, _rejections(batch, reading, model == OTHER_MODEL)

    def _read(self, batch: Batch, form: _Form[_Event]) -> _Reading[_Event]:
        """The batch's messages that keep all rules which both events share."""
        reading: _Reading[_Event] = _Reading([v for v in batch.values if v is not None], _present(batch.values))
        self.tombstones += len(batch.values) - len(reading.messages) - len(batch.refused)
        if reading.messages and max(map(len, reading.messages)) > self._max_bytes:
            text = f"the message has more than {self._max_bytes} bytes: send less, or raise the limit"
            oversized = [i for i, message in enumerate(reading.messages) if len(message) > self._max_bytes]
            reading.reject(dict.fromkeys(oversized, (TOO_LARGE, text)))
        mapper = self._mappers.get((batch.topic, form.name))
        if mapper is None:
            self._decode(reading, form)
        else:
            self._decode_mapped(reading, form, mapper)
        self._judge_times(reading, batch)
        self._judge_ids(reading)
        return reading

    @staticmethod
    def _decode(reading: _Reading[_Event], form: _Form[_Event]) -> None:
        events: list[Any] = []
        faults: dict[int, Fault] = {}
        remaining = iter(reading.messages)
        while True:
            try:
                # extend keeps what came before an exception, so decoding goes on behind the refused message.
                events.extend(map(form.decode, remaining))
                break
            except REFUSALS:
                index = len(events)
                faults[index] = explain(reading.messages[index], form.decode)
                events.append(None)
        reading.events = events
        reading.reject(faults)
        reading.reject(_not_utf8(reading.messages))
        optional = [list(map(read, reading.events)) for read in form.readers]
        named = [optional[place] for place in form.group_places]
        keys = len(reading.events) * len(form.fields) - sum(column.count(UNSET) for column in optional)
        keys += sum(sum([len(group) for group in column if group]) for column in named)
        doubtful = suspects(reading.messages, keys, lambda: _keys_each(form, optional, named))
        reading.reject(inspect(reading.messages, doubtful, form.names, form.groups))

    @staticmethod
    def _decode_mapped(reading: _Reading[_Event], form: _Form[_Event], mapper: Mapper) -> None:
        found = [_convert(message, form, mapper) for message in reading.messages]
        reading.events = [event for event, _ in found]  # type: ignore[misc]  # those without event go in the next line
        reading.reject({index: fault for index, (_, fault) in enumerate(found) if fault})
        reading.reject(_not_utf8(reading.messages))

    def _judge_times(self, reading: _Reading[_Event], batch: Batch) -> None:
        moments: list[datetime | int] = [event.ts for event in reading.events]
        times = reading.times = epoch_ms(moments)
        faults: dict[int, Fault] = {}
        for index in np.flatnonzero((times < EARLIEST) | (times >= LATEST)).tolist():
            fault = time_fault(int(times[index]))
            if fault:
                faults[index] = fault
        if self._max_ahead is not None and batch.timestamps is not None:
            record = _record_times(batch, reading.where)
            ahead = np.flatnonzero((record >= 0) & (times - record > self._max_ahead)).tolist()
            text = "$.ts is {} ms ahead of its record's timestamp: check the producer's clock"
            for index in ahead:
                faults.setdefault(index, (FUTURE, text.format(int(times[index] - record[index]))))
        reading.reject(faults)

    @staticmethod
    def _judge_ids(reading: _Reading[_Event]) -> None:
        # A character takes up to four bytes, so shorter ids need no second look.
        long = [i for i, event in enumerate(reading.events) if type(event.id) is str and len(event.id) > ID_BYTES // 4]
        text = f"$.id has more than {ID_BYTES} bytes of UTF-8: send a shorter one, or its hash"
        reading.reject({i: (BAD_STRING, text) for i in long if len(str(reading.events[i].id).encode()) > ID_BYTES})

    def _keys(self, events: Sequence[Prediction]) -> list[Kind | None]:
        """The kind of each event; None where its model is not configured here."""
        names = [event.model for event in events]
        present = list(dict.fromkeys(names))
        if len(present) == 1:
            return self._keys_of_model(present[0], events)
        keys: list[Kind | None] = [None] * len(events)
        for name in present:
            rows = [row for row, other in enumerate(names) if other == name]
            for row, key in zip(rows, self._keys_of_model(name, [events[row] for row in rows]), strict=True):
                keys[row] = key
        return keys

    def _keys_of_model(self, name: str, events: Sequence[Prediction]) -> list[Kind | None]:
        code = self._codes.get(name)
        if code is None:
            return [None] * len(events)
        versions = _texts([event.version or DEFAULT_VERSION for event in events])
        groups = [event.segments or _NOTHING for event in events]
        columns = [_texts([group.get(segment, "") for group in groups]) for segment in self.models[code].segments]
        segments = zip(*columns, strict=True) if columns else repeat((), len(events))
        return list(zip(repeat(name, len(events)), versions, segments, strict=True))


def _convert(message: bytes, form: _Form[_Event], mapper: Mapper) -> tuple[_Event | None, Fault | None]:
    """A foreign message as an event, or its fault."""
    fault = too_deep(message)
    if fault:
        return None, fault
    try:
        payload = _parse(message)
    except REFUSALS:
        return None, explain(message, _parse)
    if not isinstance(payload, dict):
        return None, (NOT_OBJECT, "the message is not a JSON object: send one object a message")
    mapped = mapper.apply(payload)
    try:
        event = msgspec.convert(mapped, form.struct)
    except msgspec.ValidationError as error:
        return None, field_fault(str(error), mapped, mapper.paths)
    if distinct_strings(message):
        return event, None
    return event, repeated(message, mapper.reads, form.groups)


def _score_fault(event: Prediction) -> Fault | None:
    """What is wrong with the score of a binary model's prediction, if anything is."""
    score = event.score
    if isinstance(score, float):
        return None if 0 <= score <= 1 else (OUT_OF_RANGE, f"$.score is {score:.6g}: send P(positive), from 0 to 1")
    other = next((name for name in ("scores", "value") if isinstance(getattr(event, name), dict | float)), None)
    hint = f"; $.{other} is for another task" if other else ""
    return MISSING_FIELD, f"$.score is missing{hint}: a binary model needs P(positive)"


def _kind_fault(kind: Kind) -> Fault | None:
    """What is wrong with the strings of a kind: they become parts of record keys, so they are kept short and clean."""
    _, version, segments = kind
    for name, text in (("version", version), *(("segments[...]", value) for value in segments)):
        if len(text) > NAME_CHARACTERS:
            return BAD_STRING, f"$.{name} has more than {NAME_CHARACTERS} characters: send a shorter one"
        if _CONTROL.search(text):
            return BAD_STRING, f"$.{name} has control characters: send plain text"
    return None


def _encode(keys: Sequence[Kind | None]) -> tuple[I32, list[Kind]]:
    """int32[n] codes (`NO_MODEL` for None), and the kinds that they index, in order of first appearance."""
    kinds: dict[Kind, int] = {}
    codes = [NO_MODEL if key is None else kinds.setdefault(key, len(kinds)) for key in keys]
    return np.array(codes, dtype=np.int32), list(kinds)


def _texts(values: Sequence[Any]) -> list[str]:
    """Strings as they are; numbers and booleans as their JSON text, null as "" (not given)."""
    if set(map(type, values)) <= _TEXT:
        return list(values)
    return [value if type(value) is str else _text(value) for value in values]


def _text(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # 1 and 1.0 are one number in JSON, and some producers cannot help writing the second.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _id_hashes(events: Sequence[Prediction] | Sequence[Outcome]) -> U64:
    """uint64[n]: xxh3_64 of each id's UTF-8; an integer stands for its decimal text."""
    texts = _texts([event.id for event in events])
    return np.fromiter(map(xxhash.xxh3_64_intdigest, map(str.encode, texts)), np.uint64, len(texts))


def _kpi(name: str, values: Sequence[dict[str, float | None] | None]) -> F64:
    """float64[n]: one KPI's values, nan where not given."""
    return np.array([group.get(name) if group else None for group in values], dtype=np.float64)


def _record_times(batch: Batch, where: I64) -> I64:
    """int64[n]: record timestamps at these places, -1 where there is none."""
    if batch.timestamps is None:
        return np.full(len(where), -1, dtype=np.int64)
    return np.maximum(np.asarray(batch.timestamps, dtype=np.int64)[where], -1)


def _present(values: Sequence[bytes | None]) -> I64:
    """int64[m]: the places of messages that have a value."""
    if None not in values:
        return np.arange(len(values), dtype=np.int64)
    return np.array([place for place, value in enumerate(values) if value is not None], dtype=np.int64)


def _not_utf8(messages: Sequence[bytes]) -> dict[int, Fault]:
    """Messages with bytes that are not UTF-8 in fields that decoding skipped."""
    # The newline between them cannot complete a character, so all are sound exactly if their join is.
    joined = b"\n".join(messages)
    if joined.isascii():
        return {}
    try:
        joined.decode()
    except UnicodeDecodeError:
        return {index: fault for index, message in enumerate(messages) if (fault := utf8_fault(message))}
    return {}


def _keys_each(form: _Form[Any], optional: Sequence[Sequence[Any]], named: Sequence[Sequence[Any]]) -> I64:
    """int64[n]: how many keys of the contract each message must have."""
    unset = np.array([row.count(UNSET) for row in zip(*optional, strict=True)], dtype=np.int64)
    count = len(form.fields) - unset
    for column in named:
        if any(column):
            count += np.array([len(group) if group else 0 for group in column], dtype=np.int64)
    return count


def _rejections(batch: Batch, reading: _Reading[Any], unknown: NDArray[np.bool_]) -> list[Rejection]:
    """All faults of a reading, and a rejection for each event of an unknown model, by offset."""
    found = [(place, fault, message, ts) for place, fault, message, ts in reading.faults]
    for index in np.flatnonzero(unknown).tolist():
        fault = UNKNOWN_MODEL, unknown_model(reading.events[index].model)
        found.append((int(reading.where[index]), fault, reading.messages[index], int(reading.ts[index])))
    found.sort(key=lambda entry: entry[0])
    rejections = [
        Rejection(batch.topic, batch.partition, int(batch.offsets[place]), reason, detail, message, ts)
        for place, (reason, detail), message, ts in found
    ]
    if batch.refused:
        rejections += [
            Rejection(batch.topic, batch.partition, offset, reason, detail, last=last, count=count)
            for offset, (reason, detail, last, count) in batch.refused.items()
        ]
        rejections.sort(key=lambda rejection: rejection.offset)
    return rejections
