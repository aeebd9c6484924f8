"""What a person is shown of a letter's bytes, to recognise it: short, whatever they are. Pure.

It holds document text, so it is for who asks for one letter, and never for a log or a list. Control
characters are left to whoever writes it out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from itertools import islice

from consumer.contract.envelope import as_json
from consumer.contract.reference import preview_in
from consumer.model.record import Headers, Record
from consumer.telemetry.scrub import has_secret_name

_MOST = 360  # characters of a preview
_LONGEST_TEXT = 70  # of one text in it
_FIELDS, _ITEMS, _DEPTH = 12, 2, 4
_HEADERS, _LONGEST_HEADER = 20, 200
# JSON of others can take twenty times its size once it is parsed.
_LARGEST_PARSED = 1024 * 1024


def preview_of(record: Record | None, letter: Record | None, failed: Collection[str]) -> str | None:
    """The event in a few lines; None where there is nothing to show.

    Args:
        record: the event's own bytes; None where they can't be had.
        letter: a letter by reference keeps the begin of what it stands for.
        failed: ids of chunks that failed: these are shown first.
    """
    if record is not None:
        return None if record.value is None else shortened(record.value, failed)
    begin = preview_in(letter.value) if letter is not None else None
    return None if begin is None else readable(begin, _MOST) + "…"


def shortened(value: bytes, failed: Collection[str] = ()) -> str:
    """An event's bytes: as JSON with short texts and lists, else as text."""
    if len(value) > _LARGEST_PARSED:
        return _cut(readable(value, _MOST), _MOST)
    try:
        found = as_json(value)
    except (ValueError, RecursionError):
        return _cut(readable(value, _MOST + 1), _MOST)
    return _cut(json.dumps(_short(found, frozenset(failed), _DEPTH), ensure_ascii=False), _MOST)


def readable(raw: bytes | None, most: int = _LONGEST_HEADER) -> str:
    """Bytes as text, what is no UTF-8 escaped; "null" where there are none."""
    if raw is None:
        return "null"
    return _cut(raw[: 4 * most].decode("utf-8", "backslashreplace"), most)


def headers_shown(headers: Headers) -> list[tuple[str, str]]:
    """A publisher's headers by name, the first ones; what is a secret by its name is masked."""
    rows = [
        (name, "***" if has_secret_name(name) else readable(value))
        for name, value in islice(headers, _HEADERS)
    ]
    more = len(headers) - _HEADERS
    return [*rows, ("…", f"{more:,} more")] if more > 0 else rows


def _short(found: object, failed: frozenset[str], depth: int) -> object:
    if isinstance(found, str):
        return _cut(found, _LONGEST_TEXT)
    if not isinstance(found, dict | list) or not found:
        return found
    if not depth:
        return "…"
    if isinstance(found, dict):
        kept = {
            _cut(name, _LONGEST_TEXT): _short(each, failed, depth - 1)
            for name, each in islice(found.items(), _FIELDS)
        }
        return kept if len(found) <= _FIELDS else {**kept, "…": f"{len(found) - _FIELDS:,} more"}
    first = sorted(found, key=lambda each: not _is_failed(each, failed))  # keeps their order
    items = [_short(each, failed, depth - 1) for each in first[:_ITEMS]]
    return items if len(found) <= _ITEMS else [*items, f"… {len(found) - _ITEMS:,} more"]


def _is_failed(found: object, failed: frozenset[str]) -> bool:
    id = found.get("id") if isinstance(found, Mapping) else None
    return isinstance(id, str) and id in failed


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"
