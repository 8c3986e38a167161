"""The decoder: a batch of messages in, columns and rejections out.

Per message there is one msgspec call in C; everything else runs over whole columns. A refused message costs an
exception and its explanation, and leaves its neighbours alone.

Invariant: a message's row or rejection is a function of its bytes, its record timestamp and the configuration: of
nothing else in the batch. Source: design, "Events in"; speed: at most 2.5 µs an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from types import NoneType
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from streameval.errors import ConfigValueError, InvariantError
from streameval.events.columns import (
    ANY_MODEL,
    F64,
    I16,
    I64,
    OTHER_MODEL,
    U64,
    Batch,
    Outcomes,
    Predictions,
    Texts,
)
from streameval.events.contract import (
    ID_BYTES,
    UNUSED,
    WHOLE,
    ModelSpec,
    Outcome,
    Prediction,
)
from streameval.events.foreign import within_text
from streameval.events.heartbeat import NATIVE, is_heartbeat
from streameval.events.ids import hash_of_ids
from streameval.events.malformed import REFUSALS, explain, field_fault, shown, utf8_fault
from streameval.events.mapping import Mapper, TopicMapping
from streameval.events.names import name_faults, names_of, texts, usable
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
from streameval.events.repeated import Fault, distinct_strings, inspect, keys_within, repeated, suspects, too_deep
from streameval.events.timestamps import EARLIEST, LATEST, epoch_ms, time_fault
from streameval.events.unread import read_past
from streameval.events.values import kpi_column, propensity_column

_Event = TypeVar("_Event", Prediction, Outcome)

# true and 1.0 equal 1 and hash like it, so they are found as well.
_LABELS: Final[dict[Any, float]] = {0: 0.0, 1: 1.0, None: np.nan, UNSET: np.nan}
_BAD_LABEL: Final = 2.0
_GROUPS: Final = frozenset({dict, NoneType, UnsetType})
_NO_TIMES: Final = np.empty(0, dtype=np.int64)
_parse = msgspec.json.Decoder().decode


class _Form(Generic[_Event]):
    """One kind of event: its struct, and what the search for repeated keys must know of it.

    Args:
        struct: the event.
        name: as mappings call it.
        within: of its objects of names, the names that are read.
    """

    def __init__(self, struct: type[_Event], name: str, within: Mapping[str, Sequence[str]]) -> None:
        self.struct: type[_Event] = struct
        self.name = name
        self.within = within
        self.decode: Callable[[bytes], _Event] = msgspec.json.Decoder(struct).decode
        self.fields = struct.__struct_fields__
        self.read = frozenset(self.fields) - UNUSED
        self.paths: list[tuple[str, ...]] = [(field,) for field in self.read]
        self.paths += [(field, inner) for field, names in within.items() for inner in names]
        optional = self.fields[-len(struct.__struct_defaults__) :]
        self.readers = [attrgetter(field) for field in optional]
        self.groups = [optional.index(field) for field in within]
        self.raw = [optional.index(field) for field in optional if field in UNUSED]

    def used(self, event: _Event) -> list[Any]:
        """What is read of an event."""
        whole = [getattr(event, field) for field in self.read if field not in self.within]
        for field, names in self.within.items():
            group = getattr(event, field)
            whole += [group.get(name) for name in names] if isinstance(group, dict) else [group]
        return whole


class _Reading(Generic[_Event]):
    """The messages of one batch that still count as events, and the faults of those that do not."""

    __slots__ = ("events", "faults", "messages", "originals", "times", "where")

    def __init__(self, messages: list[bytes], where: I64) -> None:
        self.messages = messages
        self.where = where  # int64[n], place in the batch
        self.events: list[_Event] = []
        self.faults: list[tuple[int, Fault, bytes, int | None]] = []  # place in the batch, fault, message, ts
        self.times: I64 | None = None
        self.originals: dict[int, bytes] = {}  # place in the batch -> the message, where it was read with stand-ins

    @property
    def ts(self) -> I64:
        """int64[n]: the events' times, once they have been judged."""
        return _NO_TIMES if self.times is None else self.times

    def message(self, index: int) -> bytes:
        """The message as it came."""
        return self.originals.get(int(self.where[index]), self.messages[index])

    def stand_in(self, index: int, message: bytes) -> None:
        """Goes on with another message in the place of one that can only be read so."""
        if message is not self.messages[index]:
            self.originals[int(self.where[index])] = self.messages[index]
            self.messages[index] = message

    def reject(self, faults: dict[int, Fault]) -> I64 | slice:
        """Takes out the messages at these indices; gives the index that takes what is left from a column."""
        if not faults:
            return slice(None)
        for index, fault in faults.items():
            ts = None if self.times is None else int(self.times[index])
            self.faults.append((int(self.where[index]), fault, self.message(index), ts))
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
        id_key: with which ids are hashed; empty: openly.

    Raises:
        ConfigValueError: a mapping names an unknown model or field, or two are for the same topic and event.

    Attributes:
        tombstones: messages without a value met so far (skipped: a deleted key is no event).
        unusable: fields met so far that were given, could not be used, and counted as not given; by name.

    >>> decoder = Decoder([ModelSpec("fraud", segments=("country",))])
    >>> text = b'{"id":"a","model":"fraud","ts":1714564800000,"score":0.25,"segments":{"country":"DE"}}'
    >>> rows, rejected = decoder.predictions(Batch("predictions", 0, np.array([7, 8]), [text, b"oops"]))
    >>> rows.score.tolist(), rows.segments[0].distinct, [(bad.offset, bad.reason) for bad in rejected]
    ([0.25], ['DE'], [(8, 'not_json')])
    """

    def __init__(
        self,
        models: Sequence[ModelSpec],
        mappings: Iterable[TopicMapping] = (),
        max_bytes: int = 1_048_576,
        max_ahead: int | None = None,
        id_key: bytes = b"",
    ) -> None:
        self.models = tuple(models)
        self.tombstones = 0
        self.unusable: Counter[str] = Counter()
        self._max_bytes = max_bytes
        self._hash = hash_of_ids(id_key)
        self._max_ahead = max_ahead
        self._codes = {model.name: code for code, model in enumerate(self.models)}
        self._kpis = {kpi: self._largest(kpi) for model in self.models for kpi in model.kpis}
        self._segments = [model.segments for model in self.models]
        named = tuple(dict.fromkeys(name for model in self.models for name in model.segments))
        self._prediction = _Form(Prediction, "prediction", {"segments": named})
        self._outcome = _Form(Outcome, "outcome", {"values": tuple(self._kpis)})
        self._mappers: dict[tuple[str, str], Mapper] = {}
        for mapping in mappings:
            where = f"mapping of topic {mapping.topic}"
            if (mapping.topic, mapping.event) in self._mappers:
                raise ConfigValueError(f"a second mapping for its {mapping.event}s", where=where, cure="keep one")
            if mapping.model is not None and mapping.model not in self._codes:
                raise ConfigValueError(f"no model is named {mapping.model!r}", where=where, cure="add it to models")
            self._mappers[mapping.topic, mapping.event] = Mapper(mapping)

    def _largest(self, kpi: str) -> F64:
        """float64[models + 2]: the largest value of a KPI that is taken in, by `Outcomes.model`; inf: not read."""
        own = [model.kpis[kpi] * WHOLE if kpi in model.kpis else np.inf for model in self.models]
        return np.array([*own, np.inf, min(own)])  # the last two are OTHER_MODEL and ANY_MODEL

    def predictions(self, batch: Batch) -> tuple[Predictions, list[Rejection]]:
        """Predictions of a batch in offset order, and its rejections by offset.

        An event of a model that is not configured here is in both: as a row of model -2, and as `unknown_model`.
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
        model, names = names_of(reading.events, self._codes, self._segments)
        faults = name_faults(names)
        if faults:
            left = reading.reject(faults)
            score, model, names = score[left], model[left], [column.take(left) for column in names]
        names = [self._usable(column) for column in names]
        unknown = model == OTHER_MODEL
        rows = Predictions(
            batch.topic,
            batch.partition,
            np.asarray(batch.offsets, dtype=np.int64)[reading.where],
            reading.ts,
            self._hashes(reading.events),
            np.where(unknown, np.nan, score + 0.0),  # + 0.0 makes -0.0 a plain zero
            _record_times(batch, reading.where),
            model,
            names[0],
            names[1:],
            self._propensities(reading.events, model),
        )
        return rows, _rejections(batch, reading, unknown)

    def _usable(self, column: Texts) -> Texts:
        """A column of names without what counts as not given."""
        column, unusable = usable(column)
        if unusable:
            self.unusable["segments"] += unusable
        return column

    def _propensities(self, events: Sequence[Prediction], model: I16) -> F64 | None:
        """The propensities of predictions, if a model asks for them."""
        asking = [code for code, spec in enumerate(self.models) if spec.propensity]
        if not asking:
            return None
        asked = np.isin(model, asking)
        column, unusable = propensity_column([event.propensity for event in events], asked)
        if unusable:
            self.unusable["propensity"] += unusable
        return column

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
        anonymous = np.array([event.id is UNSET for event in reading.events], dtype=np.bool_)
        label = np.array([_LABELS.get(event.label, _BAD_LABEL) for event in reading.events], dtype=np.float64)
        faults: dict[int, Fault] = {}
        self._judge_heartbeats(batch, reading, np.flatnonzero(anonymous).tolist(), faults)
        ours = model != OTHER_MODEL
        for index in np.flatnonzero(ours & ~anonymous & ~(label < _BAD_LABEL)).tolist():
            if fault := _label_fault(reading.events[index]):
                faults[index] = fault
        kpis = self._values(reading, model, faults)
        label[~ours] = np.nan
        left = reading.reject(faults)
        model, label = model[left], label[left]
        rows = Outcomes(
            batch.topic,
            batch.partition,
            np.asarray(batch.offsets, dtype=np.int64)[reading.where],
            reading.ts,
            self._hashes(reading.events),
            _record_times(batch, reading.where),
            model,
            label,
            {name: column[left] for name, column in kpis.items()},
            anonymous[left],
        )
        return rows, _rejections(batch, reading, model == OTHER_MODEL)

    def _hashes(self, events: Sequence[Prediction] | Sequence[Outcome]) -> U64:
        """uint64[n]: what is kept of each id, 0 without one; an integer stands for its decimal text."""
        ids = [event.id for event in events]
        if UNSET not in ids:
            return self._hash(texts(ids))
        given = np.array([one is not UNSET for one in ids], dtype=np.bool_)
        found = np.zeros(len(ids), dtype=np.uint64)
        found[given] = self._hash(texts([one for one in ids if one is not UNSET]))
        return found

    def _judge_heartbeats(
        self, batch: Batch, reading: _Reading[Outcome], anonymous: list[int], faults: dict[int, Fault]
    ) -> None:
        mapper = self._mappers.get((batch.topic, self._outcome.name))
        places = NATIVE if mapper is None else mapper.places(("ts", "model"))
        text = "$.id: the field is missing: send the prediction's id (a heartbeat holds ts and model alone)"
        faults |= {i: (MISSING_FIELD, text) for i in anonymous if not is_heartbeat(reading.messages[i], places)}

    def _values(self, reading: _Reading[Outcome], model: I16, faults: dict[int, Fault]) -> dict[str, F64]:
        """KPI -> float64[n]; where a value is none, there is a fault."""
        given = [event.values for event in reading.events]
        groups = given
        if not set(map(type, given)) <= _GROUPS:
            groups = [group if isinstance(group, dict) else None for group in given]
            read = np.any([largest[model] < np.inf for largest in self._kpis.values()], axis=0)
            text = "$.values is no object: send one of names and numbers"
            for index in np.flatnonzero(read).tolist():
                if type(given[index]) not in _GROUPS:
                    faults.setdefault(index, (WRONG_TYPE, text))
        columns: dict[str, F64] = {}
        for name, largest in self._kpis.items():
            columns[name], wrong = kpi_column(name, groups, largest[model])
            for index, (reason, text) in wrong.items():
                original = reading.message(index)
                stood_in = original is not reading.messages[index] and groups[index][name] == []
                # What a stand-in stands for says more than that it is no number.
                faults.setdefault(index, (explain(original, _parse)[0] if stood_in else reason, text))
        return columns

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
            except REFUSALS as error:
                index = len(events)
                message = reading.messages[index]
                found = read_past(message, error, form.decode, form.used)
                if found is None:
                    faults[index] = explain(message, form.decode)
                    events.append(None)
                else:
                    events.append(found[0])
                    reading.stand_in(index, found[1])
        reading.events = events
        reading.reject(faults)
        reading.reject(_not_utf8(reading.messages))
        optional = [list(map(read, reading.events)) for read in form.readers]
        groups = [optional[place] for place in form.groups]
        raw = [column for column in (optional[place] for place in form.raw) if column.count(UNSET) < len(column)]
        keys = len(reading.events) * len(form.fields) - sum(column.count(UNSET) for column in optional)
        keys += sum(sum([len(group) for group in column if isinstance(group, dict)]) for column in groups)
        keys += sum(keys_within([value for value in column if value is not UNSET]) for column in raw)
        doubtful = suspects(reading.messages, keys, lambda: _keys_each(form, optional, groups, raw))
        reading.reject(inspect(reading.messages, doubtful, form.fields, form.paths))

    @staticmethod
    def _decode_mapped(reading: _Reading[_Event], form: _Form[_Event], mapper: Mapper) -> None:
        paths = mapper.places(form.read, form.within)
        found = [_convert(message, form, mapper, paths) for message in reading.messages]
        reading.events = [event for event, _, _ in found]  # type: ignore[misc]  # those without one go now
        faults = {index: fault for index, (_, _, fault) in enumerate(found) if fault}
        for index, (_, message, _) in enumerate(found):
            reading.stand_in(index, message)
        reading.reject(faults)
        reading.reject(_not_utf8(reading.messages))

    def _judge_times(self, reading: _Reading[_Event], batch: Batch) -> None:
        moments: list[datetime | float] = [event.ts for event in reading.events]
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


