"""How a chunk and a document fared: values and not exceptions, so that no chunk's fate is lost."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.model.fault import Fault
from consumer.model.names import Slug
from consumer.model.reason import FailureReason as FailureReason
from consumer.model.version import DocumentVersion


@dataclass(frozen=True, slots=True)
class FailedChunk:
    """A chunk that is not stored, or one that should be gone and stays.

    Args:
        chunk_id: the publisher's id.
        reason: ``rejected`` (refused definitely) or ``exhausted`` (its attempts are used up).
        message: one line; never document text.
        http_status: of the last answer, where there was one.
        attempts: how often it was tried.
        fault: whose fault the last failure was.
    """

    chunk_id: str
    reason: FailureReason
    message: str
    http_status: int | None
    attempts: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Applied:
    """The event's state was applied to its workspace, wholly or in part.

    Args:
        slug: of the workspace.
        version: of the document.
        uploaded: ids of the chunks that were uploaded for this event.
        unchanged: ids of the chunks that were stored already.
        failed: chunks that are not stored and go to the dead-letter topic with the event.
        removed_chunks: how many stale or double chunks were removed.
        kept: chunks of former versions that should be gone and stay, with why.
    """

    slug: Slug
    version: DocumentVersion
    uploaded: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed: tuple[FailedChunk, ...]
    removed_chunks: int
    kept: tuple[FailedChunk, ...] = ()


@dataclass(frozen=True, slots=True)
class Superseded:
    """Something newer of the same identity is known, so nothing was done."""

    slug: Slug | None
    version: DocumentVersion


@dataclass(frozen=True, slots=True)
class Deleted:
    """A tombstone was carried out, as far as AnythingLLM lets us.

    Args:
        slug: None when it spoke of every workspace.
        removed_chunks: how many chunks were removed.
        kept: chunks that should be gone and stay, with why.
    """

    slug: Slug | None
    removed_chunks: int
    kept: tuple[FailedChunk, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The event itself can't be carried out; it goes to the dead-letter topic.

    Args:
        reason: undecodable, invalid, oversized or unroutable.
        problems: one line each, without document text.
        document_id: where it was readable.
    """

    reason: FailureReason
    problems: tuple[str, ...]
    document_id: str | None


Outcome = Applied | Superseded | Deleted | Refused


def was_carried_out(outcome: Outcome) -> bool:
    """Whether the event's state is in AnythingLLM now, all of it."""
    match outcome:
        case Applied():
            return not outcome.failed
        case Deleted():
            return True
        case Superseded() | Refused():
            return False
