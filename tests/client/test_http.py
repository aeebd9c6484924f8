"""What the client makes of everything a connection can do, in memory and in the kernel."""

from __future__ import annotations

import asyncio
import gzip
import re
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMProtocolError,
    AnythingLLMRateLimitError,
    AnythingLLMRejectedError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
    CircuitBreakerConfig,
    CircuitOpenError,
)
from consumer.anythingllm.calls import Call
from consumer.anythingllm.transport import Errand
from consumer.model.fault import Fault
from consumer.model.names import Location, Slug
from consumer.sandbox.simulator import Simulator
from consumer.telemetry.otel import OtelTracing
from tests.client.support import (
    TRACE,
    Script,
    answer,
    client_of,
    clock,
    document,
    reset,
    says,
    scripted,
    until,
    unused_port,
)

DOCS = Slug("docs")
MIB = 1024 * 1024

GET = Call("GET", "/v1/workspaces", expect=("workspaces",))
POST = Call("POST", "/v1/workspace/new", {"name": "x"}, expect=("workspace",))
EMPTY = answer('{"workspaces":[]}')
ON_BOTH = pytest.mark.network("memory", "kernel")


async def _ask(client: AnythingLLMClient, call: Call, seconds: float = 5.0) -> dict[str, Any]:
    errand = Errand(clock() + seconds, clock, TRACE)
    return await client._transport.call(errand, call)


async def _failure(
    script: Script, call: Call, seconds: float = 5.0, **settings: Any
) -> AnythingLLMError:
    """What a call to such a server raises."""
    async with scripted(script) as server, client_of(server.endpoint, **settings) as client:
        with pytest.raises(AnythingLLMError) as raised:
            await _ask(client, call, seconds)
        return raised.value


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _half_body_then_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(EMPTY[:-5])
    await asyncio.Event().wait()


async def _half_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(EMPTY[:-5])
    await writer.drain()
    writer.close()


async def _half_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(EMPTY[:30])
    await writer.drain()
    writer.close()


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in EMPTY * 100:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)


@ON_BOTH
@pytest.mark.parametrize("call", [GET, POST])
@pytest.mark.parametrize("script", [_close, _reset, _half_headers, _half_body])
async def test_a_connection_that_breaks_is_ambiguous_unless_nothing_was_asked_for(
    script: Script, call: Call
) -> None:
    """After the first byte nobody can tell whether the request took effect."""
    error = await _failure(script, call)

    assert isinstance(error, AnythingLLMConnectionError)
    assert (error.fault, error.ambiguous) == (Fault.UNCLEAR, call is POST)


@ON_BOTH
@pytest.mark.parametrize("call", [GET, POST])
@pytest.mark.parametrize("script", [_hang, _half_body_then_hang, _drip])
async def test_a_call_ends_in_time_whatever_the_server_does(script: Script, call: Call) -> None:
    """One deadline over all of it: dripping bytes buys no time. The server may still finish."""
    began = clock()
    error = await _failure(script, call, seconds=0.6)

    assert clock() - began < 3
    assert isinstance(error, AnythingLLMTimeoutError)
    assert (error.fault, error.ambiguous) == (Fault.UNCLEAR, call is POST)


@ON_BOTH
async def test_a_refused_connection_is_an_outage_and_nothing_happened() -> None:
    """It may be repeated without looking first."""
    async with client_of(f"http://127.0.0.1:{unused_port()}") as client:
        with pytest.raises(AnythingLLMConnectionError) as raised:
            await _ask(client, POST)

        assert (raised.value.fault, raised.value.ambiguous) == (Fault.THEIRS, False)
        assert client._transport.refused_at == pytest.approx(clock(), abs=1)


async def test_a_name_that_does_not_resolve_is_an_outage() -> None:
    """No request ever reached anybody."""
    await _is_an_outage("http://no-such-host.invalid")


@pytest.mark.network("kernel")
async def test_a_server_without_tls_is_an_outage(simulator: Simulator) -> None:
    """The request was never sent, whether the greeting is answered in HTTP or not at all."""
    await _is_an_outage(simulator.endpoint.replace("http", "https"))
    async with scripted(says(EMPTY)) as silent:
        await _is_an_outage(silent.endpoint.replace("http", "https"), seconds=0.3)


async def _is_an_outage(endpoint: str, seconds: float = 5.0) -> None:
    async with client_of(endpoint) as client:
        with pytest.raises(AnythingLLMConnectionError) as raised:
            await _ask(client, POST, seconds)
        assert (raised.value.fault, raised.value.ambiguous) == (Fault.THEIRS, False)


