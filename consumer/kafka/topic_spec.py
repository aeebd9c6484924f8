"""What a topic must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_MESSAGE = "max.message.bytes"
_LARGEST_CHUNK = 1024 * 1024  # bytes, the default of DOCUMENT_MAX_CHUNK_BYTES


def settings_for(largest: int) -> str:
    """The settings with which documents have so many bytes at most, as a person gives them.

    A chunk may not be larger than a document: with the first setting alone nothing would start.
    """
    document = f"DOCUMENT_MAX_BYTES={largest}"
    if largest >= _LARGEST_CHUNK:
        return document
    return f"{document} and DOCUMENT_MAX_CHUNK_BYTES={largest}"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be (schemas/README.md, "Topics").

    Args:
        name: topic name.
        purpose: for findings and help, "dead letters" for example.
        partitions: at creation; later a topic may have more.
        settings: topic settings that creation sets and `check` verifies.
        headroom: bytes of its ``max.message.bytes`` that are not the document's.
    """

    name: str
    purpose: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)
    headroom: int = 0
