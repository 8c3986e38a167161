"""A file becomes a configuration, or an error that names the file, the path in it and the cure."""

import contextlib
import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streameval.config import Config, load, parse
from streameval.config.worker import OUTCOME_FIELDS, PREDICTION_FIELDS
from streameval.errors import ConfigError, ConfigFileError, ConfigValueError, NotAvailableError
from streameval.events.contract import Outcome, Prediction
from tests.house.readme import ROOT

LEAST = {"transport": {"kind": "logdir", "path": "events"}, "models": [{"name": "fraud"}]}
HEAD = "transport: {kind: logdir, path: events}\n"


@pytest.fixture
def loaded(tmp_path):
    """Load a text as the file c.yaml."""

    def loaded(text, **environ):
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path, environ=environ)

    return loaded


def test_a_name_and_a_transport_are_enough(loaded):
    config = loaded(HEAD + "models: [{name: fraud}]")
    assert config.model("fraud").labels.wait == 86_400_000
    assert config.topics.predictions == ("predictions",)
    assert config.topics.thresholds == "thresholds"
    assert config.topics.commits == "commits"


def test_relative_paths_start_at_the_files_folder(loaded, tmp_path):
    config = loaded(HEAD + "state: keep/here\nmodels: [{name: fraud}]")
    assert (config.transport.path, config.state) == (tmp_path / "events", tmp_path / "keep/here")
    assert loaded(HEAD + "state: /abs\nmodels: [{name: fraud}]").state.as_posix() == "/abs"
    assert loaded(HEAD + "models: [{name: fraud}]").state == tmp_path / "state"


def test_json_is_read_as_well(loaded):
    assert loaded(json.dumps(LEAST, indent=1)).models == parse(LEAST).models


def test_words_that_yaml_would_turn_into_something_else_stay_words(loaded):
    config = loaded(HEAD + "worker: on\nmodels: [{name: no, segments: [yes, 1:30]}]")
    assert (config.worker, config.models[0].name, config.models[0].segments) == ("on", "no", ("yes", "1:30"))


def test_numbers_are_read_as_people_write_them(loaded):
    config = loaded(HEAD + "max_rows: 1e6\nmodels: [{name: a, threshold: 1e-3, reference: {events: 2e4}}]")
    assert (config.max_rows, config.models[0].threshold, config.models[0].reference.events) == (10**6, 0.001, 20_000)


def test_defaults_of_all_models_are_taken_key_by_key_and_a_models_own_win(loaded):
    config = loaded(
        HEAD + "labels: {wait: 2d, missing: negative}\nretire_after: 3d\n"
        "models:\n- {name: a, labels: {wait: 5d}}\n- {name: b, retire_after: 1d}"
    )
    a, b = config.models
    day = 86_400_000
    assert (a.labels.wait, a.labels.missing, a.retire_after) == (5 * day, "negative", 3 * day)
    assert (b.labels.wait, b.labels.missing, b.retire_after) == (2 * day, "negative", day)


def test_a_long_wait_carries_the_default_of_give_up_along():
    labels = parse(LEAST | {"labels": {"wait": "30d"}}).models[0].labels
    assert labels.give_up == labels.wait


def test_variables_are_replaced_from_the_environment(loaded):
    text = HEAD + "worker: ${NAME:-w}-$$1\nmodels: [{name: '${MODEL}'}]"
    assert loaded(text, MODEL="m").worker == "w-$1"
    assert loaded(text, MODEL="m", NAME="x").models[0].name == "m"
    with pytest.raises(ConfigValueError, match=r"c\.yaml:3: models\[0\]\.name: .*MODEL is not set"):
        loaded(text)