def _convert(
    message: bytes, form: _Form[_Event], mapper: Mapper, paths: Sequence[tuple[str, ...]]
) -> tuple[_Event | None, bytes, Fault | None]:
    """A foreign message as an event, or its fault; and the message that it was read from."""
    if fault := too_deep(message):
        return None, message, fault

    def read(text: bytes) -> _Event:
        payload = _parse(text)
        return msgspec.convert(mapper.apply(payload) if isinstance(payload, dict) else payload, form.struct)

    try:
        event = read(message)
    except REFUSALS as error:
        found = read_past(message, error, read, form.used)
        if found is None:
            return None, message, _refused(message, mapper, form)
        event, message = found
    return event, message, None if distinct_strings(message) else repeated(message, paths)


def _refused(message: bytes, mapper: Mapper, form: _Form[Any]) -> Fault:
    """Why a foreign message is no event."""
    try:
        payload = _parse(message)
    except REFUSALS:
        return explain(message, _parse)
    if not isinstance(payload, dict):
        return NOT_OBJECT, f"the message is {within_text(payload)}"
    mapped = mapper.apply(payload)
    try:
        msgspec.convert(mapped, form.struct)
    except msgspec.ValidationError as error:
        return field_fault(str(error), mapped, mapper.paths)
    raise InvariantError("a message was refused and then decoded", where="events.decode", cure="report it")


