"""Calls of the API as values, and what their answers are worth: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from consumer.anythingllm.effects import STRANGE, is_anythingllm
from consumer.anythingllm.errors import (
    AnythingLLMProtocolError,
    AnythingLLMRejectedError,
    failure_of,
    is_by_intermediary,
    leave_in_doubt,
    retry_after_of,
)
from consumer.model.fault import Fault

# Slugs and names of files; ``workspace/new``, ``document/raw-text`` and their like are no values.
_VALUES = re.compile(
    r"(/v1/(workspace|document))/"
    r"(?!(?:new|raw-text|move-files|create-folder|accepted-file-types)(?:/|$))[^/]+"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON object from the server.

    Args:
        fields: the object.
        sent: its ``Date`` header; read only where somebody asks for the time.
        now: our wall clock, where the server does not send its time.
    """

    fields: dict[str, Any]
    sent: str | None
    now: datetime

    @property
    def date(self) -> datetime:
        """The server's time of it."""
        return _date_of(self.sent) or self.now


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Args:
        method: HTTP method.
        path: below ``/api``, ready for the wire: values in it are checked or quoted.
        body: sent as JSON.
        expect: keys that the answer's object must have.
        text_ok: whether plain text is fine too (the body is then ignored).
        guarded: whether the call passes the breaker; only health probes do not.
        only_asks: a POST that changes nothing.
    """

    method: str
    path: str
    body: dict[str, Any] | None = None
    expect: tuple[str, ...] = ()
    text_ok: bool = False
    guarded: bool = True
    only_asks: bool = False

    @property
    def route(self) -> str:
        """The path with names in place of the values in it, so that there are few."""
        return _VALUES.sub(r"\1/{\2}", self.path.partition("?")[0])

    @property
    def changes(self) -> bool:
        """Whether it may change anything on the server."""
        return self.method != "GET" and not self.only_asks

    def __str__(self) -> str:
        return f"AnythingLLM {self.method} {self.path}"


def encoded(call: Call) -> bytes | None:
    """The request's body as bytes, None where it has none."""
    if call.body is None:
        return None
    try:
        return orjson.dumps(call.body)
    except TypeError as error:
        # Half of a surrogate pair has no UTF-8, so it could never be stored.
        raise AnythingLLMRejectedError(
            f"{call}: not sent, the text is no valid Unicode (a lone surrogate)"
        ) from error


def judged(
    call: Call,
    status: int,
    content_type: str,
    headers: Mapping[str, str],
    raw: bytes,
    *,
    now: datetime,
) -> Answer:
    """The answer, if it is one that AnythingLLM's API gives to this call.

    Args:
        call: what was asked.
        status: of the answer.
        content_type: of the answer, without parameters.
        headers: of the answer; names in any case.
        raw: its body.
        now: our wall clock, where the server does not send its time.

    Raises:
        AnythingLLMError: it is an error, a web page, or has another shape.
    """
    sent = headers.get("Date")
    is_json = content_type == "application/json"
    if status != 200:
        reason = _reason(raw) if is_json else ""
        date = _date_of(sent) or now
        raise failure_of(
            str(call),
            status,
            changes=call.changes,
            reason=reason,
            retry_after=retry_after_of(headers.get("Retry-After"), date),
            is_own=is_anythingllm(headers, content_type, reason),
            by_intermediary=is_by_intermediary(status, content_type),
        )
    if is_json:
        return Answer(_fields(call, raw), sent, now)
    if call.text_ok and content_type == "text/plain":
        return Answer({}, sent, now)
    strange = AnythingLLMProtocolError(
        f"{call}: answered a web page or something else that is no JSON; check that "
        "ANYTHINGLLM_ENDPOINT leads to AnythingLLM itself, and what stands between",
        fault=Fault.THEIRS,
        http_status=200,
    )
    strange.by_intermediary = True
    raise leave_in_doubt(strange, STRANGE, changes=call.changes)


def _fields(call: Call, raw: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        fields = None
    if isinstance(fields, dict) and all(key in fields for key in call.expect):
        return fields
    wanted = f"an object with {', '.join(call.expect)}" if call.expect else "an object"
    strange = AnythingLLMProtocolError(
        f"{call}: answered 200 with JSON that is not {wanted}", http_status=200
    )
    raise leave_in_doubt(strange, STRANGE, changes=call.changes) from None


def _reason(raw: bytes) -> str:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ""
    reason = fields.get("error") if isinstance(fields, dict) else None
    return reason if isinstance(reason, str) else ""


def _date_of(header: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(header) if header else None
    except ValueError:
        return None
    return date if date and date.tzinfo else None