@ON_BOTH
async def test_a_connection_that_is_never_accepted_is_an_outage() -> None:
    """A connect timeout is told apart from a slow answer: nothing was sent."""
    # TEST-NET-1 is routed nowhere; where a router says so at once, that is an outage as well.
    async with client_of("http://192.0.2.1:9") as client:
        with pytest.raises(AnythingLLMConnectionError) as raised:
            await _ask(client, POST, seconds=0.2)

    assert (raised.value.fault, raised.value.ambiguous) == (Fault.THEIRS, False)


@ON_BOTH
@pytest.mark.parametrize(
    ("reply", "fault", "ambiguous"),
    [
        (answer("<html>", content_type="text/html"), Fault.THEIRS, True),
        (answer("OK", content_type="text/plain"), Fault.THEIRS, True),
        (answer("", "307 Go", headers="Location: http://127.0.0.1:9/\r\n"), Fault.THEIRS, False),
        (b"220 mail.example.com ESMTP\r\n", Fault.THEIRS, True),
        (answer("{}", headers="X-Large: " + "x" * 20_000 + "\r\n"), Fault.THEIRS, True),
        (answer('{"workspace":{"id":1'), Fault.UNCLEAR, True),
        (answer('{"other":1}'), Fault.UNCLEAR, True),
        (answer('["workspace"]'), Fault.UNCLEAR, True),
        (answer('{"workspace":NaN}'), Fault.UNCLEAR, True),
        (answer("[" * 100_000), Fault.UNCLEAR, True),
        (answer('{"workspace":"' + "x" * 5_000 + '"}'), Fault.UNCLEAR, True),
    ],
)
async def test_what_is_no_answer_of_the_api_is_not_believed(
    reply: bytes, fault: Fault, ambiguous: bool
) -> None:
    """Whatever it is, the request may still take effect; only a redirect says that it does not."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        writer.close()

    error = await _failure(script, POST, max_response_bytes=4_000)

    assert isinstance(error, AnythingLLMProtocolError)
    assert (error.fault, error.ambiguous) == (fault, ambiguous)


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
async def test_an_answer_that_unfolds_a_thousandfold_is_not_unfolded(status: str) -> None:
    """130 kB of gzip for 128 MiB: it ends at the limit, and costs no more memory than that."""
    bomb = gzip.compress(bytes(128 * MIB), 6)
    script = says(answer(bomb, status, headers="Content-Encoding: gzip\r\n"))
    tracemalloc.start()
    try:
        error = await _failure(script, GET, max_response_bytes=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(error, AnythingLLMProtocolError | AnythingLLMServerError)
    assert peak < 16 * MIB


@ON_BOTH
async def test_a_redirect_is_not_followed() -> None:
    """A 307 would send document text, and the key, to another host."""
    async with scripted(says(EMPTY)) as elsewhere:
        location = f"Location: {elsewhere.endpoint}/\r\n"
        await _failure(says(answer("", "307 Go", headers=location)), POST)

        assert elsewhere.requests == []


async def test_retry_after_is_read() -> None:
    """Who says when to come back is busy."""
    error = await _failure(says(answer("{}", "429 Slow", headers="Retry-After: 7\r\n")), GET)

    assert isinstance(error, AnythingLLMRateLimitError)
    assert (error.fault, error.retry_after) == (Fault.BUSY, 7.0)


async def test_a_stale_collector_connection_is_repeated_once_at_once() -> None:
    """The server's "fetch failed" created nothing; twice in a row it is an outage."""
    stale = answer('{"success":false,"error":"fetch failed","documents":[]}', "500 Oops")
    async with scripted(says(stale, EMPTY)) as server, client_of(server.endpoint) as client:
        assert await _ask(client, GET) == {"workspaces": []}
        assert len(server.requests) == 2

    async with scripted(says(stale)) as server, client_of(server.endpoint) as client:
        with pytest.raises(AnythingLLMServerError) as raised:
            await _ask(client, GET)
        assert raised.value.fault is Fault.THEIRS
        assert len(server.requests) == 2


@ON_BOTH
async def test_what_a_request_carries() -> None:
    """Key, user agent, trace; JSON both ways; the path below /api."""
    reply = answer('{"workspace":{}}')
    settings: dict[str, Any] = {"user_agent": "search/1.0"}
    async with scripted(says(reply)) as server, client_of(server.endpoint, **settings) as client:
        await _ask(client, POST)
        request = server.requests[0].decode()

    assert request.startswith("POST /api/v1/workspace/new HTTP/1.1\r\n")
    assert "Authorization: Bearer test-key\r\n" in request
    assert "User-Agent: search/1.0\r\n" in request
    assert f"traceparent: 00-{TRACE}-" in request
    assert "Content-Type: application/json\r\n" in request
    assert request.endswith('\r\n\r\n{"name":"x"}')


