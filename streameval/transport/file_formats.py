"""Files of events in the formats that people keep them in, as JSON lines: JSONL, CSV and Parquet, also compressed.

Invariant: row n of the file is line n of what is returned. What is wrong with a single row is not judged here: it
becomes a message that the contract rejects, with its place. Source: design, "Surface", on ``replay``.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

from streameval.errors import InputError
from streameval.transport import durable
from streameval.transport.file_tables import csv_lines, parquet_lines, pyarrow

__all__ = ["Named", "json_lines", "named"]

FORMATS: Final = (".jsonl", ".ndjson", ".csv", ".parquet")
COMPRESSIONS: Final = (".gz", ".bz2", ".xz", ".zst")
_UNPACKING: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)


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
        return _spooled(csv_lines(path, source, needs))
    if name.format == ".parquet":
        return _spooled(parquet_lines(path, source, needs))
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
        ".zst": lambda file: pyarrow(path).CompressedInputStream(file, "zstd"),
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
