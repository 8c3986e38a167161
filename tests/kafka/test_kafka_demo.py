"""The demo on a cluster, as somebody calls it: it plays, the daemon follows, the page stands, a signal ends it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from kafka.admin import KafkaAdminClient
from scene import Scene


@pytest.fixture
def demo(broker, tmp_path):
    command = [sys.executable, "-m", "streameval.cli", "demo", "--out", str(tmp_path / "demo"), "--port", "0"]
    command += ["--story", "label_shift", "--events", "20000", "--kafka", broker.bootstrap, "--speed", "1e9"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()


def test_the_demo_plays_into_the_cluster_and_leaves_its_page_standing(demo, broker, tmp_path):
    url = None
    while url is None:
        line = demo.stdout.readline()
        assert line, demo.stderr.read()
        url = (re.search(r"http://\S+", line) or [None])[0]
    deadline = time.monotonic() + 80
    health: dict = {}
    while "played" not in health and time.monotonic() < deadline:
        assert demo.poll() is None, demo.stderr.read()
        line = demo.stderr.readline()
        if '"demo_played"' in line:
            health["played"] = line
    time.sleep(2)
    page = urllib.request.urlopen(url, timeout=10).read().decode()
    assert "<html" in page.lower()
    assert urllib.request.urlopen(f"{url}/healthz", timeout=10).status == 200
    asked = time.monotonic()
    demo.send_signal(signal.SIGTERM)
    said, told = demo.communicate(timeout=30)
    assert demo.returncode == 0, told
    assert time.monotonic() - asked < 20
    assert "20,000 predictions" in said
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        names = [name for name in admin.list_topics() if name.startswith("streameval-demo-")]
    assert {"streameval-demo-predictions", "streameval-demo-thresholds"} <= set(names)
    found = Scene([broker.bootstrap], tmp_path).values(["streameval-demo-metrics"])["streameval-demo-metrics"]
    assert len(found) > 5
    assert json.loads(found[0][1])["source"] == "/streameval/streameval-demo"