async def test_each_request_carries_its_own_span() -> None:
    """The server's spans are below the attempt that reached it, also where one is repeated."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = OtelTracing(provider, group="g", closes=True)
    stale = answer('{"success":false,"error":"fetch failed","documents":[]}', "500 Oops")
    async with (
        scripted(says(stale, EMPTY)) as server,
        client_of(server.endpoint, tracing=tracing) as client,
    ):
        await _ask(client, GET)
        sent = [re.findall(rb"traceparent: (.*)\r\n", request) for request in server.requests]

    ids = [span.context.span_id for span in exporter.get_finished_spans() if span.context]
    assert sent == [[f"00-{TRACE}-{each:016x}-01".encode()] for each in ids]
    attributes = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    assert [each.get("http.request.resend_count") for each in attributes] == [None, 1]


@pytest.mark.parametrize("trace_id", [None, "", "0" * 32, "a\r\nX-Evil: 1", "z" * 32, TRACE[:31]])
async def test_a_trace_id_that_is_none_is_not_sent(trace_id: str | None) -> None:
    """Header text from outside is validated before it goes anywhere."""
    async with scripted(says(EMPTY)) as server, client_of(server.endpoint) as client:
        await client.list_workspaces(trace_id)

        assert b"traceparent" not in server.requests[0].lower()
        assert b"evil" not in server.requests[0].lower()


async def test_half_a_surrogate_pair_is_refused_before_anything_is_sent() -> None:
    """It has no UTF-8, so it could never be stored: the document's fault."""
    async with scripted(says(EMPTY)) as server, client_of(server.endpoint) as client:
        with pytest.raises(AnythingLLMRejectedError):
            await _ask(client, Call("POST", "/x", {"text": "\ud800"}))

        assert server.requests == []


METHODS: list[Callable[[AnythingLLMClient], Awaitable[object]]] = [
    lambda client: client.list_workspaces(),
    lambda client: client.get_or_create_workspace("docs"),
    lambda client: client.upload_document("docs", document("text")),
    lambda client: client.search_workspace("docs", "query"),
    lambda client: client.list_workspace_documents("docs"),
    lambda client: client.delete_document("docs", "doc-1"),
    lambda client: client.storage.workspaces(),
    lambda client: client.storage.prepare(DOCS),
    lambda client: client.storage.listing(DOCS),
    lambda client: client.storage.remove(DOCS, [Location("custom-documents/x.json")]),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("script", [_hang, _drip])
async def test_every_method_ends_in_time(
    method: Callable[[AnythingLLMClient], Awaitable[object]], script: Script
) -> None:
    """No method has a way around the total timeout."""
    settings: dict[str, Any] = {
        "circuit_breaker": CircuitBreakerConfig(9, 60, 0.2),
        "removal_timeout": 0.2,
    }
    async with scripted(script) as server, client_of(server.endpoint, **settings) as client:
        began = clock()
        with pytest.raises(AnythingLLMTimeoutError):
            await method(client)

        assert clock() - began < 2.0


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_needs_a_connection(
    method: Callable[[AnythingLLMClient], Awaitable[object]],
) -> None:
    """Used unconnected it is the programmer's mistake, before and after."""
    client = client_of("http://127.0.0.1:9")
    with pytest.raises(RuntimeError, match="not connected"):
        await method(client)

    await client.connect()
    await client.disconnect()
    with pytest.raises(RuntimeError, match="not connected"):
        await method(client)


SLUGS: list[Any] = [
    "", ".", "..", "../system", "..%2fadmin", "a/b", "a?x=1", "a#f", "a;b", "//evil.test/x",
    "a@evil.test", "a\\b", "a\r\nX: y", "a\x00b", "%00", "a,b", " a ", "A", "ünï", "\ud800",
    "a\n", "x" * 256, 123, True, None, ["a"],
]  # fmt: skip


@pytest.mark.parametrize("slug", SLUGS, ids=ascii)
async def test_a_slug_that_is_none_never_becomes_part_of_a_path(slug: Any) -> None:
    """A comma would write into two workspaces, dots would change the path: nothing is sent."""
    calls: list[Callable[[AnythingLLMClient], Awaitable[object]]] = [
        lambda client: client.get_or_create_workspace(slug),
        lambda client: client.upload_document(slug, document("text")),
        lambda client: client.search_workspace(slug, "query"),
        lambda client: client.list_workspace_documents(slug),
        lambda client: client.delete_document(slug, "doc-1"),
        lambda client: client.storage.prepare(slug),
        lambda client: client.storage.listing(slug),
    ]
    async with scripted(says(EMPTY)) as server, client_of(server.endpoint) as client:
        for call in calls:
            with pytest.raises(AnythingLLMRejectedError):
                await call(client)

        assert server.requests == []


async def test_the_breaker_opens_admits_one_trial_and_closes() -> None:
    """N real failures open it; then no request is sent; one of many is let through as a trial."""
    down, up = answer("Bad Gateway", "502 Bad Gateway", "text/plain"), EMPTY
    settings: dict[str, Any] = {"circuit_breaker": CircuitBreakerConfig(3, 0.2, 5)}
    gate = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) > 3:
            await gate.wait()
        writer.write(down if len(server.requests) <= 3 else up)

    async with scripted(script) as server, client_of(server.endpoint, **settings) as client:
        for _ in range(3):
            with pytest.raises(AnythingLLMServerError):
                await client.list_workspaces()
        assert client.breaker.state == "open"
        with pytest.raises(CircuitOpenError) as rejected:
            await client.list_workspaces()
        assert 0 < (rejected.value.retry_after or 0) <= 0.2
        assert rejected.value.fault is Fault.THEIRS
        assert len(server.requests) == 3

        await asyncio.sleep(rejected.value.retry_after or 0)
        calls = [asyncio.create_task(client.list_workspaces()) for _ in range(20)]
        await until(lambda: sum(call.done() for call in calls) == 19)
        gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)

        assert sum(isinstance(each, CircuitOpenError) for each in results) == 19
        assert len(server.requests) == 4
        after = client.breaker
        assert after.state == "closed"


