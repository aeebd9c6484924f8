"""A request as the simulated endpoints see it, and the answers they give."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from consumer.sandbox.simulator.fault_rules import FaultKind
from consumer.sandbox.simulator.jsontext import dumps

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """A status, a content type and a body; an empty content type sends none.

    ``is_own`` is false for what something before AnythingLLM says: it has no header of Express.
    """

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    is_own: bool = True

    @property
    def etag(self) -> str:
        """The weak tag that Express gives a body: its length and a hash."""
        digest = hashlib.sha1(self.body, usedforsecurity=False).digest()
        return f'W/"{len(self.body):x}-{base64.b64encode(digest).decode()[:27]}"'


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that may proceed.

    Args:
        query: the first value of each parameter.
        body: the JSON object or list, an empty object where none was sent.
        params: what the path's placeholders stand for.
        flags: parts of the server that are broken for this request only.
    """

    query: Mapping[str, str]
    body: Any
    params: tuple[str, ...] = ()
    flags: Collection[FaultKind] = frozenset()

    def get(self, key: str, default: Any = None) -> Any:
        """A top-level value of the body; the default where there is none."""
        return self.body.get(key, default) if isinstance(self.body, dict) else default


def json_answer(value: Any, status: int = 200) -> WireAnswer:
    """A JSON body."""
    return WireAnswer(status, JSON, dumps(value))


BAD_REQUEST = WireAnswer(400, TEXT, b"Bad Request")
NOT_FOUND = WireAnswer(404, TEXT, b"Not Found")
FAILED = WireAnswer(500, TEXT, b"Internal Server Error")
FAILED_BARE = WireAnswer(500, "", b"")
NO_KEY = json_answer({"error": "No valid api key found."}, 403)
NOT_JSON = WireAnswer(400, HTML, b"<!DOCTYPE html><title>Error</title><pre>Bad Request</pre>\n")
WEB_PAGE = WireAnswer(
    200, HTML, b"<!DOCTYPE html><title>A web page</title><p>Nothing happened here.</p>\n"
)
"""What any unknown path or method answers: success, and nothing was done."""


def number(value: object) -> float | None:
    """A value as JavaScript's ``Number`` reads it; None where that gives NaN."""
    if value is None:
        return 0.0
    if isinstance(value, bool | int | float):
        return float(value) if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    try:
        return float(value) if value.strip() else 0.0
    except ValueError:
        return None
