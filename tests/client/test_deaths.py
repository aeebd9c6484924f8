"""What a death of AnythingLLM looks like to the client, and a control that it meets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consumer.anythingllm import AnythingLLMClient, AnythingLLMError
from consumer.model.names import Slug
from tests.client.support import (
    DIFFERENT_DATABASES,
    TRACE,
    client_for,
    document,
    running_server,
    texts_of,
    unit,
    until,
)

DOCS = Slug("docs")
KILLER = "of which the server dies"
CONTROL = "a control text " * 300
UPLOADS = "*/raw-text"
FRONTS: list[dict[str, Any]] = [
    {},
    {"gateway": True, "status": 502},
    {"gateway": True, "status": 503},
]


async def _ready(client: AnythingLLMClient) -> None:
    await client.storage.prepare(DOCS, trace_id=TRACE)


async def _failure_of(client: AnythingLLMClient, text: str) -> AnythingLLMError:
    upload = client.storage.upload(DOCS, unit(document(text)), trace_id=TRACE)
    with pytest.raises(AnythingLLMError) as raised:
        await upload.attempt()
    return raised.value


@pytest.mark.parametrize("front", FRONTS)
async def test_an_upload_that_kills_is_cut_off_and_then_nobody_is_there(
    front: dict[str, Any],
) -> None:
    """Bare, and behind a proxy that answers for the server; then it is back."""
    async with running_server() as server, client_for(server) as client:
        await _ready(client)
        await client.storage.answers(trace_id=TRACE)
        answered_at = client.storage.answered_at()
        server.faults.add("kill", path=UPLOADS, contains=KILLER, seconds=3, **front)
        failure = await _failure_of(client, KILLER)
        assert failure.cut_off
        assert failure.not_there
        assert failure.beside == 0
        with pytest.raises(AnythingLLMError) as raised:
            await client.storage.answers(trace_id=TRACE)
        assert raised.value.not_there
        assert raised.value.cut_off == bool(front)
        assert client.storage.answered_at() == answered_at
        await asyncio.sleep(3.1)
        await client.storage.answers(trace_id=TRACE)

        assert client.storage.answered_at() > answered_at
        assert server.journal.count("server.killed") == 1
        assert texts_of(server, "docs") == []


@pytest.mark.parametrize("status", [400, 403, 404, 408, 429, 500, 504, 524])
async def test_an_answer_of_somebody_is_no_death(status: int) -> None:
    """Whoever gives up waiting or refuses is there, and so may be the server."""
    async with running_server() as server, client_for(server) as client:
        await _ready(client)
        server.faults.add("status", path=UPLOADS, status=status, times=1)
        failure = await _failure_of(client, "a text")

        assert not failure.not_there
        assert not failure.cut_off


async def test_a_failure_says_what_else_was_under_way() -> None:
    """And silence is when nothing is any more."""
    async with running_server() as server, client_for(server) as client:
        await _ready(client)
        rule = server.faults.add("hold", path="*/workspaces")
        other = asyncio.create_task(client.list_workspaces())
        await until(lambda: rule.fired == 1)
        server.faults.add("reset", path=UPLOADS, times=1)
        failure = await _failure_of(client, "a text")
        silent = asyncio.create_task(client.storage.silent())
        await asyncio.sleep(1)
        assert failure.beside == 1
        assert not silent.done()
        rule.released = True
        await other
        await silent


@pytest.mark.parametrize("vector_db", DIFFERENT_DATABASES)
async def test_a_control_leaves_nothing(vector_db: str) -> None:
    """Whether the server takes a text of a length is seen by uploading one."""
    async with running_server(vector_db=vector_db) as server, client_for(server) as client:
        await _ready(client)
        server.journal.clear()
        await client.storage.store_control(DOCS, CONTROL, trace_id=TRACE)
        (stored,) = server.journal.of("document.stored")

        assert "alc-sentinel" in stored["doc_source"]
        assert texts_of(server, "docs") == []
        assert server.state.files == {}


async def test_a_control_that_the_server_dies_of_is_looked_for_later() -> None:
    """What it left is removed by the look after left-overs."""
    async with running_server() as server, client_for(server) as client:
        await _ready(client)
        left: list[str] = []
        client.storage.when_sentinels_left(left.append)
        server.faults.add("kill", path=UPLOADS, seconds=1, times=1)
        with pytest.raises(AnythingLLMError) as raised:
            await client.storage.store_control(DOCS, CONTROL, trace_id=TRACE)

        assert raised.value.not_there
        assert not raised.value.ambiguous
        assert left == ["docs"]


async def test_a_control_that_is_not_embedded_has_not_passed() -> None:
    """An answer alone proves nothing."""
    async with running_server() as server, client_for(server) as client:
        await _ready(client)
        server.faults.embedder_down = True
        with pytest.raises(AnythingLLMError, match="can't be embedded"):
            await client.storage.store_control(DOCS, CONTROL, trace_id=TRACE)
