"""What being looked at costs the loop: its rate alone, served, scraped by a hundred, and hammered, all in one run.

Run: python tests/serve/bench_serving.py [examples]
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import structlog

from streameval.cli.serving import serving
from streameval.config import Config
from streameval.daemon import Daemon

SCRAPERS = Path(__file__).with_name("scrapers.py")
WAYS = {
    "alone": None,
    "served, nobody asks": (0, 1.0, 0),
    "100 scrapers a second, 30 stuck": (100, 1.0, 30),
    "100 scrapers without a pause, 30 stuck": (100, 0.0, 30),
    "2 people at the page": (2, 2.0, 0, "/page.json"),
}
ROUNDS = 3


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
        file.writelines(
            f'{{"id":"e{i}","ts":{start + 5 * i + 60_000},"label":{int(label)}}}\n' for i, label in enumerate(labels)
        )


def config(folder, state):
    model = {
        "name": "fraud",
        "objective": {"kind": "cost", "fp": 1, "fn": 5},
        "labels": {"wait": "5m", "amend": "5m"},
        "segments": ["country"],
        "evaluate": {"publish_every": "1m"},
    }
    transport = {"kind": "logdir", "path": str(folder / "events")}
    topics = {name: f"{state}-{name}" for name in ("thresholds", "calibration", "drift", "retrain", "metrics")}
    topics |= {name: f"{state}-{name}" for name in ("alignment", "rejected", "clock", "commits")}
    return Config.model_validate(
        {"transport": transport, "state": str(folder / state), "topics": topics, "models": [model]}
    )


def run(folder, state, way):
    """(events a second, what the scrapers say)."""
    daemon = Daemon(config(folder, state))
    if way is None:
        summary = daemon.run(until_end=True)
        return (summary.predictions + summary.outcomes) / summary.wall_seconds, {}
    with serving(daemon, "127.0.0.1", 0) as served:
        # On a machine of few processors the readers must not take the loop's: what is measured is what serving takes.
        command = ["nice", "-n", "19", sys.executable, str(SCRAPERS), str(served.port), *map(str, way)]
        readers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        readers.stdout.readline()
        time.sleep(0.5)
        summary = daemon.run(until_end=True)
        readers.terminate()
        said = json.loads(readers.communicate(timeout=20)[0])
    return (summary.predictions + summary.outcomes) / summary.wall_seconds, said


def main(n=250_000):
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, n)
        run(folder, "warm", None)
        rates = {way: [] for way in WAYS}
        said = {}
        for number in range(ROUNDS):
            for way, asked in WAYS.items():
                rate, said[way] = run(folder, f"{number}-{list(WAYS).index(way)}", asked)
                rates[way].append(rate)
        alone = statistics.median(rates["alone"])
        for way, found in rates.items():
            print(
                f"{way:40} {statistics.median(found):9,.0f} events/s  {statistics.median(found) / alone:.2f} of alone"
            )
            for who in ("scrapes", "probes"):
                told = said[way].get(who)
                if told:
                    milliseconds = f"p50 {1000 * told['p50']:.1f} ms, p99 {1000 * told['p99']:.1f} ms"
                    print(f"{'':40} {who}: {told['count']} answered, {milliseconds}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
