"""Whose fault it is: the deep probe, the poison probe, 403, and a workspace that takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumer.anythingllm import (
    AnythingLLMAuthenticationError,
    AnythingLLMClient,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMRejectedError,
    AnythingLLMServerError,
    CircuitBreakerConfig,
    CircuitOpenError,
)
from consumer.anythingllm.unit_store import EMBEDDED_AT_ONCE
from consumer.model.fault import Fault
from consumer.model.names import Slug
from consumer.model.outcome import FailureReason
from consumer.sandbox.simulator import Simulator
from tests.client.support import (
    TRACE,
    client_for,
    client_of,
    clock,
    document,
    running_server,
    texts_of,
    until,
    unused_port,
)

DOCS = Slug("docs")

LISTING = "/api/v1/workspace/docs"
EMBEDDINGS = "/api/v1/openai/embeddings"
REMOVALS = "/api/v1/system/remove-documents"


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AnythingLLMClient]:
    async with client_for(simulator) as client:
        yield client


def _requests(server: Simulator, path: str) -> int:
    return server.journal.count("request.answered", path=path)


async def _probe_failure(client: AnythingLLMClient) -> AnythingLLMError:
    with pytest.raises(AnythingLLMError) as raised:
        await client.storage.probe(trace_id=TRACE)
    return raised.value


# -- the deep probe --------------------------------------------------------------------------------


async def test_a_healthy_server_passes_the_deep_probe(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """A request for each part, nothing stored."""
    await client.storage.probe()

    assert [entry["path"] for entry in simulator.journal.of("request.answered")] == [
        "/api/v1/auth",
        "/api/v1/document/accepted-file-types",
        EMBEDDINGS,
        "/api/utils/metrics",
        "/api/v1/system/vector-count",
        "/api/v1/openai/vector_stores",  # a workspace that lists documents would be searched
    ]
    assert not simulator.state.files


@pytest.mark.parametrize(
    ("switch", "value", "named"),
    [
        ("key_revoked", True, "the API key"),
        ("collector", "down", "its document collector"),
        ("collector", "frozen", "its document collector"),
        ("embedder_down", True, "its embedder"),
    ],
)
async def test_the_deep_probe_names_what_is_not_well(
    simulator: Simulator, switch: str, value: object, named: str
) -> None:
    """For a reader at night: what it is and what to do. It is theirs, whatever the status."""
    async with client_for(simulator, circuit_breaker=CircuitBreakerConfig(1, 60, 0.3)) as client:
        setattr(simulator.faults, switch, value)
        error = await _probe_failure(client)

        assert f"AnythingLLM is not well: {named} failed the probe" in error.message
        assert (error.fault, error.ambiguous) == (Fault.THEIRS, False)
        assert client.breaker.state == "closed", "a probe passes no breaker"


async def test_the_deep_probe_names_the_first_that_is_not_well(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Without a key nothing can be said about the rest."""
    simulator.faults.key_revoked = True
    simulator.faults.embedder_down = True

    assert "the API key failed" in (await _probe_failure(client)).message


async def test_a_server_that_is_not_there_is_named() -> None:
    """No connection says nothing about keys, and nothing about embedders."""
    async with client_of(f"http://127.0.0.1:{unused_port()}") as client:
        error = await _probe_failure(client)

    assert "the server failed the probe" in error.message
    assert error.fault is Fault.THEIRS


