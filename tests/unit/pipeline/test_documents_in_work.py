"""Which documents are in work and what they wait for, as it is shown: by the gates' own order."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from consumer.model.event import DocumentEvent, Event
from consumer.model.fault import Failure, Fault
from consumer.model.names import Identity, Slug
from consumer.model.origin import Origin
from consumer.model.outcome import FailureReason
from consumer.pipeline.documents_in_work import (
    Blocked,
    ChunkProgress,
    DocumentInWork,
    DocumentsInWork,
    Station,
    WaitsFor,
    waits_for,
)
from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit
from consumer.pipeline.plan import make_plan
from consumer.pipeline.right_to_work import DocumentRight
from consumer.pipeline.upload_state import PendingUnit, UploadState
from consumer.pipeline.watched_unit import watched
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import (
    DAY,
    TRACE,
    Storage,
    document,
    record,
    stored,
    version,
)

ALL = Blocked(True, True, True, True, True, True, True)


@pytest.mark.parametrize(
    ("station", "blocked", "is_waiting", "expected"),
    [
        (Station.TURN, Blocked(), False, WaitsFor.EARLIER_EVENT),
        (Station.TURN, ALL, True, WaitsFor.EARLIER_EVENT),
        (Station.SETTLE, Blocked(), True, None),
        (Station.SETTLE, ALL, False, WaitsFor.KAFKA),
        (Station.PLAN, Blocked(), False, None),
        (Station.PLAN, ALL, False, None),  # it works all the same: its request is under way
        (Station.PLAN, Blocked(kafka=True), True, WaitsFor.NEXT_ROUND),
        (Station.PLAN, ALL, True, WaitsFor.HOME),
        (Station.PLAN, Blocked(breaker=True, resting=True, fuse=True), True, WaitsFor.BREAKER),
        (Station.PLAN, Blocked(resting=True, alone=True), True, WaitsFor.REST),
        (Station.PLAN, Blocked(alone=True, workspace=True), True, WaitsFor.ALONE),
        (Station.PLAN, Blocked(workspace=True, fuse=True), True, WaitsFor.WORKSPACE),
        (Station.PLAN, Blocked(fuse=True), True, WaitsFor.FUSE),
    ],
)
def test_what_a_document_waits_for(
    station: Station, blocked: Blocked, is_waiting: bool, expected: WaitsFor | None
) -> None:
    """The first gate that holds, and the pause before its next round where none does."""
    assert waits_for(station, blocked, is_waiting=is_waiting) is expected


def event(id: str, *texts: str) -> Event:
    made = document(id, *texts)
    identity = Identity(id)
    original = record(b"{}", key=id.encode())
    return Event(
        record=original,
        trace_id=TRACE,
        origin=Origin(original.at, original.timestamp_ms),
        document=made,
        identity=identity,
        body=DocumentEvent(made, Slug("docs"), identity, version(5)),
        received_at=DAY,
    )


async def in_work(*texts: str) -> tuple[DocumentsInWork, DocumentInWork, DocumentRight]:
    """A document whose plan is being made, and its right to work."""
    documents = DocumentsInWork()
    limit = InFlightLimit(InFlightBounds(1, 1_000, 100_000), Metrics())
    place = await limit.place()
    right = DocumentRight(Fence("partition"), Fence("stop"), Fence("overtaken"), place)
    one = documents.enter(event("a", *texts), place, 0.0)
    one.station = Station.PLAN
    return documents, one, right


async def test_progress_is_told_in_chunks() -> None:
    """Those that were there, those that are stored by now, those given up, and the last error."""
    documents, one, right = await in_work("there", "new", "refused", "down")
    assert documents.progress(one) is None
    made = document("a", "there", "new", "refused", "down")
    plan = make_plan(Slug("docs"), made, version(5), [stored("a", "there")])
    work = UploadState(plan, Identity("a"), right, TRACE)
    documents.uploading(work)
    assert documents.progress(one) == ChunkProgress(4, 1, 0, 0, None)

    unit = plan.missing[-1]
    watching = watched(unit, Identity("a"), Slug("docs"))
    upload = Storage().upload(Slug("docs"), unit, trace_id=TRACE, check=right.check)
    pending = PendingUnit(unit, upload, watching, last=Failure("down", fault=Fault.THEIRS))
    work.pending.append(pending)
    work.uploaded.append("a_1")
    work.failed.extend(pending.failed(Failure("too long"), FailureReason.REJECTED))
    assert documents.progress(one) == ChunkProgress(4, 1, 1, 1, "down")

    documents.uploaded(work)
    assert documents.progress(one) is None


async def test_long_waits_are_seen_and_what_stands_aside() -> None:
    """For as long as they last, however they end."""
    _, one, right = await in_work("text")
    seen = []

    def look() -> None:
        seen.append((one.waits_for(Blocked()), one.place.is_aside))

    look()
    async with right.long():
        look()
    async with right.aside():
        look()
    with suppress(FenceClosedError):
        async with right.aside():
            right.overtaken.close()
            await asyncio.sleep(1)
    look()

    waits = WaitsFor.NEXT_ROUND
    assert seen == [(None, False), (waits, False), (waits, True), (None, False)]


async def test_what_has_left_is_forgotten() -> None:
    """Leaving twice changes nothing."""
    documents, one, _ = await in_work("text")
    other = documents.enter(event("b"), one.place, 1.0)
    documents.leave(one)
    documents.leave(one)

    assert (list(documents), len(documents)) == ([other], 1)
