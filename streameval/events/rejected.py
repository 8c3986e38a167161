"""Messages that are no events: why, where, and how they are told without flooding anybody.

Invariant: every rejection is told exactly once, either in a record of its own or as one of `count` in a counted record,
and which of the two is a function of its partition's log and the configuration. Detail texts name fields, types and
bounds, never ids or strings of people's events; only `payload: full` shows those.

Source: design, "Events in" and "Records out".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypedDict

import msgspec
import xxhash

from streameval.plain import cleaned

# The bytes as such
EMPTY: Final = "empty"
UNREADABLE: Final = "unreadable"
TOO_LARGE: Final = "too_large"
NOT_UTF8: Final = "not_utf8"
BYTE_ORDER_MARK: Final = "byte_order_mark"
# The JSON
NOT_JSON: Final = "not_json"
TRUNCATED: Final = "truncated"
LONE_SURROGATE: Final = "lone_surrogate"
NOT_FINITE: Final = "not_finite"
HUGE_NUMBER: Final = "huge_number"
TOO_DEEP: Final = "too_deep"
NOT_OBJECT: Final = "not_object"
DUPLICATE_KEY: Final = "duplicate_key"
# The fields
MISSING_FIELD: Final = "missing_field"
WRONG_TYPE: Final = "wrong_type"
OUT_OF_RANGE: Final = "out_of_range"
BAD_STRING: Final = "bad_string"
BAD_TIME: Final = "bad_time"
NAIVE_TIME: Final = "naive_time"
SECONDS_TIME: Final = "seconds_time"
MICROSECONDS_TIME: Final = "microseconds_time"
# The event among others
UNKNOWN_MODEL: Final = "unknown_model"
UNSUPPORTED_TASK: Final = "unsupported_task"
FUTURE: Final = "future"
LATE: Final = "late"

REASONS: Final = (
    *(EMPTY, UNREADABLE, TOO_LARGE, NOT_UTF8, BYTE_ORDER_MARK),
    *(NOT_JSON, TRUNCATED, LONE_SURROGATE, NOT_FINITE, HUGE_NUMBER, TOO_DEEP, NOT_OBJECT, DUPLICATE_KEY),
    *(MISSING_FIELD, WRONG_TYPE, OUT_OF_RANGE, BAD_STRING, BAD_TIME, NAIVE_TIME, SECONDS_TIME, MICROSECONDS_TIME),
    *(UNKNOWN_MODEL, UNSUPPORTED_TASK, FUTURE, LATE),
)
"""Every reason that a `rejected` record can give: a public surface."""

PAYLOAD_BYTES: Final = 4096
"""A full payload is cut at this many bytes."""

UNKNOWN_MODELS_AN_HOUR: Final = 100
"""Distinct names of unknown models told apart in an hour of one partition; the rest is one name, `other`."""

_HOUR: Final = 3_600_000
_OTHER_MODELS: Final = "other models that are not configured here"


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """One message that is no event, or several in a row that share their fate.

    Attributes:
        topic: where it stands.
        partition: where it stands.
        offset: where it stands, or the first of them does.
        reason: one of `REASONS`.
        detail: what was wrong, at which field, and what to do.
        payload: the message itself; what is shown of it is the ledger's matter.
        ts: its event time in ms, where that could be read.
        last: where the last of several stands.
        count: how many they are.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    payload: bytes | None = None
    ts: int | None = None
    last: int | None = None
    count: int = 1


class RejectedData(TypedDict, total=False):
    """What a ledger gives to publish: the `data` of a `rejected` record, and two facts about the record.

    ``time`` is its logical time; ``counted`` says that it follows its partition's clock and not its log.
    """

    time: int
    counted: bool
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    last_offset: int
    count: int
    payload: str | None


class _Bucket(msgspec.Struct, array_like=True):
    """The rejections of one kind in one period: how many were told, and those that were only counted."""

    end: int
    told: int = 0
    count: int = 0
    first: int = 0
    last: int = 0
    detail: str = ""


def unknown_model(name: str) -> str:
    """The detail text for a model that is not configured; names are shortened and cleaned, they are foreign text.

    >>> unknown_model("fraud")
    "the model 'fraud' is not configured here: add it to models, or send its events to another topic"
    """
    shown = cleaned(name if len(name) <= 100 else name[:100] + "…")
    return f"the model '{shown}' is not configured here: add it to models, or send its events to another topic"


