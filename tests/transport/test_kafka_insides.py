"""The one place that says what we lean on of kafka-python is whole, true of the installed one, and refuses others."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import kafka
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import streameval
from streameval.errors import TransportError
from streameval.transport import kafka_insides
from streameval.transport.kafka_connection import Connection
from streameval.transport.kafka_insides import INSIDES, Inside, lacking

ROOMS = sorted((Path(streameval.__file__).parent / "transport").glob("kafka*.py"))


def theirs() -> set[str]:
    """Private names that the Kafka rooms reach for on what is not their own."""
    found = set()
    for path in ROOMS:
        tree = ast.parse(path.read_text())
        own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                    found.add(node.attr)
                elif path.stem in ("kafka_records", "kafka_connection") and node.attr not in own:
                    found.add(node.attr)  # of the classes there that are made of kafka-python's
    return found


def test_every_inside_that_is_touched_stands_in_the_table_and_nothing_else():
    named = {inside.name for inside in INSIDES}
    assert theirs() <= named | {"_replace"}
    assert {name for name in named if name.startswith("_")} == theirs() - {"_replace"} | {
        "_unpack_records",
        "_maybe_skip_record",
    }


def test_the_installed_one_has_them_all():
    assert lacking() == []


def test_what_is_missing_or_is_given_something_else_is_named_and_refused(monkeypatch):
    class Other:
        def __init__(self) -> None:
            self.there = 1

        def given(self, n: int) -> None: ...

    def inside(name, given=None):
        return Inside(Other, name, given, "")

    sound = [inside("there"), inside("given"), inside("given", ("self",)), inside("given", ("self", "n"))]
    assert lacking(sound) == []
    broken = [inside("gone"), inside("given", ("self", "m")), inside("there", ("self",))]
    assert [line.rpartition(".")[2] for line in lacking(broken)] == ["gone", "given", "there"]
    monkeypatch.setattr(kafka_insides, "lacking", lambda: ["Fetcher._gone"])
    kafka_insides.check.cache_clear()
    try:
        with pytest.raises(TransportError, match=rf"{kafka.__version__}.*Fetcher._gone.*pip install"):
            Connection(("localhost:1",)).options()
    finally:
        kafka_insides.check.cache_clear()


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_every_release_that_may_be_installed_passes_what_needs_no_broker(tmp_path):
    """Fetches each from the package index that pip is set up for."""
    [allowed] = [Requirement(line) for line in requires("streameval") or [] if Requirement(line).name == "kafka-python"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    index = subprocess.run([*pip, "index", "versions", "kafka-python"], capture_output=True, text=True, check=True)
    listed = index.stdout.partition("Available versions:")[2].splitlines()[0].split(",")
    releases = [name.strip() for name in listed if allowed.specifier.contains(Version(name.strip()))]
    assert kafka.__version__ in releases
    here = Path(__file__).parent
    tests = [str(path) for path in sorted(here.glob("test_kafka_*.py"))]
    for release in releases:
        folder = tmp_path / release
        install = [*pip, "install", "-q", "--no-deps", "--target", str(folder), f"kafka-python=={release}"]
        subprocess.run(install, check=True)
        path = os.pathsep.join([str(folder), str(Path(streameval.__file__).parents[1])])
        environment = {**os.environ, "PYTHONPATH": path}
        asked = [sys.executable, "-c", "import kafka; print(kafka.__version__, kafka.__file__)"]
        said = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout
        assert said.startswith(f"{release} {folder}")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *tests], env=environment, cwd=here.parents[1], check=False
        )
        assert done.returncode == 0, f"kafka-python {release}"
