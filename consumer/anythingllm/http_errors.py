"""Where aiohttp's exceptions end: what they mean for a call, and whether anything was sent.

What that means for the effect of the request is in the table of `consumer.anythingllm.effects`.
"""

from __future__ import annotations

import os
import ssl

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
from consumer.model.certificate import distrust
from consumer.model.fault import Fault

# Raised before the first byte of the request has left.
_NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class SentOnce:
    """The middleware of one request: knows whether it was sent, and keeps it from being repeated.

    aiohttp 3.14 repeats a DELETE whose connection breaks, be it a new one. The right to remove may
    have ended by then, and the doubt about the first one would be unknown.
    """

    def __init__(self) -> None:
        self._request: aiohttp.ClientRequest | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send it."""
        self._request = request
        try:
            return await handler(request)
        except _NEVER_CONNECTED:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            if request.method != "DELETE":
                raise
            raise aiohttp.ClientConnectionError(str(error)) from error

    @property
    def was_sent(self) -> bool:
        """Whether its first byte may have left: aiohttp 3.14 makes the response right then."""
        return self._request is not None and self._request.response is not None


def is_refused(error: Exception) -> bool:
    """Whether a connection was refused."""
    refused = isinstance(getattr(error, "os_error", None), ConnectionRefusedError)
    return refused and isinstance(error, _NEVER_CONNECTED)


def translated(
    call: Call, error: aiohttp.ClientError | OSError, *, seconds: float, was_sent: bool
) -> AnythingLLMError:
    """What an exception of aiohttp means, by whether anything was sent.

    Args:
        call: for the messages, and whether it changes anything.
        error: what was raised.
        seconds: that the call had.
        was_sent: whether anything was sent.
    """
    if isinstance(error, _NEVER_CONNECTED):
        return _lost(call, error, sent=False)
    if isinstance(error, TimeoutError):
        if not was_sent:
            return _lost(call, error, sent=False)
        late = AnythingLLMTimeoutError(f"{call}: no complete answer within {seconds:.1f} s")
        return leave_in_doubt(late, LOST, changes=call.changes)
    if isinstance(error, aiohttp.ClientResponseError):
        # Also a header that is too large; and of a CONNECT to a proxy, before anything was sent.
        strange = AnythingLLMProtocolError(
            f"{call}: the answer's header can't be read: what answers there does not speak HTTP,"
            " or sends larger headers than 8 KiB a line",
            fault=Fault.THEIRS,
        )
        return leave_in_doubt(strange, UNREADABLE if was_sent else NOT_SENT, changes=call.changes)
    return _lost(call, error, sent=was_sent)


def _lost(call: Call, error: Exception, *, sent: bool) -> AnythingLLMError:
    """A connection that could not be made (``sent`` is false) or that broke."""
    detail = _detail(error)
    if not sent:
        never = AnythingLLMConnectionError(f"{call}: not sent, no connection ({detail})")
        never.not_there = True
        return leave_in_doubt(never, NOT_SENT, changes=call.changes)
    broken = AnythingLLMConnectionError(
        f"{call}: the connection broke before the answer was complete ({detail})",
        fault=Fault.UNCLEAR,
    )
    broken.not_there = broken.cut_off = True
    return leave_in_doubt(broken, LOST, changes=call.changes)


def _detail(error: Exception) -> str:
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return distrust(
            cause.verify_code,
            cause.verify_message,
            address="ANYTHINGLLM_ENDPOINT",
            authority="ANYTHINGLLM_CAFILE",
        )
    if isinstance(cause, ssl.SSLError):
        return f"{cause.reason or type(cause).__name__}; is ANYTHINGLLM_ENDPOINT right with https?"
    if isinstance(cause, OSError) and (cause.errno or 0) > 0:
        return os.strerror(cause.errno or 0)  # asyncio's own words hold the address as a tuple
    return getattr(cause, "strerror", None) or type(error).__name__
