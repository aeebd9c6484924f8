"""The proxy on real sockets: what it does is done by the kernel, and the client meets it there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConfig,
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMProtocolError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
)
from consumer.anythingllm.config import CircuitBreakerConfig
from consumer.sandbox.simulator import Simulator, simulator
from tests.between.__main__ import parser, serve
from tests.between.behaviours import BEHAVIOURS, Answers, Restarts
from tests.between.operations import OPERATIONS
from tests.between.proxy import Proxy, between
from tests.client.support import client_of, document, texts_of

HEAD = b"HTTP/1.1 200"


@pytest.fixture
async def server() -> AsyncIterator[Simulator]:
    async with simulator() as started:
        yield started


@pytest.fixture
async def proxy(server: Simulator) -> AsyncIterator[Proxy]:
    async with between(server.endpoint, server=server) as started:
        yield started


@pytest.fixture
async def client(server: Simulator, proxy: Proxy) -> AsyncIterator[AnythingLLMClient]:
    async with client_of(proxy.endpoint, server.api_key) as connected:
        yield connected


async def raw(proxy: Proxy) -> bytes:
    """All that comes back for a listing of workspaces, byte by byte."""
    host, port = proxy.endpoint.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /api/v1/workspaces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer test-key\r\n"
        b"Connection: close\r\n\r\n"
    )
    said = b""
    try:
        while piece := await reader.read(65_536):
            said += piece
    finally:
        writer.close()
    return said


async def test_it_passes_everything_on_as_it_came(client: AnythingLLMClient) -> None:
    """Without a behaviour it is not there."""
    await client.get_or_create_workspace("docs")

    assert [each.slug for each in await client.list_workspaces()] == ["docs"]
    assert (await client.health_check())["status"] == "healthy"


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("answers-502", AnythingLLMServerError),
        ("says-html", AnythingLLMProtocolError),
        ("says-text", AnythingLLMProtocolError),
        ("resets-request", AnythingLLMConnectionError),
        ("resets-half-answer", AnythingLLMConnectionError),
        ("closes-answer", AnythingLLMConnectionError),
        ("spoils-large-header", AnythingLLMProtocolError),
        ("spoils-unreadable-header", AnythingLLMProtocolError),
        ("spoils-no-headers", AnythingLLMProtocolError),
        ("spoils-cut-short", AnythingLLMConnectionError),
        ("spoils-cut-json", AnythingLLMProtocolError),
        ("drops-delete-body", None),
    ],
)
async def test_the_client_meets_it_by_its_own_names(
    client: AnythingLLMClient, proxy: Proxy, name: str, raised: type[AnythingLLMError] | None
) -> None:
    """Whatever the kernel and aiohttp make of it, callers see an `AnythingLLMError`."""
    struck = proxy.behave(BEHAVIOURS[name], OPERATIONS["listing"])
    if raised is None:
        assert await client.list_workspaces() == []
        assert struck.count == 0, "a listing is no DELETE"
        return
    with pytest.raises(raised):
        await client.list_workspaces()
    assert struck.count in (1, 2), "aiohttp asks once more where a connection breaks"
    proxy.well()

    assert await client.list_workspaces() == []


async def test_who_gives_up_waiting_lets_the_request_go_on(
    client: AnythingLLMClient, proxy: Proxy, server: Simulator
) -> None:
    """The answer is the proxy's, the workspace is there all the same, a moment later."""
    gives_up = BEHAVIOURS["gives-up-504"]
    assert isinstance(gives_up.way, Answers)
    soon = replace(gives_up, way=replace(gives_up.way, after=0.05, effect=0.1))
    proxy.behave(soon, OPERATIONS["creation"], times=1)
    async with aiohttp.ClientSession() as session:
        answer = await session.post(
            f"{proxy.endpoint}/api/v1/workspace/new",
            json={"name": "docs"},
            headers={"Authorization": f"Bearer {server.api_key}"},
        )
    assert answer.status == 504
    await server.journal.wait_for("workspace.created", 1, seconds=10)

    assert [each.slug for each in await client.list_workspaces()] == ["docs"]


