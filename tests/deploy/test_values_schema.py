"""The schema of the chart's values is what the code makes, and describes every value that the chart has."""

from __future__ import annotations

import runpy
from typing import Any

import yaml

from tests.deploy.built import CHART, ROOT


def made() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "deploy" / "values_schema.py"))


def test_the_file_is_what_the_code_makes() -> None:
    again = "run: python deploy/values_schema.py"
    assert (CHART / "values.schema.json").read_text(encoding="utf-8") == made()["text"](), again


def test_every_value_is_described_and_every_description_has_a_value() -> None:
    def keys(schema: dict[str, Any], values: Any, path: str = "") -> None:
        described = schema.get("properties")
        if described is None or path == ".config":
            return
        assert set(values) == set(described) - {"global"}, path
        for key, inner in described.items():
            if key != "global":
                keys(inner, values[key], f"{path}.{key}")

    keys(made()["schema"](), yaml.safe_load((CHART / "values.yaml").read_text()))