def _score_fault(event: Prediction) -> Fault | None:
    """What is wrong with the score of a binary model's prediction, if anything is."""
    score = event.score
    if isinstance(score, float):
        return None if 0 <= score <= 1 else (OUT_OF_RANGE, f"$.score is {shown(score)}: send P(positive), from 0 to 1")
    other = next((name for name in ("scores", "value") if getattr(event, name) is not UNSET), None)
    hint = f"; $.{other} is for another task" if other else ""
    return MISSING_FIELD, f"$.score is missing{hint}: a binary model needs P(positive)"


def _label_fault(event: Outcome) -> Fault | None:
    """What is wrong with the label of an outcome that is neither 0 nor 1, if anything is."""
    label = event.label
    if label is None or label is UNSET:
        values = event.values if isinstance(event.values, dict) else {}
        if any(value is not None for value in values.values()):
            return None
        return MISSING_FIELD, "neither $.label nor $.values is given: send one of them"
    if isinstance(label, str):
        return WRONG_TYPE, "$.label is a string, and the models here are binary: send 0 or 1"
    return OUT_OF_RANGE, f"$.label is {shown(label)}, and the models here are binary: send 0 or 1"


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


def _keys_each(
    form: _Form[Any], optional: Sequence[Sequence[Any]], groups: Sequence[Sequence[Any]], raw: Sequence[Sequence[Any]]
) -> I64:
    """int64[n]: how many keys of the contract each message must have, and keys in what is not read."""
    unset = np.array([row.count(UNSET) for row in zip(*optional, strict=True)], dtype=np.int64)
    count = len(form.fields) - unset
    for column in groups:
        count += np.array([len(group) if isinstance(group, dict) else 0 for group in column], dtype=np.int64)
    for column in raw:
        count += np.array([0 if value is UNSET else bytes(value).count(b'":') for value in column], dtype=np.int64)
    return count


def _rejections(batch: Batch, reading: _Reading[Any], unknown: NDArray[np.bool_]) -> list[Rejection]:
    """All faults of a reading, and a rejection for each event of an unknown model, by offset."""
    found = [(place, fault, message, ts) for place, fault, message, ts in reading.faults]
    for index in np.flatnonzero(unknown).tolist():
        fault = UNKNOWN_MODEL, unknown_model(reading.events[index].model)
        found.append((int(reading.where[index]), fault, reading.message(index), int(reading.ts[index])))
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
