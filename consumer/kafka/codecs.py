"""Unpacking compressed record batches, never beyond a bound.

Kafka's limits apply to the packed batch: 261 kB of gzip unfold to 256 MiB, and aiokafka 0.14 would
unfold them. Here unfolding stops at a limit, whatever the codec.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4

_GZIP_WINDOW = 31  # zlib's way to say "gzip, largest window"
_FIRST_GUESS = 4  # times the packed size; doubled until it fits
_NO_ROOM = "failed to write whole buffer"  # cramjam 2.14, where the output is larger than its place
_XERIAL_MAGIC = b"\x82SNAPPY\x00"  # Java's framing of snappy blocks
_XERIAL_HEADER_BYTES = 16


class UnfoldsTooFarError(Exception):
    """The batch unfolds to more than the limit."""


class CorruptError(Exception):
    """The batch can't be unpacked: it is damaged, or in a codec that Kafka does not have."""


def unfold(codec: int, packed: bytes, limit: int) -> bytes:
    """The unpacked bytes.

    Args:
        codec: the number in the batch's attributes.
        packed: what follows the batch's header.
        limit: bytes that may come out.

    Raises:
        UnfoldsTooFarError: more would come out.
        CorruptError: nothing sensible would.
    """
    unpack = _CODECS.get(codec)
    if unpack is None:
        raise CorruptError(f"unknown codec {codec}")
    try:
        return unpack(packed, limit)
    except (zlib.error, cramjam.DecompressionError, struct.error, EOFError) as error:
        raise CorruptError(f"damaged {unpack.__name__.strip('_')} data: {error}"[:200]) from error


def _gzip(packed: bytes, limit: int) -> bytes:
    unfolded = bytearray()
    while packed:
        member = zlib.decompressobj(_GZIP_WINDOW)
        unfolded += member.decompress(packed, limit + 1 - len(unfolded))
        if len(unfolded) > limit or member.unconsumed_tail:
            raise UnfoldsTooFarError
        if not member.eof:
            raise EOFError("it ends in the middle")
        packed = member.unused_data
    return bytes(unfolded)


def _snappy(packed: bytes, limit: int) -> bytes:
    blocks = list(_snappy_blocks(packed))
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > limit:
        raise UnfoldsTooFarError
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _snappy_blocks(packed: bytes) -> Iterator[bytes]:
    if not packed.startswith(_XERIAL_MAGIC):
        yield packed
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(packed):
        (size,) = struct.unpack_from(">i", packed, at)
        at += 4
        if not 0 <= size <= len(packed) - at:
            raise EOFError("a block ends outside of the batch")
        yield packed[at : at + size]
        at += size


def _lz4(packed: bytes, limit: int) -> bytes:
    return _into_growing(cramjam.lz4.decompress_into, packed, limit)


def _zstd(packed: bytes, limit: int) -> bytes:
    return _into_growing(cramjam.zstd.decompress_into, packed, limit)


def _into_growing(into: Callable[[Any, Any], int], packed: bytes, limit: int) -> bytes:
    """Unpack into a place that grows up to the limit: these codecs don't say the size before."""
    room = min(max(len(packed) * _FIRST_GUESS, 1024), limit)
    while True:
        place = bytearray(room)
        try:
            return bytes(memoryview(place)[: into(packed, place)])
        except cramjam.DecompressionError as error:
            if _NO_ROOM not in str(error):
                raise
        if room >= limit:
            raise UnfoldsTooFarError
        room = min(room * 2, limit)


_CODECS: dict[int, Callable[[bytes, int], bytes]] = {
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
