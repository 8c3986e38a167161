"""The schemas describe what is really written and read."""

import json

import jsonschema
import pytest
import yaml

from streameval.schema import all_schemas
from tests.house.readme import ROOT


@pytest.mark.parametrize("name", list(all_schemas()))
def test_a_schema_is_itself_valid_and_plain_json(name):
    schema = all_schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("name", ["example", "kafka"])
def test_an_editor_that_knows_the_schema_accepts_the_examples(name):
    example = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(example, all_schemas()["config"], cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "wrong", [{"modles": []}, {"models": [{"name": "a", "labels": {"wait": "1x"}}]}, {"max_rows": 0}, {"models": []}]
)
def test_an_editor_that_knows_the_schema_marks_mistakes(wrong):
    right = {"transport": {"kind": "logdir", "path": "e"}, "models": [{"name": "a"}]}
    validator = jsonschema.Draft202012Validator(all_schemas()["config"])
    assert validator.is_valid(right)
    assert not validator.is_valid(right | wrong)


def test_every_field_of_the_configuration_is_described():
    for name, section in all_schemas()["config"]["$defs"].items():
        assert all(field.get("description") for field in section["properties"].values()), name
