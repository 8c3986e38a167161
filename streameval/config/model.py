"""One evaluated model: its task, objective, labels, and how it is evaluated, watched and moved.

Invariant: what stands here is part of the function that makes the outputs; its digest travels with the model's state,
and each field says what changing it does to that state.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import model_validator

from streameval.config.objective import Cost, Objective, Value
from streameval.config.offline import OfflineReport
from streameval.config.quantities import DAY, HOUR, YEAR, Count, Duration, LocalPath, Name, Number, PositiveDuration
from streameval.config.section import RefusedError, Section, setting

__all__ = [
    "INHERITED",
    "METRIC_NAMES",
    "Alignment",
    "Calibration",
    "Drift",
    "Evaluate",
    "Kpi",
    "Labels",
    "Model",
    "Reference",
    "Retraining",
    "Thresholds",
]

METRIC_NAMES: Final = (
    "log_loss",
    "brier",
    "auc",
    "average_precision",
    "precision",
    "recall",
    "f1",
    "cost",
    "calibration_error",
)
"""Names of the built-in metrics in metrics records; a KPI may not take one of them."""

INHERITED: Final = (
    "evaluate",
    "labels",
    "reference",
    "calibration",
    "thresholds",
    "drift",
    "retraining",
    "alignment",
    "retire_after",
)
"""Keys that may also stand at the top level, as defaults for all models."""

_LEARNING = "the model's learning: reference, monitors, calibration"


def _refuse_repeats(names: tuple[str, ...], noun: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RefusedError(f"the {noun} {name!r} stands twice", "name each once")
        seen.add(name)


class Labels(Section):
    """How long labels take, and what a missing one means."""

    wait: PositiveDuration = setting(
        "time after a prediction by which its outcome is expected, counted while labels flow; it matures then at the "
        "latest",
        change="restarts",
        restarts=_LEARNING,
        default=DAY,
    )
    missing: Literal["negative", "drop"] = setting(
        "what a prediction without an outcome becomes when it matures: a negative (labels are only sent for "
        "positives), or dropped (unlabelled)",
        change="restarts",
        restarts=_LEARNING,
        default="drop",
    )
    selective: Literal["none", "unknown", "propensity"] = setting(
        "whether decisions decide which labels are seen: none (no); unknown (yes, and with what probability is not "
        "known: what the missing labels could change is published as bounds, and no threshold is published where "
        "labels are not seen); or propensity (yes, and predictions carry the probability: labels are thinned to a fair "
        "sample)",
        change="restarts",
        restarts=_LEARNING,
        default="none",
    )
    least_propensity: Number | None = setting(
        "the smallest propensity that predictions carry, with selective: propensity: a label seen with probability p "
        "is kept with probability least_propensity / p",
        change="restarts",
        restarts=_LEARNING,
        default=None,
        gt=0,
        le=1,
    )
    early: Duration = setting("how long an outcome that precedes its prediction is kept", default=HOUR)
    amend: Duration = setting("how long after maturity corrections of a label are still taken in", default=DAY)
    give_up: PositiveDuration = setting(
        "how long labels may be silent beyond wait, before what waits for them leaves unlabelled; never less than wait",
        default=7 * DAY,
    )

    @model_validator(mode="after")
    def _give_up_after_wait(self) -> Labels:
        if self.give_up < self.wait:
            if "give_up" in self.model_fields_set:
                raise RefusedError("give_up is shorter than wait", "give_up ends the waiting: make it longer")
            # A frozen model, still being made: a long wait carries the default along.
            object.__setattr__(self, "give_up", self.wait)
        return self

    @model_validator(mode="after")
    def _propensities_have_a_least(self) -> Labels:
        if (self.selective == "propensity") != (self.least_propensity is not None):
            raise RefusedError(
                "selective: propensity and least_propensity belong together",
                "give the smallest propensity that predictions carry, or leave both out",
            )
        return self

    @model_validator(mode="after")
    def _missing_says_nothing_where_labels_are_selective(self) -> Labels:
        if self.selective != "none" and self.missing == "negative":
            raise RefusedError(
                "labels are selective, and missing ones would count as negatives",
                "set missing: drop, or selective: none",
            )
        return self


class Kpi(Section):
    """A number that outcomes carry in ``values``: revenue, clicks, hours."""

    scale: Number = setting(
        "smallest unit that is kept; sums are exact multiples of it (0.01 for cents). Values of more than 2^53 units, "
        "either way, are rejected as out_of_range",
        change="restarts",
        restarts="the sums of this KPI",
        default=0.01,
        ge=1e-12,
        le=1e9,
    )
    better: Literal["higher", "lower"] = setting(
        "which way is good, for the comparison with the loss",
        change="restarts",
        restarts="the comparisons of loss and KPI",
        default="higher",
    )


class Alignment(Section):
    """How the loss is compared with the KPIs."""

    every: PositiveDuration = setting(
        "prediction time over which loss and KPI are summed before windows, or versions, are compared",
        change="restarts",
        restarts="the comparisons of loss and KPI",
        default=DAY,
    )
    randomised: bool = setting(
        "the versions were assigned at random, so that KPIs of outcomes may be compared between them; otherwise only "
        "decisions are, and the records say association",
        change="restarts",
        restarts="the comparisons of loss and KPI",
        default=False,
    )


class Reference(Section):
    """What counts as normal: the first labelled events of a version."""

    events: Count = setting(
        "labelled events after which learning ends", change="restarts", restarts=_LEARNING, default=20_000
    )
    positives: Count = setting(
        "positives that learning needs as well; with fewer, small changes are not detectable",
        change="restarts",
        restarts=_LEARNING,
        default=250,
    )
    reports: tuple[LocalPath, ...] = setting(
        "files that say what a version reached offline, one a version: a .json report (version, metrics, examples), or "
        "the scored, labelled examples of the validation set alone (.jsonl, .csv, .parquet)",
        default=(),
        max_length=20,
    )
    offline: tuple[OfflineReport, ...] = setting(
        "what the reports say; filled in when they are read",
        change="restarts",
        restarts=_LEARNING,
        default=(),
        max_length=20,
    )


class Evaluate(Section):
    """When a step (evaluate, detect, decide) is taken, over what, and what is published."""

    events: Count = setting("a step is taken when this many predictions have matured", default=500)
    every: PositiveDuration = setting("or when the oldest has waited this long in stream time", default=DAY)
    window: Count = setting("events over which metrics are computed: the newest whole steps", default=20_000)
    publish_every: Duration = setting("least stream time between two metrics records of one key", default=HOUR)
    river: tuple[Name, ...] = setting(
        "further metrics, by class name in river.metrics, as in F1 or GeometricMean", default=(), max_length=32
    )

    @model_validator(mode="after")
    def _window_holds_a_step(self) -> Evaluate:
        if self.window < self.events:
            raise RefusedError("window is smaller than one step (events)", "make window at least as large as events")
        _refuse_repeats(self.river, "metric")
        return self


class Calibration(Section):
    """How calibration maps are learnt."""

    half_life: Count = setting("labelled events after which an old one counts half in a map", default=10_000)
    methods: tuple[Literal["prior", "platt", "beta", "isotonic", "online_platt"], ...] = setting(
        "the maps that compete with the score as it is: a shift of the odds, a logistic curve, a beta curve, a step "
        "curve, and a logistic curve moved online; which one is in force is decided by their losses",
        change="restarts",
        restarts="the contest of calibration maps",
        default=("prior", "platt", "beta", "isotonic", "online_platt"),
        max_length=5,
    )

    @model_validator(mode="after")
    def _distinct(self) -> Calibration:
        _refuse_repeats(self.methods, "calibration method")
        return self


class Thresholds(Section):
    """When a better threshold is worth a move."""

    z: Number = setting(
        "standard errors by which the gain must exceed min_gain: 3.5 makes false moves rare", default=3.5, ge=0, le=10
    )
    min_gain: Number = setting("smallest gain worth a move, as a share of the present cost", default=0.01, ge=0, lt=1)
    positives: Count = setting("positives that the window must hold before any move", default=100)
    cooldown: Count = setting("matured events between two moves", default=10_000)
    max_step: Number = setting("largest move at once, in units of logit(threshold)", default=3.0, gt=0, le=50)


AdvisoryDetector = Literal["ADWIN", "PageHinkley", "KSWIN", "DDM", "EDDM", "FHDDM", "HDDMA", "HDDMW"]


class Drift(Section):
    """What is watched, and how rare a false alarm must be."""

    promise: PositiveDuration = setting(
        "expected stream time to one false confirmed alarm of the model, over all its monitors and segments",
        change="restarts",
        restarts="the evidence of all monitors",
        default=YEAR,
    )
    sign_weight_above: Number = setting(
        "calibrated probability above which a residual counts with its own sign, below it with the opposite one: this "
        "is what sees concept drift",
        change="restarts",
        restarts="the sign-weighted monitor",
        default=0.2,
        gt=0,
        lt=1,
    )
    advisory: tuple[AdvisoryDetector, ...] = setting(
        "River's detectors for early, advisory signals, by class name in river.drift; they never gate a decision. DDM "
        "and EDDM are often wrong",
        change="restarts",
        restarts="the advisory detectors",
        default=("ADWIN",),
        max_length=8,
    )

    own_actions: Literal["may_change_outcomes", "never"] = setting(
        "whether outcomes may depend on decisions (a blocked payment never charges back); if they may, a change near a "
        "move of our own threshold is called confounded and asks for nothing",
        default="may_change_outcomes",
    )
    diagnosis_events: Count | None = setting(
        "labelled events after a change within which an alarm is diagnosed, or closed as inconclusive; by default "
        "twice those of the reference",
        default=None,
    )

    @model_validator(mode="after")
    def _distinct(self) -> Drift:
        _refuse_repeats(self.advisory, "detector")
        return self


class Retraining(Section):
    """When retraining is asked for."""

    cooldown: Duration = setting("least stream time between two requests for one version", default=7 * DAY)
    margin: Number = setting(
        "how far the best attainable cost must lie above what the reference would give, as a share of it",
        default=0.10,
        ge=0,
        le=10,
    )


class Model(Section):
    """One model: the name in its prediction events, its task, and how it is judged."""

    name: Name = setting(
        "the model's name, as in its prediction events", change="refused", restarts="it names the model's state"
    )
    task: Literal["binary", "multiclass", "regression", "ranking"] = setting(
        "what the model predicts; only binary is available so far",
        change="refused",
        restarts="another task keeps other evidence",
        default="binary",
    )
    threshold: Number = setting(
        "the threshold in force at the start: positive where score >= threshold",
        change="restarts",
        restarts="the threshold's epoch and the monitors of cost",
        default=0.5,
        ge=0,
        le=1,
    )
    objective: Objective = setting(
        "what the threshold is for",
        change="restarts",
        restarts="the threshold's epoch and the monitors of cost",
        default=Cost(),
    )
    labels: Labels = setting("how long labels take, and what a missing one means", default=Labels())
    segments: tuple[Name, ...] = setting(
        "names of the segments of prediction events that are evaluated on their own, beside the whole",
        change="restarts",
        restarts="the evidence and monitors of all segments",
        default=(),
        max_length=8,
    )
    kpis: dict[Name, Kpi] = setting(
        "KPIs that are read from the values of outcome events",
        change="restarts",
        restarts="the sums of the KPIs",
        default_factory=dict,
        max_length=16,
    )
    reference: Reference = setting("what counts as normal", default=Reference())
    evaluate: Evaluate = setting("when a step is taken, over what, and what is published", default=Evaluate())
    calibration: Calibration = setting("how calibration maps are learnt", default=Calibration())
    thresholds: Thresholds = setting("when a better threshold is worth a move", default=Thresholds())
    drift: Drift = setting("what is watched, and how rare a false alarm must be", default=Drift())
    retraining: Retraining = setting("when retraining is asked for", default=Retraining())
    alignment: Alignment = setting("how the loss is compared with the KPIs", default=Alignment())
    retire_after: PositiveDuration = setting(
        "a version without predictions for this long ends; its keys get tombstones", default=30 * DAY
    )

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        _refuse_repeats(self.segments, "segment")
        for name in self.segments:
            if "=" in name:
                raise RefusedError(f"the segment name {name!r} holds =", "keys of records are name=value: rename it")
        for name in self.kpis:
            if name in METRIC_NAMES:
                raise RefusedError(f"the KPI {name!r} has the name of a built-in metric", "give it another name")
        if isinstance(self.objective, Value) and self.objective.kpi not in self.kpis:
            raise RefusedError(
                f"the objective's kpi {self.objective.kpi!r} is not declared",
                f"add it under kpis, as in kpis: {{{self.objective.kpi}: {{scale: 0.01}}}}",
            )
        return self
