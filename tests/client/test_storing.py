"""Stored means embedded, once: the client against the simulated AnythingLLM and its faults."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMNotFoundError,
    AnythingLLMPendingError,
    AnythingLLMRejectedError,
    AnythingLLMTimeoutError,
    CircuitBreakerConfig,
    CircuitOpenError,
)
from consumer.anythingllm.readiness import _Ready
from consumer.model.fault import Fault
from consumer.model.names import Location, Slug
from consumer.model.outcome import FailureReason
from consumer.sandbox.simulator import Simulator
from tests.client.support import (
    DIFFERENT_DATABASES,
    MOMENT,
    client_for,
    document,
    running_server,
    stored_by,
    texts_of,
    unit,
)
from tests.tiers import quick_first

DOCS = Slug("docs")

TEXTS = [f"text number {n:02}" for n in range(20)]


@pytest.fixture(params=DIFFERENT_DATABASES)
async def simulator(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    """One of each kind: what is promised here is promised on all vector databases."""
    async with running_server(vector_db=request.param) as server:
        yield server


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AnythingLLMClient]:
    async with client_for(simulator) as client:
        yield client


def _uploads(server: Simulator) -> int:
    return len(server.journal.of("document.stored"))


async def test_a_document_is_stored_and_a_second_call_uploads_nothing(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Every chunk searchable once, byte for byte; what is stored is recognised."""
    first = await client.upload_document("docs", document(*TEXTS))
    uploads = _uploads(simulator)
    second = await client.upload_document("docs", document(*TEXTS))

    assert (first.status, first.successful_uploads, first.failed_uploads) == ("succeeded", 20, 0)
    assert set(first.uploaded_chunk_ids) == {f"doc-1_chunk_{n}" for n in range(20)}
    assert second.uploaded_chunk_ids == ()
    assert len(second.unchanged_chunk_ids) == second.successful_uploads == 20
    assert _uploads(simulator) == uploads
    assert texts_of(simulator, "docs") == TEXTS