async def test_an_endpoint_that_is_none_of_anythingllm_is_named(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """A wrong URL answers 200 with a web page."""
    simulator.faults.add("html")

    assert "the server failed the probe" in (await _probe_failure(client)).message


async def test_who_is_busy_during_a_probe_is_busy(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Retry-After is a clock, not an outage."""
    simulator.faults.add("status", status=429, headers={"Retry-After": "3"}, path="*/embeddings")
    error = await _probe_failure(client)

    assert (error.fault, error.retry_after, error.http_status) == (Fault.BUSY, 3.0, 429)


async def test_a_probe_is_let_through_while_the_breaker_is_open(simulator: Simulator) -> None:
    """It is how anybody finds out that AnythingLLM is well again."""
    async with client_for(simulator, circuit_breaker=CircuitBreakerConfig(1, 60, 5)) as client:
        simulator.faults.add("status", status=500, path="*/workspaces", times=1)
        with pytest.raises(AnythingLLMServerError):
            await client.list_workspaces()
        assert client.breaker.state == "open"

        await client.storage.probe()


# -- the poison probe ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 999, 1_000, 1_001, 5_000, 25_000])
async def test_the_poison_probe_finds_poison_wherever_it_stands(
    simulator: Simulator, client: AnythingLLMClient, length: int
) -> None:
    """In one request, unclear, stored nowhere; other text passes."""
    simulator.faults.embedder_poison = ["poison passage"]
    harmless = ("harmless " * length)[:length]
    await client.storage.embeds(harmless, trace_id=TRACE)
    for at in (0, length // 2, length):
        text = f"{harmless[:at]} poison passage {harmless[at:]}"
        with pytest.raises(AnythingLLMServerError) as raised:
            await client.storage.embeds(text, trace_id=TRACE)
        assert (raised.value.fault, raised.value.ambiguous) == (Fault.UNCLEAR, False)

    assert _requests(simulator, EMBEDDINGS) == 4
    assert not simulator.state.files


async def test_a_huge_text_is_tested_whole_in_bounded_requests(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """An answer has a vector a piece: all of 300,000 characters at once would be 30 MB."""
    await client.storage.embeds("some words " * 27_000, trace_id=TRACE)
    assert _requests(simulator, EMBEDDINGS) == 4
    assert EMBEDDED_AT_ONCE * 3 < 27_000 * 11 / 800 < EMBEDDED_AT_ONCE * 4

    simulator.faults.embedder_poison = ["poison"]
    with pytest.raises(AnythingLLMServerError):
        await client.storage.embeds("some words " * 27_000 + "poison", trace_id=TRACE)


async def test_the_poison_probe_passes_the_breaker_and_ends_in_time(simulator: Simulator) -> None:
    """It is work like any other: not for a server that is down, and not for ever."""
    settings = {"circuit_breaker": CircuitBreakerConfig(1, 60, 5), "upload_timeout": 0.2}
    async with client_for(simulator, **settings) as client:
        simulator.faults.embedder_latency = 60
        began = clock()
        with pytest.raises(AnythingLLMError):
            await client.storage.embeds("text", trace_id=TRACE)
        assert clock() - began < 2
        with pytest.raises(CircuitOpenError):
            await client.storage.embeds("text", trace_id=TRACE)


async def test_a_text_that_can_never_be_sent_is_refused_as_in_an_upload(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Blank text and half a surrogate pair: the document's fault, nothing sent."""
    for text in (" \n", "", "half \ud800"):
        with pytest.raises(AnythingLLMRejectedError):
            await client.storage.embeds(text, trace_id=TRACE)

    assert _requests(simulator, EMBEDDINGS) == 0


@pytest.mark.parametrize("data", ["[]", '[{"embedding":[]}]', '[{"index":0}]', "7"])
async def test_an_answer_without_a_vector_is_no_success(
    simulator: Simulator, client: AnythingLLMClient, data: str
) -> None:
    """Who believed it would acquit a poison text."""
    json = {"Content-Type": "application/json"}
    body = f'{{"data":{data}}}'
    simulator.faults.add("status", status=200, headers=json, body=body, path="*/embeddings")
    with pytest.raises(AnythingLLMError):
        await client.storage.embeds("text", trace_id=TRACE)
    assert (await _probe_failure(client)).fault is Fault.THEIRS


# -- control uploads -------------------------------------------------------------------------------


async def test_a_control_upload_goes_the_way_of_a_chunk_and_leaves_nothing(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Stored, embedded, removed; nobody who reads the workspace takes it for a document."""
    await client.upload_document("docs", document("one"))
    before = simulator.chunks("docs"), len(simulator.state.files)
    await client.storage.store_control(DOCS, "a control text " * 300, trace_id=TRACE)

    assert (simulator.chunks("docs"), len(simulator.state.files)) == before
    assert simulator.journal.count("document.removed") == 2  # with the sentinel of the workspace


@pytest.mark.parametrize(
    "fault",
    [
        {"embedder_longest": 2_000},
        {"workspace_dimensions": {"docs": 12}},
        {"rules": [{"kind": "status", "status": 500, "path": "*/raw-text"}]},
        {"rules": [{"kind": "html", "path": "*/raw-text"}]},
        {"rules": [{"kind": "wrong-location", "path": "*/raw-text"}]},
    ],
)
async def test_a_control_upload_meets_what_a_chunk_would_meet(
    simulator: Simulator, client: AnythingLLMClient, fault: dict[str, Any]
) -> None:
    """It is not sent again, so it is never ambiguous; and nothing of it stays in the workspace."""
    await client.upload_document("docs", document("one"))
    before = simulator.chunks("docs")
    simulator.faults.update(fault)
    with pytest.raises(AnythingLLMError) as raised:
        await client.storage.store_control(DOCS, "a control text " * 300, trace_id=TRACE)

    assert not raised.value.ambiguous
    assert simulator.chunks("docs") == before


async def test_a_control_that_is_stored_although_its_answer_is_refused_passes(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """A filter dislikes the answer, which echoes the text. A chunk is looked for there, too."""
    await client.upload_document("docs", document("one"))
    before = simulator.chunks("docs")
    simulator.faults.add("status", status=406, path="*/raw-text", apply=True)
    await client.storage.store_control(DOCS, "a control text", trace_id=TRACE)

    assert simulator.chunks("docs") == before


@pytest.mark.parametrize("path", ["*/raw-text", "*/update-embeddings"])
async def test_a_control_that_may_still_come_is_looked_for_later(
    simulator: Simulator, client: AnythingLLMClient, path: str
) -> None:
    """By the sweep: nobody waits for it, and it would stay."""
    await client.upload_document("docs", document("one"))
    left: list[Slug] = []
    client.storage.when_sentinels_left(left.append)
    simulator.faults.add("embedder-fails", path="*/raw-text")
    simulator.faults.add("status", status=504, path=path)
    with pytest.raises(AnythingLLMError):
        await client.storage.store_control(DOCS, "a control text", trace_id=TRACE)

    assert left == [DOCS]


@pytest.mark.parametrize("path", ["*/raw-text", "*/embeddings"])
@pytest.mark.parametrize(
    "rule", [{"kind": "html"}, {"kind": "status", "status": 502}, {"kind": "status", "status": 403}]
)
async def test_a_block_of_a_firewall_is_told_from_an_answer_of_anythingllm(
    simulator: Simulator, client: AnythingLLMClient, path: str, rule: dict[str, Any]
) -> None:
    """For uploads and for the poison probe, with 403 as well where the key is accepted."""
    simulator.faults.update({"rules": [{**rule, "path": path, "contains": "blocked"}]})
    storage = client.storage
    if "raw" in path:
        asking = storage.store_control(DOCS, "blocked", trace_id=TRACE)
    else:
        asking = storage.embeds("blocked", trace_id=TRACE)
    with pytest.raises(AnythingLLMError) as raised:
        await asking

    assert raised.value.by_intermediary


# -- 403 -------------------------------------------------------------------------------------------


async def test_a_403_with_a_refused_key_is_an_outage(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """The key is asked about once; it is theirs."""
    simulator.faults.key_revoked = True
    with pytest.raises(AnythingLLMAuthenticationError) as raised:
        await client.storage.listing(DOCS)

    assert raised.value.fault is Fault.THEIRS
    assert _requests(simulator, "/api/v1/auth") == 1


async def test_a_403_whose_cause_cannot_be_found_out_is_an_outage(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """When the key can't be checked, it may be the key."""
    simulator.faults.add("status", status=403, path=LISTING)
    simulator.faults.add("status", status=500, path="*/auth")
    with pytest.raises(AnythingLLMAuthenticationError) as raised:
        await client.storage.listing(DOCS)

    assert raised.value.fault is Fault.THEIRS


async def test_a_forbidden_upload_is_unclear(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """With the key accepted nobody has refused this very content: it counts an attempt."""
    simulator.faults.add("status", status=403, path="*/raw-text", contains="forbidden")
    result = await client.upload_document("docs", document("forbidden", "fine"))

    (failed,) = result.failed_chunks
    assert (failed.chunk_id, failed.reason) == ("doc-1_chunk_0", FailureReason.EXHAUSTED)
    assert (failed.fault, failed.http_status, failed.attempts) == (Fault.UNCLEAR, 403, 3)
    assert "although the API key is accepted" in failed.message


async def test_a_forbidden_removal_names_what_it_left(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """What went before is gone; whether it lasts, who asks again finds out."""
    await client.upload_document("docs", document(*(f"text {n:02}" for n in range(25))))
    locations = sorted(unit.location for unit in await client.storage.listing(DOCS))
    simulator.journal.clear()
    simulator.faults.add("status", status=403, path="*/remove-documents", skip=1)
    with pytest.raises(AnythingLLMForbiddenError) as raised:
        await client.storage.remove(DOCS, locations)

    assert raised.value.left == tuple(locations[10:])
    assert raised.value.fault is Fault.UNCLEAR
    assert sorted(unit.location for unit in await client.storage.listing(DOCS)) == locations[10:]
    assert _requests(simulator, REMOVALS) == 2


async def test_a_document_whose_stale_chunks_may_not_be_removed_is_stored(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """The new text is there, the result says what was left, and what was removed is counted."""
    old = [f"old {n:02}" for n in range(15)]
    await client.upload_document("docs", document(*old, day=1))
    simulator.faults.add("status", status=403, path="*/remove-documents", skip=1)
    result = await client.upload_document("docs", document("new", day=2))

    assert (result.status, result.removed_chunks) == ("succeeded", 10)
    assert "although the API key is accepted" in result.errors[0]
    assert len(texts_of(simulator, "docs")) == 6

    with pytest.raises(AnythingLLMForbiddenError):
        await client.delete_document("docs", "doc-1")


# -- a workspace that takes nothing ----------------------------------------------------------------


@pytest.fixture
async def used(simulator: Simulator) -> Simulator:
    """A server with a workspace that is in use: its document is an hour old."""
    async with client_for(simulator) as client:
        await client.upload_document("docs", document("old"))
    await asyncio.sleep(3600)
    simulator.journal.clear()
    return simulator


def _uploads(server: Simulator) -> int:
    return server.journal.count("document.stored")


async def test_a_distrusted_workspace_is_proven_although_it_is_in_use(used: Simulator) -> None:
    """Once: who found it well needs no further sentinel, and none is left."""
    async with client_for(used) as client:
        await client.storage.prepare(DOCS)
        assert _uploads(used) == 0, "in use: believed without a sentinel"

        client.storage.distrust(DOCS)
        await client.storage.prepare(DOCS)
        assert _uploads(used) == 1
        await client.storage.prepare(DOCS)
        client.storage.forget(DOCS)
        await client.storage.prepare(DOCS)

    assert _uploads(used) == 1
    assert texts_of(used, "docs") == ["old"]
    assert len(used.state.files) == 1


async def test_a_workspace_whose_dimension_changed_takes_nothing_and_says_so(
    used: Simulator,
) -> None:
    """Theirs, at once and by name, until it is right again; the others are not affected."""
    async with client_for(used, sentinel_pause=30) as client:
        used.faults.workspace_dimensions = {"docs": 8}
        client.storage.distrust(DOCS)
        for uploads in (1, 2):
            with pytest.raises(AnythingLLMError, match="workspace 'docs' takes no docu") as raised:
                await client.storage.prepare(DOCS)
            assert raised.value.fault is Fault.THEIRS
            assert "dimension" in raised.value.message
            assert _uploads(used) == uploads, "one sentinel each time, no pause"
            assert len(used.state.files) == 1, "and it is removed although it was not embedded"

    async with client_for(used) as client:
        with pytest.raises(AnythingLLMError) as raised:
            await client.storage.prepare(DOCS)
        assert "nothing can be found in it" in raised.value.message
        await client.upload_document("others", document("fine", id="doc-2"))
        used.faults.workspace_dimensions = {}
        await client.storage.prepare(DOCS)
        result = await client.upload_document("docs", document("old", "new"))

    assert result.uploaded_chunk_ids == ("doc-1_chunk_1",)
    assert texts_of(used, "docs") == ["new", "old"]
    assert len(used.state.files) == 3


async def test_distrust_while_it_is_prepared_is_not_lost(used: Simulator) -> None:
    """What was found out before the doubt does not settle it."""
    async with client_for(used) as client:
        held = used.faults.add("hold-after", path=LISTING, times=1)
        preparing = asyncio.create_task(client.storage.prepare(DOCS))
        await until(lambda: used.journal.count("request.held") == 1)
        client.storage.distrust(DOCS)
        held.released = True
        await preparing
        before = _uploads(used)
        await client.storage.prepare(DOCS)

    assert _uploads(used) == before + 1


@pytest.mark.parametrize("seed", range(3))
async def test_a_sentinel_that_lost_the_race_is_embedded_once_more(seed: int) -> None:
    """Table already exists: no broken workspace, only a lost race."""
    async with running_server(seed=seed, creation_seconds=0.2) as server:
        clients = [client_for(server, sentinel_pause=0.4) for _ in range(4)]
        for client in clients:
            await client.connect()
        await asyncio.gather(*(client.storage.prepare(Slug("fresh")) for client in clients))
        for client in clients:
            await client.disconnect()

        assert server.journal.count("embedding.failed") + server.journal.count("vectors.wiped")
        assert not server.state.files


async def _prepared(client: AnythingLLMClient, slug: Slug) -> AnythingLLMError | None:
    try:
        await client.storage.prepare(slug)
    except AnythingLLMError as error:
        return error
    return None


@pytest.mark.parametrize("fault", ["reset-after", "wrong-location", "truncated"])
async def test_a_sentinel_whose_answer_is_lost_or_wrong_is_removed(
    simulator: Simulator, client: AnythingLLMClient, fault: str
) -> None:
    """It is looked for in the listing; what the answer named instead is left alone."""
    await client.upload_document("others", document("somebody's"))
    simulator.faults.add(fault, path="*/raw-text", times=1)
    results = [await _prepared(client, DOCS) for _ in range(2)]

    assert results[1] is None
    assert results[0] is None or results[0].fault is Fault.THEIRS
    assert not simulator.chunks("docs")
    assert texts_of(simulator, "others") == ["somebody's"]
    assert len(simulator.state.files) == 1


@pytest.mark.parametrize(
    ("path", "fault"), [("*/remove-documents", "status"), ("*/raw-text", "reset")]
)
async def test_somebody_is_told_of_sentinels_that_may_be_left(
    simulator: Simulator, client: AnythingLLMClient, path: str, fault: str
) -> None:
    """A removal that failed, and an upload that was answered by nobody: the sweep looks later."""
    left: list[Slug] = []
    client.storage.when_sentinels_left(left.append)
    simulator.faults.add(fault, path=path, times=1)
    await _prepared(client, DOCS)

    assert left == [DOCS]


async def test_nobody_is_told_where_nothing_is_left(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """A workspace that takes nothing is tried again and again, and each look lists it."""
    left: list[Slug] = []
    client.storage.when_sentinels_left(left.append)
    simulator.faults.embedder_down = True
    assert await _prepared(client, DOCS) is not None
    simulator.faults.embedder_down = False
    assert await _prepared(client, DOCS) is None

    assert left == []


async def test_sentinels_that_are_too_young_are_due_later(simulator: Simulator) -> None:
    """They may be in use by another process; ten minutes later they are not."""
    async with client_for(simulator) as client:
        simulator.faults.add("status", path="*/remove-documents", times=1)
        await _prepared(client, DOCS)
        await client.storage.listing(DOCS)

        assert await client.storage.tidy(DOCS) == 600.0


async def test_sentinels_whose_removal_is_refused_are_due_again(simulator: Simulator) -> None:
    """A firewall that disliked a name once would leave them for as long as the process lives."""
    async with client_for(simulator) as client:
        simulator.faults.add("status", path="*/remove-documents", times=2)
        await _prepared(client, DOCS)
        await asyncio.sleep(601)
        await client.storage.listing(DOCS)
        simulator.faults.add("status", path="*/remove-documents", status=503, times=1)
        assert await client.storage.tidy(DOCS) == 600.0
        await client.storage.listing(DOCS)
        assert await client.storage.tidy(DOCS) is None

    assert simulator.chunks("docs") == []


async def test_a_control_goes_also_where_a_proxy_refuses_its_removal(used: Simulator) -> None:
    """It is taken out of its workspace, as everything that is removed."""
    before = sorted(source for source, _, _ in used.chunks("docs"))
    used.faults.add("status", status=405, method="DELETE")
    async with client_for(used) as client:
        await client.storage.store_control(Slug("docs"), "a text of a control")

    assert sorted(source for source, _, _ in used.chunks("docs")) == before
