"""Which codec, and what is said where the broker refuses it or its library is missing."""

from __future__ import annotations

import pytest
from aiokafka import codec
from aiokafka.errors import UnsupportedForMessageFormatError, for_code

from consumer.kafka.compression import UnsupportedCompressionTypeError, codec_of, refusal_of
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