class RejectionLedger:
    """Decides which rejections get a record of their own and which are counted.

    The first `per_interval` of one (topic, partition, reason) in an interval of logical time are told at once, the
    others of that interval in one record when it has ended. Unknown models, unless they are to be rejected like
    anything else, are told once an hour by (topic, partition, model), the others counted into the record that closes
    the hour.

    A period ends when the partition's *clock* has passed it, because an event's logical time is never behind that
    clock; so neither batch cuts nor the moments at which `flush` is called change what is told.

    Args:
        payload: ``none``, ``hash`` (xxh3_128, hex) or ``full`` (text, other bytes escaped, cut at 4 KiB).
        per_interval: how many are told one by one.
        interval_ms: length of an interval, in ms.
        unknown_models: ``count`` (one an hour by name) or ``reject`` (like every other reason).

    >>> ledger = RejectionLedger(per_interval=1)
    >>> bad = [Rejection("p", 0, offset, "not_json", "...") for offset in (5, 6, 9)]
    >>> [data["offset"] for data in ledger.add(bad, [0, 10, 20])]
    [5]
    >>> [(data["offset"], data["last_offset"], data["count"], data["time"]) for data in ledger.flush("p", 0, 60_000)]
    [(6, 9, 2, 60000)]
    """

    def __init__(
        self,
        payload: Literal["none", "hash", "full"] = "none",
        per_interval: int = 100,
        interval_ms: int = 60_000,
        unknown_models: Literal["count", "reject"] = "count",
    ) -> None:
        self._payload = payload
        self._per_interval = per_interval
        self._interval = interval_ms
        self._count_unknown = unknown_models == "count"
        # (topic, partition) -> (reason, subject, start of the period) -> bucket
        self._open: dict[tuple[str, int], dict[tuple[str, str, int], _Bucket]] = {}

    def add(self, rejections: Iterable[Rejection], times: Sequence[int]) -> list[RejectedData]:
        """Takes rejections, each with its logical time in ms; gives the records to publish now.

        Those of one partition must come in offset order.
        """
        told: list[RejectedData] = []
        for rejection, time in zip(rejections, times, strict=True):
            bucket, limit = self._bucket(rejection, time)
            if bucket.told < limit:
                bucket.told += 1
                data: RejectedData = {
                    "time": time,
                    "reason": rejection.reason,
                    "detail": rejection.detail,
                    "topic": rejection.topic,
                    "partition": rejection.partition,
                    "offset": rejection.offset,
                    "count": rejection.count,
                    "payload": self._show(rejection.payload),
                }
                if rejection.last is not None:
                    data["last_offset"] = rejection.last
                told.append(data)
                continue
            if not bucket.count:
                bucket.first, bucket.detail = rejection.offset, rejection.detail
            bucket.count += rejection.count
            bucket.last = rejection.offset if rejection.last is None else rejection.last
        return told

    def flush(self, topic: str, partition: int, now: int | None) -> list[RejectedData]:
        """Closes the periods of one partition that end at or before `now`, its clock in ms (None: all of them).

        Gives the counted records, by end of period, reason and subject.
        """
        buckets = self._open.get((topic, partition))
        if not buckets:
            return []
        ended = sorted((bucket.end, key) for key, bucket in buckets.items() if now is None or bucket.end <= now)
        told: list[RejectedData] = []
        for end, key in ended:
            bucket = buckets.pop(key)
            if not bucket.count:
                continue
            data: RejectedData = {
                "time": end,
                "counted": True,
                "reason": key[0],
                "detail": bucket.detail if key[1] != _OTHER_MODELS else _OTHER_MODELS,
                "topic": topic,
                "partition": partition,
                "offset": bucket.first,
                "last_offset": bucket.last,
                "count": bucket.count,
                "payload": None,
            }
            told.append(data)
        if not buckets:
            del self._open[topic, partition]
        return told

    def flush_all(self, now: int | None = None) -> list[RejectedData]:
        """`flush` for every partition, in order of topic and partition."""
        return [data for topic, partition in sorted(self._open) for data in self.flush(topic, partition, now)]

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` continues exactly."""
        return {
            "version": 1,
            "open": [
                [topic, partition, *key, *msgspec.structs.astuple(bucket)]
                for (topic, partition), buckets in sorted(self._open.items())
                for key, bucket in sorted(buckets.items())
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up a `state`; the configuration is the constructor's."""
        self._open = {}
        for topic, partition, reason, subject, start, *bucket in state["open"]:
            self._open.setdefault((topic, partition), {})[reason, subject, start] = _Bucket(*bucket)

    def _bucket(self, rejection: Rejection, time: int) -> tuple[_Bucket, int]:
        """The bucket of a rejection, and how many of it are told one by one."""
        buckets = self._open.setdefault((rejection.topic, rejection.partition), {})
        hourly = self._count_unknown and rejection.reason == UNKNOWN_MODEL
        length = _HOUR if hourly else self._interval
        start = time - time % length
        # The detail of an unknown model is a function of its name.
        key = (rejection.reason, rejection.detail if hourly else "", start)
        found = buckets.get(key)
        if found is None:
            if hourly and self._names(buckets, start) >= UNKNOWN_MODELS_AN_HOUR:
                key = (rejection.reason, _OTHER_MODELS, start)
            found = buckets.setdefault(key, _Bucket(end=start + length))
        return found, 1 if hourly else self._per_interval

    @staticmethod
    def _names(buckets: dict[tuple[str, str, int], _Bucket], hour: int) -> int:
        return sum(1 for reason, _, start in buckets if reason == UNKNOWN_MODEL and start == hour)

    def _show(self, payload: bytes | None) -> str | None:
        if payload is None or self._payload == "none":
            return None
        if self._payload == "hash":
            return xxhash.xxh3_128_hexdigest(payload)
        return payload[:PAYLOAD_BYTES].decode("utf-8", "backslashreplace")
