"""What Prometheus scrapes: one worker's vitals, its models' latest numbers, its decisions counted.

Names are a public surface: people write rules and dashboards against them, so they are added, never renamed.

Invariant: base units (seconds, bytes, shares), ``_total`` on counters alone, and a number of series that configuration
bounds: topics, models, at most 20 live versions a model, and of each version the whole and its first `serve.segments`
segments. What is decided elsewhere counts under segment="other". No event, id or payload is in any label.

Source: Prometheus, "Metric and label naming", "Exposition formats".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from streameval.serve.picture import Picture
from streameval.serve.series import Estimate, Measured, Series
from streameval.serve.vitals import COMMIT_SECONDS, ModelVitals, Vitals

__all__ = ["About", "Exposition"]

STATES: Final = ("waiting", "learning", "healthy", "drifted")
PHASES: Final = ("learning", "watching")
_KEY: Final = ("model", "version", "segment")


class About(msgspec.Struct, frozen=True):
    """Which worker it is: what never changes while it runs."""

    version: str
    worker: str
    configuration: str
    shard: str = "0/1"


class Exposition:
    """Metrics as text.

    Args:
        about: Which worker it is.
        picture: Its records.
        vitals: Its latest vitals; None until the loop has said something.
    """

    def __init__(self, about: About, picture: Picture, vitals: Callable[[], Vitals | None]) -> None:
        self.about = about
        self.picture = picture
        self.vitals = vitals
        self._registry = CollectorRegistry()
        self._registry.register(_Worker(self))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def text(self) -> tuple[bytes, str]:
        """The metrics in Prometheus's text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Worker(Collector):
    """The families of one worker."""

    def __init__(self, exposition: Exposition) -> None:
        self.of = exposition

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not collect to know that no other collector is there."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families, each once."""
        about = self.of.about
        info = InfoMetricFamily("streameval", "The worker: release, name, digest of its configuration, shard.")
        info.add_metric((), msgspec.structs.asdict(about))
        yield info
        vitals = self.of.vitals()
        yield _gauge("ready", "1 once the state is restored and the inputs were caught up with.", [_ready(vitals)])
        if vitals is not None:
            yield from _reading(vitals)
            yield from _publishing(vitals)
            yield from _joining(vitals)
        yield from _models(self.of.picture)
        yield from _decisions(self.of.picture)


Sample = tuple[tuple[str, ...], float]


def _ready(vitals: Vitals | None) -> Sample:
    return ((), float(vitals is not None and vitals.ready))


