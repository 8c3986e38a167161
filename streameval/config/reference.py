"""The reference of the configuration, written from its models: ``python -m streameval.config.reference``.

Invariant: ``config/reference.md`` is exactly what :func:`reference` returns; a test compares them.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from streameval.config.model import INHERITED
from streameval.config.quantities import duration_text
from streameval.config.section import Section, is_section, tag_of
from streameval.config.transport import Secret
from streameval.config.worker import Config

__all__ = ["reference"]

_HEAD = """\
# Configuration reference

Written by `python -m streameval.config.reference` from the models in `streameval/config`; edit those, not this page.

The file is YAML (or JSON); [example.yaml](example.yaml) and [kafka.yaml](kafka.yaml) are starts. Unknown keys are
refused.

- **Durations** are a number and a unit (`90s`, `1h30m`, `7d`; units `ms s m h d w y`), ISO 8601 (`PT90S`), or whole
  milliseconds. **Sizes** are whole bytes or have a unit (`4MiB`, `500kB`). Paths are relative to the file.
- `${NAME}` and `${NAME:-default}` are replaced from the environment; `$$` is one dollar sign. Secrets never stand in
  the file: write `{env: NAME}` or `{file: PATH}`.
- **Change** says what an edited value does to kept state. *live*: it holds from the next mark on. *restarts*: the
  thing named is learnt anew, the rest goes on. *refused*: the worker does not start with it, and says what to do.
"""


def reference() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for path, section in _sections(Config, ""):
        doc = inspect.cleandoc(section.__doc__ or "").replace("``", "`")
        title = f"`{path}`" if path else "Top level"
        parts.append(f"## {title}\n\n{doc}\n")
        if section is Config:
            keys = ", ".join(f"`{key}`" for key in INHERITED)
            parts.append(f"{keys} stand here as defaults of all models; a model's own keys win, key by key.\n")
        rows = ["| key | value | default | meaning | change |", "|---|---|---|---|---|"]
        schemas = section.model_json_schema()["properties"]
        rows += [_row(name, field, schemas[name]) for name, field in section.model_fields.items()]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _sections(section: type[Section], path: str) -> Iterator[tuple[str, type[Section]]]:
    if section is Secret:
        return  # told once, at the head of the page
    yield path, section
    for name, field in section.model_fields.items():
        if section is Config and name in INHERITED:
            continue  # told under models
        for suffix, inner in _inner(field.annotation):
            yield from _sections(inner, f"{path}.{name}{suffix}" if path else f"{name}{suffix}")


def _inner(kind: Any) -> Iterator[tuple[str, type[Section]]]:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from _inner(args[0])
    elif origin in (Union, types.UnionType):
        for option in args:
            for suffix, section in _inner(option):
                tag = tag_of(section)
                yield suffix + (f" (kind: {tag})" if tag else ""), section
    elif origin is tuple:
        yield from (("[]" + suffix, section) for suffix, section in _inner(args[0]))
    elif origin is dict:
        yield from ((".NAME" + suffix, section) for suffix, section in _inner(args[1]))
    elif isinstance(kind, type) and issubclass(kind, Section):
        yield "", kind


def _row(name: str, field: FieldInfo, schema: dict[str, Any]) -> str:
    extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    whole = any(is_section(option) for _, option in _inner(field.annotation)) and extra["change"] == "live"
    change = (
        "each key"
        if whole
        else f"{extra['change']}: {extra['restarts']}"
        if extra.get("restarts")
        else str(extra["change"])
    )
    cells = (f"`{name}`", _kind(field, schema), _default(field, schema), field.description or "", change)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kind(field: FieldInfo, schema: dict[str, Any]) -> str:
    annotation = field.annotation
    if any(True for _ in _inner(annotation)):
        origin = get_origin(annotation)
        return (
            "list of mappings" if origin is tuple else "mapping of names to mappings" if origin is dict else "mapping"
        )
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    return _words(schema)


def _words(schema: dict[str, Any]) -> str:
    if schema.get("format") == "duration-ms":
        return "duration" + _range(schema, duration_text)
    if "anyOf" in schema:
        kinds = [_words(option) for option in schema["anyOf"] if option.get("type") != "null"]
        if kinds == ["text", "whole number, at least 0"]:
            return "size"
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_words(schema['items'])}"
    if schema.get("type") == "object":
        return f"mapping of names to {_words(schema['additionalProperties'])}"
    names = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "string": "text"}
    word = "path" if schema.get("format") == "path" else names[schema["type"]]
    return word + (_range(schema, "{:g}".format) if schema["type"] in {"integer", "number"} else "")


def _range(schema: dict[str, Any], text: Any) -> str:
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    said = [f"{word} {text(schema[key])}" for key, word in bounds.items() if key in schema]
    return ", " + ", ".join(said) if said else ""


def _default(field: FieldInfo, schema: dict[str, Any]) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "**needed**"
    if isinstance(value, Section):
        kind = getattr(value, "kind", None)
        return f"kind `{kind}`" if kind else "see below"
    if value is None:
        return "none"
    if schema.get("format") == "duration-ms":
        return f"`{duration_text(value)}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(map(str, value)) + "]`"
    if isinstance(value, dict):
        return "`{}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
