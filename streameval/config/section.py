"""The base of every part of the configuration.

Invariant: a section is frozen, refuses unknown keys, and each of its fields says what happens to kept state when it is
changed: ``live`` (from the next mark on), ``restarts`` (what is learnt anew), or ``refused``.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Effect", "RefusedError", "Section", "alternatives", "is_section", "section_of", "setting", "tag_of"]

Effect = Literal["live", "restarts", "refused"]


class Section(BaseModel):
    """A mapping of the configuration file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=False,
    )


class RefusedError(ValueError):
    """A value that the configuration does not allow: what is wrong, and the cure.

    Validators raise it; ``streameval.config.explanation`` adds the file and the path.
    """

    def __init__(self, what: str, cure: str = "") -> None:
        self.what = what
        self.cure = cure
        super().__init__(f"{what} ({cure})" if cure else what)


def setting(description: str, *, change: Effect = "live", restarts: str = "", **field: Any) -> Any:
    """A described field of a section.

    Args:
        description: what it means, with its unit.
        change: what a changed value does to kept state.
        restarts: what is learnt anew, where ``change`` is ``restarts``; why, where it is ``refused``.
        **field: further arguments of :func:`pydantic.Field` (``default``, ``ge``, ...).
    """
    extra: dict[str, Any] = {"change": change}
    if restarts:
        extra["restarts"] = restarts
    return Field(description=description, json_schema_extra=extra, **field)


def alternatives(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows: each part of a union, else itself.

    >>> [kind.__name__ for kind in alternatives(int | str)]
    ['int', 'str']
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from alternatives(option)
    else:
        yield annotation


def is_section(annotation: Any) -> TypeGuard[type[Section]]:
    """Whether a type is a section."""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def tag_of(section: type[Section]) -> str:
    """The value of ``kind`` that chooses this section among others; empty where there is no choice."""
    kind = section.model_fields.get("kind")
    return str(get_args(kind.annotation)[0]) if kind is not None else ""


def section_of(annotation: Any, values: dict[str, Any]) -> type[Section] | None:
    """The section that these values stand for, chosen by their ``kind`` where an annotation allows several."""
    for option in alternatives(annotation):
        if is_section(option) and tag_of(option) in ("", values.get("kind")):
            return option
    return None
