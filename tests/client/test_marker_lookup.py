"""Many uploads of a workspace in doubt at once: few listings, one copy each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMPendingError,
)
from consumer.anythingllm.unit_upload import RawTextUpload
from consumer.model.fault import Fault
from consumer.model.marker import unit_of
from consumer.model.names import Slug
from consumer.model.version import DocumentVersion
from consumer.sandbox.simulator import Simulator
from tests.client.support import MOMENT, client_for, document, texts_of, until

DOCS = Slug("docs")

PATH = "/api/v1/workspace/docs"


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AnythingLLMClient]:
    async with client_for(simulator, ambiguity_seconds=60, max_chunks_in_flight=50) as client:
        await client.storage.prepare(DOCS)
        yield client


def _texts(count: int) -> list[str]:
    return [f"text number {n:02}" for n in range(count)]


def _uploads(client: AnythingLLMClient, *texts: str) -> list[RawTextUpload]:
    whole = document(*texts)
    assert whole.created_at is not None
    version = DocumentVersion(whole.created_at)
    units = [unit_of((chunk,), whole, version) for chunk in whole.chunks]
    return [client.storage.upload(DOCS, unit) for unit in units]


async def _attempts(uploads: Sequence[RawTextUpload]) -> list[object]:
    return await asyncio.gather(*(each.attempt() for each in uploads), return_exceptions=True)


async def _patiently(upload: RawTextUpload) -> None:
    """Attempts as `upload_document` makes them while the upload is in doubt."""
    while True:
        try:
            await upload.attempt()
        except AnythingLLMPendingError as error:
            await asyncio.sleep(error.retry_after or 0)
        else:
            return


def _kinds(results: Sequence[object]) -> set[type]:
    return {type(each) for each in results}


def _listings(server: Simulator) -> int:
    return server.journal.count("request.answered", method="GET", path=PATH)


@pytest.mark.parametrize("count", [5, 50])
async def test_one_listing_finds_all_that_lost_their_answers(
    simulator: Simulator, client: AnythingLLMClient, count: int
) -> None:
    """All in doubt look at the same listing; nothing is sent again."""
    texts = _texts(count)
    simulator.faults.add("reset-after", path="*/raw-text", times=count)
    uploads = _uploads(client, *texts)
    assert _kinds(await _attempts(uploads)) == {AnythingLLMConnectionError}
    before = _listings(simulator)
    results = await _attempts(uploads)

    assert not [each for each in results if isinstance(each, BaseException)]
    assert _listings(simulator) == before + 1
    assert texts_of(simulator, "docs") == texts
    assert len(simulator.chunks("docs")) == count


@pytest.mark.parametrize("in_flight", [5, 50])
async def test_a_document_of_lost_answers_costs_few_listings(
    simulator: Simulator, in_flight: int
) -> None:
    """As `upload_document` goes about it, in waves of as many as are in flight."""
    texts = _texts(50)
    settings = {"ambiguity_seconds": 60, "max_chunks_in_flight": in_flight}
    async with client_for(simulator, **settings) as client:
        await client.storage.prepare(DOCS)
        simulator.faults.add("reset-after", path="*/raw-text", times=50)
        before = _listings(simulator)
        result = await client.upload_document("docs", document(*texts))

    assert result.status == "succeeded"
    assert texts_of(simulator, "docs") == texts
    assert len(simulator.chunks("docs")) == 50
    # One to see what is stored, and one each 0.2 s while waves of uploads lose their answers.
    assert _listings(simulator) - before <= 12


async def test_looks_are_spaced_for_all_together(simulator: Simulator) -> None:
    """50 chunks that never arrived wait as one: the server isn't asked more because of them."""
    async with client_for(simulator, ambiguity_seconds=0.7, max_chunks_in_flight=50) as client:
        await client.storage.prepare(DOCS)
        simulator.faults.add("reset", path="*/raw-text", times=50)
        before = _listings(simulator)
        result = await client.upload_document("docs", document(*_texts(50)))

    assert result.status == "succeeded"
    assert texts_of(simulator, "docs") == _texts(50)
    assert len(simulator.chunks("docs")) == 50
    assert _listings(simulator) - before <= 8


async def test_a_listing_older_than_the_doubt_does_not_serve(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """It may have been answered before the upload took effect: another one is read after it."""
    simulator.faults.add("reset-after", path="*/raw-text", times=2)
    first, second = _uploads(client, "first", "second")
    await _attempts([first])
    held = simulator.faults.add("hold-after", method="GET", path=PATH)
    before = _listings(simulator)
    looking = asyncio.create_task(first.attempt())
    await until(lambda: len(simulator.journal.of("request.held")) == 1)
    await _attempts([second])
    also_looking = asyncio.create_task(second.attempt())
    held.released = True
    await asyncio.gather(looking, also_looking, return_exceptions=True)
    await _patiently(second)

    assert _listings(simulator) == before + 2
    assert texts_of(simulator, "docs") == ["first", "second"]


async def test_a_listing_that_fails_fails_for_all_who_waited_for_it(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Asking again for each of them would keep the server busy and them waiting; nothing sent."""
    uploads = _uploads(client, *_texts(20))
    simulator.faults.add("reset-after", path="*/raw-text", times=20)
    await _attempts(uploads)
    simulator.faults.add("status", status=503, method="GET", path=PATH)
    before = _listings(simulator)
    results = await _attempts(uploads)

    assert {each.fault for each in results if isinstance(each, AnythingLLMError)} == {Fault.THEIRS}
    assert len(set(map(id, results))) == 20, "each caller may do to his error what he likes"
    assert _listings(simulator) == before + 1

    simulator.faults.clear()
    await asyncio.sleep(MOMENT)
    assert not [each for each in await _attempts(uploads) if isinstance(each, BaseException)]
    assert len(simulator.chunks("docs")) == 20


async def test_who_stops_looking_does_not_stop_the_others(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """The one who reads the listing is cancelled; the next one reads it."""
    simulator.faults.add("reset-after", path="*/raw-text", times=3)
    uploads = _uploads(client, *_texts(3))
    await _attempts(uploads)
    held = simulator.faults.add("hold", method="GET", path=PATH)
    looking = [asyncio.create_task(each.attempt()) for each in uploads]
    await until(lambda: len(simulator.journal.of("request.held")) == 1)
    looking[0].cancel()
    await until(lambda: len(simulator.journal.of("request.held")) == 2)
    held.released = True
    results = await asyncio.gather(*looking, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert not [each for each in results[1:] if isinstance(each, BaseException)]
