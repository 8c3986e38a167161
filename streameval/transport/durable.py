"""Files that are on the disk when the call returns, and the one place where a refused write gets its cure.

Invariant: a file made by `write` is either absent or whole under its final name, whatever instant the machine stops at:
it is written under a temporary name, forced to the disk, renamed, and the rename is forced to the disk as well.
Source: the rules that ALICE checks (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from streameval.errors import StorageError

__all__ = [
    "TEMPORARY",
    "append",
    "fill",
    "force_directory",
    "lock",
    "make_directory",
    "owner",
    "publish",
    "storage",
    "write",
]

Buffer: TypeAlias = bytes | memoryview

TEMPORARY = ".tmp"
"""Suffix of files that are not whole yet; whatever bears it at the start of a process is rubbish."""

_CURES = {
    errno.ENOSPC: "free some space and start again: nothing is lost",
    errno.EDQUOT: "raise the quota and start again: nothing is lost",
    errno.EFBIG: "raise the limit on file size (ulimit -f) and start again: nothing is lost",
    errno.EACCES: "give this user the right to read and write there and start again: nothing is lost",
    errno.EPERM: "give this user the right to read and write there and start again: nothing is lost",
    errno.EROFS: "mount the file system writable and start again: nothing is lost",
    errno.EIO: "check the disk, then start again: nothing that was committed is lost",
}


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn a refused write below ``path`` into a `StorageError` that names the file and the cure.

    >>> with storage(Path("/tmp")):
    ...     raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    Traceback (most recent call last):
    streameval.errors.StorageError: /tmp/x: cannot write it: No space left on device (free some space and start again: \
nothing is lost)
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _CURES:
            raise
        done = "use" if error.errno in (errno.EACCES, errno.EPERM) else "write"
        what = f"cannot {done} it: {error.strerror or os.strerror(error.errno)}"
        raise StorageError(what, where=str(error.filename or path), cure=_CURES[error.errno]) from error


def write(path: Path, parts: Iterable[Buffer]) -> None:
    """Write a whole file durably; an existing one is replaced at once."""
    temporary = path.with_name(path.name + TEMPORARY)
    fill(temporary, parts)
    publish(temporary, path)


def fill(path: Path, parts: Iterable[Buffer]) -> None:
    """Make or overwrite a file and force its bytes, though not its name, to the disk: the first half of `write`."""
    with _named(path), path.open("wb", buffering=0) as file:
        for part in parts:
            _write_all(file.fileno(), part)
        os.fsync(file.fileno())


def publish(temporary: Path, path: Path) -> None:
    """Second half of `write`: the rename is on the disk."""
    temporary.replace(path)
    force_directory(path.parent)


def append(path: Path, data: Buffer) -> None:
    """Add bytes at the end of a file, made when missing, and force them to the disk."""
    new = not path.exists()
    if new:
        make_directory(path.parent)
    with _named(path), path.open("ab", buffering=0) as file:
        _write_all(file.fileno(), data)
        os.fsync(file.fileno())
    if new:
        force_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory and its parents, durably."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    force_directory(path.parent)


def force_directory(path: Path) -> None:
    """Force the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(path: Path) -> int | None:
    """Take the exclusive lock that this file stands for; None if someone else has it.

    The kernel drops it when the process ends, however it ends. The file then holds the last owner's process id.
    Returns an open descriptor: closing it drops the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def owner(path: Path) -> str:
    """Who holds a lock, for a message."""
    pid = path.read_text(encoding="ascii", errors="replace").strip()
    return f"process {pid}" if pid else "another process"


def _write_all(descriptor: int, data: Buffer) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    # write(2) errors carry no file name, and the message needs one.
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
