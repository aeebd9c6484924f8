"""Reading a workspace's listing over a real socket: whole or not at all, never for nothing."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMProtocolError,
    CircuitBreakerConfig,
)
from consumer.model.fault import Fault
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, Slug
from consumer.pipeline.index import Index
from consumer.sandbox.simulator import Simulator
from consumer.telemetry.metrics import PREFIX, Metrics
from tests.client.support import (
    TRACE,
    Script,
    answer,
    client_for,
    client_of,
    clock,
    document,
    says,
    scripted,
)

DOCS = Slug("docs")
DOC_1 = Identity("doc-1")

TEXTS = [f"text {number}" for number in range(20)]
LISTING = "/api/v1/workspace/*"


def _index_of(client: AnythingLLMClient, metrics: Metrics | None = None) -> Index:
    return Index(
        client.storage,
        IdentityTemplate.parse("{id}"),
        max_age=600,
        max_bytes=2**30,
        clock=clock,
        metrics=metrics or Metrics(),
    )


def _marker(id_: str) -> str:
    """What our ``docSource`` looks like."""
    marker = {"alc": 1, "d": id_, "u": f"https://{id_}", "t": "t", "n": 1, "o": None}
    chunk = [f"{id_}_0", 0, "d" * 32, "s" * 64]
    return orjson.dumps({**marker, "v": "2026-03-01T00:00:00+00:00", "c": [chunk]}).decode()


def _listing(*rows: tuple[str, str], slug: str = "docs") -> bytes:
    """A listing with these locations and ``docSource`` values."""
    documents = [
        {
            "docpath": at,
            "metadata": orjson.dumps({"docSource": source}).decode(),
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
        for at, source in rows
    ]
    found = {"id": 1, "name": slug, "slug": slug, "documents": documents}
    return orjson.dumps({"workspace": [found]})


async def _scanned(script: Script) -> tuple[list[StoredUnit], AnythingLLMError | None]:
    """What such a server gets a scan to give away, and how that ends."""
    units: list[StoredUnit] = []
    async with scripted(script) as server, client_of(server.endpoint) as client:
        try:
            await client.storage.scan(DOCS, units.append)
        except AnythingLLMError as error:
            return units, error
    return units, None


async def test_a_listing_that_is_still_so_is_not_sent_again(simulator: Simulator) -> None:
    """By its ETag; a change, by whomever, makes another one."""
    async with client_for(simulator) as client:
        await client.upload_document("docs", document(*TEXTS))
        units: list[StoredUnit] = []
        first = await client.storage.scan(DOCS, units.append)
        assert first is not None
        assert len(units) == first.rows == 20
        assert await client.storage.scan(DOCS, units.append, unless=first.etag) is None
        assert len(units) == 20

        await client.upload_document("docs", document("by another", id="doc-2"))
        second = await client.storage.scan(DOCS, units.append, unless=first.etag)

    assert second is not None
    assert (second.rows, second.workspace_id) == (21, first.workspace_id)
    assert second.etag != first.etag


async def test_the_index_asks_by_the_etag(simulator: Simulator) -> None:
    """20 MB are not sent and not parsed every ten minutes for nothing."""
    metrics = Metrics()
    async with client_for(simulator) as client:
        await client.upload_document("docs", document(*TEXTS))
        index = _index_of(client, metrics)
        for _ in range(3):
            await index.read_anew(DOCS, trace_id=TRACE)
        assert len(await index.units(DOCS, DOC_1, trace_id=TRACE)) == 20

    counted = f"{PREFIX}_index_listings_total"
    assert metrics.registry.get_sample_value(counted, {"outcome": "read"}) == 1
    assert metrics.registry.get_sample_value(counted, {"outcome": "unchanged"}) == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("truncated", AnythingLLMProtocolError),
        ("html", AnythingLLMProtocolError),
        ("half-body", AnythingLLMConnectionError),
    ],
)
async def test_a_listing_cut_short_leaves_nothing_behind(
    simulator: Simulator, fault: str, error: type[AnythingLLMError]
) -> None:
    """Half a listing taken for a whole one would upload the other half again."""
    async with client_for(simulator) as client:
        await client.upload_document("docs", document(*TEXTS))
        index = _index_of(client)
        simulator.faults.add(fault, path=LISTING, times=1)
        with pytest.raises(error):
            await index.units(DOCS, DOC_1, trace_id=TRACE)
        assert index.sharing_source(DOCS, "https://example.com/doc", Identity("doc-2")) is None

        assert len(await index.units(DOCS, DOC_1, trace_id=TRACE)) == 20


async def test_a_later_look_that_is_cut_short_leaves_the_former_one(simulator: Simulator) -> None:
    """What was known, and what was written since, is still the best there is."""
    async with client_for(simulator) as client:
        await client.upload_document("docs", document(*TEXTS))
        index = _index_of(client)
        await index.units(DOCS, DOC_1, trace_id=TRACE)
        await client.upload_document("docs", document("by another", id="doc-2"))
        simulator.faults.add("truncated", path=LISTING, times=1)
        with pytest.raises(AnythingLLMProtocolError):
            await index.read_anew(DOCS, trace_id=TRACE)

        assert len(await index.units(DOCS, DOC_1, trace_id=TRACE)) == 20


@pytest.mark.parametrize(
    "reply",
    [
        answer(_listing(("custom-documents/a.json", _marker("a")), slug="other")),
        answer(_listing(("custom-documents/a.json", _marker("a")))[:-1]),
        answer(_listing(("custom-documents/a.json", _marker("a"))) + b"<html>"),
        answer(b""),
        answer("", "304 Not Modified"),
        answer("<html>", content_type="text/html"),
    ],
    ids=["another workspace's", "cut short", "more than one", "empty", "304 unasked", "a web page"],
)
async def test_a_listing_that_is_none_is_an_error(reply: bytes) -> None:
    """It tells nothing about this workspace."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        writer.close()

    _, error = await _scanned(script)

    assert isinstance(error, AnythingLLMProtocolError)
    assert not error.ambiguous


