"""The publisher's kit: what it makes is what the service reads."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.cli.publish import EnvelopeName
from consumer.contract.envelope import WITHOUT_HEADERS, wrapping_of
from consumer.model.event import DocumentEvent, TombstoneEvent
from consumer.model.record import Coordinates, Record
from consumer.operations.publish import PublishingRules, checked
from consumer.pipeline.acceptance import EventRules
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.publishing import (
    ContractError,
    ContractProblem,
    DocumentDraft,
    Envelope,
    EventRecord,
    RecordMaker,
    stable_id,
    trace_headers,
)
from consumer.settings import load_settings
from consumer.wiring.events import event_reader

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
READER = event_reader(load_settings({"ANYTHINGLLM_API_KEY": "k"}))
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def draft(**changes: Any) -> DocumentDraft:
    fields: dict[str, Any] = {
        "id": 'guide "1"', "title": "灯台", "source_url": "https://docs.example/1",
        "technology": "lanterns", "updated_at": NOON,
    }  # fmt: skip
    return DocumentDraft(**fields | changes)


def read(record: EventRecord) -> DocumentEvent | TombstoneEvent:
    at = Coordinates("documents.processed", 0, 0)
    body = READER.read(Record(at, 1_796_000_000_000, record.key, record.value, record.headers)).body
    assert isinstance(body, DocumentEvent | TombstoneEvent)
    return body


@pytest.mark.parametrize("envelope", Envelope)
@pytest.mark.parametrize("key_envelope", Envelope)
def test_a_draft_is_read_as_it_was_meant(envelope: Envelope, key_envelope: Envelope) -> None:
    """In every envelope the same document, and the tombstone of it removes that one."""
    made = draft().add_chunk("First.").add_chunk("Then.", id="other")
    maker = RecordMaker(envelope=envelope, key_envelope=key_envelope, schema_id=2**31 - 1)
    body = read(maker.document(made.encode(), headers=trace_headers()))

    assert isinstance(body, DocumentEvent)
    assert (body.identity, body.version.instant) == ('guide "1"', NOON)
    assert [(chunk.id, chunk.content) for chunk in body.document.chunks] == [
        ('guide "1"_chunk_0', "First."), ("other", "Then.")
    ]  # fmt: skip
    assert body.document.notes == ()
    tombstone = read(maker.tombstone('guide "1"', workspace="lanterns"))
    assert isinstance(tombstone, TombstoneEvent)
    assert (tombstone.identity, tombstone.slug) == ('guide "1"', "lanterns")


@given(
    id=st.text(max_size=20), title=st.text(max_size=20), content=st.text(max_size=20),
    trace_id=st.none() | st.text(max_size=10),
)  # fmt: skip
def test_what_it_encodes_is_never_refused(
    id: str, title: str, content: str, trace_id: str | None
) -> None:
    """Whatever is wrong with a draft is told before it is published."""
    made = draft(id=id, title=title, trace_id=trace_id).add_chunk(content)
    event: bytes | None = None
    problems: tuple[ContractProblem, ...] = ()
    try:
        event = made.encode()
    except ContractError as error:
        problems = error.problems

    assert (event is None) == bool(problems)
    assert event is None or decode(event, DecodeLimits()).id == id


def test_a_date_without_a_zone_is_nobodys() -> None:
    """It would be taken for UTC, and an older event could win."""
    for date in (datetime(2026, 1, 1), "2026-01-01T00:00:00Z"):
        with pytest.raises(ContractError, match="/updated_at: must be a datetime that has a time"):
            draft(updated_at=date).encode()


def test_an_event_of_ones_own_is_checked() -> None:
    """As the service does it, with the place."""
    with pytest.raises(ContractError, match="/title: is required"):
        RecordMaker().document(b'{"id": "x"}')
    with pytest.raises(ContractError, match="not JSON"):
        RecordMaker().document(b"{")


@pytest.mark.parametrize("workspace", ["Docs", "a--b", "docs-", "", "x" * 256])
def test_a_workspace_that_can_not_be_is_refused_before_it_leaves(workspace: str) -> None:
    """The service would call it unroutable, whatever its routing; events made elsewhere as well."""
    with pytest.raises(ContractError, match="/workspace: is no slug"):
        draft(workspace=workspace).encode()
    event = orjson.loads(draft().encode()) | {"workspace": workspace}
    with pytest.raises(ContractError, match="/workspace: is no slug"):
        RecordMaker().document(orjson.dumps(event))


def test_keys_are_the_identity_that_is_asked_for() -> None:
    """DOCUMENT_IDENTITY of the service."""
    maker = RecordMaker(identity="{source_url}")

    assert maker.document(draft().encode()).key == b"https://docs.example/1"
    with pytest.raises(ValueError, match=r"\{id\} or \{source_url\}"):
        RecordMaker(identity="{technology}")
    with pytest.raises(ValueError, match="identity of a document"):
        maker.tombstone("")
    with pytest.raises(ValueError, match=r"named by its slug .*, which 'River Pilot' is not"):
        maker.tombstone("x", workspace="River Pilot")
    with pytest.raises(ValueError, match="a schema's id is 0 to"):
        RecordMaker(schema_id=-1)
    with pytest.raises(ValueError, match="'avro' is not a valid Envelope"):
        RecordMaker(envelope="avro")  # type: ignore[arg-type]


def test_a_tombstone_removes_the_document_that_it_names() -> None:
    """Also one whose id is in quotation marks, and has a namesake without them."""
    maker = RecordMaker()
    body = read(maker.tombstone('"guide"'))

    assert body.identity == '"guide"'
    assert maker.document(draft(id='"guide"').encode()).key == maker.tombstone('"guide"').key


@pytest.mark.parametrize("inner", Envelope)
@pytest.mark.parametrize("outer", Envelope)
def test_an_event_in_an_envelope_is_not_put_into_another(inner: Envelope, outer: Envelope) -> None:
    """Two of them would be opened, three are refused: none of them are made."""
    event = draft(id="a").encode()
    value = RecordMaker(envelope=inner).document(event).value or b""
    again = RecordMaker(envelope=outer).document(value)

    assert again == RecordMaker(envelope=outer).document(event)


def test_a_draft_does_not_show_its_text() -> None:
    """It ends in somebody's log."""
    assert "Secret." not in repr(draft().add_chunk("Secret."))


