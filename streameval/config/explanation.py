"""pydantic's errors as sentences for people: where in the file, what was found, what to do.

Invariant: every problem of a configuration is told at once, each exactly once, at the place where the person wrote it
(a default that models inherit is told at the top level), and none shows a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streameval.config.document import Document, Path
from streameval.config.model import INHERITED
from streameval.config.quantities import duration_text
from streameval.config.section import RefusedError, Section, alternatives, is_section, tag_of
from streameval.config.worker import Config
from streameval.errors import ConfigValueError

__all__ = ["explain", "sections_at"]

_HIDDEN = {"ids", "password", "key_password"}


def explain(error: ValidationError, document: Document) -> ConfigValueError:
    """The error to raise for what pydantic found wrong in a document."""
    problems: list[ConfigValueError] = []
    order: dict[str, int] = {}
    for detail in error.errors(include_url=False):
        path = _written_path(detail, document.values)
        if path is None or (detail["type"] == "too_short" and detail["input"]):  # its items failed, and are told
            continue
        problem = _problem(detail, path, document)
        if str(problem) not in map(str, problems):
            problems.append(problem)
            order[str(problem)] = document.line(path)
    problems.sort(key=lambda problem: order[str(problem)])
    if len(problems) == 1:
        return problems[0]
    told = "".join(f"\n  {problem}" for problem in problems)
    return ConfigValueError(f"{len(problems)} problems{told}", where=document.name)


def sections_at(path: Path, kind: Any = Config) -> list[type[Section]]:
    """The sections that may stand at a path (several, where ``kind`` tells them apart).

    >>> [section.__name__ for section in sections_at(("models", 0, "labels"))]
    ['Labels']
    """
    found = [kind]
    for part in path:
        found = [inner for outer in found for inner in _inner(outer, part)]
    return [section for outer in found for section in alternatives(outer) if is_section(section)]


def _inner(kind: Any, part: str | int) -> Iterator[Any]:
    for option in alternatives(kind):
        if is_section(option):
            if part in option.model_fields:
                yield option.model_fields[part].annotation
        elif get_origin(option) is tuple:
            yield get_args(option)[0]
        elif get_origin(option) is dict:
            yield get_args(option)[1]


def _written_path(detail: ErrorDetails, values: Any) -> Path | None:
    """The path as written; None where a model inherits the mistake, which is told where it stands."""
    path: list[str | int] = []
    here = values
    for part in detail["loc"]:
        if isinstance(here, dict) and part not in here and part == here.get("kind"):
            continue  # pydantic names the chosen alternative in its path; the file has no such level
        if part == "[key]":
            continue
        path.append(part)
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            here = None
    if len(path) > 2 and path[0] == "models" and path[2] in INHERITED and detail["type"] != "missing":
        own: Any = values["models"][path[1]]
        default: Any = values
        for part in path[2:]:
            own = own.get(part) if isinstance(own, dict) else None
            default = default.get(part) if isinstance(default, dict) else None
        if own is None and default is not None:
            return None
    return tuple(path)


def _found(detail: ErrorDetails, path: Path) -> str:
    if any(part in _HIDDEN for part in path):
        return ""
    value = detail.get("input")
    if isinstance(value, dict | Section):
        return ", found a mapping"
    if isinstance(value, list | tuple):
        return ", found a list"
    if value is None:
        return ", found nothing"
    said = "true" if value is True else "false" if value is False else repr(value)
    return f", found {said if len(said) <= 60 else said[:57] + '...'}"


_EXPECTED = {
    "string_type": ("expected text", "put it in quotes"),
    "tuple_type": ("expected a list", "write [a, b], or one - item a line"),
    "dict_type": ("expected a mapping", "write key: value lines below it"),
    "model_type": ("expected a mapping", "write key: value lines below it"),
    "model_attributes_type": ("expected a mapping", "write key: value lines below it"),
    "int_type": ("expected a whole number", ""),
    "int_from_float": ("expected a whole number", ""),
    "float_type": ("expected a number", ""),
    "bool_type": ("expected true or false", ""),
    "path_type": ("expected a path", "put it in quotes"),
    "finite_number": ("expected a finite number", ""),
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _problem(detail: ErrorDetails, path: Path, document: Document) -> ConfigValueError:
    what, cure = _sentence(detail, path)
    return ConfigValueError(what, where=document.place(path), cure=cure)


def _sentence(detail: ErrorDetails, path: Path) -> tuple[str, str]:
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx") or {}
    found = _found(detail, path)
    if kind == "extra_forbidden":
        known = [name for section in sections_at(path[:-1]) for name in section.model_fields]
        return f"unknown key {path[-1]!r}", _meant(str(path[-1]), known, "known keys are")
    if kind == "missing":
        return "missing", f"add it: {_description(path)}" if _description(path) else "add it"
    if kind == "value_error" and isinstance(context.get("error"), RefusedError):
        refused: RefusedError = context["error"]
        scalar = not isinstance(detail.get("input"), dict | list | tuple | Section)
        return refused.what + (found if scalar else ""), refused.cure
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        bound = context[key]
        said = f"{duration_text(bound)} ({bound} ms)" if _is_duration(path) else f"{bound:g}"
        return f"must be {words} {said}{found}", ""
    if kind == "literal_error":
        # pydantic lists the values as text: 'a', 'b' or 'c'.
        options = [part for part in str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ") if part]
        return f"must be one of {', '.join(options)}{found}", _meant(str(detail.get("input")), options, "")
    if kind == "union_tag_invalid":
        options = [part for part in str(context["expected_tags"]).replace("'", "").split(", ") if part]
        tag = str(context["tag"])
        return f"unknown kind {tag!r}", _meant(tag, options, "kinds are")
    if kind == "union_tag_not_found":
        options = [tag_of(section) for section in sections_at(path)]
        return "kind is missing", f"add kind, one of {', '.join(options)}"
    if kind in {"too_short", "too_long"}:
        if kind == "too_short":
            return f"needs at least {context['min_length']}, found none", "name one"
        return f"holds more than {context['max_length']} items", "name fewer"
    if kind in _EXPECTED:
        expected, cure = _EXPECTED[kind]
        return expected + found, cure
    return detail["msg"] + found, ""


def _is_duration(path: Path) -> bool:
    for section in sections_at(path[:-1]):
        schema = section.model_json_schema()["properties"].get(str(path[-1]), {})
        if schema.get("format") == "duration-ms":
            return True
    return False


def _description(path: Path) -> str:
    for section in sections_at(path[:-1]):
        field = section.model_fields.get(str(path[-1]))
        if field is not None and field.description:
            return field.description
    return ""


def _meant(word: str, known: list[str], listing: str) -> str:
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"{listing} {', '.join(dict.fromkeys(known))}" if listing and known else ""
