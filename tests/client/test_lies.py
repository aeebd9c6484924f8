"""A server that lies is never believed, and never makes us delete what we should not.

Each test lets the simulated AnythingLLM tell something untrue and then looks at what is really
stored there. What is told truly but late, or not at all, is in `test_client_storing`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMError,
    AnythingLLMProtocolError,
    AnythingLLMTimeoutError,
    CircuitBreakerConfig,
)
from consumer.anythingllm.calls import Call
from consumer.anythingllm.sentinel import sentinel_source
from consumer.model.marker import StoredUnit, Unit, unit_of
from consumer.model.names import Slug
from consumer.model.version import DocumentVersion
from consumer.sandbox.simulator import Rule, Simulator
from tests.client.support import (
    DIFFERENT_DATABASES,
    TRUE_ANSWERS,
    client_for,
    clock,
    document,
    running_server,
    stored_by,
    texts_of,
)

DOCS = Slug("docs")

LISTING = "/api/v1/workspace/docs"
OLD = document("same", "stale one", "stale two", day=1)
NEW = document("same", "fresh", day=2)


@pytest.fixture(params=DIFFERENT_DATABASES)
async def simulator(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    """One of each kind: what is promised here is promised on all vector databases."""
    async with running_server(vector_db=request.param) as server:
        yield server


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AnythingLLMClient]:
    """In a workspace with the old version of a document, and another document."""
    async with client_for(simulator) as client:
        await client.upload_document("docs", OLD)
        await client.upload_document("docs", document("another's", id="doc-2"))
        simulator.journal.clear()
        yield client


OLD_TEXTS = ["another's", "same", "stale one", "stale two"]
NEW_TEXTS = ["another's", "fresh", "same"]


def _says(server: Simulator, path: str, body: object, **details: Any) -> Rule:
    """Have the server answer this instead of the truth."""
    json = {"Content-Type": "application/json"}
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    return server.faults.add("status", status=200, headers=json, body=text, path=path, **details)


async def _true_listing(client: AnythingLLMClient) -> dict[str, Any]:
    call = Call("GET", "/v1/workspace/docs", expect=("workspace",))
    return await client._transport.call(client._ordinary(None), call)


def _removed(server: Simulator) -> int:
    return server.journal.count("document.removed")


def _unit(text: str) -> Unit:
    whole = document(text, id="doc-3")
    assert whole.created_at is not None
    return unit_of(whole.chunks, whole, DocumentVersion(whole.created_at))


async def _stored(client: AnythingLLMClient, document_id: str) -> list[StoredUnit]:
    units = await client.storage.listing(DOCS)
    return [unit for unit in units if unit.marker.document_id == document_id]


# -- uploads ---------------------------------------------------------------------------------------


async def test_success_that_stores_nothing_never_becomes_success(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """However often it is told; and the old text stays as long as the new one is not there."""
    simulator.faults.add("pretend", path="*/raw-text")
    result = await client.upload_document("docs", NEW)

    assert (result.status, result.failed_chunk_ids) == ("partial", ("doc-1_chunk_1",))
    assert result.removed_chunks == 0
    assert texts_of(simulator, "docs") == OLD_TEXTS

    simulator.faults.clear()
    assert (await client.upload_document("docs", NEW)).status == "succeeded"
    assert texts_of(simulator, "docs") == NEW_TEXTS


async def test_the_location_of_anothers_document_under_our_marker_is_not_believed(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """The file there says whose it is: not ours, so our chunk is not stored."""
    (theirs,) = await _stored(client, "doc-2")
    unit = _unit("ours")
    answer = {"location": theirs.location, "docSource": unit.marker.encode()}
    _says(simulator, "*/raw-text", {"success": True, "documents": [answer]}, times=1)
    upload = client.storage.upload(DOCS, unit)
    with pytest.raises(AnythingLLMProtocolError) as raised:
        await upload.attempt()

    assert raised.value.ambiguous, "it is looked for before it is sent again"
    assert _removed(simulator) == 0
    assert texts_of(simulator, "docs") == OLD_TEXTS


@pytest.mark.parametrize("lie", ["name", "docSource"])
async def test_cached_true_is_believed_only_of_our_own_file(
    simulator: Simulator, client: AnythingLLMClient, lie: str
) -> None:
    """The embedder is down, and the server says "cached" of another file, or of another marker."""
    simulator.faults.embedder_down = True
    (theirs,) = await _stored(client, "doc-2")
    unit = _unit("ours")
    upload = client.storage.upload(DOCS, unit)
    with pytest.raises(AnythingLLMError):
        await upload.attempt()
    mine = next(f for f in simulator.state.files.values() if f.text == "ours")
    told = {"name": mine.name, "docSource": unit.marker.encode(), "cached": True}
    other = {"name": theirs.location.rpartition("/")[2], "docSource": theirs.marker.encode()}
    _says(simulator, "*/v1/document/raw-*", {"document": {**told, lie: other[lie]}})
    for _ in range(2):
        with pytest.raises(AnythingLLMError):
            await upload.attempt()

    assert texts_of(simulator, "docs") == OLD_TEXTS


async def test_one_location_for_two_uploads_is_one_upload(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """The second answer repeats the first one's file: both chunks are stored all the same."""
    one = await stored_by(client.storage.upload(DOCS, _unit("one")))
    answer = {"location": one.location, "docSource": one.marker.encode()}
    _says(simulator, "*/raw-text", {"success": True, "documents": [answer]}, times=1)
    result = await client.upload_document("docs", document("two", id="doc-4"))

    assert result.status == "succeeded"
    assert texts_of(simulator, "docs") == sorted([*OLD_TEXTS, "one", "two"])


