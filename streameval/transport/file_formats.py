"""Files of events in the formats that people keep them in, as JSON lines: JSONL, CSV and Parquet, also compressed.

Each row of a CSV or Parquet file becomes one JSON event: columns bear the contract's names, a dotted one
(``segments.country``, ``features.x``, ``values.revenue``, ``scores.a``) fills an entry of that group, an empty cell and
NaN are left out. In CSV a column's meaning follows from its name and never from the values that happen to stand in it:
ids, versions and segments stay text (007 is not 7, and NA is Namibia), the other fields are numbers where they look
like one. What is wrong with a single row is not judged here: it becomes a message that the contract rejects, with its
place. Blank lines of a CSV file are no rows.

Invariant: row n of the file is line n of what is returned. Source: RFC 4180 (CSV); design, "Surface", on ``replay``.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import lzma
import math
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

import msgspec

from streameval.errors import InputError, MissingDependencyError
from streameval.transport import durable

__all__ = ["Named", "json_lines", "named"]

FORMATS: Final = (".jsonl", ".ndjson", ".csv", ".parquet")
COMPRESSIONS: Final = (".gz", ".bz2", ".xz", ".zst")
GROUPS: Final = ("segments", "features", "scores", "values")
_TEXTS: Final = ("id", "model", "version", "group", "decision")
_CELL_LIMIT: Final = 4 << 20
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INSTALL: Final = "pip install 'streameval[parquet]'"
_UNPACKING: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)
_encode = msgspec.json.Encoder().encode


class Named(NamedTuple):
    """What a file's name says: its stem, and its lower-case suffixes of format and compression ("" for none)."""

    stem: str
    format: str
    compression: str


def named(path: Path) -> Named:
    """Take a file's name apart.

    Raises:
        InputError: its suffix is none that can be read.

    >>> named(Path("events/0.jsonl.gz"))
    Named(stem='0', format='.jsonl', compression='.gz')
    """
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    inner = path.with_suffix("") if compression else path
    if inner.suffix.lower() not in FORMATS:
        cure = f"files end in {', '.join(FORMATS)}, and then perhaps in {', '.join(COMPRESSIONS)}"
        raise InputError("the suffix says no format that can be read", where=str(path), cure=cure)
    return Named(inner.stem, inner.suffix.lower(), compression)


def json_lines(path: Path, needs: tuple[str, ...]) -> IO[bytes]:
    """The file as JSON lines: itself where it is plain JSONL, else a nameless file in the directory for such (TMPDIR).

    Args:
        path: the file; see `named`.
        needs: columns without which every row would be rejected.

    Raises:
        InputError: it is missing, unreadable, or not in the format that its suffix says.
        MissingDependencyError: reading it needs an optional package.
        StorageError: there is no room for the unpacked copy.
    """
    name = named(path)
    try:
        source: IO[bytes] = path.open("rb")
    except OSError as error:
        cure = "check the path and its permissions"
        raise InputError(f"cannot be read: {error.strerror}", where=str(path), cure=cure) from error
    if name.compression:
        source = _unpacked(path, source, name.compression)
    if name.format == ".csv":
        return _spooled(_csv(path, source, needs))
    if name.format == ".parquet":
        return _spooled(_parquet(path, source, needs))
    return source


def _spooled(chunks: Iterator[list[bytes]]) -> IO[bytes]:
    with durable.storage(Path(tempfile.gettempdir())):
        # It lives as long as whoever reads it, and has no name to be removed.
        spool = tempfile.TemporaryFile()  # noqa: SIM115
        for lines in chunks:
            spool.write(b"\n".join(lines) + b"\n")
        spool.flush()
        spool.seek(0)
    return cast("IO[bytes]", spool)


def _unpacked(path: Path, source: IO[bytes], compression: str) -> IO[bytes]:
    openers: dict[str, Callable[[IO[bytes]], Any]] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
        ".zst": lambda file: _pyarrow(path).CompressedInputStream(file, "zstd"),
    }
    with durable.storage(Path(tempfile.gettempdir())), source:
        spool = tempfile.TemporaryFile()  # noqa: SIM115
        unpacked = openers[compression](source)
        while True:
            try:
                block = unpacked.read(1 << 20)
            except _UNPACKING as error:
                what = f"cannot be unpacked: {error}"
                raise InputError(what, where=str(path), cure="check that it is whole, and its suffix") from error
            if not block:
                break
            spool.write(block)
        spool.flush()
        spool.seek(0)
    return cast("IO[bytes]", spool)


def _pyarrow(path: Path) -> Any:
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


def _csv(path: Path, source: IO[bytes], needs: tuple[str, ...]) -> Iterator[list[bytes]]:
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
                if len(lines) == 10_000:
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
    return _whole_or_text if column == "ts" else _number_or_text


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


def _whole_or_text(cell: str) -> Any:
    # A column of milliseconds that passed through floats is written as 1714564800000.0.
    value = _number_or_text(cell)
    return int(value) if isinstance(value, float) and value.is_integer() else value


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(path: Path, source: IO[bytes], needs: tuple[str, ...]) -> Iterator[list[bytes]]:
    pa = _pyarrow(path)
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
        for batch in file.iter_batches(batch_size=10_000):
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
        if target == ("ts",) and isinstance(value, float) and value.is_integer():
            value = int(value)  # noqa: PLW2901 - as in CSV
        _place(event, target, value)
    return _encode(event)
