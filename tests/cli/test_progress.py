"""Progress: a bar for people, a line now and then for a pipe, nothing on stdout."""

import io
import json
import sys
import time

import structlog

from streameval.cli.progress import Meter
from streameval.daemon.progress import Progress
from tests.cli import stream


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_pipe_gets_a_line_every_ten_seconds(capsys):
    seconds = iter(range(1000))
    with Meter("reading", now=lambda: float(next(seconds))) as meter:
        for n in range(1, 31):
            meter(Progress(100 * n, 3000, stream.START))
    captured = capsys.readouterr()
    told = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert 1 <= len(told) <= 4
    assert {entry["event"] for entry in told} == {"progress"}
    assert told[0]["total"] == 3000
    assert told[0]["stream"] == "2024-05-01 12:00"
    assert told[0]["seconds_left"] > 0


def test_a_terminal_gets_a_bar_with_the_stream_time_and_the_log_above_it(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Meter("reading") as meter:
        meter(Progress(1500, 3000, stream.START))
        time.sleep(0.3)  # the bar is drawn ten times a second
        structlog.get_logger().info("something", fact=1)
        meter(Progress(3000, 3000, None))
    text = terminal.getvalue()
    assert "reading" in text
    assert "50%" in text
    assert "at 2024-05-01 12:00" in text
    assert "something" in text
    assert capsys.readouterr().out == ""
    assert sys.stderr is terminal


def test_nothing_to_measure_shows_nothing(capsys):
    seconds = iter(range(0, 10_000, 100))
    with Meter("running", shown=False, now=lambda: float(next(seconds))) as meter:
        meter(Progress(1, None, None))
    assert capsys.readouterr().err == ""
