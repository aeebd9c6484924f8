"""Batches that never raise: every offset comes out once, in order, readable or not.

The tests go through aiokafka's own `PartitionRecords`, so that what it expects of a reader of
batches is pinned as well.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.kafka.batches import BatchRules, NoValue, TolerantRecords, install, rules
from consumer.kafka.records import to_record
from consumer.model.reason import FailureReason
from consumer.model.record import Record

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
CODECS = [0, GZIP, SNAPPY, LZ4, ZSTD]
MIB = 1024 * 1024


class _NotUtf8(str):
    """A header name that goes out as bytes no UTF-8 text has."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


def _batch(
    values: Sequence[bytes | None], codec: int = 0, *, bad: Sequence[int] = (), base: int = 100
) -> bytes:
    """A batch whose records at the places in `bad` have a header name that is no UTF-8."""
    builder = (_DefaultRecordBatchBuilderPy if bad else DefaultRecordBatchBuilder)(
        2, codec, 0, -1, -1, 0, 1 << 30
    )
    for number, value in enumerate(values):
        headers = [(_NotUtf8("x") if number in bad else "name", b"v")]
        builder.append(number, 1_000 + number, b"key", value, headers)
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base)  # as the broker does; the checksum begins behind it
    return bytes(data)


def _with_crc(data: bytearray) -> bytes:
    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    return bytes(data)


def _read(data: bytes, by: BatchRules | None = None) -> list[Record]:
    token = rules.set(by or BatchRules())
    try:
        reader: Any = fetcher.PartitionRecords(
            TopicPartition("documents", 3), TolerantRecords(data), [], 0, None, None, True, 1
        )
        return [to_record(record) for record in reader]
    finally:
        rules.reset(token)


@pytest.mark.parametrize("codec", CODECS)
def test_good_batches_are_read_as_aiokafka_reads_them(codec: int) -> None:
    """Values, keys, headers, timestamps and offsets, in every codec, over several batches."""
    first = _batch([b"a" * 5_000, None, b""], codec)
    records = _read(first + _batch([b"later"], codec, base=103))

    assert [record.at.offset for record in records] == [100, 101, 102, 103]
    assert [record.value for record in records] == [b"a" * 5_000, None, b"", b"later"]
    assert [record.timestamp_ms for record in records[:3]] == [1_000, 1_001, 1_002]
    assert {(record.key, record.headers) for record in records} == {(b"key", (("name", b"v"),))}
    assert not any(record.unreadable for record in records)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("bad", [[0], [2], [4], [0, 1, 2, 3, 4], [1, 3]], ids=str)
def test_one_bad_record_takes_no_other_with_it(codec: int, bad: list[int]) -> None:
    """Good ones before and after it in the same batch come out whole and in order."""
    values = [b"%d" % number * 50 for number in range(5)]
    records = _read(_batch(values, codec, bad=bad) + _batch([b"next"], codec, base=105))

    assert [record.at.offset for record in records] == [100, 101, 102, 103, 104, 105]
    unreadable = [n for n, record in enumerate(records) if record.unreadable]
    assert unreadable == bad
    assert [r.value for r in records[:5] if not r.unreadable] == [
        value for number, value in enumerate(values) if number not in bad
    ]
    assert records[5].value == b"next"
    reasons = {record.unreadable.reason for record in records if record.unreadable}
    assert reasons == {FailureReason.UNDECODABLE}


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_bomb_is_not_unfolded(codec: int) -> None:
    """Beyond the limit none of the batch gets into memory; each offset is told; others go on."""
    bomb = _batch([b"a" * (8 * MIB), b"b"], codec)
    records = _read(bomb + _batch([b"next"], base=102), BatchRules(unfold_limit=4 * MIB))

    assert [record.at.offset for record in records] == [100, 101, 102]
    assert [r.unreadable.reason if r.unreadable else None for r in records] == [
        FailureReason.OVERSIZED,
        FailureReason.OVERSIZED,
        None,
    ]
    assert _read(bomb, BatchRules(unfold_limit=9 * MIB))[0].value == b"a" * (8 * MIB)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD, 5, 7])
def test_a_batch_that_can_not_be_unpacked_is_told_offset_by_offset(codec: int) -> None:
    """Damaged data, or a codec that Kafka does not have."""
    data = bytearray(_batch([b"x" * 900, b"y"]))
    struct.pack_into(">h", data, 21, codec)
    records = _read(_with_crc(data) + _batch([b"next"], base=102))

    assert [record.at.offset for record in records] == [100, 101, 102]
    assert [bool(record.unreadable) for record in records] == [True, True, False]


def test_a_checksum_that_does_not_fit_is_believed_the_third_time() -> None:
    """Damage on the way is mended by fetching again; damage on the disk holds nobody up."""
    data = bytearray(_batch([b"x" * 100, b"y"]))
    data[80] ^= 0xFF
    by = BatchRules()
    for _ in range(2):
        with pytest.raises(CorruptRecordException):
            _read(bytes(data), by)

    assert [(r.at.offset, bool(r.unreadable)) for r in _read(bytes(data), by)] == [
        (100, True),
        (101, True),
    ]


def test_a_cut_off_batch_waits_for_the_next_fetch() -> None:
    """Brokers cut the last batch where the answer is full."""
    whole = _batch([b"a"])
    cut = _batch([b"b" * 100], base=101)[:-5]

    assert [record.at.offset for record in _read(whole + cut)] == [100]
    assert not TolerantRecords(cut).has_next()
    assert not TolerantRecords(b"").has_next()


@settings(max_examples=300, deadline=None)
@given(data=st.data(), codec=st.sampled_from(CODECS))
def test_any_damage_costs_no_offset(data: st.DataObject, codec: int) -> None:
    """Whatever the bytes behind the header are: each offset once, in order, and no exception."""
    batch = bytearray(_batch([b"%d" % number * 20 for number in range(6)], codec))
    for _ in range(data.draw(st.integers(1, 8))):
        batch[data.draw(st.integers(61, len(batch) - 1))] = data.draw(st.integers(0, 255))

    records = _read(_with_crc(batch), BatchRules(unfold_limit=MIB))

    offsets = [record.at.offset for record in records]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] <= 105
    readable = [record for record in records if not record.unreadable]
    assert len(readable) + sum(bool(record.unreadable) for record in records) == len(offsets)


def test_consumers_started_after_the_installation_use_it() -> None:
    """The one name of aiokafka that is replaced exists, and is used for every fetch."""
    install(5)

    assert fetcher.MemoryRecords is TolerantRecords
    assert TolerantRecords(b"")._rules.unfold_limit == 5
    assert len(NoValue.__slots__) == 1