async def test_a_listing_of_which_all_is_kept_has_a_limit() -> None:
    """An answer without end would fill the memory of who collects it."""
    async with (
        scripted(says(answer(_listing(*[("x", "y" * 1_000)] * 100)))) as server,
        client_of(server.endpoint, max_response_bytes=50_000) as client,
    ):
        with pytest.raises(AnythingLLMProtocolError, match="larger than 50000 bytes"):
            await client.list_workspace_documents("docs")


async def test_a_listing_that_is_read_row_by_row_has_none() -> None:
    """A workspace that outgrew 128 MiB could be neither read nor prepared any more, for ever."""
    rows = [(f"custom-documents/{n}.json", _marker(f"d{n}")) for n in range(300)]
    async with (
        scripted(says(answer(_listing(*rows)))) as server,
        client_of(server.endpoint, max_response_bytes=10_000) as client,
    ):
        seen: list[str] = []
        listed = await client.storage.scan(DOCS, lambda unit: seen.append(unit.location))
        found = await client.storage.listing(DOCS, lambda marker: marker.document_id == "d7")
        await client.storage.prepare(DOCS)

    assert listed is not None
    assert (len(seen), listed.rows) == (300, 300)
    assert listed.size > 10_000
    assert [unit.location for unit in found] == ["custom-documents/7.json"]


async def test_a_listing_may_take_longer_the_more_of_it_arrives() -> None:
    """One that drips ends in time all the same: its bytes buy no time."""
    whole = _listing(*[(f"custom-documents/{n}.json", "y" * 60_000) for n in range(40)])
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head % len(whole))
        for start in range(0, len(whole), 100_000):
            writer.write(whole[start : start + 100_000])
            await writer.drain()
            await asyncio.sleep(0.05)

    breaker = CircuitBreakerConfig(1000, 60, 0.5)
    async with (
        scripted(slowly) as server,
        client_of(server.endpoint, circuit_breaker=breaker) as client,
    ):
        listed = await client.storage.scan(DOCS, lambda unit: None)

    assert listed is not None
    assert listed.rows == 40


async def test_a_location_listed_twice_is_one_unit() -> None:
    """AnythingLLM lists a document twice that was embedded twice: removing "one" removes it."""
    twice = ("custom-documents/a.json", _marker("a"))
    units, error = await _scanned(says(answer(_listing(twice, twice))))

    assert error is None
    assert [unit.location for unit in units] == ["custom-documents/a.json"]


async def test_a_location_that_is_said_to_hold_two_things_is_believed_for_neither() -> None:
    """Removing the stale one would remove the other."""
    rows = [("custom-documents/a.json", _marker("a")), ("custom-documents/a.json", _marker("b"))]
    _, error = await _scanned(says(answer(_listing(*rows))))

    assert isinstance(error, AnythingLLMProtocolError)


async def test_a_listing_that_alone_is_forbidden_is_no_outage(simulator: Simulator) -> None:
    """403 with a key that is accepted is about this workspace, not about AnythingLLM."""
    async with client_for(simulator) as client:
        await client.upload_document("docs", document("text"))
        simulator.faults.add("status", status=403, path=LISTING)
        with pytest.raises(AnythingLLMForbiddenError):
            await client.storage.listing(DOCS)


async def test_what_takes_the_units_may_fail() -> None:
    """Its error gets out as it is: it is none of AnythingLLM's."""

    def full(unit: StoredUnit) -> None:
        raise MemoryError

    reply = answer(_listing(("custom-documents/a.json", _marker("a"))))
    async with scripted(says(reply)) as server, client_of(server.endpoint) as client:
        with pytest.raises(MemoryError):
            await client.storage.scan(DOCS, full)


async def test_a_failing_listing_says_whose_fault_it_is() -> None:
    """As any other call does."""
    _, error = await _scanned(says(answer("Bad Gateway", "502 Bad Gateway", "text/plain")))

    assert error is not None
    assert error.fault is Fault.THEIRS