async def test_refused_chunks_are_named_and_only_they_are_uploaded_later(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """3 of 20 refused: exactly those ids; a refusal is not tried again."""
    for n in (3, 7, 19):
        simulator.faults.add("status", status=422, path="*/raw-text", contains=TEXTS[n])
    result = await client.upload_document("docs", document(*TEXTS))

    refused = ("doc-1_chunk_3", "doc-1_chunk_7", "doc-1_chunk_19")
    assert (result.status, result.failed_uploads, result.failed_chunk_ids) == (
        "partial",
        3,
        refused,
    )
    assert {(each.reason, each.attempts, each.http_status) for each in result.failed_chunks} == {
        (FailureReason.REJECTED, 1, 422)
    }
    assert len(result.errors) == 3

    simulator.faults.clear()
    again = await client.upload_document("docs", document(*TEXTS))
    assert set(again.uploaded_chunk_ids) == set(refused)
    assert texts_of(simulator, "docs") == TEXTS


@pytest.mark.network("memory", "kernel")
@pytest.mark.parametrize(
    "fault",
    quick_first(["reset", "fin-after", "half-body", "fin", "reset-after", "truncated"], quick=3),
)
async def test_after_a_lost_answer_every_chunk_is_stored_once(
    simulator: Simulator, client: AnythingLLMClient, fault: str
) -> None:
    """Whether the lost request took effect or not: looked for, then sent only if it is missing."""
    simulator.faults.add(fault, path="*/raw-text", contains="text number", times=4)
    result = await client.upload_document("docs", document(*TEXTS[:8]))

    assert result.status == "succeeded"
    assert texts_of(simulator, "docs") == TEXTS[:8]
    assert len(simulator.chunks("docs")) == 8


async def test_an_upload_that_finishes_after_its_timeout_is_found_not_repeated(
    simulator: Simulator,
) -> None:
    """The server goes on after its client has given up."""
    async with client_for(simulator, upload_timeout=0.2, ambiguity_seconds=5.0) as client:
        await client.storage.prepare(DOCS)
        before = _uploads(simulator)
        rule = simulator.faults.add("hold", path="*/raw-text", contains="slow", times=1)
        storing = asyncio.create_task(client.upload_document("docs", document("slow")))
        await asyncio.sleep(0.5)
        rule.released = True
        async with asyncio.timeout(3):  # well before it would be sent again
            result = await storing
        assert _uploads(simulator) == before + 1

    assert result.status == "succeeded"
    assert texts_of(simulator, "docs") == ["slow"]


async def test_an_upload_that_nobody_saw_embedded_may_still_come(simulator: Simulator) -> None:
    """Its file is there. If its document is overtaken now, only a later look finds its text."""
    async with client_for(simulator) as client:
        await client.storage.prepare(DOCS)
        simulator.faults.add("status", path="*/document/raw-*", method="GET", times=1)
        upload = client.storage.upload(DOCS, unit(document("unseen")))
        assert not upload.may_still_come
        with pytest.raises(AnythingLLMError):
            await upload.attempt()
        in_between = upload.may_still_come
        await stored_by(upload)

        assert (in_between, upload.may_still_come) == (True, False)


async def test_a_file_is_not_embedded_again_while_that_may_still_come(simulator: Simulator) -> None:
    """Embedded twice it would be listed twice, and one row can't be removed without the other.

    Neither a proxy's answer nor a refused connection shows that the server has given up on it.
    """
    async with client_for(simulator, ambiguity_seconds=0.6) as client:
        await client.storage.prepare(DOCS)
        simulator.faults.add("embedder-fails", path="*/raw-text", times=1)
        simulator.faults.add("status", path="*/update-embeddings", status=503, times=1)
        upload = client.storage.upload(DOCS, unit(document("late")))
        with pytest.raises(AnythingLLMError):
            await upload.attempt()
        client._transport.refused_at = client._transport.clock()
        with pytest.raises(AnythingLLMPendingError):
            await upload.attempt()
        await asyncio.sleep(0.7)
        await upload.attempt()

    assert texts_of(simulator, "docs") == ["late"]
    assert (
        simulator.journal.count("request.answered", path="/api/v1/workspace/docs/update-embeddings")
        == 2
    )


@pytest.mark.parametrize("status", [409, 422])
async def test_what_may_never_be_embedded_again_is_uploaded_anew(
    simulator: Simulator, client: AnythingLLMClient, status: int
) -> None:
    """A firewall that refuses one path for ever is no fault of a text that others do not share."""
    await client.storage.prepare(DOCS)
    simulator.faults.add("embedder-fails", path="*/raw-text", times=1)
    simulator.faults.add("status", path="*/update-embeddings", status=status)
    upload = client.storage.upload(DOCS, unit(document("half stored")))
    with pytest.raises(AnythingLLMError) as refused:
        await upload.attempt()
    assert (refused.value.http_status, refused.value.fault.is_counted) == (status, True)

    await stored_by(upload)

    assert texts_of(simulator, "docs") == ["half stored"]


async def test_where_nothing_else_is_stored_a_file_waits_to_be_embedded_again(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """In an outage it stays, and nobody is blamed."""
    await client.storage.prepare(DOCS)
    simulator.faults.add("embedder-fails", path="*/raw-text")
    simulator.faults.add("status", path="*/update-embeddings", status=409)
    upload = client.storage.upload(DOCS, unit(document("half stored")))
    with pytest.raises(AnythingLLMError) as refused:
        await upload.attempt()

    assert refused.value.fault is Fault.THEIRS
    assert "half stored" in [file.text for file in simulator.state.files.values()]


async def test_while_an_upload_may_still_finish_it_is_only_looked_for(simulator: Simulator) -> None:
    """Pending: theirs, so that nobody counts it; sent again only when the time is over."""
    async with client_for(simulator, ambiguity_seconds=0.6) as client:
        await client.storage.prepare(DOCS)
        simulator.faults.add("reset", path="*/raw-text", times=1)
        upload = client.storage.upload(DOCS, unit(document("lost")))
        with pytest.raises(AnythingLLMConnectionError) as lost:
            await upload.attempt()
        assert (lost.value.fault, lost.value.ambiguous) == (Fault.UNCLEAR, True)

        with pytest.raises(AnythingLLMPendingError) as pending:
            await upload.attempt()
        assert (pending.value.fault, pending.value.ambiguous) == (Fault.THEIRS, True)
        assert 0 < (pending.value.retry_after or 0) <= 0.6
        assert texts_of(simulator, "docs") == []

        await asyncio.sleep(0.6)
        stored = await stored_by(upload)

    assert stored.location.startswith("custom-documents/")
    assert texts_of(simulator, "docs") == ["lost"]


async def test_a_server_that_was_seen_down_will_not_finish_anything(simulator: Simulator) -> None:
    """A refused connection ends the ambiguity: what is not listed then won't come."""
    async with client_for(simulator, ambiguity_seconds=600) as client:
        await client.storage.prepare(DOCS)
        simulator.faults.add("reset", path="*/raw-text", times=1)
        upload = client.storage.upload(DOCS, unit(document("lost")))
        with pytest.raises(AnythingLLMConnectionError):
            await upload.attempt()
        await asyncio.sleep(MOMENT)
        await simulator.stop()
        with pytest.raises(AnythingLLMConnectionError) as refused:
            await upload.attempt()
        assert refused.value.fault is Fault.THEIRS
        await simulator.start()
        await asyncio.sleep(MOMENT)
        await upload.attempt()

    assert texts_of(simulator, "docs") == ["lost"]


async def test_success_that_did_not_embed_is_not_stored_and_only_embedded_again(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """200 success:true proves nothing; the file that is there is not uploaded a second time."""
    await client.storage.prepare(DOCS)
    before = _uploads(simulator)
    simulator.faults.embedder_down = True
    upload = client.storage.upload(DOCS, unit(document("text")))
    for _ in range(3):
        with pytest.raises(AnythingLLMError) as raised:
            await upload.attempt()
        assert (raised.value.fault, raised.value.ambiguous) == (Fault.UNCLEAR, False)
    assert texts_of(simulator, "docs") == []

    simulator.faults.embedder_down = False
    await upload.attempt()

    assert texts_of(simulator, "docs") == ["text"]
    assert _uploads(simulator) == before + 1


async def test_who_lost_the_right_to_go_on_sends_nothing_more(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """An attempt has several requests; the right to go on is asked before each that changes."""

    class Revoked(Exception):
        pass

    asked = iter([None, Revoked()])

    def check() -> None:
        if (answer := next(asked)) is not None:
            raise answer

    await client.storage.prepare(DOCS)
    simulator.faults.embedder_down = True
    upload = client.storage.upload(DOCS, unit(document("text")), check=check)
    with pytest.raises(Revoked):
        await upload.attempt()

    path = "/api/v1/workspace/docs/update-embeddings"
    assert simulator.journal.count("request.answered", path=path) == 0
    assert simulator.journal.count("request.answered", path="/api/v1/document/raw-text") == 2


async def test_a_poison_text_fails_alone(simulator: Simulator, client: AnythingLLMClient) -> None:
    """Its siblings are stored; it is exhausted, not rejected: nobody refused it."""
    simulator.faults.embedder_poison = [TEXTS[2]]
    result = await client.upload_document("docs", document(*TEXTS[:5]))

    assert result.failed_chunk_ids == ("doc-1_chunk_2",)
    assert result.failed_chunks[0].reason is FailureReason.EXHAUSTED
    assert result.failed_chunks[0].attempts == 3
    assert len(texts_of(simulator, "docs")) == 4


@pytest.mark.parametrize("lie", ["pretend", "wrong-location"])
async def test_a_lying_server_is_not_believed(
    simulator: Simulator, client: AnythingLLMClient, lie: str
) -> None:
    """Success for what is not stored, or another's location: the chunk is stored all the same."""
    await client.upload_document("docs", document("another", id="doc-0"))
    simulator.faults.add(lie, path="*/raw-text", times=1)
    result = await client.upload_document("docs", document("wanted"))

    assert result.status == "succeeded"
    assert texts_of(simulator, "docs") == ["another", "wanted"]


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_preparers_of_a_fresh_workspace_lose_nothing(seed: int) -> None:
    """Four separate clients, six chunks each, at once: 24 of 24, once each."""
    async with running_server(seed=seed) as server:
        clients = [client_for(server) for _ in range(4)]
        for client in clients:
            await client.connect()
        docs = [document(*(f"{n}-{i}" for i in range(6)), id=f"doc-{n}") for n in range(4)]
        results = await asyncio.gather(
            *(
                client.upload_document("fresh", doc)
                for client, doc in zip(clients, docs, strict=True)
            )
        )
        for client in clients:
            await client.disconnect()

        assert {result.status for result in results} == {"succeeded"}
        assert texts_of(server, "fresh") == sorted(f"{n}-{i}" for n in range(4) for i in range(6))
        assert len(server.state.workspaces) == 1, "strays of the creation race were removed"
        assert len(server.chunks("fresh")) == 24, "sentinels were removed"


async def test_the_race_is_real_in_the_simulator() -> None:
    """The test above could fail: the same uploads without preparing lose chunks, not every time."""
    losses = 0
    for seed in range(20):
        async with running_server(seed=seed) as server, client_for(server) as client:
            await client.get_or_create_workspace("fresh")
            client._readiness._ready[Slug("fresh")] = _Ready(1, used=False)
            await client.upload_document("fresh", document(*TEXTS[:6]))
            losses += len(texts_of(server, "fresh")) < 6
        if losses:
            break

    assert losses


async def test_preparing_is_done_once_for_many_callers(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Single flight; one caller's cancellation does not take it from the others; then cached."""
    callers = [asyncio.create_task(client.storage.prepare(DOCS)) for _ in range(10)]
    await asyncio.sleep(0.02)
    callers[0].cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert [type(each) for each in results[1:]] == [type(None)] * 9
    assert isinstance(results[0], asyncio.CancelledError)
    assert _uploads(simulator) == 1
    answered = len(simulator.journal.of("request.answered"))
    await client.storage.prepare(DOCS)
    assert len(simulator.journal.of("request.answered")) == answered


async def test_a_workspace_that_cannot_be_made_ready_is_theirs(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """No document is to blame for a sick embedder; the next call tries again."""
    simulator.faults.embedder_down = True
    with pytest.raises(AnythingLLMError) as raised:
        await client.storage.prepare(DOCS)
    assert raised.value.fault is Fault.THEIRS

    simulator.faults.embedder_down = False
    await client.storage.prepare(DOCS)


async def test_a_missing_workspace_that_may_not_be_created_is_theirs(simulator: Simulator) -> None:
    """It waits for an operator; nothing is created."""
    async with client_for(simulator, create_workspaces=False) as client:
        with pytest.raises(AnythingLLMNotFoundError) as raised:
            await client.storage.prepare(DOCS)
    assert raised.value.fault is Fault.THEIRS
    assert not simulator.state.workspaces


async def test_a_workspace_that_vanished_is_made_again(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Somebody deletes it in the UI in the middle of everything: theirs, and it comes back."""
    await client.upload_document("docs", document("old"))
    await client._api.delete_workspace(client._ordinary(None), DOCS)
    upload = client.storage.upload(DOCS, unit(document("new")))
    with pytest.raises(AnythingLLMNotFoundError) as raised:
        await upload.attempt()
    assert raised.value.fault is Fault.THEIRS
    await upload.attempt()

    assert texts_of(simulator, "docs") == ["new"]


async def test_a_workspace_made_anew_behind_our_back_is_prepared_again(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """It has lost its table: concurrent uploads would overwrite each other without a word."""
    await client.upload_document("docs", document("old"))
    await client._api.delete_workspace(client._ordinary(None), DOCS)
    await client._api.new_workspace(client._ordinary(None), "docs")

    await client.upload_document("docs", document(*TEXTS[:12], id="doc-2"))

    assert texts_of(simulator, "docs") == sorted(TEXTS[:12])


async def test_a_document_as_a_whole_ends_in_time(simulator: Simulator) -> None:
    """Attempts and waits add up; the caller gets an answer all the same, and may call again."""
    async with client_for(simulator, document_timeout=0.5) as client:
        await client.upload_document("docs", document("first"))
        simulator.faults.add("hold", path="*/raw-text")
        with pytest.raises(AnythingLLMTimeoutError) as raised:
            await client.upload_document("docs", document("second", id="doc-2"))
        simulator.faults.clear()
    assert raised.value.ambiguous


@pytest.mark.parametrize(
    "title",
    [
        "Report.v2.final.pdf",
        "a/b/../c",
        "🎉🎉🎉",
        "日本語のタイトル",
        "ß€$%&<>|" * 40,
        "x" * 400,
        "…",
        "",
    ],
    ids=ascii,
)
async def test_any_title_is_stored_and_found(
    simulator: Simulator, client: AnythingLLMClient, title: str
) -> None:
    """Dots, slashes, emoji, other scripts, 400 characters: the human title comes back verbatim."""
    result = await client.upload_document("docs", document("findable text", title=title))
    hits = await client.search_workspace("docs", "findable text")

    assert result.status == "succeeded"
    assert [(hit.text, hit.chunk_id) for hit in hits] == [("findable text", "doc-1_chunk_0")]
    if title:
        assert hits[0].title == title


async def test_a_new_version_replaces_the_old_one(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Only what changed is uploaded; what is stale goes when all the new is there."""
    await client.upload_document("docs", document("a", "b", "c", day=1))
    result = await client.upload_document("docs", document("new", "a", "c", day=2))

    assert (result.uploaded_chunk_ids, result.removed_chunks) == (("doc-1_chunk_0",), 1)
    assert texts_of(simulator, "docs") == ["a", "c", "new"]

    simulator.faults.add("status", status=422, path="*/raw-text", contains="refused")
    kept = await client.upload_document("docs", document("refused", "a", day=3))
    assert (kept.status, kept.removed_chunks) == ("partial", 0)
    assert texts_of(simulator, "docs") == ["a", "c", "new"], "text is never missing in between"

    emptied = await client.upload_document("docs", document(day=4))
    assert (emptied.status, emptied.total_chunks, emptied.removed_chunks) == ("succeeded", 0, 3)
    assert texts_of(simulator, "docs") == []


async def test_what_can_never_be_sent_is_the_documents_fault(client: AnythingLLMClient) -> None:
    """Blank text can't be embedded, half a surrogate pair can't be written."""
    result = await client.upload_document("docs", document("good", "  \n", "half \ud800"))

    assert result.failed_chunk_ids == ("doc-1_chunk_1", "doc-1_chunk_2")
    assert {each.reason for each in result.failed_chunks} == {FailureReason.REJECTED}
    with pytest.raises(AnythingLLMRejectedError):
        await client.search_workspace("docs", " ")


async def test_a_document_gives_up_at_once_when_the_breaker_opens(simulator: Simulator) -> None:
    """Its chunks are named; the next call is told when to come back."""
    async with client_for(simulator, circuit_breaker=CircuitBreakerConfig(3, 60, 5)) as client:
        await client.storage.prepare(DOCS)
        simulator.faults.collector = "down"
        result = await client.upload_document("docs", document(*TEXTS))

        assert (result.status, result.failed_uploads) == ("failed", 20)
        assert len(simulator.journal.of("request.answered", status=500)) <= 8
        with pytest.raises(CircuitOpenError) as raised:
            await client.upload_document("docs", document(*TEXTS))
        assert raised.value.retry_after == pytest.approx(60, abs=1)


async def test_removing_what_is_gone_is_no_error(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Removal can be repeated; many are removed in several requests."""
    await client.upload_document("docs", document(*TEXTS))
    units = await client.storage.listing(DOCS)
    locations = [unit.location for unit in units]
    await client.storage.remove(DOCS, locations[:5])
    await client.storage.remove(DOCS, [*locations, Location("custom-documents/never-there.json")])

    assert texts_of(simulator, "docs") == []
    assert await client.storage.listing(DOCS) == []
    assert await client.storage.listing(Slug("no-such-workspace")) == []


async def test_removals_do_not_take_upload_slots(simulator: Simulator) -> None:
    """With removals stuck, uploads go on; at most two removals are under way."""
    async with client_for(simulator) as client:
        await client.storage.prepare(DOCS)
        nothing = [Location("custom-documents/x.json")]
        await client.storage.remove(DOCS, nothing)  # that removals work is known for a while
        rule = simulator.faults.add("hold", path="*/remove-documents")
        removals = [asyncio.create_task(client.storage.remove(DOCS, nothing)) for _ in range(10)]
        result = await client.upload_document("docs", document(*TEXTS))
        assert result.status == "succeeded"
        assert len(simulator.journal.of("request.held")) == 2
        rule.released = True
        await asyncio.gather(*removals)


async def test_hits_are_as_uploaded(simulator: Simulator, client: AnythingLLMClient) -> None:
    """No prefix; ids, source and hash of the whole chunk; as many chunks as asked for."""
    long_text = " ".join(f"word{n}" for n in range(1500))
    await client.upload_document("docs", document(long_text, *TEXTS[:6], url="https://a.example/x"))
    hits = await client.search_workspace("docs", "word7 word8", limit=7)

    assert len({hit.chunk_id for hit in hits}) == len(hits) == 7
    distances = [hit.distance for hit in hits if hit.distance is not None]
    assert distances == sorted(distances)
    assert len(distances) == (7 if simulator.model.vectors.database.shows_distance else 1)
    assert not any("document_metadata" in hit.text for hit in hits)
    whole = next(hit for hit in hits if hit.chunk_id == "doc-1_chunk_0")
    assert whole.text in long_text
    assert whole.content_sha256 == hashlib.sha256(long_text.encode()).hexdigest()
    assert (whole.document_id, whole.source_url) == ("doc-1", "https://a.example/x")


async def test_a_workspace_that_was_made_anew_is_told_also_while_it_is_prepared() -> None:
    """Files that were sent before still say that they are embedded, and are in no workspace."""
    async with running_server() as server, client_for(server) as client:
        changed: list[str] = []
        client.storage.when_changed(changed.append)
        await client.storage.prepare(DOCS)
        client.storage.forget(DOCS)
        server.model.delete_workspace(server.state.workspaces["docs"])
        server.state.create_workspace("docs", {})
        assert changed == []
        await client.storage.prepare(DOCS)

    assert changed == ["docs"]


@pytest.mark.parametrize("name", DIFFERENT_DATABASES)
async def test_a_chunk_whose_file_nobody_can_look_at_is_stored_by_its_listing(name: str) -> None:
    """To remove it, and to say that it failed, would take away what searches find."""
    async with running_server(vector_db=name) as server, client_for(server) as client:
        await client.upload_document("docs", document("before", id="first"))
        server.faults.add("status", path="*/document/raw-a-title-*", method="GET", status=500)
        result = await client.upload_document("docs", document("one", "two"))

        assert (result.status, len(result.uploaded_chunk_ids)) == ("succeeded", 2)
        assert texts_of(server, "docs") == ["before", "one", "two"]
