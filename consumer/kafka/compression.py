"""How what we publish is compressed, and how a broker says that it does not take that.

Managed brokers refuse single codecs (Azure Event Hubs knows gzip only), with one of two codes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from aiokafka import codec
from aiokafka.errors import BrokerResponseError, UnsupportedForMessageFormatError, kafka_errors
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from consumer.kafka.connection import KafkaUnavailableError

NONE = "none"
_LZ4_LEVEL = 1
_AVAILABLE: Mapping[str, Callable[[], bool]] = MappingProxyType(
    {
        NONE: lambda: True,
        "gzip": lambda: codec.has_gzip(),
        "lz4": lambda: codec.has_lz4(),
        "snappy": lambda: codec.has_snappy(),
        "zstd": lambda: codec.has_zstd(),
    }
)


class UnsupportedCompressionTypeError(BrokerResponseError):  # type: ignore[misc]  # no types
    """The broker does not take this codec (Kafka's code 76, which aiokafka 0.14 does not know)."""

    errno = 76
    message = "UNSUPPORTED_COMPRESSION_TYPE"
    description = "The requesting client does not support the compression type of given partition."


# aiokafka 0.14 would call it UnknownError, and nobody could tell what it was.
kafka_errors.setdefault(UnsupportedCompressionTypeError.errno, UnsupportedCompressionTypeError)

_REFUSALS = (UnsupportedForMessageFormatError, UnsupportedCompressionTypeError)


def codec_of(compression: str) -> str | None:
    """What aiokafka's producer takes for a word of `KAFKA_COMPRESSION`.

    Raises:
        KafkaUnavailableError: the codec's library is not installed; the message says which.
    """
    if not _AVAILABLE[compression]():
        raise KafkaUnavailableError(
            f"KAFKA_COMPRESSION={compression} needs a library that is not installed:"
            f" pip install 'aiokafka[{compression}]', or set KAFKA_COMPRESSION to gzip or none"
        )
    return None if compression == NONE else compression


def pack_quickly() -> None:
    """Have all producers pack with lz4 as it is quick.

    aiokafka 0.14 packs within the loop, and takes lz4's level 9: a dead letter of 8 MiB held the
    loop for 0.1 to 0.25 s. Level 1 takes 30 ms at most, for a text that becomes a sixth larger.
    gzip takes as long as level 9 of lz4, whatever its level.
    """
    builder = sys.modules[DefaultRecordBatchBuilder.__module__]  # the compiled one, or Python's own
    vars(builder)["lz4_encode"] = partial(codec.lz4_encode, level=_LZ4_LEVEL)


def refusal_of(error: BaseException, compression: str) -> str | None:
    """What to do where a broker refuses our compression; None for any other error. Pure."""
    if not isinstance(error, _REFUSALS):
        return None
    return (
        f"the broker does not take records compressed with {compression} (code {error.errno}):"
        " set KAFKA_COMPRESSION to what it takes; gzip and none are taken nearly everywhere"
    )
