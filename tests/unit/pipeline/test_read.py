"""Reading: identity, workspace and version of whatever a record holds; it never raises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.contract.envelope import Wrapping
from consumer.model.document import ProcessedDocument
from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.identity import IdentityTemplate
from consumer.model.outcome import FailureReason, Refused
from consumer.model.record import Coordinates, Headers, Record
from consumer.model.routing import Routing
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.pipeline.read import Reader
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import DAY, record

TRACE = "0af7651916cd43dd8448eb211c80319c"
ORIGIN: Headers = (
    ("__connect.errors.topic", b"in"),
    ("__connect.errors.partition", b"3"),
    ("__connect.errors.offset", b"41"),
    ("dlq.original-timestamp", b"1700000000000"),
)


def _reader(identity: str = "{id}", routing: Routing | None = None) -> Reader:
    return Reader(
        limits=DecodeLimits(),
        identity=IdentityTemplate.parse(identity),
        routing=routing or Routing(),
        replay_topic="replay",
        metrics=Metrics(),
        now=lambda: DAY,
    )


def _value(**changes: Any) -> bytes:
    fields = {
        "id": "guide",
        "title": "T",
        "technology": "My Docs",
        "source_url": "https://docs.example/guide",
        "chunks": [{"id": "c", "content": "text"}],
    }
    return orjson.dumps(fields | changes)


def _document(event: Event) -> DocumentEvent:
    assert isinstance(event.body, DocumentEvent)
    return event.body


def _tombstone(event: Event) -> TombstoneEvent:
    assert isinstance(event.body, TombstoneEvent)
    return event.body


def _refused(event: Event) -> Refused:
    assert isinstance(event.body, Refused)
    return event.body


@given(
    value=st.none() | st.binary(max_size=60) | st.text().map(str.encode),
    key=st.none() | st.binary(max_size=20),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["workspace", "traceparent", "trace_id", *(n for n, _ in ORIGIN)]),
            st.binary(max_size=40),
        )
    ),
    topic=st.sampled_from(["in", "replay"]),
    timestamp=st.integers(-1, 2**62),
)
def test_no_record_makes_it_raise(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]], topic: str,
    timestamp: int,
) -> None:  # fmt: skip
    """What a publisher can send must not end the process."""
    at = Coordinates(topic, 0, 0)
    event = _reader().read(Record(at, timestamp, key, value, tuple(headers)))

    assert len(event.trace_id) == 32


def test_a_document_has_its_identity_workspace_and_version() -> None:
    """Everything that order depends on is known before anything waits."""
    event = _reader("{source_url}").read(record(_value(created_at="2026-03-02"), offset=7))
    body = _document(event)

    assert body.identity == event.identity == "https://docs.example/guide"
    assert body.slug == "my-docs"
    assert body.version.instant == datetime(2026, 3, 2, tzinfo=UTC)
    assert (body.version.partition, body.version.offset) == (0, 7)


def test_a_date_far_ahead_of_the_record_is_not_believed() -> None:
    """Otherwise every later event would look old for ever."""
    body = _document(_reader().read(record(_value(updated_at="2030-01-01"))))

    assert body.version.instant == DAY


@pytest.mark.parametrize("topic", ["in", "replay"])
def test_the_coordinates_of_an_original_are_believed_on_the_replay_topic_alone(topic: str) -> None:
    """On the input topic anybody could claim them."""
    event = _reader().read(Record(Coordinates(topic, 0, 5), 1, b"guide", _value(), ORIGIN))
    version = _document(event).version

    if topic == "replay":
        assert (event.origin.at, version.offset) == (Coordinates("in", 3, 41), 41)
        assert version.instant == datetime.fromtimestamp(1_700_000_000, UTC)
    else:
        assert (event.origin.at, version.offset) == (Coordinates("in", 0, 5), 5)


def test_a_document_that_can_not_be_routed_keeps_its_identity() -> None:
    """Its publisher gets an answer, in order with the others of that document."""
    event = _reader().read(record(_value(workspace="../x")))

    assert _refused(event).reason is FailureReason.UNROUTABLE
    assert _refused(event).document_id == event.identity == "guide"


def test_a_tombstone_goes_to_its_header_or_the_fixed_workspace_or_everywhere() -> None:
    """In this order."""
    fixed = Routing(workspace_template="One Place")
    headers = (("workspace", b"docs"),)

    assert _tombstone(_reader().read(record(None))).slug is None
    assert _tombstone(_reader(routing=fixed).read(record(None))).slug == "one-place"
    assert _tombstone(_reader(routing=fixed).read(record(None, headers=headers))).slug == "docs"


@pytest.mark.parametrize("slug", [b"../x", b"a,b", b"", b"\xff", b"secret", b"Docs", b"docs-"])
def test_a_tombstone_for_no_allowed_workspace_is_refused(slug: bytes) -> None:
    """It must neither reach elsewhere nor be taken for one without a header."""
    reader = _reader(routing=Routing(allowed=("docs*",)))
    event = reader.read(record(None, headers=(("workspace", slug),)))

    assert _refused(event).reason is FailureReason.UNROUTABLE
    assert event.identity == "k"


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe"])
def test_a_tombstone_without_identity_is_invalid(key: bytes | None) -> None:
    """Nobody knows what to remove."""
    event = _reader().read(record(None, key=key))

    assert _refused(event).reason is FailureReason.INVALID
    assert event.identity is None


def test_a_trace_id_that_nobody_gave_is_the_same_when_the_record_is_read_again() -> None:
    """A repeat after a crash belongs to the same trace."""
    first, again = _reader().read(record(_value())), _reader().read(record(_value()))

    assert first.trace_id == again.trace_id
    assert _reader().read(record(_value(), offset=1)).trace_id != first.trace_id


def test_an_unreadable_event_still_tells_its_trace() -> None:
    """The publisher finds it by the id it knows."""
    event = _reader().read(record(_value(trace_id=TRACE, title=17)))

    assert _refused(event).reason is FailureReason.INVALID
    assert event.trace_id == TRACE


@pytest.mark.parametrize(
    ("identity", "known"), [("{source_url}", "https://docs.example/a"), ("{id}/{technology}", None)]
)
def test_an_invalid_event_shows_its_identity_where_it_can(identity: str, known: str | None) -> None:
    """Its result gets the right key; half an identity would name another document."""
    value = orjson.dumps({"id": "a", "source_url": "https://docs.example/a", "technology": 5})

    assert _reader(identity).read(record(value)).identity == known


def test_a_version_is_never_without_a_date() -> None:
    """Kafka allows records without a timestamp."""
    timeless = Record(Coordinates("in", 0, 0), -1, b"guide", _value())
    dated = Record(Coordinates("in", 0, 0), -1, b"guide", _value(created_at="2026-03-02"))

    assert _document(_reader().read(timeless)).version.instant.tzinfo is not None
    version = _document(_reader().read(dated)).version
    assert version.instant - DAY == timedelta(days=1)


FRAME = b"\x00\x00\x00\x00\x07"
CLOUD_EVENT: Headers = (("ce_specversion", b"1.0"), ("ce_time", b"2026-02-28T12:00:00Z"))
CE_TIME = datetime(2026, 2, 28, 12, tzinfo=UTC)
KEYS = [
    b"guide", b'"guide"', FRAME + b'"guide"',
    b'{"schema":{"type":"string","optional":false},"payload":"guide"}',
]  # fmt: skip


def _read(value: bytes | None, key: bytes | None = b"guide", headers: Headers = ()) -> Event:
    timestamp = int(DAY.timestamp() * 1000)
    return _reader().read(Record(Coordinates("in", 0, 0), timestamp, key, value, headers))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_names_the_same_document_however_it_is_framed(key: bytes) -> None:
    """A tombstone removes it, and a document's key is no other one."""
    reader = _reader()
    at = Coordinates("in", 0, 0)
    differing = reader._metrics.differing_keys

    assert _tombstone(reader.read(Record(at, 1, key, None))).identity == "guide"
    assert _document(reader.read(Record(at, 1, key, _value()))).identity == "guide"
    assert differing._value.get() == 0
    reader.read(Record(at, 1, b'"other"', _value()))
    assert differing._value.get() == 1


