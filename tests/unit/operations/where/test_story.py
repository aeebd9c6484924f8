"""Whose story a record belongs to, and what a hurried reader is told first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from consumer.contract.received_result import ReceivedResult, ReceivedSource
from consumer.model.identity import IdentityTemplate
from consumer.model.names import Identity, Slug
from consumer.model.record import Coordinates, Record
from consumer.operations.where.story import (
    DOCUMENT,
    TOMBSTONE,
    EventProgress,
    MissingPart,
    Names,
    Story,
    StoryEvent,
    verdict,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BY_ID, BY_SOURCE = IdentityTemplate.parse("{id}"), IdentityTemplate.parse("{source_url}")


def record(value: bytes | None = b"{}", key: bytes | None = None) -> Record:
    return Record(Coordinates("in", 0, 1), 0, key, value)


def event(**fields: Any) -> Record:
    return record(orjson.dumps({"id": "x", "source_url": "url", "technology": "t", **fields}))


def told(
    offset: int = 1, *, committed: bool = False, in_front: int = 0, kind: str = DOCUMENT
) -> StoryEvent:
    return StoryEvent(
        at=Coordinates("in", 0, offset),
        timestamp=NOW,
        kind=kind,
        document_id="x",
        identity=Identity("x"),
        workspace=Slug("docs"),
        version=None,
        chunks=1,
        key="x",
        original=None,
        committed=committed,
        in_front=in_front,
    )


def story(*events: StoryEvent, results: tuple[ReceivedResult, ...] = (), **more: Any) -> Story:
    return Story("x", (Identity("x"),), events, results, (), (), **more)


def result(offset: int) -> ReceivedResult:
    source = ReceivedSource(topic="in", partition=0, offset=offset)
    return ReceivedResult(event_id="e", status="succeeded", source=source)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (event(id="one"), True),
        (event(id="one "), False),
        (event(id=["one"]), False),
        (record(b'{"id": "\\u006fne"}'), True),
        (record(b"{nonsense one"), False),
        (record(b"[]"), False),
        (record(b"", b"one"), True),
        (record(None, b"one"), True),
        (record(None, b"\xff"), False),
        (record(None, None), False),
        (record(None, b'"one"'), True),
        (record(None, b'\0\0\0\0\x07"one"'), True),
        (record(None, b'{"schema":null,"payload":"one"}'), True),
        (record(None, b'"two"'), False),
        (record(b'{"schema":null,"payload":{"id":"one"}}'), True),
        (record(b'\0\0\0\0\x07{"id":"one"}'), True),
        (record(b'{"schema":null,"payload":{"id":"two"}}'), False),
    ],
)
def test_which_events_may_be_about_it(given: Record, expected: bool) -> None:
    """By key, or by the id in it however it is escaped; a part of a name is no name."""
    assert Names("one", BY_ID).may_be_about(given) is expected


def test_an_identity_is_learnt_from_an_id() -> None:
    """And from then on others under the same identity belong to it."""
    names = Names("old", BY_SOURCE)
    newer = event(id="new", source_url="page")
    assert not names.may_be_about(newer)
    assert names.may_be_about(event(id="old", source_url="page"))
    assert names.identities == {"old", "page"}
    assert names.may_be_about(newer)
    answer = orjson.dumps({"document_id": None, "identity": "page"})
    assert names.may_be_answered_by(record(answer))


def test_how_far_the_group_is_with_an_event() -> None:
    """Committed, answered only, waiting; without anything in front of it, it is in work."""
    one = story(told(1, committed=True), told(2), told(3, in_front=7), results=(result(2),))
    done, answered, waiting = one.events
    assert one.progress_of(done) is EventProgress.DONE
    assert one.progress_of(answered) is EventProgress.ANSWERED
    assert one.where_of(waiting) == "waiting, at most 7 records in front of it"
    assert one.where_of(told(4)) == "in work, or next in line"


def test_the_verdict_names_what_is_urgent() -> None:
    """Nowhere; what waits; and that nothing is stored only where that is known."""
    assert verdict(story()) == ("x is nowhere",)
    assert verdict(story(told(committed=True))) == ("nothing of it is stored",)
    deleted = story(told(1, committed=True), told(2, committed=True, kind=TOMBSTONE))
    assert verdict(deleted) == ("deleted: nothing of it is stored",)
    unknown = story(told(committed=True), missing=(MissingPart("what is stored", "it is down"),))
    assert verdict(unknown) == ()
    many = story(*(told(n, in_front=n) for n in range(1, 10)))
    assert verdict(many)[-2:] == ("and 4 more like these", "nothing of it is stored")
