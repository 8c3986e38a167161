"""Grafana's dashboard and the rules, asked against a real Prometheus that scrapes a real daemon."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from streameval.demo import elec2
from tests.deploy.built import CHART, ROOT
from tests.deploy.scraped import Scraper, daemon, get, prometheus, until
from tests.ports import free_port

BOARD: dict[str, Any] = json.loads((CHART / "dashboards" / "streameval.json").read_text())
RULES = CHART / "rules" / "streameval.yaml"
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = {(panel["title"], one["refId"]): one["expr"] for panel in PANELS for one in panel["targets"]}
VARIABLES = {one["name"]: one for one in BOARD["templating"]["list"]}
OF_GRAFANA = {"__rate_interval": "1m", "__interval": "1m"}
ROWS = 10_000

running = pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus (Debian's package)")


def filled(expr: str) -> str:
    """An expression as Grafana sends it, with the defaults of the dashboard's variables."""
    for name, value in OF_GRAFANA.items():
        expr = expr.replace(f"${name}", value)
    for name, variable in VARIABLES.items():
        chosen = variable.get("current", {}).get("value", "")
        value = "|".join(chosen) if isinstance(chosen, list) else ".*"
        expr = expr.replace(f"${name}", value)
    assert "$" not in expr, f"a variable that is not declared: {expr}"
    return expr


@dataclass(frozen=True, slots=True)
class Scene:
    """What the daemon said at its port, and who scraped it."""

    metrics: str
    asked: Scraper


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The first months of the demo's real stream, with one event that breaks the contract, read to its end."""
    folder = tmp_path_factory.mktemp("scraped")
    market = elec2.rows()[:ROWS]
    elec2.write(folder, market, ((number, score, "0") for number, score in elec2.scored(market, _nothing)))
    with (folder / "events" / "outcomes" / "0.jsonl").open("ab") as log:
        log.write(b"this is no event\n")
    port = free_port()
    with (
        prometheus(folder / "prometheus", port, RULES) as asked,
        daemon(folder / "streameval.yaml", port, folder / "daemon.log"),
    ):
        until(lambda: asked.query("streameval_ready == 1") != [], 80, "the daemon's catching up")
        until(lambda: asked.query("sum(streameval_model_window_events) > 0") != [], 20, "the first picture")
        # A rate needs two scrapes, a recorded rate an evaluation more.
        time.sleep(4)
        yield Scene(get(f"http://127.0.0.1:{port}/metrics").decode(), asked)


def _nothing(_done: int, _total: int) -> None:
    """Nobody watches."""


def test_the_file_is_what_the_code_makes() -> None:
    made = runpy.run_path(str(ROOT / "deploy" / "dashboard.py"))
    again = "run: python deploy/dashboard.py"
    assert (CHART / "dashboards" / "streameval.json").read_text(encoding="utf-8") == made["text"](), again


def test_panels_explain_themselves_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["description"]
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        refs = [one["refId"] for one in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]


@running
@pytest.mark.timeout(240)
def test_every_query_of_every_panel_returns_data(scene: Scene) -> None:
    empty = {at: filled(expr) for at, expr in QUERIES.items() if not scene.asked.query(filled(expr))}
    assert empty == {}


@running
@pytest.mark.timeout(240)
def test_every_variable_has_something_to_choose_and_every_mark_something_to_stand_on(scene: Scene) -> None:
    for name, variable in VARIABLES.items():
        if name != "datasource":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert asked, name
            assert scene.asked.query(f"group by ({asked[2]}) ({filled(asked[1])})"), name
    for mark in BOARD["annotations"]["list"]:
        assert mark["expr"].endswith(" > 0")
        assert scene.asked.query(filled(mark["expr"].removesuffix(" > 0"))), mark["name"]


@running
@pytest.mark.timeout(240)
def test_rules_and_panels_ask_only_for_metrics_that_the_daemon_has(scene: Scene) -> None:
    exposed = set(re.findall(r"^([a-z]\w+?)(?:\{| )", scene.metrics, re.MULTILINE))
    groups = yaml.safe_load(RULES.read_text())["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    exprs = [rule["expr"] for group in groups for rule in group["rules"]] + list(QUERIES.values())
    for expr in exprs:
        assert set(re.findall(r"\b(?:streameval|process)[_:][\w:]+", expr)) <= exposed | recorded, expr


@running
@pytest.mark.timeout(240)
def test_the_real_prometheus_evaluates_every_rule_and_a_worker_at_work_alerts_nobody(scene: Scene) -> None:
    rules = [rule for group in scene.asked.api("rules")["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    # What the demo's market truly does; everything else would be a false alarm of the rules.
    assert firing <= {"StreamevalModelDrifted", "StreamevalRetrainRequested"}