WRONG = {
    "labels: {wiat: 1d}": (2, "models[0].labels.wiat", "did you mean 'wait'?"),
    "thresold: 0.5": (2, "models[0].thresold", "did you mean 'threshold'?"),
    "labels: {wait: 1x}": (2, "models[0].labels.wait", "found '1x'"),
    "labels: {wait: 0}": (2, "models[0].labels.wait", "longer than zero"),
    "labels: {wait: 2d, give_up: 1d}": (2, "models[0].labels", "give_up is shorter than wait"),
    "labels: {missing: drp}": (2, "models[0].labels.missing", "did you mean 'drop'?"),
    "labels: 3": (2, "models[0].labels", "expected a mapping, found 3"),
    "threshold: 1.5": (2, "models[0].threshold", "at most 1"),
    "threshold: '0.5'": (2, "models[0].threshold", "without quotes"),
    "threshold: true": (2, "models[0].threshold", "not a number, found true"),
    "threshold: .nan": (2, "models[0].threshold", "finite"),
    "task: binery": (2, "models[0].task", "did you mean 'binary'?"),
    "objective: {kind: f_beat}": (2, "models[0].objective", "did you mean 'f_beta'?"),
    "objective: {fp: 1}": (2, "models[0].objective", "one of cost, f_beta, precision, recall, capacity, value"),
    "objective: {kind: cost, fp: -1}": (2, "models[0].objective.fp", "at least 0, found -1"),
    "objective: {kind: cost, fp: 0, fn: 0}": (2, "models[0].objective", "every threshold is best"),
    "objective: {kind: precision}": (2, "models[0].objective.target", "missing"),
    "objective: {kind: recall, target: 1}": (2, "models[0].objective.target", "less than 1"),
    "objective: {kind: capacity, share: 0}": (2, "models[0].objective.share", "more than 0"),
    "objective: {kind: f_beta, beta: 0}": (2, "models[0].objective.beta", "at least 0.01"),
    "objective: {kind: f_beta, bata: 1}": (2, "models[0].objective.bata", "did you mean 'beta'?"),
    "objective: {kind: value, kpi: profit}": (2, "models[0]", "kpis: {profit: {scale: 0.01}}"),
    "kpis: {auc: {}}": (2, "models[0]", "built-in metric"),
    "kpis: {r: {scale: 0}}": (2, "models[0].kpis.r.scale", "at least 1e-12"),
    "kpis: {r: {scale: 1e-300}}": (2, "models[0].kpis.r.scale", "at least 1e-12"),
    "segments: country": (2, "models[0].segments", "expected a list"),
    "segments: [a, a]": (2, "models[0]", "stands twice"),
    "segments: ['a=b']": (2, "models[0]", "holds ="),
    'segments: ["a\\nb"]': (2, "models[0].segments[0]", "no control, formatting or invisible characters"),
    'segments: ["a\\u202eb"]': (2, "models[0].segments[0]", "no control, formatting or invisible characters"),
    'kpis: {"a\\u009bb": {}}': (2, "models[0].kpis.a�b", "no control, formatting or invisible characters"),
    "evaluate: {events: 10, window: 5}": (2, "models[0].evaluate", "smaller than one step"),
    "evaluate: {events: 0}": (2, "models[0].evaluate.events", "at least 1"),
    "evaluate: {events: 1.5}": (2, "models[0].evaluate.events", "whole number, found 1.5"),
    "drift: {advisory: [ADWIN, ADWIN]}": (2, "models[0].drift", "stands twice"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_mistake_in_a_model_is_told_with_its_line_path_and_cure(loaded, tmp_path, wrong):
    line, path, said = WRONG[wrong]
    with pytest.raises(ConfigError) as caught:
        loaded(HEAD + f"models: [{{name: a, {wrong}}}]")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'c.yaml'}:{line}: {path}: ")
    assert said in message


TOP = {
    "modles: 1\nmodels: [{name: a}]": "did you mean 'models'?",
    "models: []": "models: needs at least 1, found none",
    "worker: w": "models: missing",
    "models: [{}]": "models[0].name: missing",
    "models: [3]": "models[0]: expected a mapping, found 3",
    "models: [{name: a}, {name: a}]": "two models are named 'a'",
    "models: [{name: ''}]": "a name is not empty",
    f"models: [{{name: {'a' * 129}}}]": "at most 128 bytes",
    "models: [{name: a}]\ninterval: 1ms": "interval: must be at least 1s",
    "models: [{name: a}]\nlabels: {wait: 1x}": ":3: labels.wait: not a duration",
    "models: [{name: a}]\ntopics: {metrics: drift}": "stands under drift and under metrics",
    "models: [{name: a}]\ntopics: {outcomes: [predictions]}": "under predictions and under outcomes",
    "models: [{name: a}]\ntopics: {drift: a/b}": "not a topic name",
    "models: [{name: a}]\nmappings: [{topic: x, event: outcome}]": "add it under topics.outcomes",
    "models: [{name: a}]\nmappings: [{topic: outcomes, event: outcome, model: b}]": "'b', which is not configured",
    "models: [{name: a}]\nmappings: [{topic: outcomes, event: outcome, fields: {score: s}}]": "not a field of an",
    "models: [{name: a}]\nmappings: [{topic: outcomes, event: outcome, fields: {id: a..b}}]": "not a dotted path",
    "models: [{name: a}]\nmappings: [{topic: outcomes, event: outcome, model: a, fields: {model: m}}]": "given twice",
    "models: [{name: a}]\ncommit: {bytes: 1}": "commit.bytes: must be at least 65536",
    "models: [{name: a}]\nmax_rows: 1.5": "max_rows: expected a whole number, found 1.5",
}


@pytest.mark.parametrize("wrong", TOP)
def test_a_mistake_at_the_top_level_is_told(loaded, wrong):
    with pytest.raises(ConfigError) as caught:
        loaded(HEAD + wrong)
    assert TOP[wrong] in str(caught.value)


def test_all_mistakes_are_told_at_once_each_once_in_the_order_of_the_file(loaded):
    with pytest.raises(ConfigValueError) as caught:
        loaded(HEAD + "labels: {wait: 1x}\nmodels:\n- {name: a, threshold: 2}\n- {name: b, tsak: binary}")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("3 problems")
    assert [line.split(": ")[1] for line in lines[1:]] == ["labels.wait", "models[0].threshold", "models[1].tsak"]


SYNTAX = {
    "models: [": "not valid YAML",
    "a: b: c": "c.yaml:1:5: not valid YAML",
    "a:\n\t- b": "spaces, not tabs",
    "models: 1\nmodels: 2": "c.yaml:2:1: models: the key 'models' stands twice (first in line 1)",
    "a: {b: 1, b: 2}": "a.b: the key 'b' stands twice",
    "": "empty",
    "- a": "not a mapping",
    "&a a: *b": "not valid YAML",
    "a: &x [*x]": "alias",
    "? [a]\n: b": "a key is not a word",
    "a: !!python/object:os.system x": "not valid YAML",
    "a: " + "[" * 100 + "]" * 100: "nested too deeply",
    "a: " + "9" * 5000: "cannot be read",
    "a: 1\n---\nb: 2": "not valid YAML",
    "a: \x00": "not valid YAML",
}


@pytest.mark.parametrize("text", SYNTAX, ids=range(len(SYNTAX)))
def test_a_broken_file_is_told_with_line_and_column(loaded, text):
    with pytest.raises(ConfigFileError) as caught:
        loaded(text)
    assert SYNTAX[text] in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_configuration_or_a_configuration_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(HEAD + text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigError):  # without models it cannot be right
        load(path, environ={})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


KNOWN = st.dictionaries(st.sampled_from(list(Config.model_fields)), VALUES)


@given(KNOWN, st.dictionaries(st.text(max_size=3), VALUES))
def test_any_values_are_a_configuration_or_a_configuration_error(known, unknown):
    with contextlib.suppress(ConfigError):
        parse(LEAST | known | unknown)


def test_a_file_that_cannot_be_read_is_told(tmp_path, loaded):
    with pytest.raises(ConfigFileError, match="no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigFileError, match="a directory"):
        load(tmp_path)
    with pytest.raises(ConfigFileError, match="UTF-8"):
        loaded(b"a: \xff")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_told(tmp_path):
    path = tmp_path / "c.yaml"
    path.touch(mode=0)
    with pytest.raises(ConfigFileError, match="permissions"):
        load(path)


@pytest.mark.parametrize("task", ["multiclass", "regression", "ranking"])
def test_a_task_that_is_not_available_yet_is_refused_plainly(loaded, task):
    with pytest.raises(NotAvailableError, match=rf"c\.yaml:2: models\[0\]\.task: task {task} is not available yet"):
        loaded(HEAD + f"models: [{{name: a, task: {task}}}]")


@pytest.mark.parametrize("name", ["example", "kafka"])
def test_the_examples_are_right(name):
    assert load(ROOT / "config" / f"{name}.yaml", environ={}).models


def test_a_mapping_knows_the_fields_of_the_input_contract():
    assert {*PREDICTION_FIELDS} == {*Prediction.__struct_fields__}
    assert {*OUTCOME_FIELDS} == {*Outcome.__struct_fields__}
