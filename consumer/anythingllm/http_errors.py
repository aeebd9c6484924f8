"""Where aiohttp's exceptions end: what they mean for a call, and whether anything was sent.

What that means for the effect of the request is in the table of `consumer.anythingllm.effects`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp

from consumer.anythingllm.calls import Call
from consumer.anythingllm.effects import LOST, NOT_SENT, UNREADABLE
from consumer.anythingllm.errors import (
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMProtocolError,
    AnythingLLMTimeoutError,
    leave_in_doubt,
)
from consumer.model.fault import Fault

# Raised before the first byte of the request has left.
_NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@asynccontextmanager
async def translating_errors(
    call: Call, seconds: float, refused: Callable[[], None]
) -> AsyncIterator[SimpleNamespace]:
    """Turn aiohttp's exceptions into our errors, by whether anything was sent.

    Args:
        call: for the messages, and whether it changes anything.
        seconds: that the call had.
        refused: called for a refused connection.

    Yields:
        What `watch_sending` takes as a request's context.
    """
    sent = SimpleNamespace(any=False)
    try:
        yield sent
    except AnythingLLMError:
        raise
    except _NEVER_CONNECTED as error:
        if isinstance(getattr(error, "os_error", None), ConnectionRefusedError):
            refused()
        raise _lost(call, error, sent=False) from error
    except TimeoutError as error:
        if not sent.any:
            raise _lost(call, error, sent=False) from error
        late = AnythingLLMTimeoutError(f"{call}: no complete answer within {seconds:.1f} s")
        raise leave_in_doubt(late, LOST, changes=call.changes) from error
    except aiohttp.ClientResponseError as error:
        # Also a header that is too large; and of a CONNECT to a proxy, before anything was sent.
        row = UNREADABLE if sent.any else NOT_SENT
        strange = AnythingLLMProtocolError(
            f"{call}: the answer's header can't be read: what answers there does not speak HTTP,"
            " or sends larger headers than 8 KiB a line",
            fault=Fault.THEIRS,
        )
        raise leave_in_doubt(strange, row, changes=call.changes) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _lost(call, error, sent=sent.any) from error


async def sent_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp 3.14 from repeating a DELETE whose connection breaks, be it a new one.

    The right to remove may have ended by then, and the doubt about the first one would be unknown.
    """
    try:
        return await handler(request)
    except _NEVER_CONNECTED:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method != "DELETE":
            raise
        raise aiohttp.ClientConnectionError(str(error)) from error


def watch_sending() -> aiohttp.TraceConfig:
    """Have every request note it just before its first byte leaves."""
    watch = aiohttp.TraceConfig()

    async def leaving(session: object, context: SimpleNamespace, params: object) -> None:
        context.trace_request_ctx.any = True

    watch.on_request_headers_sent.append(leaving)
    return watch


def _lost(call: Call, error: Exception, *, sent: bool) -> AnythingLLMError:
    """A connection that could not be made (``sent`` is false) or that broke."""
    detail = getattr(getattr(error, "os_error", None), "strerror", None) or type(error).__name__
    if not sent:
        never = AnythingLLMConnectionError(f"{call}: not sent, no connection ({detail})")
        return leave_in_doubt(never, NOT_SENT, changes=call.changes)
    broken = AnythingLLMConnectionError(
        f"{call}: the connection broke before the answer was complete ({detail})",
        fault=Fault.UNCLEAR,
    )
    return leave_in_doubt(broken, LOST, changes=call.changes)
