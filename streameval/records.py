"""Records out: the data of every record that streameval publishes, and the CloudEvents envelope around it.

Invariant: a record's bytes are a function of its facts: the order of keys is fixed, floats carry 9 significant digits,
times are RFC 3339 UTC with milliseconds, and the id is a hash of lineage, type, key and sequence. Names and shapes are
a public surface (people script against them): fields are added, never renamed or removed. The same bytes stand in a
topic, in a logdir's line and, for drift, thresholds and retrain, in the log.

Source: CloudEvents 1.0, JSON format, structured mode. ``sequence`` is an Integer attribute, so that scripts can count
with it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote, unquote

import msgspec
import numpy as np
import xxhash
from msgspec import Meta, Struct

from streameval.errors import InputError, InvariantError

__all__ = [
    "LARGEST",
    "RECORDS",
    "Alignment",
    "AlignmentPair",
    "Calibration",
    "CalibrationMeasures",
    "CloudEvent",
    "Confusion",
    "Data",
    "Diagnosis",
    "Drift",
    "Estimated",
    "Finding",
    "Interval",
    "Knots",
    "LabelFlow",
    "Losses",
    "Mark",
    "Metrics",
    "Prevalence",
    "Provisional",
    "Rejected",
    "ReliabilityPoint",
    "Retrain",
    "Selective",
    "Threshold",
    "Window",
    "ZTest",
    "cloudevent",
    "epoch_ms",
    "key_of",
    "parts_of",
    "read",
    "rfc3339",
]

LARGEST: Final = 65_536
"""Most bytes of one record."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS: Final = -62_135_596_800_000  # year 1
_LAST_MS: Final = 253_402_300_799_999  # year 9999
_DIGITS: Final = 9

Time = Annotated[str, Meta(description="RFC 3339, UTC, milliseconds", extra_json_schema={"format": "date-time"})]
Share = Annotated[float, Meta(ge=0, le=1)]
Events = Annotated[int, Meta(ge=0, description="number of events")]


def rfc3339(ms: int) -> str:
    """A time as text, in UTC with milliseconds.

    Args:
        ms: epoch milliseconds, of the years 1 to 9999; beyond them the nearest such time is said.

    >>> rfc3339(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    moment = _EPOCH + timedelta(milliseconds=min(max(int(ms), _FIRST_MS), _LAST_MS))
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def epoch_ms(text: str) -> int:
    """Epoch milliseconds of a time as :func:`rfc3339` writes it.

    Raises:
        ValueError: it is not a time with an offset.

    >>> epoch_ms("2023-11-14T22:13:20.123Z")
    1700000000123
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without an offset: {text!r}")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


