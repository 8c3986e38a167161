"""Commands of a Markdown page that a test runs: fenced blocks whose first line is ```sh run.

Blocks run in order, in one folder, each by ``bash -euo pipefail``. A plain ```sh block is shown but not run.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^(?P<indent> *)```sh run\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    line: int
    code: str


def blocks(page):
    """The blocks of a page that are to be run, with the line at which each starts."""
    return [
        Block(
            page.count("\n", 0, found.start()) + 2,
            re.sub(rf"^{found['indent']}", "", found["code"], flags=re.MULTILINE),
        )
        for found in _BLOCK.finditer(page)
    ]


def checkout(folder):
    """A folder like a fresh checkout, as far as commands of the README need it: all but the tests and what is built."""
    for name in ("config", "streameval"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def run(block, folder, timeout=100):
    """Run one block; the commands of the Python that runs the tests come first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONSAFEPATH": "1", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
