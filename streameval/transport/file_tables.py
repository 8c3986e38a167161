"""Rows of CSV and Parquet files as JSON events.

Columns bear the contract's names; a dotted one (``segments.country``, ``features.x``, ``values.revenue``, ``scores.a``)
fills an entry of that group, an empty cell and NaN are left out. In CSV a column's meaning follows from its name and
never from the values that happen to stand in it: ids, versions and segments stay text (007 is not 7, and NA is
Namibia), the other fields are numbers where they look like one. Blank lines of a CSV file are no rows.

Invariant: each row becomes one line, in the file's order. Source: RFC 4180 (CSV); RFC 3339 (times).
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from streameval.errors import InputError, MissingDependencyError

__all__ = ["csv_lines", "parquet_lines", "pyarrow"]

GROUPS: Final = ("segments", "features", "scores", "values")
"""Fields of the contract that are objects of names."""

_TEXTS: Final = ("id", "model", "version", "group", "decision")
_CELL_LIMIT: Final = 4 << 20
_CHUNK: Final = 10_000
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INSTALL: Final = "pip install 'streameval[parquet]'"
_encode = msgspec.json.Encoder().encode


def pyarrow(path: Path) -> Any:
    """The package, which is optional.

    Raises:
        MissingDependencyError: it is not installed; ``path`` is what needs it.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
    except ImportError as error:
        what = f"{''.join(path.suffixes[-2:])} needs the package pyarrow"
        raise MissingDependencyError(what, where=str(path), cure=_INSTALL) from error
    return pa


def _require(path: Path, columns: list[str], needs: tuple[str, ...]) -> None:
    missing = [name for name in needs if name not in columns]
    if missing:
        what = f"there is no column {' nor '.join(missing)}; the columns are {', '.join(columns)[:300]}"
        cure = "name the columns as the contract does (streameval schema prediction), separated by commas"
        raise InputError(what, where=str(path), cure=cure)


def _place(event: dict[str, Any], target: tuple[str, ...], value: Any) -> None:
    if len(target) == 1:
        event[target[0]] = value
    else:
        group = event.setdefault(target[0], {})
        group[target[1]] = value


def _target(column: str) -> tuple[str, ...]:
    head, dot, rest = column.partition(".")
    return (head, rest) if dot and head in GROUPS else (column,)


# -- CSV --------------------------------------------------------------------------------------------------------------


def csv_lines(path: Path, source: IO[bytes], needs: tuple[str, ...]) -> Iterator[list[bytes]]:
    """The rows of a CSV file, some at a time.

    Raises:
        InputError: it is not CSV, not UTF-8, or lacks one of the columns in ``needs``.
    """
    csv.field_size_limit(_CELL_LIMIT)
    with source, io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                return
            columns = [name.strip() for name in header]
            _require(path, columns, needs)
            targets = [(_target(column), _reader(column)) for column in columns]
            lines: list[bytes] = []
            for row in filter(None, reader):
                lines.append(_event(row, targets))
                if len(lines) == _CHUNK:
                    yield lines
                    lines = []
            if lines:
                yield lines
        except csv.Error as error:
            where = f"{path}, line {reader.line_num}"
            raise InputError(f"not CSV: {error}", where=where, cure="quote cells as RFC 4180 says") from error
        except UnicodeDecodeError as error:
            where = f"{path}, near line {reader.line_num + 1}"
            raise InputError(f"not UTF-8: {error.reason}", where=where, cure="save it as UTF-8") from error


def _event(row: list[str], targets: list[tuple[tuple[str, ...], Callable[[str], Any]]]) -> bytes:
    if len(row) > len(targets):
        # No event can be made of it without guessing; this is no JSON, so it is rejected with its place.
        return f"a row of {len(row)} cells under {len(targets)} columns".encode()
    event: dict[str, Any] = {}
    for cell, (target, read) in zip(row, targets, strict=False):
        value = read(cell)
        if value is not None:
            _place(event, target, value)
    return _encode(event)


def _reader(column: str) -> Callable[[str], Any]:
    if column in _TEXTS or column.startswith("segments."):
        return lambda cell: cell or None
    return _number_or_text


def _number_or_text(cell: str) -> Any:
    """The cell as JSON would have it; None where it is not given.

    >>> [_number_or_text(cell) for cell in ("0.5", "1", "True", "", "nan", "007", "DE")]
    [0.5, 1, True, None, None, '007', 'DE']
    """
    if _NUMBER.fullmatch(cell):
        number = float(cell)
        return int(cell) if cell.lstrip("-").isdecimal() and abs(number) < 2**63 else number
    lowered = cell.strip().lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    return None if lowered in ("", "nan", "null") else cell


# -- Parquet ----------------------------------------------------------------------------------------------------------


def parquet_lines(path: Path, source: IO[bytes], needs: tuple[str, ...]) -> Iterator[list[bytes]]:
    """The rows of a Parquet file, some at a time.

    Raises:
        InputError: it is not Parquet, lacks one of the columns in ``needs``, or has times without a time zone.
        MissingDependencyError: pyarrow is not installed.
    """
    pa = pyarrow(path)
    from pyarrow import parquet  # noqa: PLC0415 - optional

    with source, contextlib.ExitStack() as cure:
        cure.enter_context(_as_parquet(path, pa))
        file = parquet.ParquetFile(source)
        columns = list(file.schema_arrow.names)
        _require(path, columns, needs)
        for field in file.schema_arrow:
            if pa.types.is_timestamp(field.type) and field.type.tz is None:
                text = "write it with a time zone, as in pandas' .dt.tz_localize('UTC')"
                raise InputError("the times have no time zone", where=f"{path}, column {field.name}", cure=text)
        targets = [_target(column) for column in columns]
        for batch in file.iter_batches(batch_size=_CHUNK):
            cells = [_plain(pa, column).to_pylist() for column in batch.columns]
            yield [_object(targets, row) for row in zip(*cells, strict=True)]


@contextlib.contextmanager
def _as_parquet(path: Path, pa: Any) -> Iterator[None]:
    try:
        yield
    except pa.ArrowException as error:
        what = f"not Parquet: {str(error).splitlines()[0]}"
        raise InputError(what, where=str(path), cure="check that it is whole, and its suffix") from error


def _plain(pa: Any, column: Any) -> Any:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def _object(targets: list[tuple[str, ...]], row: tuple[Any, ...]) -> bytes:
    event: dict[str, Any] = {}
    for target, value in zip(targets, row, strict=True):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        _place(event, target, value)
    return _encode(event)
