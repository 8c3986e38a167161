"""Recording and alerting rules, by promtool's unit tests; each alert leads to a section of the runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.built import CHART, ROOT

RULES = CHART / "rules" / "streameval.yaml"
TESTS = sorted((Path(__file__).parent / "rules").glob("*_test.yaml"))
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
EXPECTED: list[dict[str, Any]] = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's prometheus)")


def promtool(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_every_rule_does_what_its_tests_say(path: Path) -> None:
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_silent_and_firing_and_every_recorded_series_has_a_value() -> None:
    tried = [(one["alertname"], bool(one.get("exp_alerts"))) for test in EXPECTED for one in test["alert_rule_test"]]
    assert {name for name, fires in tried if fires} == set(ALERTS)
    assert {name for name, fires in tried if not fires} == set(ALERTS)
    asked = {one["expr"] for test in EXPECTED for one in test.get("promql_expr_test", ()) if one["exp_samples"]}
    assert asked == RECORDED


@pytest.mark.parametrize("alert", ALERTS)
def test_the_tests_notice_an_alert_that_never_fires(alert: str, tmp_path: Path) -> None:
    never = yaml.safe_load(RULES.read_text())
    for group in never["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == alert:
                rule["expr"] = f"({rule['expr']}) and vector(1) > 2"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(never))
    for path in TESTS:
        told = yaml.safe_load(path.read_text())
        told["rule_files"] = ["rules.yaml"]
        # Only what this alert is tried by: the others have their own turn.
        told["tests"] = [
            test
            for test in told["tests"]
            if any(one["alertname"] == alert and one.get("exp_alerts") for one in test["alert_rule_test"])
        ]
        if told["tests"]:
            (tmp_path / path.name).write_text(yaml.safe_dump(told))
            done = promtool("test", "rules", path.name, cwd=tmp_path)
            assert done.returncode != 0
            assert alert in done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_leads_to_its_section_of_the_runbook(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#{1,6} (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
    assert anchors.count(anchor) == 1
    assert anchor == alert.lower()


def test_the_runbook_has_no_section_for_an_alert_that_is_gone() -> None:
    text = (ROOT / "deploy" / "RUNBOOK.md").read_text()
    assert set(re.findall(r"^#+ (Streameval\w+)$", text, re.MULTILINE)) == set(ALERTS)
