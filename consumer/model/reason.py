"""Why something can't be stored, in the words of the contract (schemas/README.md)."""

from __future__ import annotations

from enum import StrEnum


class FailureReason(StrEnum):
    """Why something can't be stored: ``dlq.reason`` and ``failed_chunks[].reason``."""

    UNDECODABLE = "undecodable"
    INVALID = "invalid"
    OVERSIZED = "oversized"
    UNROUTABLE = "unroutable"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
