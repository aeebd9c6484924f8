"""What a topic must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_MESSAGE = "max.message.bytes"


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