def _gauge(name: str, text: str, samples: Sequence[Sample], labels: Sequence[str] = ()) -> Metric:
    family = GaugeMetricFamily(f"streameval_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _counter(name: str, text: str, samples: Sequence[Sample], labels: Sequence[str] = ()) -> Metric:
    family = CounterMetricFamily(f"streameval_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _reading(vitals: Vitals) -> Iterator[Metric]:
    topics = vitals.topics.items()
    yield _counter("events_read", "Events read, by input topic.", [((name,), t.read) for name, t in topics], ("topic",))
    yield _counter(
        "events_decoded",
        "Events that were well-formed, by kind.",
        [(("prediction",), vitals.predictions), (("outcome",), vitals.outcomes)],
        ("event",),
    )
    yield _counter(
        "fields_unusable",
        "Fields of events that could not be used and counted as not given, by field.",
        [((field,), vitals.unusable.get(field, 0)) for field in ("segments", "propensity")],
        ("field",),
    )
    yield _gauge(
        "lag_events",
        "Events of an input topic that are not read yet.",
        [((name,), t.lag) for name, t in topics if t.lag is not None],
        ("topic",),
    )
    newest = vitals.newest
    trailing = [((name,), (newest - t.newest) / 1000) for name, t in topics if newest and t.newest is not None]
    yield _gauge("lag_seconds", "How far an input topic trails the furthest one, in stream time.", trailing, ("topic",))
    yield _gauge(
        "topic_time_seconds",
        "Event time that an input topic's slowest partition has reached, since the epoch.",
        [((name,), t.newest / 1000) for name, t in topics if t.newest is not None],
        ("topic",),
    )
    yield _gauge(
        "clock_ahead_seconds",
        "How far the newest event of an input topic is ahead of the wall clock; 0 where it is not.",
        [((name,), t.ahead) for name, t in topics],
        ("topic",),
    )
    if vitals.time is not None:
        yield _gauge(
            "stream_time_seconds", "T, which everything published follows, since the epoch.", [((), vitals.time / 1000)]
        )
    if vitals.heard is not None:
        yield _gauge(
            "last_contact_timestamp_seconds",
            "When the transport last answered a question about its logs, since the epoch.",
            [((), vitals.heard)],
        )
    yield _gauge(
        "partitions_stalled",
        "Partitions of an input topic that do not move though events are there.",
        [((name,), t.stalled) for name, t in topics],
        ("topic",),
    )
    yield _gauge("reading_paused", "1 while max_rows holds predictions back.", [((), float(vitals.paused))])


def _publishing(vitals: Vitals) -> Iterator[Metric]:
    commits = vitals.commits
    total, buckets = 0, []
    for end, number in zip((*map(str, COMMIT_SECONDS), "+Inf"), commits.buckets, strict=True):
        total += number
        buckets.append((end, total))
    durations = HistogramMetricFamily("streameval_commit_duration_seconds", "How long commits took.")
    durations.add_metric((), buckets, commits.seconds)
    yield durations
    yield _counter("commit_failures", "Attempts to commit that failed and were repeated.", [((), commits.failures)])
    if vitals.committed is not None:
        yield _gauge(
            "last_commit_timestamp_seconds", "When the last commit was done, since the epoch.", [((), vitals.committed)]
        )
    yield _counter(
        "records_published",
        "Records published, by output topic.",
        [((topic,), number) for topic, number in sorted(vitals.records.items())],
        ("topic",),
    )


def _joining(vitals: Vitals) -> Iterator[Metric]:
    def told(read: Callable[[ModelVitals], float]) -> list[Sample]:
        return [((name,), read(model)) for name, model in vitals.models.items()]

    by = ("model",)
    yield _gauge("rows_waiting", "Predictions kept for their outcomes or corrections.", told(lambda m: m.waiting), by)
    yield _gauge("rows_bytes", "Memory of the rows that are kept.", told(lambda m: m.bytes), by)
    yield _gauge("rows_limit", "max_rows: where reading pauses.", [((), vitals.max_rows)])
    yield _gauge(
        "labels_stalled",
        "1 while no labels flow that would prove that waiting is over.",
        told(lambda m: float(m.stalled_since is not None)),
        by,
    )
    yield _counter("predictions_joined", "Predictions taken into the join.", told(lambda m: m.taken), by)
    yield _counter("predictions_duplicate", "Predictions that were there already.", told(lambda m: m.duplicates), by)
    yield _counter(
        "predictions_duplicate_differing",
        "Duplicates with another time, score or segment: ids used again, or two ids with one hash.",
        told(lambda m: m.duplicates_differing),
        by,
    )
    yield _counter("predictions_late", "Predictions later than their cohort's maturity.", told(lambda m: m.late), by)
    yield _counter(
        "predictions_unlabelled", "Predictions that matured without an outcome.", told(lambda m: m.unlabelled), by
    )
    yield _counter(
        "predictions_unproven",
        "Those of them that left with their whole cohort, for nothing proved that its labels could have come.",
        told(lambda m: m.unproven),
        by,
    )
    yield _counter("outcomes_matched", "Outcomes that met a prediction.", told(lambda m: m.matched), by)
    yield _counter("outcomes_amending", "Outcomes that corrected an earlier one.", told(lambda m: m.amended), by)
    yield _counter("outcomes_repeated", "Outcomes that changed nothing.", told(lambda m: m.repeated), by)
    yield _counter("outcomes_orphaned", "Outcomes whose prediction never came.", told(lambda m: m.orphans), by)


def _models(picture: Picture) -> Iterator[Metric]:
    snapshot = picture.snapshot
    live = [s for s in snapshot.series if s.retired_at is None and snapshot.remembers(s.key)]
    measured = [(_place(s), s.history.last) for s in live if s.history.last is not None]
    values: dict[str, list[Sample]] = {"": [], "_low": [], "_high": []}
    for place, point in measured:
        for name, estimate in point.metrics.items():
            _bounds(values, (*place, name), estimate)
    yield from _estimates("model_metric", "A metric over the model's last window", values, (*_KEY, "metric"))
    values = {"": [], "_low": [], "_high": []}
    for place, point in measured:
        for basis, estimate in _prevalences(point):
            _bounds(values, (*place, basis), estimate)
    yield from _estimates("model_prevalence_ratio", "Share of positives, by what it rests on", values, (*_KEY, "basis"))
    values = {"": [], "_low": [], "_high": []}
    for place, point in measured:
        for name, estimate in point.estimated.items():
            _bounds(values, (*place, name), estimate)
    said = "A metric expected of predictions that wait for labels"
    yield from _estimates("model_expected_metric", said, values, (*_KEY, "metric"))
    values = {"": [], "_low": [], "_high": []}
    for place, point in measured:
        for name, estimate in point.gap.items():
            _bounds(values, (*place, name), estimate)
    yield from _estimates("model_offline_gap", "A metric less its reference report's", values, (*_KEY, "metric"))
    yield from _labels(measured)
    yield _gauge(
        "model_threshold",
        "The decision threshold in force, on the model's score.",
        [(_place(s), s.threshold) for s in live if s.threshold is not None],
        _KEY,
    )
    yield _gauge(
        "model_window_events",
        "Matured, labelled events in the last window.",
        [(place, point.window.events) for place, point in measured],
        _KEY,
    )
    yield _gauge(
        "model_state",
        "1 for the state that the model is in: waiting for labels, learning, healthy, drifted.",
        [((*_place(s), state), float(snapshot.state(s.key) == state)) for s in live for state in STATES],
        (*_KEY, "state"),
    )
    yield _gauge(
        "model_phase",
        "1 for the phase of the monitors: learning what is normal, or watching.",
        [((*place, phase), float(point.phase == phase)) for place, point in measured for phase in PHASES],
        (*_KEY, "phase"),
    )
    yield _gauge(
        "model_calibration",
        "1 for the method of the calibration map in force.",
        [((*_place(s), s.maps[-1].method), 1.0) for s in live if s.maps],
        (*_KEY, "method"),
    )
    yield _gauge(
        "model_last_alarm_timestamp_seconds",
        "Stream time of the last confirmed alarm, since the epoch.",
        [(_place(s), s.last_confirmed.at / 1000) for s in live if s.last_confirmed is not None],
        _KEY,
    )


def _labels(measured: list[tuple[tuple[str, str, str], Measured]]) -> Iterator[Metric]:
    known = [(place, point.labels) for place, point in measured if point.labels is not None]
    delays = [((*place, "0.5"), labels.p50) for place, labels in known]
    delays += [((*place, "0.9"), labels.p90) for place, labels in known]
    yield _gauge(
        "label_delay_seconds",
        "From prediction to label, by share of labels that came by then.",
        [(labels, delay / 1000) for labels, delay in delays if delay is not None],
        (*_KEY, "quantile"),
    )
    yield _gauge(
        "labelled_ratio",
        "Share of predictions with an outcome by maturity.",
        [(place, labels.labelled) for place, labels in known if labels.labelled is not None],
        _KEY,
    )
    yield _gauge(
        "late_positives_ratio",
        "Share of positives that came after maturity.",
        [(place, labels.late_positives) for place, labels in known if labels.late_positives is not None],
        _KEY,
    )


def _place(series: Series) -> tuple[str, str, str]:
    return (series.key.model, series.key.version, series.key.segment)


def _prevalences(point: Measured) -> Iterator[tuple[str, Estimate]]:
    for basis in ("labelled", "label_free", "fused", "provisional"):
        estimate = getattr(point, basis)
        if estimate is not None:
            yield basis, estimate


def _bounds(values: dict[str, list[Sample]], labels: tuple[str, ...], estimate: Estimate) -> None:
    values[""].append((labels, estimate.value))
    if estimate.low is not None and estimate.high is not None:
        values["_low"].append((labels, estimate.low))
        values["_high"].append((labels, estimate.high))


def _estimates(name: str, text: str, values: dict[str, list[Sample]], labels: Sequence[str]) -> Iterator[Metric]:
    said = {"": ".", "_low": ": lower end of its interval.", "_high": ": upper end of its interval."}
    for end, samples in values.items():
        yield _gauge(f"{name}{end}", f"{text}{said[end]}", samples, labels)


def _decisions(picture: Picture) -> Iterator[Metric]:
    tally = picture.tally
    yield _counter(
        "drift_alarms", "Drift alarms, by tier.", [(k, n) for k, n in sorted(tally.alarms.items())], (*_KEY, "tier")
    )
    yield _counter(
        "diagnoses",
        "Diagnosed alarms, by what kind of change was found.",
        [(k, n) for k, n in sorted(tally.diagnoses.items())],
        (*_KEY, "state"),
    )
    yield _counter("threshold_moves", "Moves of the threshold in force.", sorted(tally.moves.items()), _KEY)
    yield _counter("retrain_requests", "Requests for retraining.", sorted(tally.requests.items()), _KEY)
    yield _counter(
        "events_rejected",
        "Events that broke the contract, by reason.",
        [((reason,), number) for reason, number in sorted(tally.rejected.items())],
        ("reason",),
    )
