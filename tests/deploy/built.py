"""Helm's engine as a small program (`render/`), compiled by Go once for its sources and kept in the checkout's cache.

Invariant: two processes that want it build it once. Run as a script it only builds, so that a long first build can go
on beside other work.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "chart"
SOURCES = Path(__file__).parent / "render"
CACHE = ROOT / ".cache"
OPERATOR = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
OPERATOR_SUM = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
"""The Go checksum database's digest of that version: what is fetched is what was looked at."""

MISSING = "needs Go 1.21 or newer (https://go.dev/dl) to render the chart"


def go() -> str | None:
    """The Go tool, where one is installed that can fetch the toolchain that a module asks for."""
    found = shutil.which("go")
    if found is None:
        return None
    said = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    numbers = said.strip().removeprefix("go").split(".")
    return found if len(numbers) > 1 and (int(numbers[0]), int(numbers[1].split("rc")[0])) >= (1, 21) else None


def renderer() -> Path:
    """The program, compiled now if its sources changed: about 90 seconds where Go's cache is empty."""
    digest = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((SOURCES / name).read_bytes())
    target = CACHE / "bin" / f"render-{digest.hexdigest()[:16]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "render.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            tool = go()
            if tool is None:
                raise RuntimeError(MISSING)
            part = target.with_suffix(".part")
            command = [tool, "build", "-trimpath", "-ldflags=-s -w", "-o", str(part), "."]
            subprocess.run(command, cwd=SOURCES, check=True, env=os.environ | {"CGO_ENABLED": "0"})
            part.rename(target)
            for old in set(target.parent.glob("render-*")) - {target}:
                old.unlink()
    return target


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one set of values gives: texts by template, what lint says, or why it is refused."""

    files: dict[str, str]
    lint: list[str]
    error: str


def render(cases: dict[str, dict[str, Any]], kube: str = "v1.33.0") -> dict[str, Rendered]:
    """Renders the chart with each set of values, as release `fraud` in the namespace `ml`."""
    asked = {
        name: {"release": "fraud", "namespace": "ml", "kube": kube, "values": values} for name, values in cases.items()
    }
    done = subprocess.run(
        [str(renderer()), str(CHART)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    return {
        name: Rendered(one["files"] or {}, one["lint"] or [], one["error"])
        for name, one in json.loads(done.stdout).items()
    }


def custom_resources() -> dict[str, dict[str, Any]]:
    """The OpenAPI schemas of the Prometheus operator's resources, by kind, from its own release."""
    import yaml

    tool = go()
    if tool is None:
        raise RuntimeError(MISSING)
    module = "@".join(OPERATOR)
    done = subprocess.run([tool, "mod", "download", "-json", module], cwd=CACHE, capture_output=True, check=True)
    told = json.loads(done.stdout)
    if told["Sum"] != OPERATOR_SUM:
        raise RuntimeError(f"{module} is not what it was: {told['Sum']}")
    folder = Path(told["Dir"]) / "example" / "prometheus-operator-crd"
    schemas = {}
    for name in ("podmonitors", "prometheusrules"):
        crd = yaml.safe_load((folder / f"monitoring.coreos.com_{name}.yaml").read_bytes())
        version = next(one for one in crd["spec"]["versions"] if one["name"] == "v1")
        schemas[crd["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return schemas


if __name__ == "__main__":
    if go() is None:
        print(MISSING)
    else:
        renderer()