class Interval(Struct, frozen=True):
    """A number with its interval; null where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Window(Struct, frozen=True):
    """Half-open in prediction time, made of whole cohorts; ``events`` were matured and labelled in it."""

    from_: Annotated[Time, Meta(description="start of the first cohort")] = msgspec.field(name="from")
    to: Annotated[Time, Meta(description="end of the last cohort")]
    events: Events

    @classmethod
    def of(cls, start: int, end: int, events: int) -> Window:
        """A window from epoch milliseconds.

        >>> Window.of(0, 60_000, 12).to
        '1970-01-01T00:01:00.000Z'
        """
        return cls(from_=rfc3339(start), to=rfc3339(end), events=int(events))


class Prevalence(Struct, frozen=True):
    """The share of positives: of matured labels, and estimated without labels."""

    labelled: Interval | None
    label_free: Annotated[Interval | None, Meta(description="of scores that wait for labels; null while silent")] = None
    fused: Annotated[
        Interval | None, Meta(description="of now, by the filter over matured labels and waiting scores")
    ] = None
    pacc: Annotated[
        Interval | None, Meta(description="the cross-check of label_free; where they contradict nothing is decided")
    ] = None


class Estimated(Struct, frozen=True):
    """The metrics of predictions that wait for labels, expected by the calibration map."""

    state: Annotated[str, Meta(description="what is known of the model: none, covariate_shift, label_shift, ...")]
    since: Annotated[Time, Meta(description="since when the state is unknown: no later prediction has matured")]
    metrics: Annotated[
        dict[str, Interval], Meta(description="by name; the interval held 90 % of earlier groups that matured since")
    ] = {}
    silent: Annotated[
        str | None, Meta(description="why there are none, one constant word: learning, state, or backtest")
    ] = None
    window: Annotated[Window | None, Meta(description="the predictions; events are all of them")] = None


class Provisional(Struct, frozen=True):
    """The prevalence that waiting predictions will have, from the labels that came so far and usual delays."""

    prevalence: Interval
    positives: Annotated[Events, Meta(description="positives seen so far")]
    negatives: Annotated[Events, Meta(description="negatives seen so far")]
    share_seen: Annotated[Share, Meta(description="share of their positives that has come, as delays usually are")]
    window: Annotated[Window, Meta(description="the predictions; events are all of them")]
    caution: Annotated[
        str | None,
        Meta(description="labels_slower or labels_faster: delays changed, which reads as a changed prevalence"),
    ] = None


class LabelFlow(Struct, frozen=True):
    """How the labels of matured predictions came, over the last two waits."""

    delay_p50: Annotated[int | None, Meta(description="ms from prediction to label: the median")]
    delay_p90: Annotated[int | None, Meta(description="ms: nine of ten came by then")]
    share_labelled: Annotated[Share | None, Meta(description="share of predictions with an outcome by maturity")]
    share_late_positives: Annotated[
        Share | None, Meta(description="share of positives that came after maturity; null until amendments are over")
    ]
    waiting: Annotated[Events, Meta(description="predictions that wait for maturity")]
    unproven: Annotated[
        Events, Meta(description="predictions that left without labels, for nothing proved that these could have come")
    ] = 0


class Confusion(Struct, frozen=True):
    """Matured, labelled predictions by decision at the threshold in force, and label."""

    tp: Events
    fp: Events
    fn: Events
    tn: Events


class ReliabilityPoint(Struct, frozen=True):
    """One group of scores of the reliability diagram."""

    score: Annotated[Share, Meta(description="mean score of the group")]
    observed: Annotated[Share, Meta(description="share of positives in it")]
    low: Share
    high: Share
    events: Events


class Losses(Struct, frozen=True):
    """Proper losses of scores."""

    log_loss: float | None
    brier: float | None


class ZTest(Struct, frozen=True):
    """A statistic that is standard normal if the probabilities are right."""

    z: float
    p_value: Annotated[Share, Meta(description="two-sided")]


class CalibrationMeasures(Struct, frozen=True):
    """How right probabilities are: Brier = reliability - resolution + uncertainty + within."""

    relative_error: Annotated[
        Interval, Meta(description="root of the reliability as a share of the labels' standard deviation; 0 is perfect")
    ]
    reliability: Annotated[Interval, Meta(description="squared calibration error, without its bias; 0 is perfect")]
    resolution: Annotated[Interval, Meta(description="how far the groups' shares of positives lie apart; also so")]
    uncertainty: Annotated[Interval, Meta(description="the labels' variance")]
    within: Annotated[float, Meta(description="what remains of the Brier score: differences inside the groups")]
    in_the_large: Annotated[ZTest | None, Meta(description="is the mean probability right?")] = None
    spiegelhalter: Annotated[ZTest | None, Meta(description="are all probabilities right?")] = None


class Selective(Struct, frozen=True):
    """What is open where decisions decide which labels are seen."""

    labelled_share: Annotated[Share, Meta(description="share of the matured predictions whose label was seen")]
    labelled_from: Annotated[Share | None, Meta(description="lowest score at which labels are seen")]
    labelled_to: Annotated[Share | None, Meta(description="and the highest; no threshold is published outside")]
    bounds: Annotated[
        dict[str, Interval], Meta(description="by name: low with all missing labels one way, high with all the other")
    ]
    unidentified: Annotated[list[str], Meta(description="names whose value the missing labels could change: null")]


class Knots(Struct, frozen=True):
    """A calibration map: linear interpolation between the points (x, y), constant beyond its ends."""

    x: list[Share]
    y: list[Share]


class Finding(Struct, frozen=True):
    """One test of a diagnosis."""

    statistic: float | None
    p_value: Share | None
    effect: Annotated[float | None, Meta(description="size of the effect, in the test's own unit")]
    holds: Annotated[bool, Meta(description="it does not reject, or its effect is within tolerance")]


class Diagnosis(Struct, frozen=True):
    """What kind of change it is, and the tests that say so."""

    state: Annotated[
        str,
        Meta(
            description="none, covariate_shift, label_shift, concept_drift, miscalibration, inconclusive, "
            "confounded, or pending"
        ),
    ]
    tests: dict[str, Finding] = {}


class Data(Struct, frozen=True, kw_only=True):
    """Base of the data of a record."""

    TYPE: ClassVar[str]
    """CloudEvents ``type``."""
    TOPIC: ClassVar[str]
    """Key under ``topics`` in the configuration, and the file name of a replay."""


Model = Annotated[str, Meta(description="name of the model")]
Version = Annotated[
    str, Meta(description="version of the model; 0 where events carry none, ~other for all without a key of their own")
]
Segment = Annotated[
    str, Meta(description="* for all predictions, or name=value; name=~other for all without a key of their own")
]


class Threshold(Data, frozen=True, kw_only=True):
    """The threshold in force from now on: positive where score >= threshold."""

    TYPE: ClassVar[str] = "streameval.threshold"
    TOPIC: ClassVar[str] = "thresholds"

    model: Model
    version: Version
    segment: Segment
    threshold: Annotated[Share, Meta(description="on the model's own score")]
    threshold_calibrated: Annotated[Share | None, Meta(description="the same on the calibrated probability")]
    previous: Annotated[Share | None, Meta(description="the threshold before; null at the first")]
    objective: Annotated[dict[str, str | float], Meta(description="kind and parameters, as configured")]
    expected_gain: Annotated[Interval | None, Meta(description="per event, in units of the objective")]
    reason: Annotated[str, Meta(description="why it moved, one constant word")]
    prevalence: Prevalence | None
    calibration: Annotated[str | None, Meta(description="method of the calibration map in force")]
    window: Annotated[Window | None, Meta(description="what the decision rests on")]
    configuration: Annotated[str | None, Meta(description="digest of the model's configuration")] = None


class Calibration(Data, frozen=True, kw_only=True):
    """The calibration map in force from now on."""

    TYPE: ClassVar[str] = "streameval.calibration"
    TOPIC: ClassVar[str] = "calibration"

    model: Model
    version: Version
    segment: Segment
    method: Annotated[str, Meta(description="identity, prior, platt, isotonic, ...")]
    knots: Knots
    before: Annotated[Losses | None, Meta(description="losses of the map before it")]
    after: Annotated[Losses | None, Meta(description="losses of this map, tested before it learnt")]
    window: Window | None
    configuration: Annotated[str | None, Meta(description="digest of the model's configuration")] = None


class Drift(Data, frozen=True, kw_only=True):
    """An alarm: something is not as it was in the reference."""

    TYPE: ClassVar[str] = "streameval.drift"
    TOPIC: ClassVar[str] = "drift"

    model: Model
    version: Version
    segment: Segment
    monitor: Annotated[str, Meta(description="what was watched: label, residual, cost, score, ...")]
    tier: Annotated[
        Literal["advisory", "confirmed"], Meta(description="advisory alarms never change a threshold by themselves")
    ]
    statistic: Annotated[float | None, Meta(description="the detector's statistic when it fired")]
    direction: Annotated[Literal["up", "down", "both"], Meta(description="which way the watched mean moved")]
    change_at: Annotated[Time | None, Meta(description="when the change seems to have begun")]
    diagnosis: Diagnosis | None
    bound: Annotated[float | None, Meta(description="what the statistic had to reach")] = None
    detector: Annotated[str | None, Meta(description="e_sr, conformal_sr while learning, or River's class")] = None
    before: Annotated[Interval | None, Meta(description="the watched mean in the reference")] = None
    after: Annotated[Interval | None, Meta(description="and since the change")] = None
    window: Annotated[Window | None, Meta(description="the step in which it fired")] = None
    evidence: Annotated[
        dict[str, Any] | None,
        Meta(description="what it was read from: counts before and after by score bin, the path of the statistic"),
    ] = None
    alarm_at: Annotated[
        Time | None, Meta(description="logical time of the alarm: the same in its record and in that of its diagnosis")
    ] = None
    configuration: Annotated[str | None, Meta(description="digest of the model's configuration")] = None


class Retrain(Data, frozen=True, kw_only=True):
    """A request to train the model anew: neither a map nor a threshold wins back what was lost."""

    TYPE: ClassVar[str] = "streameval.retrain"
    TOPIC: ClassVar[str] = "retrain"

    model: Model
    version: Version
    segment: Segment
    reason: Annotated[str, Meta(description="why, one constant word")]
    diagnosis: Diagnosis | None
    window: Annotated[Window | None, Meta(description="the events since the change: new data to learn from")]
    priority: Annotated[float | None, Meta(description="share of the attainable cost that is being lost")]
    attainable: Annotated[Interval | None, Meta(description="least cost per event that this model can still reach")] = (
        None
    )
    counterfactual: Annotated[
        float | None, Meta(description="cost per event that the reference's model would have now (C*)")
    ] = None
    in_force: Annotated[Interval | None, Meta(description="cost per event at the threshold in force")] = None
    alarm_at: Annotated[Time | None, Meta(description="logical time of the alarm behind it")] = None
    configuration: Annotated[str | None, Meta(description="digest of the model's configuration")] = None


class Metrics(Data, frozen=True, kw_only=True):
    """How good the model is, over one window, with intervals."""

    TYPE: ClassVar[str] = "streameval.metrics"
    TOPIC: ClassVar[str] = "metrics"

    model: Model
    version: Version
    segment: Segment
    window: Window
    metrics: Annotated[dict[str, Interval], Meta(description="by name: built-in, River's by class name, KPIs")]
    prevalence: Prevalence | None
    threshold: Annotated[Share, Meta(description="in force at the end of the window")]
    confusion: Confusion
    reliability: list[ReliabilityPoint]
    phase: Literal["learning", "watching"]
    detectable: Annotated[
        float | None, Meta(description="smallest ratio of prevalences that the monitors can tell apart")
    ] = None
    season: Annotated[
        Literal["unknown", "none", "day", "week"] | None,
        Meta(description="what the monitors know of the stream's season; null while learning"),
    ] = None
    calibration: Annotated[
        CalibrationMeasures | None, Meta(description="how right the scores are as probabilities; of the whole")
    ] = None
    calibration_of_map: Annotated[
        CalibrationMeasures | None,
        Meta(description="the same of the calibration map in force, which has learnt from these events"),
    ] = None
    selective: Annotated[Selective | None, Meta(description="bounds, where decisions decide which labels are seen")] = (
        None
    )
    gap: Annotated[
        dict[str, Interval] | None, Meta(description="online less offline, by metric; null without a reference report")
    ] = None
    estimated: Annotated[Estimated | None, Meta(description="of predictions that wait for labels")] = None
    provisional: Annotated[
        Provisional | None, Meta(description="by the labels seen so far; null where too few are")
    ] = None
    labels: Annotated[LabelFlow | None, Meta(description="how labels come; of the whole")] = None


class AlignmentPair(Struct, frozen=True):
    """Two windows, or two versions in one window, compared."""

    loss: Annotated[float | None, Meta(description="by how much the loss fell")]
    kpi: Annotated[float | None, Meta(description="by how much the KPI changed for the better")]
    decided: Annotated[bool, Meta(description="the KPI moved beyond doubt")]


class Alignment(Data, frozen=True, kw_only=True):
    """Whether the loss moves with a KPI."""

    TYPE: ClassVar[str] = "streameval.alignment"
    TOPIC: ClassVar[str] = "alignment"

    model: Model
    version: Version
    segment: Segment
    loss: Annotated[str, Meta(description="name of the (class-standardised) loss")]
    kpi: str
    basis: Annotated[
        Literal["across_time", "same_ids", "randomised", "association"],
        Meta(description="what the comparison may claim: an association is no more than that"),
    ]
    disagreement: Annotated[Interval, Meta(description="share of decided pairs in which loss and KPI disagree")]
    undecided: Annotated[Share, Meta(description="share of pairs too close to call")]
    pairs: Annotated[int, Meta(ge=0)]
    tau: Annotated[Interval | None, Meta(description="Kendall's tau-b")] = None
    correlation: Annotated[float | None, Meta(description="corrected for sampling noise")] = None
    regret: Annotated[
        float | None, Meta(description="KPI lost by choosing the version with the lower loss a window earlier")
    ] = None
    goodhart: Annotated[bool | None, Meta(description="the KPI falls where the loss gains most")] = None
    window: Annotated[Window | None, Meta(description="of the latest pair")] = None
    against: Annotated[str | None, Meta(description="the version compared with; null: earlier windows")] = None
    recent: Annotated[list[AlignmentPair], Meta(description="the latest pairs, oldest first")] = []


class Rejected(Data, frozen=True, kw_only=True):
    """An event that was not taken in, or ``count`` of them with one reason."""

    TYPE: ClassVar[str] = "streameval.rejected"
    TOPIC: ClassVar[str] = "rejected"

    reason: Annotated[str, Meta(description="one constant word")]
    detail: Annotated[str, Meta(description="what was wrong, and the cure")]
    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0, description="of the (first) event")]
    count: Annotated[int, Meta(ge=1)] = 1
    last_offset: Annotated[int | None, Meta(description="of the last event, where count > 1")] = None
    payload: Annotated[str | None, Meta(description="as configured: null, a hash, or the text cut at 4 KiB")] = None


class Mark(Data, frozen=True, kw_only=True):
    """A clock mark: from this offset on, the partition's clock is at least ``floor``."""

    TYPE: ClassVar[str] = "streameval.clock"
    TOPIC: ClassVar[str] = "clock"

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    floor: Time
    reason: Annotated[
        str,
        Meta(
            description="idle, entered, configuration, ...; ahead: the event at this offset lay beyond `floor`, as far "
            "as the wall clock allowed, and was held until others confirmed it"
        ),
    ]
    lineage: Annotated[str | None, Meta(description="its line of state; --fresh begins another")] = None
    detail: Annotated[str | None, Meta(description="the digest, where a configuration changed")] = None

    @classmethod
    def of(cls, topic: str, partition: int, offset: int, floor: int, reason: str, lineage: str | None = None) -> Mark:
        """A mark whose floor is given in epoch milliseconds."""
        floor_at = rfc3339(floor)
        return cls(topic=topic, partition=partition, offset=offset, floor=floor_at, reason=reason, lineage=lineage)


