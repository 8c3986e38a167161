"""Quantities as people write them: durations, sizes, counts and names, each with one exact inner form.

Invariant: durations are whole milliseconds, sizes whole bytes, and ``duration_ms(duration_text(ms)) == ms``.
Numbers are never taken from quoted text or from true/false: what looks like a mistake is refused, not converted.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from streameval.config.section import RefusedError
from streameval.plain import is_plain

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "YEAR",
    "Bytes",
    "Count",
    "Duration",
    "LocalPath",
    "Name",
    "Number",
    "PositiveDuration",
    "TopicName",
    "bytes_of",
    "duration_ms",
    "duration_text",
]

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
YEAR: Final = 365 * DAY
LONGEST: Final = 1000 * YEAR

_UNITS: Final = {"y": YEAR, "w": WEEK, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}
_PART: Final = r"(\d+(?:\.\d+)?)\s*(ms|[ywdhms])"
_SPOKEN: Final = re.compile(rf"(?:{_PART}\s*)+", re.ASCII)
_ISO: Final = re.compile(
    r"P(?:(\d+)W|(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?)", re.ASCII | re.IGNORECASE
)
_DURATION_CURE: Final = (
    "write a number and a unit (ms, s, m, h, d, w, y), as in 90s, 1h30m or 7d; or whole milliseconds"
)

_SIZES: Final = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


def duration_ms(value: Any) -> int:
    """Whole milliseconds of a duration.

    Args:
        value: ``"90s"``, ``"1h30m"``, ``"1.5d"``, ISO 8601 (``"PT1M"``, ``"P7D"``), or whole milliseconds.

    Raises:
        ValueError: it is none of these, or not a whole number of milliseconds.

    >>> duration_ms("1h30m"), duration_ms("PT90S"), duration_ms(250)
    (5400000, 90000, 250)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        total = Fraction(value)
    elif isinstance(value, float) and value.is_integer():
        total = Fraction(int(value))
    elif isinstance(value, str):
        total = _spoken(value.strip())
    else:
        raise RefusedError("not a duration", _DURATION_CURE)
    if total.denominator != 1:
        raise RefusedError("not a whole number of milliseconds", _DURATION_CURE)
    if not 0 <= total <= LONGEST:
        raise RefusedError("a duration is between 0 and 1000 years", _DURATION_CURE)
    return int(total)


def _spoken(text: str) -> Fraction:
    if _SPOKEN.fullmatch(text):
        parts = re.findall(_PART, text)
        units = [unit for _, unit in parts]
        ranks = [list(_UNITS).index(unit) for unit in units]
        if ranks != sorted(set(ranks)):
            raise RefusedError("units stand once each, the largest first", _DURATION_CURE)
        return sum((Fraction(number) * _UNITS[unit] for number, unit in parts), Fraction(0))
    iso = _ISO.fullmatch(text)
    if iso and any(iso.groups()) and not text.upper().endswith("T"):
        scales = (WEEK, DAY, HOUR, MINUTE, SECOND)
        return sum((Fraction(n) * scale for n, scale in zip(iso.groups(), scales, strict=True) if n), Fraction(0))
    if text == "0":
        return Fraction(0)
    raise RefusedError("not a duration", _DURATION_CURE)


def duration_text(ms: int) -> str:
    """The shortest spoken form of a duration, read back exactly by :func:`duration_ms`.

    >>> duration_text(5_400_000), duration_text(0), duration_text(1_001), duration_text(30 * DAY)
    ('1h30m', '0s', '1s1ms', '30d')
    """
    if ms == 0:
        return "0s"
    parts = []
    for unit, size in _UNITS.items():
        if unit == "w" or (unit == "y" and ms % YEAR):  # people read 30d, not 4w2d
            continue
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def bytes_of(value: Any) -> int:
    """Whole bytes of a size.

    Args:
        value: whole bytes, or a number with B, kB, MB, GB, KiB, MiB or GiB.

    Raises:
        ValueError: it is neither.

    >>> bytes_of("4 MiB"), bytes_of(512)
    (4194304, 512)
    """
    cure = "write whole bytes, or a number with a unit, as in 4MiB or 500kB"
    if isinstance(value, int) and not isinstance(value, bool):
        total = Fraction(value)
    elif isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())) and found[2].lower() in _SIZES:
        total = Fraction(found[1]) * _SIZES[found[2].lower()]
    else:
        raise RefusedError("not a size", cure)
    if total.denominator != 1 or total < 0:
        raise RefusedError("not a whole number of bytes", cure)
    return int(total)


def _whole(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise RefusedError("not a whole number", "write it without quotes")
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 2e4 is how people write twenty thousand
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise RefusedError("not a number", "write it without quotes")
    return value


def _name(value: str) -> str:
    if not value or value != value.strip():
        raise RefusedError("a name is not empty and has no space at its ends")
    if not is_plain(value):
        raise RefusedError("a name has no control, formatting or invisible characters", "write plain text")
    if len(value.encode()) > 128:
        raise RefusedError("a name is at most 128 bytes of UTF-8")
    return value


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value) or value in {".", ".."}:
        raise RefusedError("not a topic name", "1 to 249 of the characters A-Z a-z 0-9 . _ - (Kafka's rule)")
    return value


def _relative(value: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    return value if base is None else Path(base) / value.expanduser()


Duration = Annotated[
    int,
    BeforeValidator(duration_ms),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "string",
                    "pattern": r"^\s*(\d+(\.\d+)?\s*(ms|[ywdhms])\s*)+$|^\s*[Pp][0-9TtWwDdHhMmSs.]+\s*$|^0$",
                },
                {"type": "integer", "minimum": 0},
            ],
            "format": "duration-ms",
        }
    ),
]
"""A duration in whole milliseconds; zero is allowed."""


def _positive(value: int) -> int:
    if value == 0:
        raise RefusedError("a duration longer than zero is needed here", _DURATION_CURE)
    return value


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
"""A duration of at least one millisecond."""

Bytes = Annotated[
    int,
    BeforeValidator(bytes_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kKmMgG][iI]?)?[bB]?\s*$"},
                {"type": "integer", "minimum": 0},
            ]
        }
    ),
]
"""A size in whole bytes."""

Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
"""A whole number, at least 1."""

Number = Annotated[float, BeforeValidator(_number)]
"""A finite number."""

Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"minLength": 1, "maxLength": 128})]
"""A name of a model, segment, KPI or worker."""

TopicName = Annotated[str, AfterValidator(_topic), Field(json_schema_extra={"pattern": "^[A-Za-z0-9._-]{1,249}$"})]
"""A topic name as Kafka allows it."""

LocalPath = Annotated[Path, AfterValidator(_relative)]
"""A path; a relative one starts at the configuration file's folder."""
