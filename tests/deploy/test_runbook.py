"""The runbook: links lead somewhere, the example of values installs, the table is what the configuration declares."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.built import MISSING, ROOT, go, render

RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"
PAGE = RUNBOOK.read_text(encoding="utf-8")


def anchors(page: str) -> set[str]:
    """The anchors that a page's headings have where Markdown is shown."""
    headings = re.findall(r"^#{1,6} (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        yield (RUNBOOK.parent / path).resolve() if path else RUNBOOK, anchor


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    found = list(links())
    assert len(found) > 10
    for path, anchor in found:
        assert path.exists(), path
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), f"{path}#{anchor}"


def test_the_table_of_changes_is_what_the_configuration_declares() -> None:
    rewritten = runpy.run_path(str(ROOT / "deploy" / "changes.py"))["rewritten"]
    assert rewritten(PAGE) == PAGE, "run: python deploy/changes.py"


def test_the_table_names_what_is_known_to_restart_or_to_be_refused() -> None:
    table = runpy.run_path(str(ROOT / "deploy" / "changes.py"))["table"]()
    does = {key: line for line in table.splitlines() for key in re.findall(r"`([^`]+)`", line)}
    assert "learns anew" in does["labels.wait"]
    assert "learns anew" in does["segments"]
    assert "refused" in does["interval"]
    assert "max_rows" not in does


@pytest.mark.skipif(go() is None, reason=MISSING)
@pytest.mark.timeout(900)
def test_the_example_of_values_installs() -> None:
    values = next(yaml.safe_load(block) for block in re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL))
    one = render({"runbook": values})["runbook"]
    assert not one.error
    assert "kind: PrometheusRule" in one.files["streameval/templates/prometheusrule.yaml"]
