"""A YAML (or JSON) text as plain values, with the line of every key.

Invariant: what a person sees is what is read. The YAML 1.2 core schema is used (``no`` and ``on`` are words, ``1e6``
is a number, ``1:30`` is text, dates are text), a key stands once, and ``${NAME}`` is replaced from the environment
outside of ``transport.security`` and ``ids``, where only references to secrets may stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from streameval.errors import ConfigFileError, ConfigValueError
from streameval.plain import cleaned

__all__ = ["Document", "Path", "path_text", "read"]

Path = tuple[str | int, ...]
"""Where a value stands: keys and list indices from the root."""

_DEEPEST: Final = 32
_LARGEST: Final = 16 * 2**20
_TAG: Final = "tag:yaml.org,2002:"
_SECRETS: Final = (("transport", "security"), ("ids",))
_VARIABLE: Final = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")


@dataclass(slots=True)
class Document:
    """The values of a text, and where each key of it stands."""

    name: str
    values: Any = None
    lines: dict[Path, int] = field(default_factory=dict)

    def place(self, path: Path) -> str:
        r"""``file:line: path`` of a value, or of the nearest thing above it that stands in the text.

        >>> read("models:\n- name: a", "c.yaml", {}).place(("models", 0, "nam"))
        'c.yaml:2: models[0].nam'
        """
        line = self.line(path)
        text = path_text(path)
        head = f"{self.name}:{line}" if line else self.name
        return f"{head}: {text}" if text else head

    def line(self, path: Path) -> int:
        """The line of a value, or of the nearest thing above it that stands in the text; 0: not from a text."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0) if path else 0


def path_text(path: Path) -> str:
    """A path as people write it.

    >>> path_text(("models", 0, "labels", "wait"))
    'models[0].labels.wait'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return cleaned(text)


class _CoreLoader(yaml.SafeLoader):
    """YAML 1.2's core schema: without 1.1's surprises (no = false, 1:30 = 90, dates)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own protocol


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
):
    _CoreLoader.add_implicit_resolver(_TAG + _tag, re.compile(rf"^(?:{_pattern})$"), list(_first))


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node))
    if node.tag.endswith("int"):
        return int(text, 16) if text.startswith("0x") else int(text)
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if "n" in text.lower() else float(text)


_CoreLoader.add_constructor(_TAG + "int", _number)
_CoreLoader.add_constructor(_TAG + "float", _number)


def read(text: str, name: str, environ: Mapping[str, str]) -> Document:
    """Parse a text.

    Args:
        text: YAML or JSON.
        name: what the text is called in errors, as a rule the file's path.
        environ: where ``${NAME}`` and ``${NAME:-default}`` are looked up; ``$$`` is one dollar sign.

    Raises:
        ConfigFileError: it is not one YAML mapping, or a key stands twice; with line and column.
        ConfigValueError: a variable is not set.
    """
    if len(text) > _LARGEST:
        raise ConfigFileError("larger than 16 MiB", where=name, cure="this is hardly a configuration")
    document = Document(name)
    try:
        _compose(document, text)
    except yaml.YAMLError as error:
        raise _syntax(error, name) from error
    except RecursionError as error:
        raise ConfigFileError("nested too deeply", where=name, cure="a configuration has about five levels") from error
    except ValueError as error:  # a number beyond Python's limit of digits
        raise ConfigFileError(f"a value cannot be read: {error}", where=name, cure="write a smaller number") from error
    if document.values is None:
        raise ConfigFileError("empty", where=name, cure="write at least transport and models; see config/example.yaml")
    if not isinstance(document.values, dict):
        raise ConfigFileError("not a mapping of keys to values", where=name, cure="see config/example.yaml")
    document.values = _expand(document, document.values, (), environ)
    return document


def _compose(document: Document, text: str) -> None:
    loader = _CoreLoader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            _walk(document, node, (), ())
            document.values = loader.construct_document(node)
    finally:
        loader.dispose()


def _walk(document: Document, node: yaml.Node, path: Path, above: tuple[int, ...]) -> None:
    if id(node) in above or len(above) > _DEEPEST:
        raise ConfigFileError("nested too deeply", where=document.place(path), cure="an alias may not contain itself")
    above = (*above, id(node))
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(document, item, (*path, index), above)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigFileError("a key is not a word", where=f"{document.name}:{line}", cure="write key: value")
            word = str(key.value)
            here = (*path, word)
            if word in first:
                raise ConfigFileError(
                    f"the key {word!r} stands twice (first in line {first[word]})",
                    where=f"{document.name}:{line}:{key.start_mark.column + 1}: {path_text(here)}",
                    cure="keep one; the other would be silently lost",
                )
            first[word] = document.lines[here] = line
            _walk(document, value, here, above)


def _syntax(error: yaml.YAMLError, name: str) -> ConfigFileError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    tabs = "\\t" in str(what)
    cure = "indent with spaces, not tabs" if tabs else "check indentation, colons and quotes near there"
    return ConfigFileError(f"not valid YAML: {what}", where=where, cure=cure)


def _expand(document: Document, value: Any, path: Path, environ: Mapping[str, str]) -> Any:
    if path in _SECRETS:
        return value
    if isinstance(value, dict):
        # Keys that YAML read as numbers or true/false are words here, as people see them.
        return {_word(key): _expand(document, item, (*path, _word(key)), environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(document, item, (*path, index), environ) for index, item in enumerate(value)]
    if isinstance(value, str) and "$" in value:
        return _VARIABLE.sub(lambda found: _variable(document, found, path, environ), value)
    return value


def _word(key: Any) -> str:
    return key if isinstance(key, str) else str(key)


def _variable(document: Document, found: re.Match[str], path: Path, environ: Mapping[str, str]) -> str:
    name, default = found[1], found[2]
    if name is None:
        return "$"
    value = environ.get(name, default)
    if value is None:
        raise ConfigValueError(
            f"the environment variable {name} is not set",
            where=document.place(path),
            cure=f"set it, or give a default: ${{{name}:-default}}",
        )
    return value