# Elsewhere a search has to find it, and its file is asked for once more before that.
@pytest.mark.parametrize("simulator", TRUE_ANSWERS, indirect=True)
@pytest.mark.parametrize("fault", ["html", "half-body", "truncated"])
async def test_an_upload_that_is_never_answered_well_is_no_success(
    simulator: Simulator, client: AnythingLLMClient, fault: str
) -> None:
    """A web page, half an answer, cut JSON: for ever. Nothing stale is removed meanwhile."""
    simulator.faults.add(fault, path="*/raw-text")
    simulator.faults.add(fault, path="*/v1/document/raw-*")
    result = await client.upload_document("docs", NEW)

    assert result.removed_chunks == (2 if result.status == "succeeded" else 0)
    if fault == "html":
        assert result.status == "partial"
    stored = [text for text in texts_of(simulator, "docs") if text == "fresh"]
    assert len(stored) == (0 if fault == "html" else 1), "found in the listing, not sent again"


async def test_a_dripping_answer_ends_in_time_and_the_upload_is_found(simulator: Simulator) -> None:
    """64 bytes a second would take for ever; what it did is found, and not repeated."""
    async with client_for(simulator, upload_timeout=0.3, ambiguity_seconds=60) as client:
        await client.storage.prepare(DOCS)
        before = simulator.journal.count("document.stored")
        simulator.faults.add("drip", path="*/raw-text", seconds=1.0)
        began = clock()
        result = await client.upload_document("docs", document("x" * 5_000))

        assert clock() - began < 5
        assert result.status == "succeeded"
        assert simulator.journal.count("document.stored") == before + 1


# -- listings --------------------------------------------------------------------------------------


