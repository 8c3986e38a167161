"""Logs of numbers, and what a clean pass over them publishes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# The folder is no package (see pyproject), so its loop is found by path.
sys.path.insert(0, str(Path(__file__).parent))

import tally

from streameval.transport.logdir import LogDir


def write_numbers(logs: Path, counts: tuple[int, ...] = (40, 0, 25)) -> None:
    """One log a partition: the second one is empty."""
    (logs / "numbers").mkdir(parents=True)
    for partition, count in enumerate(counts):
        lines = [f"{1000 * partition + index}\n" for index in range(count)]
        (logs / "numbers" / f"{partition}.jsonl").write_text("".join(lines))


def outputs(logs: Path) -> dict[str, bytes]:
    """Every output topic's bytes."""
    return {topic: path.read_bytes() for topic in tally.OUTPUTS if (path := logs / topic / "0.jsonl").exists()}


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    write_numbers(tmp_path / "logs")
    return tmp_path / "logs"


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Outputs of one pass without faults."""
    root = tmp_path_factory.mktemp("clean")
    write_numbers(root / "logs")
    tally.run(LogDir(root / "logs"), root / "state", 0)
    found = outputs(root / "logs")
    assert found.keys() == {"sums0", "sums2"}
    return found


@pytest.fixture
def published() -> Callable[[Path], dict[str, bytes]]:
    return outputs
