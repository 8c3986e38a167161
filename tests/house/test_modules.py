"""Every module opens with what it is, is named after its concept, and its examples run."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import streameval

PACKAGE = Path(streameval.__file__).parent
PATHS = sorted(PACKAGE.rglob("*.py"))
VAGUE = {"common", "helper", "helpers", "manager", "misc", "tools", "util", "utils"}


def dotted(path):
    parts = ("streameval", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", PATHS, ids=dotted)
def test_a_module_opens_with_a_docstring(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", PATHS, ids=dotted)
def test_a_module_is_named_after_its_concept(path):
    assert not VAGUE & set(dotted(path).split("."))


@pytest.mark.parametrize("path", [path for path in PATHS if path.name != "__main__.py"], ids=dotted)
def test_the_examples_in_docstrings_are_true(path):
    module = importlib.import_module(dotted(path))
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0
