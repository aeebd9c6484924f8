"""What is settled behind the first open record, written beside a committed offset. Pure.

An offset alone can't say that record 7 is settled while record 5 is open: after a restart 7 would
be worked again, and its result published again. Kafka keeps a short text with every committed
offset (``offset.metadata.max.bytes``, 4,096 by default); Confluent's Parallel Consumer keeps the
same knowledge there. Rules:

1. Whoever believes a wrong entry skips an event for good. So an entry is believed only when
   everything fits: format, checksum, committed offset, the anchor, and the entry's own check.
2. The *anchor* is the first open record. It names cluster, topic, partition, offset, timestamp and
   key: a topic that was made anew, another partition and another cluster have another record
   there. When the first record that arrives is not the anchor, all entries are dropped.
3. An entry holds a check over timestamp and key of its record. One that does not fit drops all.
4. What does not fit into the limit is left out, the farthest first: those records are worked
   again. A format that is not known here says nothing.

5. A settled record may be held back from being committed (`consumer.pipeline.doubts`), the first
   open one as well. The text says which are, and until when.
6. It also says whether its owner has ended in order. If not, what the owner had begun may still
   take effect, and nobody knows what that was.
7. It names what is left in doubt without being held back, by 4 bytes each: a document whose last
   event is committed, and an event that is left open. They take a quarter of the room at most.

The text is ``alc2.`` and base64 (RFC 4648, section 5, no padding) of: 8 bytes anchor, which are 0
where nothing is open; a varint of twice the epoch second until which something is in doubt (0 for
nothing), plus 1 where the owner has ended in order; a varint of how many names follow, and these;
for every entry a varint of four times the distance to the one before (from the committed offset at
first), plus 2 where it is held back, plus 1 where the event was carried out, and 2 bytes check; 4
bytes CRC-32 over all of it and the committed offset.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from zlib import crc32

from consumer.model.record import Record

PREFIX = "alc2."
NO_ANCHOR = bytes(8)
LIMIT = 4_096  # bytes; the broker's default for ``offset.metadata.max.bytes``

_ANCHOR_BYTES = 8
_CHECK_BYTES = 2
_NAME_BYTES = 4
_NAMES_SHARE = 4  # a quarter of the room
_CRC_BYTES = 4
_FLAGS = 2  # bits
_VARINT_BITS = 7
_LONGEST_VARINT = 10  # bytes; enough for 2^63 with its flags


@dataclass(frozen=True, slots=True)
class SettledEntry:
    """A settled record behind the first open one, or that one where it is held back.

    Args:
        offset: of the record.
        check: `check_of` the record.
        carried_out: whether its state was brought into AnythingLLM; false for what was refused.
        held: whether it is held back.
    """

    offset: int
    check: int
    carried_out: bool
    held: bool = False


@dataclass(frozen=True, slots=True)
class SettledBehind:
    """All that a text says.

    Args:
        anchor: `anchor_of` the first open record.
        entries: in the order of offsets, none below the committed one.
        held_until: epoch second until which something may come; 0: nothing may.
        ended: whether the owner that wrote it has ended in order since.
        in_doubt: `name_of` each that is left in doubt, the most important first.
    """

    anchor: bytes
    entries: tuple[SettledEntry, ...] = ()
    held_until: int = 0
    ended: bool = False
    in_doubt: tuple[int, ...] = ()


def name_of(text: str) -> int:
    """32 bits: two things may have the same name, and then one of them is held back in vain.

    With half of them, one document in 170 would be, where many are in doubt.
    """
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_NAME_BYTES).digest()
    return int.from_bytes(digest)


def check_of(record: Record) -> int:
    """16 bits over a record's timestamp and key."""
    return int.from_bytes(_digest(record, size=_CHECK_BYTES))


def anchor_of(record: Record, cluster_id: str) -> bytes:
    """8 bytes over everything that tells a record from all others.

    Args:
        record: the first open one.
        cluster_id: of the Kafka it lies in.
    """
    at = record.at
    place = f"{cluster_id}\0{at.topic}\0{at.partition}\0{at.offset}\0"
    return _digest(record, place.encode(errors="surrogatepass"), size=_ANCHOR_BYTES)