def test_an_id_is_stable() -> None:
    """For ever: this one is written down here."""
    assert stable_id("https://docs.example/1") == "6a69aa67-c677-5a42-9943-134e4c591185"
    assert len({stable_id("a", "b"), stable_id("ab"), stable_id("b", "a"), stable_id("a,b")}) == 4
    for wrong in ((), ("",), ("a", "")):
        with pytest.raises(ValueError, match="one text at least"):
            stable_id(*wrong)


def test_a_trace_goes_on() -> None:
    """The service takes it from the header."""
    at = Coordinates("documents.processed", 0, 0)
    event = READER.read(Record(at, 1, b"x", None, trace_headers(TRACE)))

    assert event.trace_id == TRACE
    listed = RecordMaker().tombstone("x", workspace="docs", headers=[*trace_headers(TRACE)])
    assert [name for name, _ in listed.headers] == ["workspace", "traceparent"]
    rng = random.Random(1)
    assert trace_headers(rng=rng) != trace_headers(rng=rng)
    with pytest.raises(ValueError, match="a trace id is"):
        trace_headers("\n")


@pytest.mark.parametrize("envelope", Envelope)
def test_events_of_files_stay_in_their_envelope_or_get_another(envelope: Envelope) -> None:
    """Files have no headers: what only a header can say is added."""
    event = draft(id="a").add_chunk("Text.").encode()
    value = RecordMaker(envelope=envelope).document(event).value or b""
    limits = DecodeLimits()
    (kept,) = checked([value], PublishingRules(EventRules(limits), RecordMaker()))
    maker = RecordMaker(envelope=Envelope.CONNECT)
    (changed,) = checked([value], PublishingRules(EventRules(limits), maker, rewrap=True))

    assert isinstance(kept, EventRecord)
    assert isinstance(changed, EventRecord)
    assert (kept.key, kept.value) == (b"a", value)
    wanted = decode(event, limits)
    assert decode(value, limits, wrapping_of(kept.headers)).chunks == wanted.chunks
    assert changed.value == b'{"schema":null,"payload":' + event + b"}"
    assert decode(value, limits, WITHOUT_HEADERS).id == "a"


def _cloud_event(event: bytes) -> bytes:
    maker = RecordMaker(envelope=Envelope.CLOUD_EVENTS_STRUCTURED)
    return maker.document(event).value or b""


@pytest.mark.parametrize(
    "hidden",
    [
        lambda value: orjson.dumps(value.decode()),
        lambda value: b'{"schema":null,"payload":' + value + b"}",
        lambda value: value.replace(b'"specversion"', rb'"spec\u0076ersion"'),
        lambda value: b"\0\0\0\0\1" + value,
    ],
)
def test_a_cloud_event_of_a_file_is_said_to_be_one_wherever_it_stands(
    hidden: Callable[[bytes], bytes],
) -> None:
    """Without the header the service would refuse what was found valid."""
    limits = DecodeLimits()
    value = hidden(_cloud_event(draft(id="a").encode()))
    (kept,) = checked([value], PublishingRules(EventRules(limits), RecordMaker()))

    assert isinstance(kept, EventRecord)
    assert decode(kept.value or b"", limits, wrapping_of(kept.headers)).id == "a"


def test_the_time_of_a_cloud_event_stays_with_it() -> None:
    """It is the version of a document without dates."""
    value = _cloud_event(draft(updated_at=None).encode())
    timed = value.replace(b'"data":', b'"time":"2026-11-22T12:00:00Z","data":')
    maker = RecordMaker(envelope=Envelope.CLOUD_EVENTS)
    (changed,) = checked([timed], PublishingRules(EventRules(), maker, rewrap=True))

    for record in (changed, maker.document(timed)):
        assert isinstance(record, EventRecord)
        assert read(record).version.instant == NOON


def test_the_command_knows_every_envelope() -> None:
    """Its names are spelled out there."""
    assert get_args(EnvelopeName) == tuple(each.value for each in Envelope)


def test_the_example_of_the_page_works() -> None:
    """schemas/README.md."""
    page = (Path(__file__).resolve().parents[3] / "schemas" / "README.md").read_text()
    code = page.split("<!-- example: kit -->\n```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, Any] = {}
    exec(compile(code, "example", "exec"), names)  # noqa: S102 (of our own page)

    assert isinstance(read(names["stored"]), DocumentEvent)
    assert isinstance(read(names["removed"]), TombstoneEvent)


def test_it_needs_no_kafka() -> None:
    """Whoever publishes brings a client of his own."""
    code = (
        "import sys; sys.modules['aiokafka'] = sys.modules['aiohttp'] = None;"
        "import consumer.publishing as kit; kit.RecordMaker().tombstone('x')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_frames_number_is_that_of_the_registry() -> None:
    """Four bytes, the first one first."""
    record = RecordMaker(envelope=Envelope.SCHEMA_REGISTRY, schema_id=258).document(
        draft().encode()
    )

    assert (record.value or b"")[:6] == b"\0\0\0\1\2{"
    assert orjson.loads((record.value or b"")[5:])["title"] == "灯台"
