"""The tree of errors is what its docstring draws, and every error says what, where and what to do."""

import inspect
import pickle
import re

import pytest

from streameval import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.StreamevalError)]
_LINE = re.compile(r"^ {4}(?P<tree>[│├└─ ]*)(?P<name>\w+Error) +(?P<code>\d+)", re.MULTILINE)


def drawn():
    """(name, name of its parent, exit code) of each line of the tree."""
    above = []
    for found in _LINE.finditer(errors.__doc__):
        depth = len(found["tree"]) // 4
        del above[depth:]
        yield found["name"], above[-1] if above else "Exception", int(found["code"])
        above.append(found["name"])


def test_the_drawn_tree_is_the_real_one():
    assert sorted(drawn()) == sorted((kind.__name__, kind.__bases__[0].__name__, kind.exit_code) for kind in KINDS)


def test_every_error_is_exported():
    assert sorted(errors.__all__) == sorted(kind.__name__ for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_says_where_what_and_the_cure(kind):
    assert str(kind("too large", where="c.yaml: max_rows", cure="lower it")) == "c.yaml: max_rows: too large (lower it)"
    assert str(kind("too large")) == "too large"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_parts_between_processes(kind):
    back = pickle.loads(pickle.dumps(kind("a", where="b", cure="c")))
    assert (type(back), back.what, back.where, back.cure) == (kind, "a", "b", "c")


def test_exit_codes_leave_the_shells_own_alone():
    assert all(0 < kind.exit_code < 126 for kind in KINDS)