RECORDS: Final[dict[str, type[Data]]] = {
    kind.TYPE: kind for kind in (Threshold, Calibration, Drift, Retrain, Metrics, Alignment, Rejected, Mark)
}
"""The data of a record, by CloudEvents type."""


class CloudEvent(Struct, frozen=True, kw_only=True):
    """The envelope of every record: CloudEvents 1.0 in structured JSON mode."""

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$", description="a hash of lineage, type, subject and sequence")]
    source: Annotated[str, Meta(pattern="^/streameval/", description="/streameval/<worker>")]
    type: str
    subject: Annotated[str, Meta(description="the key: model/version/segment, each part percent-encoded")]
    time: Annotated[Time, Meta(description="logical time of the decision")]
    sequence: Annotated[int, Meta(ge=0, description="counts the records of a type and subject from 0, without gaps")]
    datacontenttype: Literal["application/json"] = "application/json"
    data: Any


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(CloudEvent)


def key_of(*parts: str) -> str:
    """A record's key: its parts percent-encoded and joined by ``/``; ``*`` and one ``=`` stay readable.

    Args:
        parts: model, version and segment (``*`` or ``name=value``); or topic and partition.

    >>> key_of("fraud/eu", "7", "country=Côte d'Ivoire"), key_of("fraud", "0", "*")
    ('fraud%2Feu/7/country=C%C3%B4te%20d%27Ivoire', 'fraud/0/*')
    """
    return "/".join(part if part == "*" else "=".join(quote(p, safe="") for p in part.split("=", 1)) for part in parts)


