"""A worker over a directory of logs: run here, in a process of its own that may be killed, or as the command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from streameval.config import Config
from streameval.daemon import Daemon, Summary, reading
from streameval.errors import StreamevalError
from streameval.testing import crash, streams
from streameval.testing.streams import HOUR, IDLE_PARTITION, START, Stream
from streameval.transport.opening import output_topics


@dataclass
class Worker:
    """One directory with logs, state and configuration."""

    root: Path

    @property
    def logs(self) -> Path:
        return self.root / "events"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def config(self, **changes: Any) -> Config:
        return Config.model_validate(streams.settings(self.logs, self.state, **changes))

    def feed(self, stream: Stream, *, after: int = 0, before: int | None = None) -> Worker:
        stream.write(self.logs, after=after, before=before)
        return self

    def wake(self, stream: Stream) -> Worker:
        """Record the marks by which the partitions that fall silent no longer hold T back."""
        logs = stream.logs()
        (self.logs / "clock").mkdir(parents=True, exist_ok=True)
        with (self.logs / "clock" / "0.jsonl").open("ab") as clock:
            for topic in ("predictions", "outcomes"):
                clock.write(mark(topic, IDLE_PARTITION, len(logs[topic, IDLE_PARTITION])) + b"\n")
        return self

    def run(self, **changes: Any) -> Summary:
        with small_batches():
            return Daemon(self.config(**changes)).run(until_end=True)

    def outputs(self) -> dict[str, bytes]:
        """Every output topic's bytes; of `rejected`, which has an order a key only, those of each key."""
        found = {topic: self._log(topic) for topic in output_topics(self.config())}
        for line in found.pop("rejected").splitlines(keepends=True):
            name = f"rejected {json.loads(line)['subject']}"
            found[name] = found.get(name, b"") + line
        return found

    def _log(self, topic: str) -> bytes:
        path = self.logs / topic / "0.jsonl"
        return path.read_bytes() if path.exists() else b""

    def commits(self) -> int:
        return self._log("commits").count(b"\n")

    def forked(self, *, at: str | None = None, count: int = 1, kill_after: float | None = None) -> int:
        """Run in a process of its own; its exit code, negative where a signal ended it.

        A fork has the package imported already, so that many can be killed in a short time; signals, files and memory
        are those of any other process.
        """
        return reap(fork(lambda: self._until_end(at, count)), kill_after)

    def _until_end(self, at: str | None, count: int) -> int:
        if at is not None:
            crash.install(at, count)
        self.run()
        return 0

    def command(self, *before: str, until_end: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """``streameval run``, as a person would call it."""
        return subprocess.run(self.words(*before, until_end=until_end), check=False, text=True, **options)

    def words(self, *before: str, until_end: bool = True) -> list[str]:
        path = self.root / "config.yaml"
        path.write_text(yaml.safe_dump(streams.settings(self.logs, self.state)))
        run = ["run", "--config", str(path), *(["--until-end"] if until_end else [])]
        return [sys.executable, *(before or ("-m", "streameval.cli")), *run]


@contextlib.contextmanager
def small_batches(size: int = 200) -> Iterator[None]:
    """A short log is read in one batch, and so committed once; these runs are to have many commits to die in."""
    before, reading.BATCH = reading.BATCH, size
    try:
        yield
    finally:
        reading.BATCH = before


def mark(topic: str, partition: int, offset: int) -> bytes:
    from streameval import records

    floor = START + 100 * HOUR
    data = records.Mark.of(topic, partition, offset, floor, "idle", "1")
    key = records.key_of(topic, str(partition), str(offset))
    return records.cloudevent(data, worker="streameval", lineage="1", key=key, sequence=floor, time=floor)


def fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        code = work()
    except StreamevalError as error:
        print(error, file=sys.stderr, flush=True)
        code = error.exit_code
    finally:
        # No exit handler of the test run may work here.
        os._exit(code)


def reap(child: int, kill_after: float | None = None) -> int:
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