def _cut(listing: dict[str, Any]) -> str:
    raw = orjson.dumps(listing).decode()
    return raw[: len(raw) * 2 // 3]


def _of_another(listing: dict[str, Any]) -> dict[str, Any]:
    return {"workspace": [{**listing["workspace"][0], "slug": "other"}]}


def _two_in_one_place(listing: dict[str, Any]) -> dict[str, Any]:
    """One location under two markers."""
    (workspace,) = listing["workspace"]
    rows = workspace["documents"]
    doubled = [*rows, {**rows[0], "metadata": rows[1]["metadata"]}]
    return {"workspace": [{**workspace, "documents": doubled}]}


def _without_documents(listing: dict[str, Any]) -> dict[str, Any]:
    (workspace,) = listing["workspace"]
    return {"workspace": [{k: v for k, v in workspace.items() if k != "documents"}]}


Lie = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("lie", [_cut, _of_another, _two_in_one_place, _without_documents])
async def test_a_listing_that_cannot_be_true_changes_nothing(
    simulator: Simulator, client: AnythingLLMClient, lie: Lie
) -> None:
    """Cut short, of another workspace, one place under two names: not even its head is believed."""
    _says(simulator, LISTING, lie(await _true_listing(client)))
    calls = [
        client.upload_document("docs", NEW),
        client.delete_document("docs", "doc-1"),
        client.storage.listing(DOCS),
    ]
    for call in calls:
        with pytest.raises(AnythingLLMProtocolError):
            await call

    assert simulator.journal.count("document.stored") == _removed(simulator) == 0
    assert texts_of(simulator, "docs") == OLD_TEXTS


@pytest.mark.parametrize("fault", ["html", "half-body", "drip"])
async def test_a_listing_that_does_not_come_changes_nothing(
    simulator: Simulator, client: AnythingLLMClient, fault: str
) -> None:
    """Rows that did arrive before the end prove nothing."""
    quick = {"circuit_breaker": CircuitBreakerConfig(1000, 60, 0.3)}
    async with client_for(simulator, **quick) as hasty:
        simulator.faults.add(fault, path=LISTING, seconds=0.1)
        for call in (
            hasty.upload_document("docs", NEW),
            hasty.delete_document("docs", "doc-1"),
        ):
            with pytest.raises(AnythingLLMError) as raised:
                await call
            assert isinstance(raised.value, AnythingLLMTimeoutError) == (fault == "drip")

    assert simulator.journal.count("document.stored") == _removed(simulator) == 0
    assert texts_of(simulator, "docs") == OLD_TEXTS


@pytest.mark.parametrize("hidden", [0, 1, 2, 3], ids=["same", "one", "two", "another's"])
async def test_rows_that_a_listing_hides_are_not_touched(
    simulator: Simulator, client: AnythingLLMClient, hidden: int
) -> None:
    """What was not seen is uploaded again and not removed; a true listing removes the doubles."""
    listing = await _true_listing(client)
    del listing["workspace"][0]["documents"][hidden]
    _says(simulator, LISTING, listing, times=1)
    first = await client.upload_document("docs", NEW)

    assert first.status == "succeeded"
    seen = [text for n, text in enumerate(["same", "stale one", "stale two"]) if n != hidden]
    assert first.removed_chunks == len([text for text in seen if text != "same"])
    assert set(texts_of(simulator, "docs")) >= set(NEW_TEXTS)

    second = await client.upload_document("docs", NEW)
    assert second.uploaded_chunk_ids == ()
    assert texts_of(simulator, "docs") == NEW_TEXTS


async def test_an_empty_listing_hides_everything_and_removes_nothing(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """All is uploaded once more, nothing is removed; the next true listing sets it right."""
    _says(simulator, LISTING, {"workspace": []}, times=1)
    first = await client.upload_document("docs", OLD)
    assert (len(first.uploaded_chunk_ids), first.removed_chunks) == (3, 0)
    assert texts_of(simulator, "docs") == sorted([*OLD_TEXTS, "same", "stale one", "stale two"])

    second = await client.upload_document("docs", OLD)
    assert (len(second.uploaded_chunk_ids), second.removed_chunks) == (0, 3)
    assert texts_of(simulator, "docs") == OLD_TEXTS


async def test_a_location_listed_twice_is_not_removed_as_a_double(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """AnythingLLM lists twice what was embedded twice; removing one location removes both."""
    for unit in await _stored(client, "doc-1"):
        await client._api.embed(client._ordinary(None), DOCS, [unit.location])
    assert len(simulator.chunks("docs")) == 7
    result = await client.upload_document("docs", OLD)

    assert (len(result.unchanged_chunk_ids), result.removed_chunks) == (3, 0)
    assert _removed(simulator) == 0


# Elsewhere a test document shows it before anything is removed (`test_vector_databases`).
@pytest.mark.parametrize("simulator", TRUE_ANSWERS, indirect=True)
async def test_a_removal_that_did_not_happen_is_not_believed(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Success is not enough: the listing afterwards decides, and the next version tries again."""
    _says(simulator, "*/remove-documents", {"success": True}, method="DELETE")
    assert await client.delete_document("docs", "doc-1") is False
    await client.upload_document("docs", NEW)
    assert texts_of(simulator, "docs") == sorted([*OLD_TEXTS, "fresh"])

    simulator.faults.clear()
    result = await client.upload_document("docs", NEW)
    assert (result.uploaded_chunk_ids, result.removed_chunks) == ((), 2)
    assert texts_of(simulator, "docs") == NEW_TEXTS


# -- what is not ours ------------------------------------------------------------------------------

_MARKER = unit_of(OLD.chunks[:1], OLD, DocumentVersion(OLD.created_at)).marker.encode()  # type: ignore[arg-type]
FOREIGN = {
    "no marker": "",
    "somebody's own source": "https://example.com/doc",
    "a newer format": _MARKER.replace('"alc":1', '"alc":2'),
    "a broken marker": _MARKER[:-3],
    "a marker edited by hand": _MARKER.replace('"c":[[', '"c":[7,['),
    "another's fresh sentinel": sentinel_source("another process"),
}


async def _put(client: AnythingLLMClient, text: str, doc_source: str) -> None:
    """As somebody does by hand, or another program."""
    metadata = {"title": "by hand", "docSource": doc_source}
    body = {"textContent": text, "addToWorkspaces": "docs", "metadata": metadata}
    await client._api.raw_text(client._ordinary(None), body)


async def test_what_others_put_there_is_never_touched(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Same text, same document id, whatever it looks like: versions and deletions pass it by."""
    for name, doc_source in FOREIGN.items():
        await _put(client, f"by hand: {name}", doc_source)
        await _put(client, "stale one", doc_source)
    theirs = sorted([*(f"by hand: {name}" for name in FOREIGN), *["stale one"] * len(FOREIGN)])

    await client.upload_document("docs", NEW)
    assert texts_of(simulator, "docs") == sorted([*NEW_TEXTS, *theirs])
    await client.upload_document("docs", document(day=3))
    assert texts_of(simulator, "docs") == sorted(["another's", *theirs])
    assert await client.delete_document("docs", "doc-1") is True
    assert await client.delete_document("docs", "", identity="") is True
    assert texts_of(simulator, "docs") == sorted(["another's", *theirs])
