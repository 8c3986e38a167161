"""The log: JSON lines in a pipe, the record of a decision as it stands on its topic."""

import io
import json
import logging
import subprocess
import sys

import pytest
import structlog

from streameval import logs
from streameval.errors import InputError, UsageError
from streameval.records import Drift, Mark, cloudevent, key_of

DRIFT = cloudevent(
    Drift(
        model="fraud",
        version="7",
        segment="name=Zoë",
        monitor="label",
        tier="confirmed",
        statistic=1 / 3,
        direction="up",
        change_at=None,
        diagnosis=None,
    ),
    worker="w",
    lineage="a",
    key=key_of("fraud", "7", "name=Zoë"),
    sequence=0,
    time=0,
)


@pytest.fixture
def out():
    """A place for the log, and the process's own set-up back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def lines(out):
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_record_in_the_log_is_the_record_on_the_topic_byte_for_byte(out):
    logs.configure(stream=out)
    assert logs.log_record(DRIFT)
    assert b'"record":' + DRIFT + b"}\n" in out.getvalue().encode()
    (line,) = lines(out)
    assert (line["event"], line["level"], line["record"]) == ("drift", "warning", json.loads(DRIFT))
    assert list(line) == ["timestamp", "level", "event", "record"]


def test_records_that_are_no_decisions_are_not_logged(out):
    logs.configure(stream=out)
    mark = cloudevent(Mark.of("p", 0, 1, 2, "idle"), worker="w", lineage="a", key="p/0", sequence=0, time=0)
    assert not logs.log_record(mark)
    assert out.getvalue() == ""


def test_what_is_no_record_is_refused(out):
    logs.configure(stream=out)
    with pytest.raises(InputError):
        logs.log_record(b"{")


def test_every_line_is_one_json_object_whatever_is_said(out):
    logs.configure(stream=out, clock=lambda: "now")
    log = structlog.get_logger()
    log.info("started", name="line\nbreak", path=logs.__spec__, n=3)
    try:
        int("wrong")
    except ValueError:
        log.exception("stopped")
    logging.getLogger("kafka.conn").warning("lost %s", "node 1")
    first, second, third = lines(out)
    assert (first["event"], first["name"], first["timestamp"]) == ("started", "line\nbreak", "now")
    assert "ValueError: invalid" in second["exception"]
    assert (third["event"], third["logger"], third["message"]) == ("library", "kafka.conn", "lost node 1")


def test_a_level_hides_what_is_below_it_and_other_libraries_chatter(out):
    logs.configure("info", stream=out)
    structlog.get_logger().debug("detail")
    logging.getLogger("kafka").info("chatter")
    assert out.getvalue() == ""


def test_a_sentence_that_another_library_repeats_stands_there_once_a_minute_with_what_was_left_out(out, monkeypatch):
    logs.configure(stream=out)
    now = 1_000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    library = logging.getLogger("kafka.net")
    for attempt in range(1_200):  # 20 a second
        now = 1_000.0 + attempt / 20
        library.warning("port %d: refused", attempt)
    library.error("another")
    now += 1.0
    library.warning("port %d: refused", 1_200)
    told = [(line["message"], line.get("left_out")) for line in lines(out)]
    assert told == [("port 0: refused", None), ("another", None), ("port 1200: refused", 1_199)]


def test_an_unknown_level_is_refused(out):
    with pytest.raises(UsageError, match="debug"):
        logs.configure("loud", stream=out)


def test_a_terminal_gets_colours_and_the_gist_of_a_record(out):
    logs.configure(stream=out, colours=True)
    logs.log_record(DRIFT)
    assert "\x1b[" in out.getvalue()
    assert "fraud" in out.getvalue()
    assert "specversion" not in out.getvalue()


def test_a_traceback_shows_no_local_variables(out):
    logs.configure(stream=out, colours=True)
    password = "swordfish"
    try:
        int(password[:5])
    except ValueError:
        structlog.get_logger().exception("stopped")
    assert "ValueError" in out.getvalue()
    assert "fish" not in out.getvalue()


def test_the_log_goes_to_stderr_and_is_json_in_a_pipe():
    code = "from streameval import logs; import structlog; logs.configure(); structlog.get_logger().info('started')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "started"
