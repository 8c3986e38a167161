"""The picture of a run that report, table and live page are drawn from, folded record by record.

Invariant: a snapshot is a function of the output records in their order and of the run's facts; its size is bounded by
the number of keys and by `points`, not by the number of records. It only reads: a record of an unknown type is counted
and otherwise left alone, so an older page can look at a newer worker's topics.

Source of the records' shape: CloudEvents 1.0, structured JSON mode; the types are `streameval.*`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import msgspec

from streameval.records import epoch_ms
from streameval.serve.sentence import State, sentence, state
from streameval.serve.series import (
    Alarm,
    Bin,
    Comparison,
    Estimate,
    Key,
    Labels,
    Map,
    Measured,
    Move,
    Request,
    Series,
    Window,
)

SOURCES = 20
"""Workers named at most."""
POINTS = 100_000
"""Metric points kept of all keys together (2.7 KB each); the more keys there are, the fewer are kept of each."""
FEWEST = 20
"""Metric points kept of a key, however many keys there are."""


class Rejected(msgspec.Struct):
    """How many messages one reason has turned away, and where the latest of them lies."""

    count: int = 0
    detail: str = ""
    topic: str = ""
    partition: int | None = None
    offset: int | None = None


class Snapshot(msgspec.Struct):
    """A run so far. Feed it records, add facts, draw it.

    `facts` are what no record says: `predictions`, `outcomes`, `read`, `joined`, `waiting` (counts), `time` (stream
    time, ms), `wall_seconds`, `rate` (events a second). Names that are not known here are shown as they are.

    `points` is how many metric points are kept of all keys, `segments` how many segments of a model's version keep a
    past (the first that records speak of); of further ones only the first and the last metrics are kept.

    >>> record = {"type": "streameval.retrain", "time": "2026-03-01T00:00:00Z", "source": "/streameval/a",
    ...           "data": {"model": "m", "version": "1", "segment": "*", "reason": "concept drift"}}
    >>> snapshot = Snapshot()
    >>> snapshot.feed("retrain", record)
    >>> snapshot.series[0].requests[0].reason
    'concept drift'
    """

    by_key: dict[str, Series] = {}
    rejected: dict[str, Rejected] = {}
    facts: dict[str, Any] = {}
    sources: list[str] = []
    records: dict[str, int] = {}
    first: int | None = None
    last: int | None = None
    points: int = POINTS
    segments: int = 1_000_000
    known: dict[str, int] = {}

    @classmethod
    def from_lines(cls, lines: Iterable[tuple[str, bytes | str]], facts: Mapping[str, Any] | None = None) -> Self:
        """Fold (topic, line of JSON) pairs, as they come from the output topics or their files.

        Within a topic lines come in their order; how topics interleave changes nothing that is shown. Blank lines are
        skipped. Raises `msgspec.DecodeError` on a line that is not a JSON object.
        """
        snapshot = cls(facts=dict(facts or {}))
        for topic, line in lines:
            if line.strip():
                snapshot.feed(topic, line.encode() if isinstance(line, str) else line)
        return snapshot

    def feed(self, topic: str, record: Mapping[str, Any] | bytes) -> None:
        """Take one output record: a CloudEvent as a dict, or its bytes. What it is follows from its `type`.

        Raises `msgspec.DecodeError` on bytes that are not a JSON object and `KeyError` on a record that lacks a field
        which its type always has.
        """
        event: Mapping[str, Any] = (
            msgspec.json.decode(record, type=dict[str, Any]) if isinstance(record, bytes) else record
        )
        kind = _kind(event)
        self.records[kind or topic] = self.records.get(kind or topic, 0) + 1
        data, at = event.get("data"), milliseconds(event.get("time"))
        if not isinstance(data, Mapping) or at is None:
            return
        source = event.get("source")
        if isinstance(source, str) and source not in self.sources and len(self.sources) < SOURCES:
            self.sources = sorted([*self.sources, source])
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        match kind:
            case "metrics":
                self._metrics(at, data)
            case "threshold":
                self._threshold(at, data)
            case "drift":
                self._drift(at, data)
            case "retrain":
                self._retrain(at, data)
            case "calibration":
                self._calibration(at, data)
            case "alignment":
                self._alignment(at, data)
            case "rejected":
                self._rejected(data)
            case _:
                pass  # a type of a newer worker: counted above

    def retire(self, key: Key, at: int) -> None:
        """Mark a key as ended (its topics carry a tombstone) at `at`, epoch milliseconds."""
        self._series(msgspec.structs.asdict(key), at).retired_at = at

    @property
    def series(self) -> list[Series]:
        """All series, by model and version, the whole before its segments."""
        return sorted(self.by_key.values(), key=lambda s: (s.key.model, s.key.version, not s.key.whole, s.key.segment))

    @property
    def models(self) -> list[tuple[str, str]]:
        """The models and versions that records speak of, sorted."""
        return sorted({(series.key.model, series.key.version) for series in self.by_key.values()})

    def of(self, model: str, version: str) -> list[Series]:
        """The series of one model's version: the whole first, then its segments by name."""
        return [s for s in self.series if (s.key.model, s.key.version) == (model, version)]

    def get(self, key: Key) -> Series | None:
        """The series of a key, None if no record has spoken of it."""
        return self.by_key.get(_name(key.model, key.version, key.segment))

    def state(self, key: Key) -> State:
        """Whether the key is waiting, learning, healthy, drifted or retired."""
        return state(self.get(key))

    def sentence(self, key: Key) -> str:
        """The key's state in one plain sentence: what, why, since when, and what was done about it."""
        return sentence(key, self.get(key), [s for s in self.of(key.model, key.version) if not s.key.whole])

    def remembers(self, key: Key) -> bool:
        """Whether the key keeps a past: every whole does, and the first `segments` of a model's version."""
        series = self.get(key)
        return series is not None and series.place <= self.segments

    def _series(self, data: Mapping[str, Any], at: int) -> Series:
        key = Key(str(data["model"]), str(data.get("version") or "0"), str(data.get("segment") or "*"))
        name = _name(key.model, key.version, key.segment)
        series = self.by_key.get(name)
        if series is None:
            series = self.by_key[name] = Series(key=key)
            if not key.whole:
                version = _name(key.model, key.version)
                series.place = self.known[version] = self.known.get(version, 0) + 1
        if series.retired_at is not None and at > series.retired_at:
            series.retired_at = None  # it has come back
        return series

    def _limit(self, series: Series) -> int:
        if series.place > self.segments:
            return 2
        return max(self.points // len(self.by_key), FEWEST)

    def _metrics(self, at: int, data: Mapping[str, Any]) -> None:
        prevalence = data.get("prevalence") or {}
        window = data["window"]
        start, end = milliseconds(window["from"]), milliseconds(window["to"])
        metrics = _estimates(data["metrics"])
        estimated = data.get("estimated") or {}
        series = self._series(data, at)
        series.measured(
            Measured(
                at=at,
                window=Window(start if start is not None else at, end if end is not None else at, window["events"]),
                metrics=metrics,
                labelled=_estimate(prevalence.get("labelled")),
                label_free=_estimate(prevalence.get("label_free")),
                fused=_estimate(prevalence.get("fused")),
                provisional=_estimate((data.get("provisional") or {}).get("prevalence")),
                estimated=_estimates(estimated.get("metrics")),
                silent=estimated.get("silent"),
                gap=_estimates(data.get("gap")),
                labels=_labels(data.get("labels")),
                threshold=_number(data.get("threshold")),
                phase=data.get("phase"),
                confusion=dict(data.get("confusion") or {}),
                reliability=tuple(
                    Bin(b["score"], b["observed"], b.get("low"), b.get("high"), b["events"])
                    for b in data.get("reliability") or ()
                ),
            ),
            self._limit(series),
        )

    def _threshold(self, at: int, data: Mapping[str, Any]) -> None:
        self._series(data, at).moved(
            Move(
                at=at,
                threshold=data["threshold"],
                previous=_number(data.get("previous")),
                calibrated=_number(data.get("threshold_calibrated")),
                reason=str(data.get("reason") or ""),
                gain=_estimate(data.get("expected_gain")),
                objective=dict(data.get("objective") or {}),
            )
        )

    def _drift(self, at: int, data: Mapping[str, Any]) -> None:
        diagnosis = data.get("diagnosis") or {}
        self._series(data, at).alarmed(
            Alarm(
                at=at,
                monitor=str(data["monitor"]),
                tier=str(data["tier"]),
                direction=data.get("direction"),
                statistic=_number(data.get("statistic")),
                change_at=milliseconds(data.get("change_at")),
                diagnosis=_said(diagnosis.get("state")),
                tests=dict(diagnosis.get("tests") or {}),
                before=_estimate(data.get("before")),
                after=_estimate(data.get("after")),
                alarm_at=milliseconds(data.get("alarm_at")),
            )
        )

    def _retrain(self, at: int, data: Mapping[str, Any]) -> None:
        diagnosis = data.get("diagnosis")
        found = diagnosis.get("state") if isinstance(diagnosis, Mapping) else diagnosis
        self._series(data, at).requested(
            Request(
                at=at,
                reason=str(data["reason"]),
                diagnosis=_said(found),
                excess=_number(data.get("priority")),
            )
        )

    def _calibration(self, at: int, data: Mapping[str, Any]) -> None:
        knots = data.get("knots") or {}
        self._series(data, at).mapped(
            Map(
                at=at,
                method=str(data["method"]),
                x=tuple(knots.get("x") or ()),
                y=tuple(knots.get("y") or ()),
                before=_numbers(data.get("before")),
                after=_numbers(data.get("after")),
            )
        )

    def _alignment(self, at: int, data: Mapping[str, Any]) -> None:
        pairs = data.get("recent") or ()
        against = data.get("against")
        self._series(data, at).compared(
            Comparison(
                at=at,
                loss=str(data["loss"]),
                kpi=str(data["kpi"]),
                basis=str(data["basis"]),
                disagreement=_estimate(data.get("disagreement")),
                undecided=_number(data.get("undecided")) or 0.0,
                pairs=int(data["pairs"]),
                tau=_estimate(data.get("tau")),
                correlation=_number(data.get("correlation")),
                regret=_number(data.get("regret")),
                goodhart=data.get("goodhart"),
                against=None if against is None else str(against),
                recent=tuple((float(p["loss"]), float(p["kpi"]), bool(p["decided"])) for p in pairs),
            )
        )

    def _rejected(self, data: Mapping[str, Any]) -> None:
        entry = self.rejected.setdefault(str(data["reason"]), Rejected())
        entry.count += int(data.get("count") or 1)
        entry.detail = str(data.get("detail") or "")
        entry.topic = str(data.get("topic") or "")
        entry.partition, entry.offset = data.get("partition"), data.get("offset")


def milliseconds(time: object) -> int | None:
    """Epoch milliseconds of an RFC 3339 time; None where there is none.

    >>> milliseconds("1996-05-06T14:00:00.500Z")
    831391200500
    """
    return epoch_ms(time) if isinstance(time, str) else None


def _kind(event: Mapping[str, Any]) -> str:
    return str(event.get("type") or "").removeprefix("streameval.")


def _name(*parts: str) -> str:
    # JSON keeps the parts apart whatever characters people put in their names, and lets a snapshot be encoded.
    return msgspec.json.encode(parts).decode()


def _number(raw: object) -> float | None:
    return float(raw) if isinstance(raw, int | float) and math.isfinite(raw) else None


def _numbers(raw: object) -> dict[str, float]:
    pairs = raw.items() if isinstance(raw, Mapping) else ()
    return {str(name): number for name, value in pairs if (number := _number(value)) is not None}


def _estimate(raw: object) -> Estimate | None:
    if not isinstance(raw, Mapping):
        value = _number(raw)
        return None if value is None else Estimate(value)
    value = _number(raw.get("value"))
    return None if value is None else Estimate(value, _number(raw.get("low")), _number(raw.get("high")))


def _estimates(raw: object) -> dict[str, Estimate]:
    pairs = raw.items() if isinstance(raw, Mapping) else ()
    return {str(name): estimate for name, value in pairs if (estimate := _estimate(value))}


def _labels(raw: object) -> Labels | None:
    if not isinstance(raw, Mapping):
        return None
    names = {"p50": "delay_p50", "p90": "delay_p90", "labelled": "share_labelled"}
    names |= {"late_positives": "share_late_positives", "waiting": "waiting"}
    return Labels(**{ours: raw.get(theirs) for ours, theirs in names.items()})


def _said(diagnosis: str | None) -> str | None:
    """A diagnosis worth telling: that there was none yet says nothing to a reader."""
    return None if diagnosis == "undiagnosed" else diagnosis