@pytest.mark.parametrize("key", [FRAME, FRAME + b"\x0aguide", b'{"schema":null,"payload":null}'])
def test_a_tombstone_whose_key_holds_no_identity_is_invalid(key: bytes) -> None:
    """Nothing else is removed in its place."""
    event = _read(None, key)

    assert _refused(event).reason is FailureReason.INVALID
    assert "a tombstone needs the identity as its key; the key" in _refused(event).problems[0]
    assert event.identity is None


@pytest.mark.parametrize(
    "value", [b'{"schema":{},"payload":null}', b"null", FRAME + b"null", b'"null"', FRAME]
)
def test_an_empty_envelope_is_neither_a_tombstone_nor_an_empty_document(value: bytes) -> None:
    """Kafka Connect writes one where it is given null with an optional schema."""
    assert isinstance(_read(value).body, Refused)


def test_the_time_of_a_cloud_event_stands_where_the_records_would() -> None:
    """Never over a date of the document."""
    dated = _value(created_at="2026-02-01")

    assert _document(_read(_value(), headers=CLOUD_EVENT)).version.instant == CE_TIME
    assert _tombstone(_read(None, headers=CLOUD_EVENT)).version.instant == CE_TIME
    created = _document(_read(dated, headers=CLOUD_EVENT)).version.instant
    assert created == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_cloud_event_from_far_ahead_is_not_believed() -> None:
    """As any date of the document."""
    ahead: Headers = (CLOUD_EVENT[0], ("ce_time", b"2030-01-01T00:00:00Z"))

    assert _document(_read(_value(), headers=ahead)).version.instant == DAY
    assert _tombstone(_read(None, headers=ahead)).version.instant == DAY


