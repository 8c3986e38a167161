"""The program as a whole: help that teaches, errors that say what, where and what to do, and exit codes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streameval
from streameval import errors
from streameval.cli import app as program
from streameval.cli.app import spread

COMMANDS = ["demo", "run", "replay", "check", "tail", "report", "inspect", "schema"]


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_help_names_every_command(call):
    result = call("--help")
    assert result.exit_code == 0
    assert all(re.search(rf"│ {command} ", plain(result.stdout)) for command in COMMANDS)


def test_nothing_typed_shows_the_help(call):
    assert "Commands" in call().output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_teaches_by_examples(call, command):
    text = plain(call(command, "-h").stdout)
    assert "Examples" in text
    assert len(re.findall(rf"streameval {command}\b", text)) >= 2


def test_the_version_is_told(call):
    assert call("--version").stdout == f"streameval {streameval.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["run", "--config", "missing.yaml"],
            3,
            ["no such file", "missing.yaml", "check the path given with --config"],
        ),
        (["run"], 2, ["Missing option", "--config"]),
        (["run", "--confg", "x"], 2, ["No such option", "--confg"]),
        (["rnu"], 2, ["No such command", "rnu"]),
        (["report"], 2, ["either --config or --dir is needed", "--dir DIR"]),
        (["report", "--dir", "nowhere"], 4, ["no such folder", "nowhere", "that replay wrote with --out"]),
        (["report", "--config", "a", "--dir", "b"], 2, ["and not both"]),
        (["inspect", "abc", "--dir", "x"], 2, ["'abc' is not the beginning of an id", "32 hexadecimal digits"]),
        (["schema", "treshold"], 2, ["no schema 'treshold'", "did you mean threshold?"]),
        (["run", "--log-level", "loud", "-c", "x"], 2, ["loud"]),
    ],
)
def test_a_mistake_is_told_on_stderr_with_its_exit_code(call, arguments, code, said):
    result = call(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert all(words in result.stderr for words in said), result.stderr
    assert "Traceback" not in result.stderr


def test_a_configuration_that_is_wrong_is_told_with_its_path_and_cure(call, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("transport: {kind: logdir, path: e}\nmodels: [{name: a, labels: {wiat: 1d}}]\n")
    result = call("run", "--config", path)
    assert result.exit_code == errors.ConfigError.exit_code
    assert "models[0].labels.wiat" in result.stderr
    path.write_text("models: [")
    assert call("check", "--config", path).exit_code == 3
    path.write_text("transport: {kind: logdir, path: e}\nmodels: [{name: a, task: ranking}]\n")
    result = call("run", "--config", path)
    assert (result.exit_code, "not available yet" in result.stderr) == (3, True)


def test_what_a_message_quotes_is_never_read_as_markup(call):
    assert "no schema '[red]x[/red]'" in call("schema", "[red]x[/red]").stderr


@pytest.mark.parametrize(
    ("raised", "code", "traceback"),
    [
        (errors.FencedError("another one", where="worker w", cure="stop it"), 7, False),
        (errors.StorageError("full", cure="free space"), 8, False),
        (KeyboardInterrupt(), 130, False),
        (PermissionError(13, "Permission denied", "/x"), 1, False),
        (KeyError("ours"), 70, True),
        (NameError("ours"), 70, True),
        (RuntimeError("ours"), 70, True),
    ],
)
def test_only_a_defect_shows_a_traceback(call, monkeypatch, raised, code, traceback):
    def fail():
        raise raised

    monkeypatch.setattr("streameval.cli.schema.all_schemas", fail)
    result = call("schema")
    assert result.exit_code == code
    assert ("Traceback" in result.stderr) == traceback


VALUES = st.text("abc", min_size=1, max_size=3)
GROUPS = st.lists(st.tuples(st.sampled_from(["--predictions", "--outcomes"]), st.lists(VALUES, min_size=1)))


@given(GROUPS)
def test_an_option_with_several_values_is_the_option_repeated(groups):
    together = [word for option, values in groups for word in (option, *values)]
    repeated = [word for option, values in groups for value in values for word in (option, value)]
    assert spread(together, {"--predictions", "--outcomes"}) == repeated
    assert spread(repeated, {"--predictions", "--outcomes"}) == repeated


def test_other_options_keep_their_values(call):
    args = ["-c", "c.yaml", "--predictions", "a", "b", "--complete", "--out", "d"]
    assert spread(args, {"--predictions"}) == [*args[:4], "--predictions", "b", "--complete", "--out", "d"]


def test_it_is_a_process_with_its_exit_codes(start):
    process = start("check", "--config", "missing.yaml")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    assert err.splitlines()[0] == "Error: no such file"


@pytest.mark.parametrize("command", [["check"], ["tail", "--no-follow"]])
def test_a_reader_who_leaves_early_is_no_failure_and_ends_it_quietly(start, worker, command):
    process = start(*command, "--config", worker)
    process.stdout.close()  # before anything is written, as when head has seen enough
    assert process.wait(timeout=60) == program.UNREAD
    assert process.stderr.read() == ""


def test_help_and_schemas_do_not_wait_for_river(start):
    process = start("schema", "prediction")
    assert process.communicate(timeout=60)[1] == ""
    import subprocess
    import sys

    from tests.cli.conftest import HOME, environment

    code = "import sys, streameval.cli; sys.exit(any(m.split('.')[0] in ('river', 'kafka') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), cwd=HOME, check=False).returncode == 0
    assert program.INTERRUPTED == 130
