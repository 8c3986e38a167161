"""A small stream whose model gets worse halfway, as event logs and a configuration."""

import json
import random

START = 1_714_564_800_000
MINUTE = 60_000
EVENTS = 6000

CONFIG = """\
transport: {kind: logdir, path: ./events}
state: ./state
models:
  - name: fraud
    objective: {kind: cost, fp: 1, fn: 5}
    labels: {wait: 1h, missing: drop, early: 1m, amend: 1h, give_up: 1d}
    segments: [country]
    reference: {events: 1000, positives: 100}
    evaluate: {events: 200, window: 2000, publish_every: 12h, river: [F1]}
    thresholds: {cooldown: 500, positives: 50}
    retraining: {cooldown: 1h}
"""


def events():
    """(predictions, outcomes), each in order of time."""
    chance = random.Random(3)
    predictions, outcomes = [], []
    for n in range(EVENTS):
        score = round(chance.random(), 6)
        share = score if n < EVENTS / 2 else 0.2
        ts = START + n * MINUTE
        where = {"country": chance.choice(["DE", "FR"])}
        predictions.append({"id": f"e{n}", "model": "fraud", "ts": ts, "score": score, "segments": where})
        outcomes.append({"id": f"e{n}", "ts": ts + 10 * MINUTE, "label": int(chance.random() < share)})
    return predictions, outcomes


def write(folder):
    """Logs and a configuration in ``folder``; gives the configuration's path."""
    for topic, rows in zip(("predictions", "outcomes"), events(), strict=True):
        (folder / "events" / topic).mkdir(parents=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "events" / topic / "0.jsonl").write_text(lines)
    (folder / "c.yaml").write_text(CONFIG)
    return folder / "c.yaml"
