"""What a changed configuration does to kept state.

Invariant: configuration is part of the function that makes the outputs. A model's state carries the digest and the
text of the configuration it was made under; a difference takes effect at a mark, field by field, as each declares:
``live``, ``restarts`` (what is learnt anew) or ``refused``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import msgspec
import xxhash
from pydantic.fields import FieldInfo

from streameval.config.model import INHERITED
from streameval.config.section import Effect, Section, is_section, section_of
from streameval.config.worker import Config

__all__ = ["Change", "changes", "digest", "facts"]


@dataclass(slots=True, frozen=True)
class Change:
    """One changed value: its dotted path, both values (None: absent), and what it does."""

    path: str
    old: Any
    new: Any
    effect: Effect
    restarts: str = ""
    """What is learnt anew (``restarts``), or what to do instead (``refused``)."""

    @property
    def said(self) -> str:
        """The change in words, without what it restarts."""
        return f"{self.path}: {self.old!r} -> {self.new!r}, {self.effect}"

    def __str__(self) -> str:
        return f"{self.said} ({self.restarts})" if self.restarts else self.said


def facts(section: Section) -> dict[str, Any]:
    """A section as plain values (JSON types), the form in which state keeps it; the models of a whole one are left out.

    >>> from streameval.config import Model
    >>> facts(Model(name="fraud"))["labels"]["wait"]
    86400000
    """
    plain: dict[str, Any] = section.model_dump(mode="json", exclude=_left_out(section))
    return plain


def digest(section: Section) -> str:
    """32 hex digits that change with any value of the section (xxh3-128 of its canonical JSON).

    >>> from streameval.config import Model
    >>> digest(Model(name="a")) == digest(Model(name="a", threshold=0.5)) != digest(Model(name="a", threshold=0.4))
    True
    """
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode(facts(section), order="sorted"))


def changes(old: dict[str, Any], new: Section) -> list[Change]:
    """What differs between a kept configuration and the present one.

    Args:
        old: :func:`facts` of the section under which state was kept; a key that it lacks (an older release) counts
            as that field's default.
        new: the present section.

    Returns:
        One change for each value that differs, in the order of the fields. Empty: nothing changed.

    >>> from streameval.config import Model
    >>> print(*changes(facts(Model(name="a")), Model(name="a", labels={"amend": "2d"})))
    labels.amend: 86400000 -> 172800000, live
    """
    return list(_differences(old, facts(new), type(new), ""))


def _left_out(section: Section) -> set[str]:
    # Models carry their own digest, and the top-level defaults are already merged into them.
    return {"models", *INHERITED} if isinstance(section, Config) else set()


def _differences(old: dict[str, Any], new: dict[str, Any], kind: type[Section], prefix: str) -> Iterator[Change]:
    for name, field in kind.model_fields.items():
        if name not in new:
            continue
        was = old[name] if name in old else _default(field)
        yield from _difference(was, new[name], field, f"{prefix}{name}")


def _difference(was: Any, now: Any, field: FieldInfo, path: str) -> Iterator[Change]:
    if was == now:
        return
    if isinstance(was, dict) and isinstance(now, dict):
        inner = section_of(field.annotation, now)
        if inner is not None and was.get("kind") == now.get("kind"):
            yield from _differences(was, now, inner, f"{path}.")
            return
        if inner is not None:  # another kind: its own field says what that does
            yield _change(inner.model_fields["kind"], f"{path}.kind", was.get("kind"), now.get("kind"))
            return
        named = _named(field.annotation)
        if named is not None:
            for name in dict.fromkeys((*now, *was)):
                if name in was and name in now:
                    yield from _differences(was[name], now[name], named, f"{path}.{name}.")
                else:
                    yield _change(field, f"{path}.{name}", was.get(name), now.get(name))
            return
    yield _change(field, path, was, now)


def _change(field: FieldInfo, path: str, was: Any, now: Any) -> Change:
    extra = field.json_schema_extra
    declared: dict[str, Any] = dict(extra) if isinstance(extra, dict) else {}
    return Change(path, was, now, declared["change"], declared.get("restarts", ""))


def _named(annotation: Any) -> type[Section] | None:
    """The section of a mapping of names to sections."""
    inner = get_args(annotation)[1] if get_origin(annotation) is dict else None
    return inner if is_section(inner) else None


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Section):
        return facts(value)
    return list(value) if isinstance(value, tuple) else value
