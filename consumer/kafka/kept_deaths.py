"""How often AnythingLLM died of a unit, kept beside a committed offset. Pure.

The count has to outlive us: a text that kills the server would kill it five times more after each
restart. It stands behind what is settled (`settled_metadata`), in the same metadata of the same
commit: whoever owns the partition next reads it with the offset from which it works on. Rules:

1. A unit is named by 8 bytes: of two units with one name the wrong one could be dead-lettered.
2. At most `MOST` units of a partition are kept, those with the most deaths first, and each for a
   day after its last death. A document that is settled is forgotten.
3. A text that does not fit in every way says nothing: then the deaths are counted anew.

The text is what is settled, ``~d1.`` and base64 (RFC 4648, section 5, no padding) of: for every
unit 8 bytes name, 1 byte count, 4 bytes each for the epoch seconds of the first and the last death;
4 bytes CRC-32 over all of it and the committed offset. Versions that do not know it believe nothing
of a text with ``~`` in it, and work again what was settled; without deaths the text is as before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Mapping
from math import ceil
from zlib import crc32

from consumer.model.death_count import DeathCount

MOST = 16  # units of a partition: 380 characters
MARK = "~d1."

_KEPT_SECONDS = 86_400.0
_NAME_BYTES = 8
_MOST_COUNT = 255
_UNIT = struct.Struct(">8sBII")
_CRC = struct.Struct(">I")


def deaths_name(text: str) -> bytes:
    """8 bytes that stand for a unit's name."""
    encoded = text.encode(errors="surrogatepass")
    return hashlib.blake2b(encoded, digest_size=_NAME_BYTES).digest()


def encode_deaths(counts: Mapping[bytes, DeathCount], committed: int) -> str:
    """The text of these counts; empty where there are none.

    Args:
        counts: by `deaths_name`.
        committed: the offset that it is committed with.
    """
    worst = sorted(counts.items(), key=lambda each: (-each[1].count, -each[1].last, each[0]))
    body = b"".join(
        _UNIT.pack(name, min(each.count, _MOST_COUNT), ceil(each.first), int(each.last))
        for name, each in worst[:MOST]
    )
    if not body:
        return ""
    raw = body + _CRC.pack(_check(body, committed))
    return MARK + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_deaths(metadata: str, committed: int) -> dict[bytes, DeathCount]:
    """The counts that a commit's metadata holds; none where it can't be believed.

    Args:
        metadata: all of it, as it was committed, by whomever.
        committed: the offset that it stands beside.
    """
    _, mark, encoded = metadata.partition(MARK)
    if not mark or not encoded.isascii():
        return {}
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return {}
    body, crc = raw[: -_CRC.size], raw[-_CRC.size :]
    if not body or len(body) % _UNIT.size or crc != _CRC.pack(_check(body, committed)):
        return {}
    units = _UNIT.iter_unpack(body)
    return {name: DeathCount(n, float(first), float(last)) for name, n, first, last in units}


def settled_part(metadata: str) -> str:
    """A commit's metadata without the counts."""
    return metadata.partition(MARK)[0]


def _check(body: bytes, committed: int) -> int:
    return crc32(body, crc32(b"%d" % committed))


class KeptDeaths:
    """What is kept of one partition in one assignment; no more than `MOST` units a commit."""

    def __init__(self, former: Mapping[bytes, DeathCount] | None = None) -> None:
        self._counts = dict(former or {})
        self._offsets: dict[bytes, int] = {}  # of the events that they are of, where known

    def of(self, name: bytes, offset: int) -> DeathCount | None:
        """What is kept by a name, which is from now on that of a unit of this event."""
        if name in self._counts:
            self._offsets[name] = offset
        return self._counts.get(name)

    def note(self, name: bytes, offset: int, count: DeathCount | None) -> None:
        """Keep a count of a unit of this event; None: nothing is proven of it any more."""
        if count is None:
            self._counts.pop(name, None)
            self._offsets.pop(name, None)
        else:
            self._counts[name], self._offsets[name] = count, offset

    def settled(self, offset: int) -> None:
        """Forget the units of an event."""
        for name in [name for name, of in self._offsets.items() if of == offset]:
            self.note(name, offset, None)

    def expire(self, now: float) -> bool:
        """Forget what is too old at that epoch second; whether there was any."""
        old = [n for n, each in self._counts.items() if each.last < now - _KEPT_SECONDS]
        for name in old:
            self.note(name, 0, None)
        return bool(old)

    def encode(self, committed: int) -> str:
        """See `encode_deaths`."""
        return encode_deaths(self._counts, committed)
