"""Real daemon processes that start in milliseconds: forked by a process that has imported everything already.

As a program: reads one JSON job a line from stdin, forks a child that runs the daemon, and writes
``{"pid": ...}``, later ``{"ended": pid, "status": ...}``. As a module: `Nursery` speaks to that program.
A child is a process of its own, which dies of its own SIGKILL at a numbered step, or by the test's.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Worker:
    """One daemon process."""

    pid: int
    log: Path
    nursery: Nursery
    status: int | None = None
    """Exit code; minus the signal's number where one ended it."""

    @property
    def alive(self) -> bool:
        self.nursery.listen(0)
        return self.status is None

    def signal(self, number: int) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout: float = 90.0) -> int:
        deadline = time.monotonic() + timeout
        while self.status is None:
            if time.monotonic() > deadline:
                self.signal(signal.SIGCONT)
                self.signal(signal.SIGKILL)
                raise TimeoutError(f"the daemon did not end in {timeout} s: {self.text()[-3000:]}")
            self.nursery.listen(0.1)
        return self.status

    def stop(self, timeout: float = 90.0) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> int:
        self.signal(signal.SIGKILL)
        self.signal(signal.SIGCONT)
        return self.wait()

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def records(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def saw(self, event: str) -> bool:
        return f'"{event}"' in self.text()

    def await_log(self, event: str, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not self.saw(event):
            if time.monotonic() > deadline or not self.alive:
                raise AssertionError(f"never said {event}: {self.text()[-3000:]}")
            time.sleep(0.02)


class Nursery:
    """The process that forks workers. Ends them all when it is closed, or when the tests die."""

    def __init__(self, folder: Path) -> None:
        import streameval

        self.folder = folder
        self.workers: dict[int, Worker] = {}
        self._count = 0
        environment = {**os.environ, "PYTHONPATH": str(Path(streameval.__file__).parents[1])}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def listen(self, timeout: float) -> int | None:
        """Take in what the process says; returns the pid of a worker that was born."""
        while True:
            try:
                said = json.loads(self._lines.get(timeout=timeout) if timeout else self._lines.get_nowait())
            except queue.Empty:
                return None
            if "pid" in said:
                return int(said["pid"])
            self.workers[said["ended"]].status = said["status"]
            if timeout:
                return None

    def start(self, config: dict[str, Any], **job: Any) -> Worker:
        """A daemon on this configuration.

        ``at``, ``count``, ``error``: see streameval.testing.crash; ``pause``: sleep there for so long instead.
        ``until_end``, ``fresh``, ``shard``: see Daemon; ``batch``: events read at once; ``transaction_ms`` and
        ``patience_ms`` shorten what a broker is given.
        """
        self._count += 1
        log = self.folder / f"worker-{self._count}.log"
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"config": config, "log": str(log), **job}) + "\n")
        self.process.stdin.flush()
        deadline = time.monotonic() + 30
        while (pid := self.listen(0.1)) is None:
            assert time.monotonic() < deadline
        worker = self.workers[pid] = Worker(pid, log, self)
        return worker

    def end(self) -> None:
        """kill -9 for all that still run."""
        for worker in self.workers.values():
            if worker.alive:
                worker.kill()

    def close(self) -> None:
        self.end()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


def _main() -> None:
    import streameval.cli.run
    import streameval.daemon
    import streameval.logs
    import streameval.transport.kafka
    import streameval.transport.kafka_producing  # noqa: F401

    children: set[int] = set()
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 0.02)
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                children.discard(pid)
                _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})
        if not ready:
            continue
        line = sys.stdin.readline()
        if not line:
            return
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(job)
        children.add(pid)
        _say({"pid": pid})


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _child(job: dict[str, Any]) -> None:
    code = 70
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the nursery
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = _daemon(job)
    except BaseException:  # noqa: BLE001 - whatever it was, the parent's code must not run in a child
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _daemon(job: dict[str, Any]) -> int:
    import errno

    from streameval.cli.run import stopped_by_signals
    from streameval.config import Config
    from streameval.daemon import Daemon, reading
    from streameval.daemon import daemon as daemon_module
    from streameval.errors import StreamevalError
    from streameval.logs import configure
    from streameval.testing import crash
    from streameval.transport import commit, kafka_connection, opening

    configure("info")
    if "pause" in job:
        left = job["count"]

        def sleep(step: str) -> None:
            nonlocal left
            left -= step == job["at"]
            if left == 0 and step == job["at"]:
                sys.stderr.write('{"event":"paused_by_test"}\n')
                time.sleep(job["pause"])

        commit.step_hook = sleep
    elif "at" in job:
        error = job.get("error")
        crash.install(job["at"], job.get("count", 1), None if error is None else getattr(errno, error))
    config = Config.model_validate(job["config"])
    if "patience_ms" in job:
        quick = kafka_connection.Connection
        kafka_connection.Connection = lambda *a, **k: quick(*a, **{**k, "patience_ms": job["patience_ms"]})
    transport = opening.open_transport(config)
    transport.transaction_ms = job.get("transaction_ms", transport.transaction_ms)
    daemon_module.LOOK = 0.5
    reading.BATCH = daemon_module.BATCH = job.get("batch", 1_000)
    options = {"shard": tuple(job["shard"])} if "shard" in job else {}
    daemon = Daemon(config, transport=transport, **options)
    with stopped_by_signals(daemon):
        try:
            daemon.run(until_end=job.get("until_end", False), fresh=job.get("fresh", False))
        except StreamevalError as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return error.exit_code
    return 0


if __name__ == "__main__":
    _main()
