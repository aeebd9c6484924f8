"""Which documents are in work, how far each is, and what it waits for: to be looked at.

Nothing decides by this. A document is noted once when it comes and once when it goes; how far its
chunks are is read from the state of its upload when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.names import Identity, Slug
from consumer.pipeline.in_flight import Place
from consumer.pipeline.upload_state import UploadState


class Station(StrEnum):
    """Where a document is on its way."""

    TURN = "turn"  # behind an earlier event of its identity
    PLAN = "plan"
    UPLOAD = "upload"
    SETTLE = "settle"


class WaitsFor(StrEnum):
    """What keeps a document from going on."""

    EARLIER_EVENT = "earlier-event"  # of the same identity
    HOME = "home"  # its workspace lives on none of several servers
    BREAKER = "breaker"  # AnythingLLM is down
    REST = "rest"  # AnythingLLM asked for one
    ALONE = "alone"  # another chunk is tried alone
    WORKSPACE = "workspace"  # is paused, or failed the last time
    FUSE = "fuse"
    NEXT_ROUND = "next-round"  # it failed, and is tried again after a pause
    KAFKA = "kafka"  # does not take results or dead letters


@dataclass(frozen=True, slots=True)
class Blocked:
    """What keeps the documents of a workspace from going on, as far as the gates say.

    Args:
        homeless: it lives on no server now.
        breaker: is not closed.
        resting: AnythingLLM asked for a rest.
        alone: a chunk is tried alone.
        workspace: it is in trouble.
        fuse: is blown.
        kafka: does not take what is published.
    """

    homeless: bool = False
    breaker: bool = False
    resting: bool = False
    alone: bool = False
    workspace: bool = False
    fuse: bool = False
    kafka: bool = False


@dataclass(frozen=True, slots=True)
class ChunkProgress:
    """How far a document's chunks are.

    Args:
        total: of the document.
        unchanged: were stored before.
        uploaded: are stored now.
        failed: are given up.
        error: what the last try of one of the others met; None where nothing failed.
    """

    total: int
    unchanged: int
    uploaded: int
    failed: int
    error: str | None


@dataclass(slots=True, eq=False)
class DocumentInWork:
    """An event with its place; made by `DocumentsInWork.enter`.

    Args:
        since: monotonic seconds at which its work began.
        station: `Station.UPLOAD` is told by the upload itself.
    """

    event: Event
    place: Place
    since: float
    station: Station = Station.TURN

    @property
    def slug(self) -> Slug | None:
        """Its workspace, where it names one."""
        body = self.event.body
        return body.slug if isinstance(body, DocumentEvent | TombstoneEvent) else None

    def waits_for(self, blocked: Blocked) -> WaitsFor | None:
        """What it waits for; None while it works."""
        return waits_for(self.station, blocked, is_waiting=self.place.waits > 0)


_LOOKED_AT = 5  # chunks; those that failed come first


class DocumentsInWork:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._documents: dict[int, DocumentInWork] = {}
        self._uploads: dict[Identity, UploadState] = {}

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[DocumentInWork]:
        """Those that came first, first."""
        return iter(self._documents.values())

    def enter(self, event: Event, place: Place, now: float) -> DocumentInWork:
        """Note that work on an event begins."""
        document = DocumentInWork(event, place, now)
        self._documents[id(document)] = document
        return document

    def leave(self, document: DocumentInWork) -> None:
        """Note that it has ended."""
        self._documents.pop(id(document), None)

    def uploading(self, work: UploadState) -> None:
        """Note an upload. One event of an identity is carried out at a time."""
        self._uploads[work.identity] = work

    def uploaded(self, work: UploadState) -> None:
        """Note that it has ended."""
        self._uploads.pop(work.identity, None)

    def progress(self, document: DocumentInWork) -> ChunkProgress | None:
        """How far its chunks are; None where nothing of it is being uploaded."""
        identity = document.event.identity
        work = None if identity is None else self._uploads.get(identity)
        if work is None or document.station is not Station.PLAN:
            return None
        tried = (each.last or each.failure for each in work.pending[:_LOOKED_AT])
        failure = next((each for each in tried if each is not None), None)
        return ChunkProgress(
            total=len(work.plan.document.chunks),
            unchanged=len(work.plan.unchanged),
            uploaded=len(work.uploaded),
            failed=len(work.failed),
            error=None if failure is None else failure.message,
        )


def waits_for(station: Station, blocked: Blocked, *, is_waiting: bool) -> WaitsFor | None:
    """What keeps a document from going on, in the order of the gates. Pure.

    Args:
        station: where it is.
        blocked: what the gates say.
        is_waiting: whether it waits for long.
    """
    if station is Station.TURN:
        return WaitsFor.EARLIER_EVENT
    if station is Station.SETTLE:
        return WaitsFor.KAFKA if blocked.kafka else None
    if not is_waiting:
        return None
    reasons = (
        (blocked.homeless, WaitsFor.HOME),
        (blocked.breaker, WaitsFor.BREAKER),
        (blocked.resting, WaitsFor.REST),
        (blocked.alone, WaitsFor.ALONE),
        (blocked.workspace, WaitsFor.WORKSPACE),
        (blocked.fuse, WaitsFor.FUSE),
    )
    return next((why for holds, why in reasons if holds), WaitsFor.NEXT_ROUND)