def _digest(record: Record, place: bytes = b"", *, size: int) -> bytes:
    key = b"-" if record.key is None else b"+" + record.key
    content = place + b"%d\0" % record.timestamp_ms + key
    return hashlib.blake2b(content, digest_size=size).digest()


def encode(committed: int, behind: SettledBehind, limit: int = LIMIT) -> str:
    """The text to commit; empty where there is nothing to say, or no room for any of it.

    Args:
        committed: the offset that it is committed with.
        behind: what is to be said.
        limit: bytes that the text may have.
    """
    whole = (limit - len(PREFIX)) * 3 // 4
    names = behind.in_doubt[: max(whole, 0) // _NAMES_SHARE // _NAME_BYTES]
    head = behind.anchor + _varint(behind.held_until * 2 + behind.ended) + _varint(len(names))
    head += b"".join(name.to_bytes(_NAME_BYTES) for name in names)
    room = whole - len(head) - _CRC_BYTES
    packed = bytearray()
    before = committed
    for entry in behind.entries:
        flags = entry.held << 1 | entry.carried_out
        distance = _varint((entry.offset - before) << _FLAGS | flags)
        if len(packed) + len(distance) + _CHECK_BYTES > room:
            break
        packed += distance + entry.check.to_bytes(_CHECK_BYTES)
        before = entry.offset
    if room < 0 or not (packed or names or behind.ended):
        return ""
    body = head + bytes(packed)
    raw = body + _crc(body, committed)
    return PREFIX + _base64(raw)


def decode(text: str, committed: int) -> SettledBehind | None:
    """What a text says; None where it says nothing that can be believed.

    Args:
        text: as it was committed, by whomever.
        committed: the offset that it stands beside.
    """
    raw = _raw(text)
    if raw is None or len(raw) < _ANCHOR_BYTES + _CRC_BYTES:
        return None
    body, crc = raw[:-_CRC_BYTES], raw[-_CRC_BYTES:]
    if crc != _crc(body, committed):
        return None
    try:
        ends, at = _read_varint(body, _ANCHOR_BYTES)
        names, at = _read_names(body, at)
        entries = _entries(body[at:], committed)
    except (IndexError, ValueError):
        return None
    return SettledBehind(body[:_ANCHOR_BYTES], entries, ends >> 1, bool(ends & 1), names)


def _raw(text: str) -> bytes | None:
    if not text.startswith(PREFIX) or not text.isascii():
        return None
    encoded = text[len(PREFIX) :]
    padded = encoded + "=" * (-len(encoded) % 4)
    try:
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # The last character has bits that mean nothing: only one way to write a text is right.
    return raw if _base64(raw) == encoded else None


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read_names(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    count, at = _read_varint(body, at)
    end = at + count * _NAME_BYTES
    if end > len(body):
        raise ValueError("no names")
    places = range(at, end, _NAME_BYTES)
    return tuple(int.from_bytes(body[n : n + _NAME_BYTES]) for n in places), end


def _entries(packed: bytes, committed: int) -> tuple[SettledEntry, ...]:
    entries: list[SettledEntry] = []
    at, before = 0, committed
    while at < len(packed):
        number, at = _read_varint(packed, at)
        check = packed[at : at + _CHECK_BYTES]
        if len(check) < _CHECK_BYTES or (entries and not number >> _FLAGS):
            raise ValueError("no entry")
        before += number >> _FLAGS
        carried_out, held = bool(number & 1), bool(number & 2)
        entries.append(SettledEntry(before, int.from_bytes(check), carried_out, held))
        at += _CHECK_BYTES
    return tuple(entries)


def _crc(body: bytes, committed: int) -> bytes:
    return crc32(body, crc32(b"%d" % committed)).to_bytes(_CRC_BYTES)


def _varint(number: int) -> bytes:
    packed = bytearray()
    while number >= 1 << _VARINT_BITS:
        packed.append(number & 0x7F | 0x80)
        number >>= _VARINT_BITS
    packed.append(number)
    return bytes(packed)


def _read_varint(packed: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(_LONGEST_VARINT):
        byte = packed[at + place]
        number |= (byte & 0x7F) << (_VARINT_BITS * place)
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError("no varint")
