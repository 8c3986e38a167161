"""The base of every part of the configuration.

Invariant: a section is frozen, refuses unknown keys, and each of its fields says what happens to kept state when it is
changed: ``live`` (from the next mark on), ``restarts`` (what is learnt anew), or ``refused``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Effect", "RefusedError", "Section", "setting"]

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
