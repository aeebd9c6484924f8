"""Which codec, and what is said where the broker refuses it or its library is missing."""

from __future__ import annotations

import random
import time

import pytest
from aiokafka import codec
from aiokafka.errors import UnsupportedForMessageFormatError, for_code
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from consumer.kafka.compression import (
    UnsupportedCompressionTypeError,
    codec_of,
    pack_quickly,
    refusal_of,
)
from consumer.kafka.connection import KafkaUnavailableError


def test_both_codes_name_compression_and_the_setting() -> None:
    """43 and 76 are all that a broker says; aiokafka knows 43 only."""
    for code in (43, 76):
        told = refusal_of(for_code(code)(), "lz4")
        assert told is not None
        assert "compressed with lz4" in told
        assert f"code {code}" in told
        assert "KAFKA_COMPRESSION" in told
    assert for_code(43) is UnsupportedForMessageFormatError
    assert for_code(76) is UnsupportedCompressionTypeError
    assert refusal_of(for_code(29)(), "lz4") is None
    assert refusal_of(TimeoutError(), "lz4") is None


@pytest.mark.parametrize("name", ["gzip", "lz4", "snappy", "zstd"])
def test_a_missing_library_is_named_with_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of a RuntimeError that ends the process."""
    assert codec_of(name) == name
    monkeypatch.setattr(codec, f"has_{name}", lambda: False)
    with pytest.raises(KafkaUnavailableError, match=rf"pip install 'aiokafka\[{name}\]'"):
        codec_of(name)


def test_none_is_no_codec() -> None:
    """The client's word for it is None."""
    assert codec_of("none") is None


def test_a_dead_letter_of_8_mib_is_packed_with_lz4_in_a_moment() -> None:
    """The client packs within the loop, and its own level holds it for four times as long."""
    pack_quickly()
    value = random.Random(1).randbytes(8 * 1024 * 1024)
    batch = DefaultRecordBatchBuilder(
        2,
        3,  # lz4
        is_transactional=False,
        producer_id=1,
        producer_epoch=0,
        base_sequence=0,
        batch_size=16384,
    )
    assert batch.append(0, None, b"key", value, []) is not None
    begun = time.thread_time()
    assert len(batch.build()) > len(value)
    took = time.thread_time() - begun
    begun = time.thread_time()
    assert len(codec.lz4_encode(value)) > len(value)
    assert took < (time.thread_time() - begun) / 2
