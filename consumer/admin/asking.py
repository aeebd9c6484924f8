"""Asks a running service for its status over HTTP, as the command `status` does: from outside.

What is sent there is what the page shows (`consumer.admin.status`). Releases may differ: fields of
a later one are left alone, and what an earlier one does not say has its default.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from pydantic import TypeAdapter, ValidationError

from consumer.admin.status import Status

SECONDS = 5.0  # for all of an answer; it comes from memory
_PATH = "/status"
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_ANYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - as addresses to listen on


class NoStatusError(Exception):
    """A service's status can't be had; the message says why, and what can be done."""


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """What one service answered.

    Args:
        address: that it was asked at.
        status: None where there is none.
        fields: what was sent, also where it can't be read as a status.
        problem: why there is none.
    """

    address: str
    status: Status | None = None
    fields: Mapping[str, Any] | None = None
    problem: str | None = None


def url_of(address: str, *, host: str, port: int) -> str:
    """The URL of a service's status: pure.

    Args:
        address: ``host:port``, a host, a port, or a URL.
        host: that a service listens on by its settings, where none is named.
        port: the same.

    Raises:
        ValueError: it is none of these.
    """
    text = address.strip()
    if "@" in text:  # not told again: a password may be in it
        raise ValueError("an address has no user and password in it: say http://HOST:PORT")
    if text.isdecimal():
        text = f":{text}"
    if text.startswith(":"):
        text = f"{_reachable(host)}{text}"
    is_url = "://" in text
    try:
        parts = urlsplit(text if is_url else f"http://{text}")
        has_port = parts.port is not None
    except ValueError:
        raise ValueError(
            f"{address!r} is no address: say HOST:PORT, or http://HOST:PORT, with a port of 0 to"
            " 65535"
        ) from None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError(f"{address!r} is no address: say HOST:PORT, or http://HOST:PORT")
    if parts.query or parts.fragment:
        raise ValueError(f"{address!r} is more than an address: say http://HOST:PORT")
    place = parts.netloc if has_port or is_url else f"{parts.netloc.rstrip(':')}:{port}"
    path = parts.path.rstrip("/").removesuffix(_PATH)
    return f"{parts.scheme}://{place}{path}{_PATH}"


def _reachable(host: str) -> str:
    name = "127.0.0.1" if host in _ANYWHERE else host
    return f"[{name}]" if ":" in name else name


async def ask_all(urls: Sequence[str], *, seconds: float = SECONDS) -> list[StatusAnswer]:
    """What each says, in their order; all are asked at once."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_answer(session, url, seconds) for url in urls)))


async def _answer(session: aiohttp.ClientSession, url: str, seconds: float) -> StatusAnswer:
    shown = _shown(url)
    fields = None
    try:
        fields = await _fields(session, url)
        return StatusAnswer(shown, _status(fields), fields)
    except NoStatusError as error:
        return StatusAnswer(shown, None, fields, str(error))
    except TimeoutError:
        return StatusAnswer(shown, problem=f"no answer within {seconds:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return StatusAnswer(shown, problem=_why(error))


def _shown(url: str) -> str:
    return url.removesuffix(_PATH).removeprefix("http://")


async def _fields(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url, allow_redirects=False) as response:
        if response.status == HTTPStatus.OK and response.content_type == "application/json":
            return _parsed(await response.read())
        status = response.status
    if status == HTTPStatus.NOT_FOUND:
        raise NoStatusError(await _of_hidden(session, url))
    if status == HTTPStatus.MISDIRECTED_REQUEST:
        raise NoStatusError(
            f"it is not served under the name {urlsplit(url).hostname}: ask on its own machine, by"
            " localhost, or name that one in its ADMIN_ALLOWED_HOSTS"
        )
    raise NoStatusError(_NOT_OURS.format(f"answers {status}"))


_NOT_OURS = "what listens there {}, which no service of ours does: is the port right?"


async def _of_hidden(session: aiohttp.ClientSession, url: str) -> str:
    """What to say of a service that shows strangers its probes only."""
    async with session.get(f"{url.removesuffix(_PATH)}/readyz", allow_redirects=False) as response:
        try:
            found = _parsed(await response.read())
            state, reasons = found["status"], found["reasons"]
        except (NoStatusError, KeyError):
            return _NOT_OURS.format("answers 404")
    said = "; ".join([str(state), *map(str, reasons)])
    return (
        f"its status is for its own machine (ADMIN_PAGE): ask there, or through `kubectl"
        f" port-forward`; its /readyz says: {said}"
    )


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NoStatusError(_NOT_OURS.format("sends something else than a status"))
    return found


@cache
def _adapter() -> TypeAdapter[Status]:
    return TypeAdapter(Status)


def _status(fields: Mapping[str, Any]) -> Status:
    try:
        return _adapter().validate_python(fields)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise NoStatusError(
            f"its status can't be read (version {fields.get('version')}, at {where}): is it of"
            " another release? --json shows it as it is"
        ) from None


def _why(error: aiohttp.ClientError | OSError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known here"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return f"no TLS can be made with it ({error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ConnectionRefusedError):
            return "nobody listens there (connection refused)"
        return f"no connection can be made: {error.os_error.strerror or error.os_error}"
    return _NOT_OURS.format(f"breaks off, or speaks no HTTP ({type(error).__name__})")
