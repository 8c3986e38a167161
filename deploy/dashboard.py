"""Write `chart/dashboards/streameval.json`: the Grafana dashboard, as code.

From top to bottom it answers: how are the models, does the stream flow, is the worker well. Alarms, threshold moves and
retrain requests stand as annotations on every panel.

Invariant: the file is what this code makes; every query asks for metrics that `/metrics` has.

    python deploy/dashboard.py

Source: Grafana Foundation SDK; Prometheus, "Histograms and summaries".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

TARGET: Final = Path(__file__).parent / "chart" / "dashboards" / "streameval.json"

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
WORKER: Final = 'job=~"$job", instance=~"$instance"'
MODEL: Final = f'{WORKER}, model=~"$model"'
KEY: Final = f'{MODEL}, version=~"$version", segment=~"$segment"'
PLACE: Final = "{{model}} {{version}} {{segment}}"
BY_KEY: Final = "max by (model, version, segment)"
HEIGHT: Final = 8
THIRD, HALF, WHOLE = 8, 12, 24


class Query(NamedTuple):
    """An expression, the legend of what it gives, and a name for exceptions to how it is drawn."""

    expr: str
    legend: str
    name: str


def query(expr: str, legend: str, name: str = "A") -> Query:
    """One query of a panel."""
    return Query(expr, legend, name)


def target(one: Query) -> prometheus.Dataquery:
    """The query as Grafana sends it."""
    return prometheus.Dataquery().datasource(SOURCE).expr(one.expr).legend_format(one.legend).ref_id(one.name).range()


def lines(title: str, told: str, unit: str, queries: Sequence[Query], span: int = THIRD) -> timeseries.Panel:
    """Lines over time, with the present values in the legend; `told` says what to make of them."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(told)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(HEIGHT)
        .line_width(1)
        .fill_opacity(0)
        .show_points(shapes.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
    )
    for one in queries:
        panel = panel.with_target(target(one))
    return panel


