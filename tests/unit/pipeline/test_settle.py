"""Settling: what is told, in which order, and what becomes of it when it does not fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from structlog.testing import capture_logs

from consumer.model.event import Event
from consumer.model.fault import Fault
from consumer.model.identity import IdentityTemplate
from consumer.model.names import Slug
from consumer.model.outcome import (
    Applied,
    Deleted,
    FailedChunk,
    FailureReason,
    Outcome,
    Refused,
    Superseded,
)
from consumer.model.record import Headers
from consumer.model.routing import Routing
from consumer.pipeline.decode import DecodeLimits
from consumer.pipeline.ports import TooLarge
from consumer.pipeline.read import Reader
from consumer.pipeline.settle import Address, Settler, cause_of
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import DAY, record, version

DOCS = Slug("docs")

NOW = datetime(2026, 3, 5, tzinfo=UTC)
ADDRESS = Address("results", "letters", "replay", "group", "task", "cluster")


def _event(value: bytes | None, key: bytes | None = b"k") -> Event:
    reader = Reader(
        limits=DecodeLimits(),
        identity=IdentityTemplate.parse("{id}"),
        routing=Routing(),
        replay_topic="replay",
        metrics=Metrics(),
        now=lambda: DAY,
    )
    return reader.read(record(value, key=key))


def _good() -> Event:
    event = {
        "id": "guide", "title": "T", "technology": "docs", "source_url": "u", "chunks": []
    }  # fmt: skip
    return _event(orjson.dumps(event))


class Published:
    """A `Publish` that remembers; topics refuse what is larger than they take."""

    def __init__(self, **limits: int) -> None:
        self.records: list[tuple[str, bytes | None, bytes | None, dict[str, bytes]]] = []
        self._limits = limits

    async def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        if len(value or b"") > self._limits.get(topic, 1_000_000):
            raise TooLarge(topic)
        self.records.append((topic, key, value, dict(headers)))


async def _settle(event: Event, outcome: Outcome, published: Published | None = None) -> Published:
    published = published or Published()
    settler = Settler(published, ADDRESS, metrics=Metrics(), now=lambda: NOW)
    await settler.settle(event, outcome, seconds=1.0)
    return published


def _failed(number: int, reason: FailureReason = FailureReason.REJECTED) -> FailedChunk:
    return FailedChunk(f"c{number}", reason, f"refused {number}", 422, number, Fault.DOCUMENT)


def _applied(*failed: FailedChunk, uploaded: tuple[str, ...] = ("u",)) -> Applied:
    return Applied(DOCS, version(), uploaded, (), failed, 0)


@pytest.mark.parametrize(
    "outcome",
    [_applied(), Superseded(DOCS, version()), Deleted(DOCS, 3)],
)
def test_what_went_well_has_no_cause(outcome: Outcome) -> None:
    """No dead letter for what needs none."""
    assert cause_of(outcome) is None


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        (FailureReason.UNDECODABLE, "decode"),
        (FailureReason.INVALID, "decode"),
        (FailureReason.OVERSIZED, "decode"),
        (FailureReason.UNROUTABLE, "plan"),
    ],
)
def test_a_refused_event_names_its_reason_and_the_station(
    reason: FailureReason, stage: str
) -> None:
    """So that an operator finds all letters of one kind."""
    cause = cause_of(Refused(reason, ("/title: is blank", "/id: is missing"), None))

    assert cause is not None
    assert (cause.reason, cause.stage, cause.attempts) == (reason, stage, 0)
    assert cause.message == "/title: is blank; /id: is missing"


def test_failed_chunks_are_all_named_and_the_most_tried_one_counts() -> None:
    """Replay uploads exactly these."""
    cause = cause_of(_applied(_failed(1), _failed(4), _failed(2), _failed(3)))

    assert cause is not None
    assert cause.failed_chunks == ("c1", "c4", "c2", "c3")
    assert (cause.reason, cause.attempts, cause.http_status) == (FailureReason.REJECTED, 4, 422)
    assert cause.message.count("refused") == 3


@pytest.mark.parametrize(
    "outcome",
    [
        Deleted(DOCS, 3, (_failed(1, FailureReason.EXHAUSTED),)),
        replace(_applied(), kept=(_failed(1, FailureReason.EXHAUSTED),)),
    ],
)
def test_what_should_be_gone_and_stays_is_a_cause(outcome: Outcome) -> None:
    """Its letter says where, and what to do."""
    cause = cause_of(outcome)

    assert cause is not None
    assert (cause.reason, cause.stage) == (FailureReason.EXHAUSTED, "remove")
    assert (cause.failed_chunks, cause.message) == (("c1",), "c1: refused 1")


def test_one_exhausted_chunk_makes_the_letter_exhausted() -> None:
    """It is the weaker verdict of the two: somebody should look at it first."""
    cause = cause_of(_applied(_failed(1), _failed(2, FailureReason.EXHAUSTED)))

    assert cause is not None
    assert cause.reason is FailureReason.EXHAUSTED


async def test_the_dead_letter_is_published_before_the_result() -> None:
    """Who reads "failed" can be sure that the letter is there to be looked at."""
    published = await _settle(_good(), _applied(_failed(1)))

    assert [topic for topic, *_ in published.records] == ["letters", "results"]


async def test_an_event_without_readable_id_has_a_letter_and_no_result() -> None:
    """There is nobody who could be answered."""
    event = _event(b"nonsense")
    assert isinstance(event.body, Refused)
    published = await _settle(event, event.body)

    assert [topic for topic, *_ in published.records] == ["letters"]


async def test_the_line_of_an_event_that_says_nothing_of_itself_has_its_key() -> None:
    """By convention that is the identity; its publisher knows it, and nobody knows an offset."""
    with capture_logs() as logs:
        await _settle(
            _event(b"no JSON", key=b"guide"), Refused(FailureReason.UNDECODABLE, (), None)
        )
        await _settle(_good(), Superseded(DOCS, version(1)))

    unknown, known = (line for line in logs if line["event"] == "document.settled")
    assert (unknown["identity"], unknown["key"]) == (None, b"guide")
    assert known["identity"] == "guide"
    assert "key" not in known


async def test_a_letter_that_does_not_fit_goes_by_reference() -> None:
    """Its coordinates and hash are enough to find the event again."""
    event = _event(b"x" * 5_000)
    assert isinstance(event.body, Refused)
    published = await _settle(event, event.body, Published(letters=2_000))

    ((_, _, value, headers),) = published.records
    assert orjson.loads(value or b"")["kind"] == "reference"
    assert headers["dlq.reason"] == b"undecodable"


async def test_a_result_that_does_not_fit_loses_its_lists_and_keeps_its_counts() -> None:
    """A results topic that takes too little must not end the process again and again."""
    outcome = _applied(uploaded=tuple(f"chunk-{n}" for n in range(500)))
    published = await _settle(_good(), outcome, Published(results=2_000))

    result = orjson.loads(published.records[0][2] or b"")
    assert (result["successful_uploads"], result["truncated"]) == (500, True)
    assert result["uploaded_chunk_ids"] == []


async def test_a_result_has_the_identity_as_key_and_the_trace_as_header() -> None:
    """Consumers of results get one document's results in order."""
    event = _good()
    ((topic, key, _, headers),) = (await _settle(event, _applied())).records

    assert (topic, key) == ("results", b"guide")
    assert headers == {"trace_id": event.trace_id.encode()}


async def test_settling_again_says_the_same_under_the_same_id() -> None:
    """After a crash between publishing and committing the repeat is recognised."""
    event = _good()
    first, second = await _settle(event, _applied()), await _settle(event, _applied())

    assert first.records == second.records


async def test_a_topic_that_takes_nothing_is_waited_for() -> None:
    """Not even the reference fits: nothing is settled, nothing is lost, and the process lives."""

    class Opening(Published):
        refusals = 0

        async def __call__(
            self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
        ) -> None:
            if topic == "letters" and self.refusals < 3:
                self.refusals += 1
                raise TooLarge(topic)
            await super().__call__(topic, key, value, headers)

    published = Opening()
    settler = Settler(published, ADDRESS, metrics=Metrics(), now=lambda: NOW, refused_pause=0.0)
    await settler.settle(_good(), _applied(_failed(1)), seconds=1.0)

    assert published.refusals == 3
    assert [record[0] for record in published.records] == ["letters", "results"]
    assert b'"kind":"reference"' in (published.records[0][2] or b"")
