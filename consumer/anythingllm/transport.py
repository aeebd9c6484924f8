"""The one way a request takes to AnythingLLM and its answer takes back.

What is always true of a call:

1. It ends in time: there is one deadline over connecting, sending, waiting and reading. With
   aiohttp's own limits a server that drips bytes could hold a call open. An answer that is taken
   piece by piece moves its deadline on as it arrives, by a second for each MiB.
2. It passes the breaker, unless it is a health probe.
3. What comes back is JSON with the expected keys, or an `AnythingLLMError`. An unknown path of
   AnythingLLM 1.16 answers 200 with a web page and does nothing.
4. No aiohttp name gets out of here (`consumer.anythingllm.http_errors`).
5. Redirects are not followed: a 307 would send document text to another host.
6. Nothing that changes anything is sent twice by itself (`http_errors.SentOnce`).
7. What was refused for its key, and did nothing, is sent once more where the key's file holds
   another one by now.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import aiohttp

from consumer.anythingllm.calls import Answer, Call, encoded, judged
from consumer.anythingllm.config import AnythingLLMConfig
from consumer.anythingllm.effects import UNREADABLE
from consumer.anythingllm.errors import (
    AnswerTooLargeError,
    AnythingLLMAuthenticationError,
    AnythingLLMError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
    CircuitOpenError,
    leave_in_doubt,
)
from consumer.anythingllm.http_errors import SentOnce, is_refused, translated
from consumer.anythingllm.under_way import UnderWay
from consumer.model.fault import Fault
from consumer.model.names import TraceId
from consumer.resilience.breaker import Breaker, BreakerOpen
from consumer.telemetry.library_log import library_logger
from consumer.telemetry.trace import new_span_id, traceparent
from consumer.telemetry.tracing import NO_TRACING, Tracing

log = library_logger(__name__)

T = TypeVar("T")

Receive = Callable[[aiohttp.ClientResponse, asyncio.Timeout], Awaitable[T]]
"""Takes an answer; the timeout is that of its call."""

KEEP_ALIVE = 4.0  # seconds; AnythingLLM closes idle connections after 5, and a race loses an answer
CONNECT = 10.0  # seconds for TCP and TLS; a host that needs longer is not reachable
_CONNECTING = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT)
SPARE_CONNECTIONS = 32  # for probes, searches and listings, on top of what uploads can occupy
_CHUNK = 64 * 1024  # bytes read at a time
STREAM_RATE = 1024 * 1024  # bytes a second; a listing of 500 MiB may take 500 s on top
_ERROR_BYTES = 64 * 1024  # of an error's body; only its ``error`` text is looked at

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")


Check = Callable[[], None]
"""Called before a request; it raises where the right to go on has ended, and that gets out."""


def always() -> None:
    """A caller without partitions has none to lose, and may always go on."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What the calls of one operation share.

    Args:
        deadline: on the monotonic clock; all calls of the errand end by then.
        clock: that clock.
        trace_id: 32 hex characters, or anything else for none.
        check: called before a request is sent once more; what it raises gets out.
        resent: how often the same was sent before.
    """

    deadline: float
    clock: Callable[[], float]
    trace_id: TraceId | None = None
    check: Check = always
    resent: int = 0

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - self.clock()


NewErrand = Callable[[float, TraceId | None], Errand]
"""Makes an errand of so many seconds, with a trace id or none."""


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A request, ready for the wire; ``headers`` on top of those that every request has."""

    errand: Errand
    call: Call
    body: bytes | None
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Streamed:
    """How an answer that was taken piece by piece ended.

    Args:
        date: the server's time of the answer.
        etag: names what was answered, to ask with next time; None where the server names nothing.
        changed: false when nothing came, because everything is as it was under the given name.
        size: bytes that were handed over.
    """

    date: datetime
    etag: str | None
    changed: bool = True
    size: int = 0