def with_interval(panel: timeseries.Panel, names: Sequence[str]) -> timeseries.Panel:
    """Draws the ends of intervals as thin dashed lines, so that the value between them stands out."""
    dashed = models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [4, 4]})
    thin = models.DynamicConfigValue("custom.lineWidth", 0.5)
    quiet = models.DynamicConfigValue("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False})
    for name in names:
        panel = panel.override_by_query(name, [dashed, thin, quiet])
    return panel


def estimate(title: str, told: str, unit: str, family: str, labels: str, by: str, legend: str) -> timeseries.Panel:
    """A value with its interval: the families `family`, `family_low` and `family_high`."""
    queries = [
        query(f"max by ({by}) ({family}{{{labels}}})", legend, "A"),
        query(f"max by ({by}) ({family}_low{{{labels}}})", f"{legend} low", "B"),
        query(f"max by ({by}) ({family}_high{{{labels}}})", f"{legend} high", "C"),
    ]
    return with_interval(lines(title, told, unit, queries), ("B", "C"))


def state() -> statetimeline.Panel:
    """Each model's state as a band over time."""
    colours = {"waiting for labels": "#8e8e8e", "learning": "blue", "healthy": "green", "drifted": "red"}
    meaning = models.ValueMap(
        {
            str(number): models.ValueMappingResult(text=text, color=colour, index=number)
            for number, (text, colour) in enumerate(colours.items())
        }
    )
    parts = [
        f'{number} * {BY_KEY} (streameval_model_state{{{KEY}, state="{name}"}})'
        for number, name in enumerate(("waiting", "learning", "healthy", "drifted"))
    ]
    return (
        statetimeline.Panel()
        .title("State of each model")
        .description("Drifted: a confirmed alarm. The worker's own page says why, since when, and what was done.")
        .datasource(SOURCE)
        .span(WHOLE)
        .height(HEIGHT)
        .mappings([meaning])
        .show_value(shapes.VisibilityMode.AUTO)
        .row_height(0.8)
        .with_target(target(query(" + ".join(parts), PLACE)))
    )


def bars(title: str, told: str, queries: Sequence[Query]) -> timeseries.Panel:
    """Counts in each piece of time, as bars."""
    panel = lines(title, told, "short", queries).draw_style(shapes.GraphDrawStyle.BARS).fill_opacity(80)
    return panel.decimals(0).min(0)


def number(title: str, told: str, unit: str, expr: str, steps: Sequence[tuple[float | None, str]]) -> stat.Panel:
    """One number, coloured by what it is."""
    thresholds = board.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    thresholds = thresholds.steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    return (
        stat.Panel()
        .title(title)
        .description(told)
        .datasource(SOURCE)
        .unit(unit)
        .span(4)
        .height(4)
        .thresholds(thresholds)
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(target(query(expr, "")))
    )


def variable(name: str, label: str, metric: str, within: str = "") -> board.QueryVariable:
    """A list to choose from: the values of a label."""
    asked = f"label_values({metric}{{{within}}}, {name})" if within else f"label_values({metric}, {name})"
    return (
        board.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(asked)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def annotation(name: str, colour: str, expr: str) -> board.AnnotationQuery:
    """A mark on the time line of every panel."""
    return board.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)


def risen(counter: str, *labels: str) -> str:
    """Where a decision's counter has risen."""
    chosen = ", ".join((KEY, *labels))
    return f"sum by (model, version, segment) (increase(streameval_{counter}_total{{{chosen}}}[$__interval])) > 0"


def models_row(made: board.Dashboard) -> board.Dashboard:
    """How are the models."""
    every = "$__rate_interval"
    return (
        made.with_row(board.Row("Models"))
        .with_panel(state())
        .with_panel(
            estimate(
                "$metric",
                "Over the model's last window, with its interval (dashed). A change within the interval is none.",
                "short",
                "streameval_model_metric",
                f'{KEY}, metric=~"$metric"',
                "model, version, segment, metric",
                PLACE + " {{metric}}",
            )
            .repeat("metric")
            .repeat_direction("h")
            .max_per_row(3)
        )
        .with_panel(
            estimate(
                "Prevalence",
                "Share of positives: by labels that have come, and label-free from the scores alone.",
                "percentunit",
                "streameval_model_prevalence_ratio",
                KEY,
                "model, version, segment, basis",
                PLACE + " {{basis}}",
            )
        )
        .with_panel(
            lines(
                "Threshold in force",
                "As on the topic `thresholds`, on the model's own score.",
                "short",
                [query(f"{BY_KEY} (streameval_model_threshold{{{KEY}}})", PLACE)],
            )
        )
        .with_panel(
            bars(
                "Drift alarms",
                "Confirmed alarms keep a promise on false ones; advisory ones come early and decide nothing.",
                [
                    query(
                        f"sum by (model, tier) (increase(streameval_drift_alarms_total{{{MODEL}}}[{every}]))",
                        "{{model}} {{tier}}",
                    )
                ],
            )
        )
        .with_panel(
            bars(
                "Threshold moves and retrain requests",
                "What was done about it.",
                [
                    query(
                        f"sum by (model) (increase(streameval_threshold_moves_total{{{MODEL}}}[{every}]))",
                        "{{model}} threshold moved",
                        "A",
                    ),
                    query(
                        f"sum by (model) (increase(streameval_retrain_requests_total{{{MODEL}}}[{every}]))",
                        "{{model}} retraining asked for",
                        "B",
                    ),
                ],
            )
        )
        .with_panel(
            lines(
                "Labelled events in the window",
                "What the metrics rest on.",
                "short",
                [query(f"{BY_KEY} (streameval_model_window_events{{{KEY}}})", PLACE)],
            )
        )
    )


def stream_row(made: board.Dashboard) -> board.Dashboard:
    """Does the stream flow."""
    every = "$__rate_interval"
    return (
        made.with_row(board.Row("Stream"))
        .with_panel(
            lines(
                "Events read",
                "By input topic.",
                "cps",
                [query(f"sum by (topic) (rate(streameval_events_read_total{{{WORKER}}}[{every}]))", "{{topic}}")],
            )
        )
        .with_panel(
            lines(
                "Events not read yet",
                "By input topic: steady is well, growing means that reading is slower than writing.",
                "short",
                [query(f"sum by (topic) (streameval_lag_events{{{WORKER}}})", "{{topic}}")],
            )
        )
        .with_panel(
            lines(
                "Stream time behind the wall clock",
                "Everything published follows stream time. The lateness of the topics is in it (an hour by default).",
                "s",
                [query(f"time() - max by (instance) (streameval_stream_time_seconds{{{WORKER}}})", "{{instance}}")],
            )
        )
        .with_panel(
            lines(
                "Topics behind the furthest one",
                "In event time: which topic holds stream time back.",
                "s",
                [query(f"max by (topic) (streameval_lag_seconds{{{WORKER}}})", "{{topic}}")],
            )
        )
        .with_panel(
            lines(
                "Predictions that wait",
                "For outcomes or corrections; at the limit reading pauses.",
                "short",
                [
                    query(f"sum by (model) (streameval_rows_waiting{{{MODEL}}})", "{{model}}", "A"),
                    query(f"max by (instance) (streameval_rows_limit{{{WORKER}}})", "limit {{instance}}", "B"),
                ],
            )
        )
        .with_panel(
            lines(
                "What becomes of events",
                "Outcomes that meet a prediction; predictions that stay without one, come twice or too late; outcomes "
                "without a prediction.",
                "cps",
                [
                    query(
                        f"sum by (model) (rate(streameval_{name}_total{{{MODEL}}}[{every}]))", "{{model}} " + said, ref
                    )
                    for ref, name, said in (
                        ("A", "outcomes_matched", "matched"),
                        ("B", "predictions_unlabelled", "unlabelled"),
                        ("C", "predictions_duplicate", "duplicate"),
                        ("D", "predictions_late", "late"),
                        ("E", "outcomes_orphaned", "orphaned"),
                    )
                ],
            )
        )
        .with_panel(
            lines(
                "Events rejected",
                "By reason. The topic `rejected` has the offset and the cure of each.",
                "cps",
                [query(f"sum by (reason) (rate(streameval_events_rejected_total{{{WORKER}}}[{every}]))", "{{reason}}")],
            )
        )
        .with_panel(
            lines(
                "Label pipelines that stand still",
                "1 while no labels flow for a model: its mature decisions wait.",
                "short",
                [query(f"max by (model) (streameval_labels_stalled{{{MODEL}}})", "{{model}}")],
            ).max(1)
        )
        .with_panel(
            lines(
                "Records published",
                "By output topic.",
                "cps",
                [query(f"sum by (topic) (rate(streameval_records_published_total{{{WORKER}}}[{every}]))", "{{topic}}")],
            )
        )
    )


def worker_row(made: board.Dashboard) -> board.Dashboard:
    """Is the worker well."""
    every = "$__rate_interval"
    buckets = f"sum by (instance, le) (rate(streameval_commit_duration_seconds_bucket{{{WORKER}}}[{every}]))"
    return (
        made.with_row(board.Row("Workers"))
        .with_panel(
            lines(
                "Commits",
                "How long they take: 25 to 100 ms are usual on a near broker.",
                "s",
                [
                    query(f"histogram_quantile(0.5, {buckets})", "median {{instance}}", "A"),
                    query(f"histogram_quantile(0.99, {buckets})", "99 % {{instance}}", "B"),
                ],
            )
        )
        .with_panel(
            bars(
                "Commits that failed",
                "Each is repeated until it succeeds; until then nothing is published.",
                [
                    query(
                        f"sum by (instance) (increase(streameval_commit_failures_total{{{WORKER}}}[{every}]))",
                        "{{instance}}",
                    )
                ],
            )
        )
        .with_panel(
            lines(
                "Since the last commit",
                "Grows while there is nothing to commit, or where something holds it up.",
                "s",
                [
                    query(
                        f"time() - max by (instance) (streameval_last_commit_timestamp_seconds{{{WORKER}}})",
                        "{{instance}}",
                    )
                ],
            )
        )
        .with_panel(
            lines(
                "Since the brokers last answered",
                "They are asked every five seconds: more than a minute means that they are away.",
                "s",
                [
                    query(
                        f"time() - max by (instance) (streameval_last_contact_timestamp_seconds{{{WORKER}}})",
                        "{{instance}}",
                    )
                ],
            )
        )
        .with_panel(
            lines(
                "Memory",
                "Of the process, and of the rows that wait in it.",
                "bytes",
                [
                    query(
                        f"process_resident_memory_bytes{{{WORKER}}} and on (job, instance) streameval_info",
                        "process {{instance}}",
                        "A",
                    ),
                    query(f"sum by (instance) (streameval_rows_bytes{{{WORKER}}})", "rows {{instance}}", "B"),
                ],
            )
        )
        .with_panel(
            lines(
                "Processor",
                "Cores in use; one worker uses little more than one.",
                "short",
                [
                    query(
                        f"rate(process_cpu_seconds_total{{{WORKER}}}[{every}]) and on (job, instance) streameval_info",
                        "{{instance}}",
                    )
                ],
            )
        )
        .with_panel(
            lines(
                "Releases",
                "Version and configuration of each worker: a change of either is a new line.",
                "short",
                [
                    query(
                        f"streameval_info{{{WORKER}}}",
                        "{{worker}} {{shard}}: {{version}}, configuration {{configuration}}",
                    )
                ],
            )
        )
    )


def numbers(made: board.Dashboard) -> board.Dashboard:
    """The first look: is anything the matter."""
    good, bad, warn = "green", "red", "orange"
    return (
        made.with_panel(
            number("Workers", "Scraped now.", "short", f"count(streameval_info{{{WORKER}}})", [(None, bad), (1, good)])
        )
        .with_panel(
            number(
                "Not ready",
                "Workers that have not caught up yet.",
                "short",
                f"count(streameval_ready{{{WORKER}}} == 0) or vector(0)",
                [(None, good), (1, warn)],
            )
        )
        .with_panel(
            number(
                "Drifted",
                "Models, versions and segments with a confirmed alarm.",
                "short",
                f'sum({BY_KEY} (streameval_model_state{{{KEY}, state="drifted"}})) or vector(0)',
                [(None, good), (1, bad)],
            )
        )
        .with_panel(
            number(
                "Without labels",
                "Models whose label pipeline stands still.",
                "short",
                f"sum(max by (model) (streameval_labels_stalled{{{MODEL}}})) or vector(0)",
                [(None, good), (1, warn)],
            )
        )
        .with_panel(
            number(
                "Rejected",
                "Share of the events read in the last 15 minutes.",
                "percentunit",
                f"(sum(rate(streameval_events_rejected_total{{{WORKER}}}[15m])) or vector(0))"
                f" / sum(rate(streameval_events_read_total{{{WORKER}}}[15m]))",
                [(None, good), (0.01, warn)],
            )
        )
        .with_panel(
            number(
                "Reading paused",
                "Workers that wait for room: max_rows predictions wait.",
                "short",
                f"sum(streameval_reading_paused{{{WORKER}}})",
                [(None, good), (1, bad)],
            )
        )
    )


def dashboard() -> models.Dashboard:
    """The whole dashboard."""
    made = (
        board.Dashboard("streameval")
        .uid("streameval")
        .description("Models whose labels come late: their state, their stream, their workers.")
        .tags(["streameval", "models"])
        .refresh("30s")
        .time("now-24h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(board.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(variable("job", "Job", "streameval_info"))
        .with_variable(variable("instance", "Worker", "streameval_info", 'job=~"$job"'))
        .with_variable(variable("model", "Model", "streameval_model_state", WORKER))
        .with_variable(variable("version", "Version", "streameval_model_state", MODEL))
        .with_variable(variable("segment", "Segment", "streameval_model_state", MODEL))
        .with_variable(
            variable("metric", "Metrics", "streameval_model_metric", MODEL).current(
                models.VariableOption(
                    text=["cost", "log_loss", "calibration_error"],
                    value=["cost", "log_loss", "calibration_error"],
                    selected=True,
                )
            )
        )
        .annotation(annotation("Confirmed alarms", "red", risen("drift_alarms", 'tier="confirmed"')))
        .annotation(annotation("Threshold moves", "blue", risen("threshold_moves")))
        .annotation(annotation("Retraining asked for", "purple", risen("retrain_requests")))
    )
    return worker_row(stream_row(models_row(numbers(made)))).build()


def text() -> str:
    """The file's text."""
    return JSONEncoder(sort_keys=True, indent=1).encode(dashboard()) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
