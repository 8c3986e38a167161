"""A worker that has read its logs to the end, and the ways to call a command: in this process, and in its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

import streameval
from streameval.cli.app import app
from tests.cli import stream

HOME = Path(streameval.__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_log():
    yield
    structlog.reset_defaults()


@pytest.fixture
def call():
    """Calls a command in this process: `.exit_code`, `.stdout`, `.stderr`."""

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def environment():
    given = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "PY_COLORS"}}
    return given | {"PYTHONPATH": str(HOME), "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def start():
    """Starts a command as a process of its own, with pipes; it is killed at the end of the test if it still runs."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "streameval.cli", *(str(argument) for argument in arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=HOME
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def worker(tmp_path_factory):
    """The configuration of a worker whose logs are read and whose records are published; not to be written to."""
    config = stream.write(tmp_path_factory.mktemp("worker"))
    result = CliRunner().invoke(app, ["run", "--config", str(config), "--until-end"])
    assert result.exit_code == 0, result.output
    return config


@pytest.fixture
def fresh_worker(tmp_path):
    """The configuration of a worker that has not run yet."""
    return stream.write(tmp_path)
