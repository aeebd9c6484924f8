"""Heavy events, where no process can be begun: in virtual time nobody would wait for it."""

from __future__ import annotations

from consumer.contract.envelope import Wrapping
from consumer.model.document import ProcessedDocument
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.pipeline.ports import DecodeApart


def decoding_here(limits: DecodeLimits) -> DecodeApart:
    """Decodes within the loop."""

    async def decode_here(value: bytes, wrapping: Wrapping) -> ProcessedDocument:
        return decode(value, limits, wrapping)

    return decode_here
