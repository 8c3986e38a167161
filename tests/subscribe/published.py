"""Records as a daemon publishes them, and a logdir that a test fills."""

import time
from pathlib import Path

from streameval import records

START = 1_700_000_000_000


def threshold(value, model="fraud", version="3", segment="*", sequence=0, at=START):
    """(key, value) of a threshold's record."""
    data = records.Threshold(
        model=model,
        version=version,
        segment=segment,
        threshold=value,
        threshold_calibrated=None,
        previous=None,
        objective={"kind": "cost", "fp": 1.0, "fn": 10.0},
        expected_gain=None,
        reason="gain",
        prevalence=None,
        calibration=None,
        window=None,
    )
    return _record(data, sequence, at)


def calibration(x, y, model="fraud", version="3", segment="*", sequence=0, at=START):
    """(key, value) of a calibration map's record."""
    data = records.Calibration(
        model=model,
        version=version,
        segment=segment,
        method="isotonic",
        knots=records.Knots(list(x), list(y)),
        before=None,
        after=None,
        window=None,
    )
    return _record(data, sequence, at)


def _record(data, sequence, at):
    key = records.key_of(data.model, data.version, data.segment)
    return key, records.cloudevent(data, worker="w", lineage="1", key=key, sequence=sequence, time=at)


def tombstone(key, sequence=1):
    """The line by which a logdir withdraws a record."""
    return b'{"subject":"%s","sequence":%d,"data":null}' % (key.encode(), sequence)


class Logs:
    """A logdir whose output topics grow."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def origin(self):
        return f"logdir:{self.path}"

    def file(self, topic):
        return self.path / topic / "0.jsonl"

    def append(self, topic, *lines, end=b"\n"):
        file = self.file(topic)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as log:
            log.write(b"\n".join(lines) + end)

    def thresholds(self, *entries):
        self.append("thresholds", *(value for _, value in entries))

    def calibrations(self, *entries):
        self.append("calibration", *(value for _, value in entries))


def eventually(true, seconds=10.0):
    """Wait for something that a thread brings about."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)