@pytest.mark.parametrize(
    "name",
    [
        "answers-504-done",
        "resets-answer",
        "resets-request",
        "closes-half-answer",
        "spoils-cut-short",
    ],
)
async def test_a_document_is_stored_once_and_goes_for_good(
    client: AnythingLLMClient, proxy: Proxy, server: Simulator, name: str
) -> None:
    """The first upload and the first removal are struck: uploads are looked for, removals told."""
    await client.get_or_create_workspace("docs")
    page = document("The first text.", "The second text.", id="page")
    await client.upload_document("docs", document("Of another one.", id="other"))  # gets it ready
    uploads = proxy.behave(BEHAVIOURS[name], OPERATIONS["upload"], times=1)
    await client.upload_document("docs", page)
    other = ["Of another one."]
    assert texts_of(server, "docs") == [*other, "The first text.", "The second text."]
    removals = proxy.behave(BEHAVIOURS[name], OPERATIONS["removal"], times=1)
    with pytest.raises(AnythingLLMError):
        await client.delete_document("docs", "page")
    assert await client.delete_document("docs", "page")

    assert texts_of(server, "docs") == other
    assert (uploads.count, removals.count) == (1, 1)


async def test_what_it_spoils_is_spoilt_on_the_wire(proxy: Proxy) -> None:
    """The bytes are those that the sentence of the behaviour says."""
    said = {}
    for name in ("large-header", "unreadable-header", "no-headers", "cut-short"):
        proxy.well()
        proxy.behave(BEHAVIOURS[f"spoils-{name}"], OPERATIONS["listing"])
        said[name] = await raw(proxy)

    assert all(text.startswith(HEAD) for text in said.values())
    assert b"X-Trail: " + b"x" * 65_536 + b"\r\n" in said["large-header"]
    assert b"\x00header\r\n" in said["unreadable-header"]
    assert said["no-headers"] == HEAD + b' Said\r\n\r\n{"workspaces":[]}'
    assert b"Content-Length: 17\r\n" in said["cut-short"]
    assert said["cut-short"].endswith(b'\r\n\r\n{"worksp')


async def test_while_it_restarts_connections_are_refused(
    client: AnythingLLMClient, proxy: Proxy
) -> None:
    """Nobody listens on its port, and then it is there again, on the same one."""
    restarts = replace(BEHAVIOURS["restarts-refused"], way=Restarts(0.3, None))
    proxy.behave(restarts, OPERATIONS["listing"])
    with pytest.raises(AnythingLLMConnectionError):
        await client.list_workspaces()
    with pytest.raises(AnythingLLMConnectionError, match="not sent"):
        await client.list_workspaces()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await client.list_workspaces() == []
            except AnythingLLMError:
                await asyncio.sleep(0.02)
            else:
                break


async def test_a_client_that_leaves_stops_nothing(proxy: Proxy, server: Simulator) -> None:
    """What it asked for goes on, through the proxy too."""
    server.faults.add("delay", path="*/workspace/new", seconds=0.2)
    hasty = CircuitBreakerConfig(timeout_seconds=0.1)
    config = AnythingLLMConfig(proxy.endpoint, server.api_key, circuit_breaker=hasty)
    async with AnythingLLMClient(config) as client:
        with pytest.raises((AnythingLLMTimeoutError, AnythingLLMConnectionError)):
            await client.get_or_create_workspace("docs")

    await server.journal.wait_for("workspace.created", 1, seconds=10)


def test_help_names_every_behaviour_and_operation() -> None:
    """Who runs it by hand reads nothing else."""
    shown = parser().format_help()

    assert [] == [name for name in (*BEHAVIOURS, *OPERATIONS) if f"  {name} " not in shown]
    assert len({each.sentence for each in BEHAVIOURS.values()}) == len(BEHAVIOURS)


async def test_by_hand_it_says_where_it_is_and_what_it_did(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a simulated AnythingLLM of its own, until it is told to stop."""
    words = ["answers-502", "--operation", "listing", "--times", "1", "--seconds", "0.05"]
    stop = asyncio.Event()
    standing = asyncio.create_task(serve(parser().parse_args(words), stop))
    said = ""
    async with asyncio.timeout(10):
        while "all is well again; 0 requests were struck" not in said:
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out
    stop.set()
    await standing

    assert "API key test-key" in said
    assert "it answers 502 at once" in said