async def test_refusals_and_a_busy_server_open_nothing() -> None:
    """4xx, 429 and a 503 that says when to come back prove the server alive."""
    busy = answer("", "503 Busy", headers="Retry-After: 1\r\n")
    replies = [answer("", "422 No"), answer("", "403 No"), answer("", "429 Slow"), busy]
    settings: dict[str, Any] = {"circuit_breaker": CircuitBreakerConfig(1, 60, 5)}
    async with scripted(says(*replies)) as server, client_of(server.endpoint, **settings) as client:
        for _ in replies:
            with pytest.raises(AnythingLLMError):
                await client.list_workspaces()

        assert client.breaker.state == "closed"


@ON_BOTH
async def test_nothing_is_left_open() -> None:
    """After the block no connection is open and no task runs, whatever was under way."""
    before = asyncio.all_tasks()
    async with scripted(_hang) as server:
        async with client_of(server.endpoint) as client:
            calls = [asyncio.create_task(client.list_workspaces()) for _ in range(3)]
            calls.append(asyncio.create_task(client.storage.prepare("docs")))  # type: ignore[arg-type]
            await until(lambda: len(server.requests) == 4)
            assert server.open_now == 4
        results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 1)
        assert all(isinstance(each, AnythingLLMConnectionError) for each in results), results
        ours = [task for task in asyncio.all_tasks() - before if "prepare" in task.get_name()]
        assert ours == []


@ON_BOTH
async def test_connections_are_kept_and_reused() -> None:
    """One connection serves calls that follow each other."""
    async with scripted(says(EMPTY)) as server, client_of(server.endpoint) as client:
        for _ in range(5):
            await client.list_workspaces()

        assert server.connections == 1


async def test_a_removal_whose_connection_breaks_is_not_repeated_by_itself() -> None:
    """The client would (aiohttp 3.14), whoever has the right to remove by then."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"remove-documents" in server.requests[-1]:
            reset(writer)
        else:
            writer.write(EMPTY)

    removal = Call("DELETE", "/v1/system/remove-documents", {"names": ["x"]})
    async with scripted(script) as server, client_of(server.endpoint) as client:
        await client.list_workspaces()
        with pytest.raises(AnythingLLMError) as raised:
            await _ask(client, removal)

        assert raised.value.ambiguous
        assert sum(b"remove-documents" in each for each in server.requests) == 1


@ON_BOTH
async def test_searches_do_not_queue_behind_uploads() -> None:
    """With every upload slot stuck in a slow server, a listing is answered at once."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"raw-text" in server.requests[-1]:
            await asyncio.Event().wait()
        writer.write(EMPTY)

    async with scripted(script) as server, client_of(server.endpoint, upload_timeout=0.5) as client:
        slow = Call("POST", "/v1/document/raw-text", {})
        uploads = [asyncio.create_task(_ask(client, slow, 0.5)) for _ in range(7)]
        await until(lambda: len(server.requests) == 7)
        async with asyncio.timeout(0.3):
            assert await client.list_workspaces() == []
        await asyncio.gather(*uploads, return_exceptions=True)