class Transport:
    """The connection pool, the breaker and the way through both (module docstring).

    Args:
        breaker: counts what `errors.is_sick` says.
        calls_feed_breaker: False: calls only ask it.
        clock: monotonic seconds.
        now: the wall clock, where the server sends no time.
        rng: makes span ids.
        connections: the size of the pool.
        tracing: notes every request that has a trace id.
    """

    def __init__(
        self,
        config: AnythingLLMConfig,
        breaker: Breaker,
        *,
        calls_feed_breaker: bool = True,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        rng: random.Random,
        connections: int,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.breaker = breaker
        self._calls_feed_breaker = calls_feed_breaker
        self.clock = clock
        self.under_way = UnderWay(clock)
        self.refused_at = float("-inf")  # when a connection was last refused, on `clock`
        self._config = config
        self._key = config.api_key
        self._base_url = config.base_url
        self._now = now
        self._rng = rng
        self._connections = connections
        self._tracing = tracing
        self._session: aiohttp.ClientSession | None = None

    @property
    def connected(self) -> bool:
        """Whether `open` was called and `close` was not."""
        return self._session is not None

    async def open(self) -> None:
        """Make the pool; nothing is sent. Again without `close` between: nothing happens."""
        if self._session is not None:
            return
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            keepalive_timeout=KEEP_ALIVE,
            ssl=_tls(self._config.ca_file),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self._config.trust_env,
            headers={
                "Authorization": _bearer(self._key),
                "User-Agent": self._config.user_agent,
                "Accept": "application/json",
            },
        )

    async def close(self) -> None:
        """Close every connection; calls under way fail."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, errand: Errand, call: Call) -> dict[str, Any]:
        """Send a request and return the answer's fields.

        Raises:
            RuntimeError: not connected.
            AnythingLLMError: anything else (`consumer.anythingllm.errors`).
        """
        return (await self.ask(errand, call)).fields

    async def ask(self, errand: Errand, call: Call) -> Answer:
        """As `call`, with the server's time."""

        async def receive(response: aiohttp.ClientResponse, _: asyncio.Timeout) -> Answer:
            return self._judged(call, response, await self._read(response, call))

        return await self._send(errand, call, receive)

    async def stream(
        self,
        errand: Errand,
        call: Call,
        take: Callable[[bytes], None],
        *,
        unless: str | None = None,
        bounded: bool = False,
    ) -> Streamed:
        """Send a request and hand its JSON over as it arrives, unread and never held whole.

        Between two pieces all other tasks have a turn. When an answer ends early, its first part
        has been handed over before the error is raised: the taker must be able to drop it.

        Its size has no bound where nothing of it is kept. Its time has one (rule 1).

        Args:
            errand: deadline for the first `STREAM_RATE` bytes, and trace.
            call: a GET.
            take: gets the pieces, up to 64 KiB each; its exceptions leave this method.
            unless: an ETag; an answer that still has it does not come again.
            bounded: whether an answer above ``max_response_bytes`` is refused.

        Raises:
            RuntimeError: not connected.
            AnythingLLMError: anything else.
        """

        async def receive(response: aiohttp.ClientResponse, limit: asyncio.Timeout) -> Streamed:
            etag = response.headers.get("ETag")
            if response.status == 304 and unless is not None:
                return Streamed(self._now(), etag or unless, changed=False)
            size = 0
            if response.status == 200 and response.content_type == "application/json":
                size = await _pour(response, self._within(call, take) if bounded else take, limit)
                raw = b"{}"  # the taker has judged the content; the rest is judged below
            else:
                raw = await self._read(response, call)
            return Streamed(self._judged(call, response, raw).date, etag, size=size)

        headers = {} if unless is None else {"If-None-Match": unless}
        return await self._send(errand, call, receive, headers)

    async def _send(
        self,
        errand: Errand,
        call: Call,
        receive: Receive[T],
        headers: dict[str, str] | None = None,
    ) -> T:
        if self._session is None:
            raise RuntimeError("AnythingLLMClient is not connected: use `async with`, or connect()")
        if errand.left <= 0:
            raise AnythingLLMTimeoutError(f"{call}: not sent, the time was over before it")
        outgoing = _Outgoing(errand, call, encoded(call), headers or {})
        try:
            with self._admitted(call), self.under_way:
                return await self._exchange(self._session, outgoing, receive)
        except BreakerOpen as error:
            raise CircuitOpenError(
                f"{call}: not sent, {error}", retry_after=error.retry_after
            ) from None

    def _admitted(self, call: Call) -> AbstractContextManager[None]:
        if call.guarded and self._calls_feed_breaker:
            return self.breaker.calling()
        if call.guarded:
            self.breaker.check()
        return nullcontext()

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        outgoing: _Outgoing,
        receive: Receive[T],
    ) -> T:
        key = self._key
        try:
            return await self._once(session, outgoing, receive)
        except AnythingLLMAuthenticationError as error:
            renewed = await self._has_another_key(session, key)
            if not renewed or error.ambiguous or error.unproven:
                raise
            outgoing.errand.check()
            return await self._once(session, outgoing, receive)
        except AnythingLLMServerError as error:
            if not error.stale_collector:
                raise
        # The server met its collector on a connection that had been closed: nothing was created,
        # and the same request gets a new connection. After 5 s of idling it met ten of 40 uploads.
        outgoing.errand.check()
        log.debug("collector.stale_connection", path=outgoing.call.path)
        errand = replace(outgoing.errand, resent=outgoing.errand.resent + 1)
        return await self._once(session, replace(outgoing, errand=errand), receive)

    async def _has_another_key(self, session: aiohttp.ClientSession, refused: str) -> bool:
        renewable = self._config.renewable_key
        if renewable is None or not await renewable.renewed(refused):
            return False
        self._key = renewable.value
        session.headers["Authorization"] = _bearer(self._key)
        return True

    async def _once(
        self,
        session: aiohttp.ClientSession,
        outgoing: _Outgoing,
        receive: Receive[T],
    ) -> T:
        errand, call = outgoing.errand, outgoing.call
        seconds = max(errand.left, 0.001)
        once = SentOnce()
        with self._tracing.request(call, self._base_url, errand.trace_id, errand.resent) as span:
            try:
                async with (
                    asyncio.timeout(seconds) as limit,
                    session.request(
                        call.method,
                        self._base_url + call.path,
                        data=outgoing.body,
                        headers=self._headers(outgoing, span.carried),
                        allow_redirects=False,
                        timeout=_connecting(seconds),
                        middlewares=(once,),
                    ) as response,
                ):
                    span.answered(response.status)
                    return await receive(response, limit)
            except (aiohttp.ClientError, OSError) as error:
                if is_refused(error):
                    self.refused_at = self.clock()
                raise translated(call, error, seconds=seconds, was_sent=once.was_sent) from error

    def _judged(self, call: Call, response: aiohttp.ClientResponse, raw: bytes) -> Answer:
        return judged(
            call, response.status, response.content_type, response.headers, raw, now=self._now()
        )

    def _headers(self, outgoing: _Outgoing, carried: Mapping[str, str]) -> dict[str, str]:
        headers = dict(outgoing.headers)
        if outgoing.body is not None:
            headers["Content-Type"] = "application/json"
        if carried:
            return {**headers, **carried}
        trace_id = (outgoing.errand.trace_id or "").lower()
        if _TRACE_ID.fullmatch(trace_id):
            headers["traceparent"] = traceparent(TraceId(trace_id), new_span_id(self._rng))
        return headers

    async def _read(self, response: aiohttp.ClientResponse, call: Call) -> bytes:
        """The body; of an error no more than its ``error`` text needs."""
        raw = bytearray()
        if response.status == 200:
            await _pour(response, self._within(call, raw.extend))
            return bytes(raw)
        async for piece in response.content.iter_chunked(_CHUNK):
            raw += piece
            if len(raw) > _ERROR_BYTES:
                break
        return bytes(raw)

    def _within(self, call: Call, take: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """The same, as far as an answer may go of which all is kept."""
        limit, size = self._config.max_response_bytes, 0

        def taking(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > limit:
                large = AnswerTooLargeError(f"{call}: the answer is larger than {limit} bytes")
                raise leave_in_doubt(large, UNREADABLE, changes=call.changes)
            take(piece)

        return taking


async def _pour(
    response: aiohttp.ClientResponse,
    take: Callable[[bytes], None],
    limit: asyncio.Timeout | None = None,
) -> int:
    """Hand over the body piece by piece, and move the limit on with it; its size in bytes."""
    size = 0
    async for piece in response.content.iter_chunked(_CHUNK):
        size += len(piece)
        take(piece)
        if limit is not None and (when := limit.when()) is not None:
            limit.reschedule(when + len(piece) / STREAM_RATE)
        if not response.content.at_eof():
            # Bytes that have arrived already would be read without letting any other task run.
            await asyncio.sleep(0)
    return size


def _bearer(key: str) -> str:
    return f"Bearer {key}"


def _connecting(seconds: float) -> aiohttp.ClientTimeout:
    if seconds >= CONNECT:
        return _CONNECTING
    return aiohttp.ClientTimeout(total=None, sock_connect=seconds)


def _tls(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise AnythingLLMError(
            f"the CA file {ca_file!r} can't be read as PEM: check ANYTHINGLLM_CAFILE",
            fault=Fault.THEIRS,
        ) from error
    return context
