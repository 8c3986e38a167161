"""A changed configuration: every field says what changing it does, and the digest sees it."""

import pytest
from pydantic import ValidationError

from streameval.config import Config, Model, changes, digest, parse
from streameval.config.change import facts
from streameval.config.section import alternatives, is_section

LEAST = {"transport": {"kind": "logdir", "path": "events"}, "models": [{"name": "fraud"}]}


def sections(kind):
    """A section and all below it."""
    yield kind
    for field in kind.model_fields.values():
        args = getattr(field.annotation, "__args__", ())
        for option in (*alternatives(field.annotation), *args, *(o for arg in args for o in alternatives(arg))):
            if is_section(option):
                yield from sections(option)


SECTIONS = sorted(set(sections(Config)), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_is_described_and_says_what_changing_it_does(section):
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description, name
        extra = field.json_schema_extra
        assert extra["change"] in {"live", "restarts", "refused"}, name
        assert (extra["change"] == "live") == ("restarts" not in extra), f"{name}: what restarts, or why not?"


def test_nothing_differs_from_itself():
    config = parse(LEAST)
    assert changes(facts(config), config) == []
    assert changes(facts(config.models[0]), config.models[0]) == []


@pytest.mark.parametrize(
    ("edit", "path", "effect"),
    [
        ({"labels": {"amend": "2d"}}, "labels.amend", "live"),
        ({"labels": {"wait": "2d"}}, "labels.wait", "restarts"),
        ({"threshold": 0.4}, "threshold", "restarts"),
        ({"objective": {"kind": "cost", "fn": 10}}, "objective.fn", "restarts"),
        ({"objective": {"kind": "f_beta"}}, "objective.kind", "restarts"),
        ({"segments": ["country"]}, "segments", "restarts"),
        ({"kpis": {"revenue": {}}}, "kpis.revenue", "restarts"),
        ({"evaluate": {"river": ["F1"]}}, "evaluate.river", "live"),
        ({"drift": {"promise": "2y"}}, "drift.promise", "restarts"),
        ({"task": "ranking"}, "task", "refused"),
        ({"name": "b"}, "name", "refused"),
    ],
)
def test_a_change_is_told_with_its_path_and_effect_and_changes_the_digest(edit, path, effect):
    old, new = Model(name="a"), Model(**{"name": "a"} | edit)
    assert [(change.path, change.effect) for change in changes(facts(old), new)] == [(path, effect)]
    assert digest(old) != digest(new)


def test_another_transport_is_refused_another_broker_of_it_is_not():
    kafka = {"kind": "kafka", "bootstrap": ["a:1"]}
    old, new = parse(LEAST), parse(LEAST | {"transport": kafka})
    assert [(c.path, c.effect) for c in changes(facts(old), new)] == [("transport.kind", "refused")]
    other = parse(LEAST | {"transport": kafka | {"bootstrap": ["b:1"]}})
    assert [(c.path, c.effect) for c in changes(facts(new), other)] == [("transport.bootstrap", "live")]


def test_a_kpi_that_goes_or_changes_its_scale_is_told_by_name():
    old = Model(name="a", kpis={"x": {}, "y": {}})
    new = Model(name="a", kpis={"y": {"scale": 1}, "z": {}})
    assert [change.path for change in changes(facts(old), new)] == ["kpis.y.scale", "kpis.z", "kpis.x"]


def test_facts_of_an_older_release_that_lack_a_key_count_as_its_default():
    old = facts(Model(name="a"))
    del old["drift"]
    del old["labels"]["amend"]
    del old["segments"]
    assert changes(old, Model(name="a")) == []
    assert [change.path for change in changes(old, Model(name="a", labels={"amend": "9d"}))] == ["labels.amend"]


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert digest(Model(name="a", kpis={"x": {}, "y": {}})) == digest(Model(kpis={"y": {}, "x": {}}, name="a"))


def test_a_configuration_cannot_be_edited_once_it_is_checked():
    with pytest.raises(ValidationError, match="frozen"):
        parse(LEAST).models[0].labels.wait = 0
