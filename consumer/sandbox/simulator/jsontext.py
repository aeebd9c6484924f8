"""JSON as Node reads and writes it: half an emoji is a valid string there, and stays one.

orjson refuses strings with lone surrogates; only then the slower parser of the standard library is
asked, which reads them, and its output gets the escapes that ``JSON.stringify`` writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

import orjson

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(raw: bytes | str) -> Any:
    """A JSON text as a value; lone surrogates stay what they are.

    Raises:
        orjson.JSONDecodeError: it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not _may_have_surrogates(raw):
            raise
        return _loads_slowly(raw, error)


def dumps(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """A value as JSON; a lone surrogate becomes its escape.

    Args:
        value: what to write.
        default: makes something that JSON has of anything else.

    Raises:
        TypeError: JSON has no such value.
    """
    try:
        return orjson.dumps(value, default)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=default)
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def has_lone_surrogate(text: str) -> bool:
    """Whether half an emoji is in a text."""
    return _SURROGATE.search(text) is not None


def _may_have_surrogates(raw: bytes | str) -> bool:
    if isinstance(raw, bytes):
        return _ESCAPED.search(raw) is not None
    return has_lone_surrogate(raw) or _may_have_surrogates(raw.encode())


def _loads_slowly(raw: bytes | str, refusal: orjson.JSONDecodeError) -> Any:
    def refused(_: str) -> NoReturn:
        raise refusal

    try:
        return json.loads(raw, parse_constant=refused)
    except ValueError:
        raise refusal from None