async def test_a_heavy_event_is_read_apart_with_what_its_headers_say() -> None:
    """The other process sees no record."""
    given: list[Wrapping] = []

    async def decode_apart(value: bytes, wrapping: Wrapping) -> ProcessedDocument:
        given.append(wrapping)
        return decode(value, DecodeLimits(), wrapping)

    chunks = [{"id": str(number), "content": "text"} for number in range(6_000)]
    value = orjson.dumps(_value(chunks=chunks).decode())  # one value, seen from outside
    record = Record(Coordinates("in", 0, 0), 1, b"guide", value, CLOUD_EVENT)
    event = await _reader().read_apart(record, decode_apart)

    assert _document(event).version.instant == datetime.fromtimestamp(0.001, UTC)
    assert [each.time for each in given] == [CE_TIME]


def test_switched_off_a_record_is_what_it_was_before() -> None:
    """DOCUMENT_ENVELOPES=false."""
    reader = Reader(
        limits=DecodeLimits(),
        identity=IdentityTemplate.parse("{id}"),
        routing=Routing(),
        replay_topic="replay",
        metrics=Metrics(),
        now=lambda: DAY,
        envelopes=False,
    )
    at = Coordinates("in", 0, 0)

    assert _tombstone(reader.read(Record(at, 1, b'"guide"', None))).identity == '"guide"'
    assert isinstance(reader.read(Record(at, 1, b"guide", FRAME + _value())).body, Refused)
    timed = reader.read(Record(at, 1_700_000_000_000, b"guide", _value(), CLOUD_EVENT))
    assert _document(timed).version.instant == datetime.fromtimestamp(1_700_000_000, UTC)
