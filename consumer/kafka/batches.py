"""Record batches that never raise: what can't be read comes out as an unreadable record.

aiokafka 0.14 raises on a record it can't parse (a header key that is no UTF-8), on a batch in a
codec it lacks, on a damaged one, and unfolds compressed ones without bound. The exception leaves
the partition's position where it is, so the partition stands still for ever, and it takes good
records with it. `install` puts `TolerantRecords` in the place of aiokafka's own reader. Then:

- Every offset of a fetched batch comes out once, in order, as a record. One that can't be read has
  a `NoValue` in the place of its value; good ones before and after it are not touched.
- A batch is read by aiokafka's own (compiled) parser. Only where that raises, our slower and
  tolerant parser reads the batch again from its first bytes.
- A checksum that does not fit may be a fault on the way here. It raises, so that the batch is
  fetched again, and is believed the third time.
- A batch that unfolds beyond the limit is unreadable in whole: none of it gets into memory.

This is the one file that knows how aiokafka reads; tests/unit/kafka/test_batches.py pins that.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiokafka.consumer.fetcher as aiokafka_fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from consumer.kafka.codecs import CorruptError, UnfoldsTooFarError, unfold
from consumer.model.reason import FailureReason
from consumer.model.record import Unreadable

_LENGTH_AT, _LOG_OVERHEAD, _MAGIC_AT = 8, 12, 16
# base offset, length, leader epoch, magic, crc, attributes, last offset delta, first and max
# timestamp, producer id and epoch, base sequence, record count (Kafka's record batch, version 2)
_HEADER = struct.Struct(">qiibIhiqqqhii")
_ATTRIBUTES_AT = 21
_CODEC_MASK = 0x07
_LOG_APPEND_TIME = 0x08
_BELIEVED_AFTER = 3  # checksums that did not fit, of the same batch
_REMEMBERED = 1_000  # batches whose checksum did not fit
UNFOLD_LIMIT = 64 * 1024 * 1024  # bytes, unless the caller has its own limit

# What aiokafka's parser raises on bytes that others wrote.
_UNREADABLE = (
    CorruptRecordException,
    UnsupportedCodecError,
    ValueError,  # UnicodeDecodeError is one
    IndexError,
    OverflowError,
    MemoryError,
    struct.error,
)


class NoValue:
    """Takes the place of the value of a record that can't be read."""

    __slots__ = ("why",)

    def __init__(self, why: Unreadable) -> None:
        self.why = why

    def __len__(self) -> int:
        """Aiokafka asks for a value's length."""
        return 0


@dataclass(slots=True)
class BatchRules:
    """How one consumer reads batches.

    Args:
        unfold_limit: bytes that a batch may unfold to.
    """

    unfold_limit: int = UNFOLD_LIMIT
    misfits: Counter[tuple[int, int]] = field(default_factory=Counter)

    def believed(self, base_offset: int, crc: int) -> bool:
        """Note a checksum that does not fit; true when it never will."""
        if len(self.misfits) > _REMEMBERED:
            self.misfits.clear()
        self.misfits[base_offset, crc] += 1
        return self.misfits[base_offset, crc] >= _BELIEVED_AFTER


# A consumer's tasks inherit the context it is started in: so each has rules of its own.
rules: ContextVar[BatchRules] = ContextVar("rules")


def install(unfold_limit: int = UNFOLD_LIMIT) -> None:
    """Have consumers that are started in this context read batches tolerantly.

    Args:
        unfold_limit: bytes that a batch may unfold to.
    """
    rules.set(BatchRules(unfold_limit))
    aiokafka_fetcher.MemoryRecords = TolerantRecords


class TolerantRecords:
    """The batches of one fetch, as aiokafka's fetcher asks for them.

    Args:
        data: what the broker sent; the last batch may be cut off.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._rules = rules.get(BatchRules())

    def size_in_bytes(self) -> int:
        """Bytes that the broker sent."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether a whole batch is left."""
        return self._end() is not None

    def next_batch(self) -> TolerantBatch | LegacyRecordBatch | None:
        """The next batch; batches of old formats as aiokafka reads them."""
        end = self._end()
        if end is None:
            return None
        data, self._at = bytes(self._data[self._at : end]), end
        if len(data) < _HEADER.size or data[_MAGIC_AT] < 2:
            return LegacyRecordBatch(data, data[_MAGIC_AT])
        return TolerantBatch(data, self._rules)

    def _end(self) -> int | None:
        if len(self._data) - self._at <= _MAGIC_AT:
            return None
        (length,) = struct.unpack_from(">i", self._data, self._at + _LENGTH_AT)
        end = self._at + _LOG_OVERHEAD + int(length)
        return end if self._at < end <= len(self._data) else None


