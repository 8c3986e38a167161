"""What being looked at costs the loop: its rate while readers ask, to its rate while the same readers are held still.

Both are measured in turns of a third of a second within one run, so that whatever else the machine does falls on both.

Run: python tests/serve/bench_serving.py [examples]
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import structlog

from streameval.cli.serving import serving
from streameval.config import Config
from streameval.daemon import Daemon

SCRAPERS = Path(__file__).with_name("scrapers.py")
TURN = 0.33
WAYS = {
    "100 scrapers, each once a second; 30 stuck": ("100", "1", "30"),
    "100 scrapers without a pause; 30 stuck": ("100", "0", "30"),
    "2 people at the page": ("2", "2", "0", "/page.json"),
}


def write(folder, n):
    """Logs of n predictions and their outcomes at 200 a second, five countries."""
    rng = np.random.default_rng(1)
    scores = rng.beta(0.6, 3.0, n)
    labels = rng.random(n) < scores
    start = 1_700_000_000_000
    for topic in ("predictions", "outcomes"):
        (folder / "events" / topic).mkdir(parents=True)
    with (folder / "events/predictions/0.jsonl").open("w") as file:
        for i, score in enumerate(scores):
            event = {"id": f"e{i}", "model": "fraud", "ts": start + 5 * i, "score": round(float(score), 6)}
            file.write(json.dumps(event | {"segments": {"country": f"c{i % 5}"}}) + "\n")
    with (folder / "events/outcomes/0.jsonl").open("w") as file:
        for i, label in enumerate(labels):
            file.write(json.dumps({"id": f"e{i}", "ts": start + 5 * i + 60_000, "label": int(label)}) + "\n")


def config(folder, number):
    model = {
        "name": "fraud",
        "objective": {"kind": "cost", "fp": 1, "fn": 5},
        "labels": {"wait": "5m", "amend": "5m"},
        "segments": ["country"],
        "evaluate": {"publish_every": "1m"},
    }
    outputs = ("thresholds", "calibration", "drift", "retrain", "metrics", "alignment", "rejected", "clock", "commits")
    settings = {
        "transport": {"kind": "logdir", "path": str(folder / "events")},
        "state": str(folder / f"state-{number}"),
        "topics": {name: f"{name}-{number}" for name in outputs},
        "models": [model],
    }
    return Config.model_validate(settings)


class Turns:
    """Wakes and stops the readers in turns; the loop's events in each."""

    def __init__(self, readers, port):
        self.readers, self.port = readers, port
        self.events = 0
        self.rates = {True: [], False: []}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __call__(self, progress):
        self.events = progress.events

    def run(self):
        asking = True
        while True:
            began, before = time.perf_counter(), self.events
            if self.ended.wait(TURN):
                break
            self.rates[asking].append((self.events - before) / (time.perf_counter() - began))
            asking = not asking
            os.kill(self.readers.pid, signal.SIGCONT if asking else signal.SIGSTOP)
        os.kill(self.readers.pid, signal.SIGCONT)

    def ratio(self):
        pairs = [(a, b) for a, b in zip(self.rates[True], self.rates[False], strict=False) if b > 0]
        return statistics.median(a / b for a, b in pairs), len(pairs), statistics.median(self.rates[False])


def run(folder, number, way):
    daemon = Daemon(config(folder, number))
    with serving(daemon, "127.0.0.1", 0) as served:
        # On a machine of few processors the readers must not take the loop's: what is measured is what serving takes.
        command = ["nice", "-n", "19", sys.executable, str(SCRAPERS), str(served.port), *way]
        readers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        readers.stdout.readline()
        turns = Turns(readers, served.port)
        daemon.progress = turns
        turns.thread.start()
        began = time.perf_counter()
        daemon.run(until_end=True)
        took = time.perf_counter() - began
        turns.ended.set()
        turns.thread.join()
        own = {served._thread.native_id, *(thread.native_id for thread in served._painter._threads)}
        used = sum(t.user_time + t.system_time for t in psutil.Process().threads() if t.id in own)
        readers.terminate()
        said = json.loads(readers.communicate(timeout=20)[0])
    ratio, pairs, rate = turns.ratio()
    print(f"{WAYS_BY[way]:45} {ratio:.2f} of {rate:,.0f} events/s ({pairs} pairs of turns)")
    print(f"{'':45} serving took {100 * used / took:.1f} % of one processor over {took:.1f} s")
    for who in ("scrapes", "probes"):
        told = said[who]
        if told:
            delays = f"p50 {1000 * told['p50']:.0f} ms, p99 {1000 * told['p99']:.0f} ms"
            print(f"{'':45} {who}: {told['count']} answered, {delays}")


WAYS_BY = {way: name for name, way in WAYS.items()}


def main(n=400_000):
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, n)
        for number, way in enumerate(WAYS.values()):
            run(folder, number, way)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