def source_of(worker: str) -> str:
    """The ``source`` of a worker's records.

    >>> source_of("payments-0")
    '/streameval/payments-0'
    """
    return f"/streameval/{quote(worker, safe='')}"


def parts_of(key: str) -> tuple[str, ...]:
    """What :func:`key_of` joined.

    >>> parts_of("fraud%2Feu/7/country=C%C3%B4te%20d%27Ivoire")
    ('fraud/eu', '7', "country=Côte d'Ivoire")
    """
    return tuple(unquote(part) for part in key.split("/"))


def cloudevent(data: Data, *, worker: str, lineage: str, key: str, sequence: int, time: int) -> bytes:
    """One record as bytes, without a newline.

    Args:
        data: what it says; numpy scalars are taken as numbers, a float that is not finite as null.
        worker: the worker's name, for ``source``.
        lineage: the lineage of its state; a new one makes new ids.
        key: from :func:`key_of`; the record's subject.
        sequence: its number among the records of this type and key, from 0.
        time: logical time, epoch milliseconds.

    Raises:
        InvariantError: the data do not have the declared shape, null where a number must stand included.

    >>> mark = Mark.of("predictions", 0, 17, 60_000, "idle")
    >>> cloudevent(mark, worker="w", lineage="a", key=key_of("predictions", "0"), sequence=0, time=60_000)[:27]
    b'{"specversion":"1.0","id":"'
    """
    try:
        plain = _rounded(msgspec.to_builtins(data, enc_hook=_from_numpy))
        # Structs do not check their fields when they are made; what leaves is checked here, once, by shape and range.
        checked = msgspec.convert(plain, type(data))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise InvariantError(
            f"a record has not its declared shape: {error}", where=f"{data.TYPE} of {key}", cure="please report this"
        ) from error
    identity = f"{lineage}\x1f{data.TYPE}\x1f{key}\x1f{sequence}"
    return _ENCODER.encode(
        CloudEvent(
            id=xxhash.xxh3_128_hexdigest(identity.encode()),
            source=source_of(worker),
            type=data.TYPE,
            subject=key,
            time=rfc3339(time),
            sequence=sequence,
            data=checked,
        )
    )


def read(record: bytes | str) -> CloudEvent:
    """A record from its bytes, with ``data`` as its struct.

    Raises:
        InputError: it is not a record of streameval; the message names the path of the bad field.
    """
    try:
        event = _DECODER.decode(record)
        kind = RECORDS.get(event.type)
        if kind is None:
            raise InputError(f"unknown type {event.type!r}", where="record", cure=f"types are {', '.join(RECORDS)}")
        return msgspec.structs.replace(event, data=msgspec.convert(event.data, kind))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not a record: {error}", where="record", cure="see streameval schema") from error


def _from_numpy(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in a record")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
