"""The one way a request takes to AnythingLLM and its answer takes back.

Always true of every call:

1. It ends in time: one deadline over connecting, sending, waiting and reading. aiohttp's own limits
   alone would let a server that drips bytes hold a call open.
2. It passes the breaker, unless it is a health probe.
3. What comes back is JSON with the expected keys, or an `AnythingLLMError`. An unknown path of
   AnythingLLM 1.16 answers 200 with a web page and does nothing.
4. No aiohttp name gets out of this file.
5. Redirects are not followed: a 307 would send document text to another host.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import structlog

from consumer.anythingllm.answers import Answer, Call, encoded, judged
from consumer.anythingllm.config import AnythingLLMConfig
from consumer.anythingllm.errors import (
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMProtocolError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
    CircuitOpenError,
)
from consumer.model.fault import Fault
from consumer.resilience.breaker import Breaker, BreakerOpen
from consumer.telemetry.trace import new_span_id, traceparent

log = structlog.get_logger(__name__)

KEEP_ALIVE = 4.0  # seconds; AnythingLLM closes idle connections after 5, and a race loses an answer
CONNECT = 10.0  # seconds for TCP and TLS; a host that needs longer is not reachable
SPARE_CONNECTIONS = 32  # for probes, searches and listings, on top of what uploads can occupy
_CHUNK = 64 * 1024  # bytes read at a time
_ERROR_BYTES = 64 * 1024  # of an error's body; only its ``error`` text is looked at

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")

# Raised before the first byte of the request has left.
_NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@dataclass(frozen=True, slots=True)
class Errand:
    """What the calls of one operation share.

    Args:
        deadline: on the monotonic clock; all calls of the errand end by then.
        clock: that clock.
        trace_id: 32 hex characters, or anything else for none.
    """

    deadline: float
    clock: Callable[[], float]
    trace_id: str | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - self.clock()


class Transport:
    """The connection pool, the breaker and the way through both (module docstring).

    Args:
        config: endpoint, key, timeouts.
        breaker: counts what `errors.is_sick` says.
        clock: monotonic seconds.
        now: the wall clock, where the server tells no time.
        rng: makes span ids.
        connections: the size of the pool.
    """

    def __init__(
        self,
        config: AnythingLLMConfig,
        breaker: Breaker,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        rng: random.Random,
        connections: int,
    ) -> None:
        self.breaker = breaker
        self.clock = clock
        self.refused_at = float("-inf")  # when a connection was last refused, on `clock`
        self._config = config
        self._now = now
        self._rng = rng
        self._connections = connections
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
                "Authorization": f"Bearer {self._config.api_key}",
                "User-Agent": self._config.user_agent,
                "Accept": "application/json",
            },
            trace_configs=[_watch_sending()],
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
        if self._session is None:
            raise RuntimeError("AnythingLLMClient is not connected: use `async with`, or connect()")
        if errand.left <= 0:
            raise AnythingLLMTimeoutError(f"{call}: not sent, the time was over before it")
        body = encoded(call)
        try:
            with self.breaker.calling() if call.guarded else nullcontext():
                return await self._exchange(self._session, errand, call, body)
        except BreakerOpen as error:
            raise CircuitOpenError(
                f"{call}: not sent, {error}", retry_after=error.retry_after
            ) from None

    async def _exchange(
        self, session: aiohttp.ClientSession, errand: Errand, call: Call, body: bytes | None
    ) -> Answer:
        try:
            return await self._once(session, errand, call, body)
        except AnythingLLMServerError as error:
            if not error.stale_collector:
                raise
        # The server met its collector on a connection that had been closed: nothing was created,
        # and the same request gets a new connection. Ten of forty uploads after 5 s of idling.
        log.debug("collector.stale_connection", path=call.path)
        return await self._once(session, errand, call, body)

    async def _once(
        self, session: aiohttp.ClientSession, errand: Errand, call: Call, body: bytes | None
    ) -> Answer:
        seconds = max(errand.left, 0.001)
        async with self._border(call, seconds) as sent, asyncio.timeout(seconds):
            async with session.request(
                call.method,
                self._config.base_url + call.path,
                data=body,
                headers=self._headers(errand, body),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT, seconds)),
                trace_request_ctx=sent,
            ) as response:
                raw = await _read(response, call, self._config.max_response_bytes)
            return judged(
                call,
                response.status,
                response.content_type,
                response.headers,
                raw,
                now=self._now(),
            )

    def _headers(self, errand: Errand, body: bytes | None) -> dict[str, str]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        trace_id = (errand.trace_id or "").lower()
        if _TRACE_ID.fullmatch(trace_id):
            headers["traceparent"] = traceparent(trace_id, new_span_id(self._rng))
        return headers

    @asynccontextmanager
    async def _border(self, call: Call, seconds: float) -> AsyncIterator[SimpleNamespace]:
        """Turn what aiohttp raises into our errors; tells apart by whether anything was sent."""
        sent = SimpleNamespace(any=False)
        try:
            yield sent
        except AnythingLLMError:
            raise
        except _NEVER_CONNECTED as error:
            if isinstance(getattr(error, "os_error", None), ConnectionRefusedError):
                self.refused_at = self.clock()
            raise _lost(call, error, sent=False) from error
        except TimeoutError as error:
            if not sent.any:
                raise _lost(call, error, sent=False) from error
            raise AnythingLLMTimeoutError(
                f"{call}: no complete answer within {seconds:.1f} s", ambiguous=call.changes
            ) from error
        except aiohttp.ClientResponseError as error:
            raise AnythingLLMProtocolError(
                f"{call}: what answers there does not speak HTTP", fault=Fault.THEIRS
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(call, error, sent=sent.any) from error


def _watch_sending() -> aiohttp.TraceConfig:
    """Has every request note, just before its first byte leaves, that it does."""
    watch = aiohttp.TraceConfig()

    async def leaving(session: object, context: SimpleNamespace, params: object) -> None:
        context.trace_request_ctx.any = True

    watch.on_request_headers_sent.append(leaving)
    return watch


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


def _lost(call: Call, error: Exception, *, sent: bool) -> AnythingLLMConnectionError:
    """A connection that could not be made (``sent`` is false) or that broke."""
    detail = getattr(getattr(error, "os_error", None), "strerror", None) or type(error).__name__
    if not sent:
        return AnythingLLMConnectionError(f"{call}: not sent, no connection ({detail})")
    return AnythingLLMConnectionError(
        f"{call}: the connection broke before the answer was complete ({detail})",
        fault=Fault.UNCLEAR,
        ambiguous=call.changes,
    )


async def _read(response: aiohttp.ClientResponse, call: Call, limit: int) -> bytes:
    """The body; of an error no more than its ``error`` text needs."""
    failed = response.status != 200
    limit = _ERROR_BYTES if failed else limit
    raw = bytearray()
    async for piece in response.content.iter_chunked(_CHUNK):
        raw += piece
        if len(raw) > limit and failed:
            break
        if len(raw) > limit:
            raise AnythingLLMProtocolError(
                f"{call}: the answer is larger than {limit} bytes", ambiguous=call.changes
            )
    return bytes(raw)