@dataclass(frozen=True, slots=True)
class Salvaged:
    """A record as aiokafka's fetcher takes it; a `NoValue` where it can't be read."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | NoValue | None
    headers: tuple[tuple[str, bytes | None], ...]
    checksum: None = None


class TolerantBatch:
    """One whole batch of record format 2."""

    def __init__(self, data: bytes, by: BatchRules) -> None:
        self._data = data
        self._rules = by
        self._batch = DefaultRecordBatch(data)
        self._whole: Unreadable | None = None
        header = _HEADER.unpack_from(data)
        self._crc, self._attributes, self._last_delta = header[4], header[5], header[6]
        self._first_timestamp, self._max_timestamp, self._count = header[7], header[8], header[12]
        self.base_offset: int = header[0]
        self.next_offset: int = self.base_offset + self._last_delta + 1
        self.producer_id: int = header[9]
        self.is_control_batch: bool = self._batch.is_control_batch
        self.is_transactional: bool = self._batch.is_transactional

    def validate_crc(self) -> bool:
        """False while it is worth another fetch."""
        if self._batch.validate_crc():
            return True
        if not self._rules.believed(self.base_offset, self._crc):
            return False
        self._whole = Unreadable(FailureReason.UNDECODABLE, "the batch's checksum does not fit")
        return True

    def __next__(self) -> Any:
        """The only record of a control batch."""
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        """Every record, readable or not."""
        if self._whole is not None:
            yield from self._all(self._whole)
            return
        try:
            batch = self._unfolded()
        except UnfoldsTooFarError:
            problem = f"its batch unfolds to more than {self._rules.unfold_limit:,} bytes"
            yield from self._all(Unreadable(FailureReason.OVERSIZED, problem))
        except CorruptError as error:
            yield from self._all(Unreadable(FailureReason.UNDECODABLE, str(error)))
        else:
            yield from self._read(batch)

    def _unfolded(self) -> bytes:
        """The batch uncompressed, its header saying so."""
        codec = self._attributes & _CODEC_MASK
        if not codec:
            return self._data
        records = unfold(codec, self._data[_HEADER.size :], self._rules.unfold_limit)
        header = bytearray(self._data[: _HEADER.size])
        struct.pack_into(">h", header, _ATTRIBUTES_AT, self._attributes & ~_CODEC_MASK)
        struct.pack_into(">i", header, _LENGTH_AT, _HEADER.size - _LOG_OVERHEAD + len(records))
        return bytes(header) + records

    def _read(self, data: bytes) -> Iterator[Any]:
        """Read by aiokafka's parser as far as it gets, and the rest by ours."""
        given, expected = 0, self.base_offset
        try:
            for record in DefaultRecordBatch(data):
                # One that claims an offset too high would make aiokafka skip those behind it.
                if not expected <= record.offset < self.next_offset:
                    raise ValueError("an offset outside of its batch")
                yield record
                given, expected = given + 1, record.offset + 1
        except _UNREADABLE:
            for number, salvaged in enumerate(self._salvaged(data)):
                if number >= given:
                    yield salvaged

    def _salvaged(self, data: bytes) -> Iterator[Salvaged]:
        """Each record by itself; where even its place is unclear, the rest is unreadable."""
        at = _HEADER.size
        offset = self.base_offset
        for _ in range(self._count):
            if offset >= self.next_offset:
                return  # a damaged offset took its neighbours': every place has its record
            try:
                length, start = _varint(data, at)
                at = start + length
                if length <= 0 or at > len(data):
                    raise ValueError("a record ends outside of its batch")
            except (ValueError, IndexError) as error:
                yield from self._all(_undecodable(error), first=offset)
                return
            record = self._record(data[start:at], offset)
            yield record
            offset = record.offset + 1

    def _record(self, data: bytes, expected: int) -> Salvaged:
        offset, timestamp = expected, self._first_timestamp
        try:
            _, at = _varint(data, 0)
            delta, at = _varint(data, at)
            timestamp = self._timestamp(delta)
            delta, at = _varint(data, at)
            if not expected <= self.base_offset + delta < self.next_offset:
                raise ValueError("an offset outside of its batch")
            offset = self.base_offset + delta
            key, at = _bytes(data, at)
            value, at = _bytes(data, at)
            headers = _headers(data, at)
        except (ValueError, IndexError) as error:
            why = NoValue(_undecodable(error))
            return Salvaged(offset, timestamp, self._timestamp_type, None, why, ())
        return Salvaged(offset, timestamp, self._timestamp_type, key, value, headers)

    def _timestamp(self, delta: int) -> int:
        appended = self._attributes & _LOG_APPEND_TIME
        return int(self._max_timestamp if appended else self._first_timestamp + delta)

    @property
    def _timestamp_type(self) -> int:
        return int(bool(self._attributes & _LOG_APPEND_TIME))

    def _all(self, why: Unreadable, first: int | None = None) -> Iterator[Salvaged]:
        """Every offset of the batch from the first one on: an offset too many loses nothing."""
        begin = self.base_offset if first is None else first
        for offset in range(begin, self.next_offset):
            yield Salvaged(
                offset, self._max_timestamp, self._timestamp_type, None, NoValue(why), ()
            )


def _undecodable(error: Exception) -> Unreadable:
    if isinstance(error, UnicodeDecodeError):
        return Unreadable(FailureReason.UNDECODABLE, "a header's name is no UTF-8")
    return Unreadable(FailureReason.UNDECODABLE, f"the record is damaged: {error}"[:200])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag number and where the next one begins."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    if length < 0:
        return None, at
    if at + length > len(data):
        raise ValueError("a field ends outside of its record")
    return data[at : at + length], at + length


def _headers(data: bytes, at: int) -> tuple[tuple[str, bytes | None], ...]:
    count, at = _varint(data, at)
    headers = []
    for _ in range(count):
        name, at = _bytes(data, at)
        value, at = _bytes(data, at)
        headers.append(((name or b"").decode(), value))
    if at != len(data):
        raise ValueError("bytes are left over")
    return tuple(headers)
