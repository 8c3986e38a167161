"""A real Prometheus that scrapes a real daemon: what rules and dashboards are asked against.

Invariant: neither process outlives the context that started it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.ports import free_port

SCRAPE = 1
"""Seconds between two scrapes."""


def get(url: str) -> bytes:
    """The body of a page of loopback."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits for something; connections that are refused meanwhile are no error."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")


@dataclass(frozen=True, slots=True)
class Scraper:
    """A running Prometheus."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        asked = urllib.parse.urlencode({"query": expr})
        result: list[dict[str, Any]] = json.loads(get(f"{self.url}/api/v1/query?{asked}"))["data"]["result"]
        return result

    def api(self, path: str) -> Any:
        """The data of any other question."""
        return json.loads(get(f"{self.url}/api/v1/{path}"))["data"]


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end at the end, and killed where it does not."""
    with log.open("wb") as out:
        started = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


@contextmanager
def daemon(config: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`streameval run`, as a person starts it."""
    command = [sys.executable, "-m", "streameval.cli", "run", "--config", str(config), "--port", str(port)]
    with process(command, log) as started:
        yield started


@contextmanager
def prometheus(folder: Path, target: int, rules: Path) -> Iterator[Scraper]:
    """A Prometheus that scrapes one port of loopback."""
    port = free_port()
    folder.mkdir()
    config = {
        "global": {"scrape_interval": f"{SCRAPE}s", "evaluation_interval": f"{SCRAPE}s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "streameval", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    with process(command, folder / "log"):
        until(lambda: get(f"{url}/-/ready") != b"", 30, "Prometheus's start")
        yield Scraper(url)
