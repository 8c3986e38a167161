"""Unpacking what a record batch compresses, never into more bytes than are allowed.

kafka-python's own codecs unpack all at once, whatever comes out: 300 KB of gzip or 10 KB of zstd, far below any
broker's limit, become 300 MB.

Invariant: at most the bytes allowed, and one piece more, are held before they are refused, whatever they claim; what
they unpack to is what kafka-python's codecs make of them (a test compares), in time linear in what goes in and out.

Source: Kafka protocol guide, "Record Batch" (attributes 0 to 2); RFC 1952 (gzip), snappy's raw and xerial's block
format, LZ4 frame format, RFC 8878 (zstd).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import lz4.frame
import snappy
import zstandard

__all__ = ["TooLargeError", "UnreadableError", "unpacked"]

_PIECE: Final = 1 << 20
"""Bytes unpacked at once."""
_FED: Final = 1 << 14
"""Bytes of gzip given at once: what is left of them behind the end of a member is copied."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_XERIAL: Final = b"\x82SNAPPY\0"
_XERIAL_HEADER: Final = 16
_BLOCK_LENGTH: Final = struct.Struct(">i")


class UnreadableError(Exception):
    """The bytes are not what they should be; the text says so in constant words."""


class TooLargeError(Exception):
    """They unpack to more than is allowed."""


def unpacked(codec: int, data: bytes, most: int) -> bytes:
    """The bytes that were compressed.

    Args:
        codec: how, as a record batch's attributes say it: 1 gzip, 2 snappy, 3 LZ4, 4 zstd.
        data: the compressed bytes.
        most: how many bytes they may unpack to.

    Raises:
        TooLargeError: they unpack to more.
        UnreadableError: they are no such compressed bytes, cut short, or the codec is not known.

    >>> unpacked(1, zlib.compress(b"abc" * 5, wbits=_GZIP), most=15)
    b'abcabcabcabcabc'
    """
    if codec not in _CODECS:
        raise UnreadableError(f"its compression, {codec}, is unknown")
    name, pieces = _CODECS[codec]
    parts: list[bytes] = []
    left = most
    try:
        for part in pieces(data, most):
            left -= len(part)
            if left < 0:
                raise TooLargeError
            parts.append(part)
    except _REFUSALS as error:
        raise UnreadableError(f"it is not valid {name}") from error
    return b"".join(parts)


def _gzip(data: bytes, _most: int) -> Iterator[bytes]:
    """Members, one after the other; zeros may lie behind each."""
    at = 0
    while at < len(data):
        member = zlib.decompressobj(wbits=_GZIP)
        while not member.eof:
            fed = member.unconsumed_tail
            if not fed:
                fed, at = data[at : at + _FED], min(at + _FED, len(data))
            part = member.decompress(fed, _PIECE)
            if not (part or fed or member.eof):
                raise UnreadableError("its gzip is cut short")
            yield part
        at -= len(member.unused_data)
        while at < len(data) and data[at] == 0:
            at += 1


def _snappy(data: bytes, most: int) -> Iterator[bytes]:
    """Raw snappy, or blocks of it as the JVM's library writes them."""
    if not data.startswith(_XERIAL):
        yield _snappy_block(data, most)
        return
    at = _XERIAL_HEADER
    if len(data) < at:
        raise UnreadableError("its snappy is cut short")
    while at < len(data):
        (length,) = _BLOCK_LENGTH.unpack_from(data, at)
        at += _BLOCK_LENGTH.size
        if not 0 < length <= len(data) - at:
            raise UnreadableError("its snappy is cut short")
        yield _snappy_block(data[at : at + length], most)
        at += length


def _snappy_block(block: bytes, most: int) -> bytes:
    # It says first how much it unpacks to, and space is made for that before a byte is looked at.
    length = shift = 0
    for byte in block[:5]:
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if length > most:
        raise TooLargeError
    return bytes(snappy.decompress(block))


def _lz4(data: bytes, _most: int) -> Iterator[bytes]:
    """One frame; what follows it is not looked at."""
    frame = lz4.frame.LZ4FrameDecompressor()
    fed = data
    while not frame.eof:
        part = frame.decompress(fed, _PIECE)
        if not (part or fed or frame.eof):
            raise UnreadableError("its LZ4 is cut short")
        yield part
        fed = b""


def _zstd(data: bytes, _most: int) -> Iterator[bytes]:
    """Frames, one after the other; of one that is cut short what there is of it, as kafka-python does."""
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        while part := reader.read(_PIECE):
            yield part


_CODECS: Final[dict[int, tuple[str, Callable[[bytes, int], Iterator[bytes]]]]] = {
    1: ("gzip", _gzip),
    2: ("snappy", _snappy),
    3: ("LZ4", _lz4),
    4: ("zstd", _zstd),
}
_REFUSALS: Final = (
    zlib.error,
    struct.error,
    snappy.UncompressError,
    zstandard.ZstdError,
    RuntimeError,  # lz4's
)
