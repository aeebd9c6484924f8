"""What becomes of a text before it is embedded: the splitter and the prefix of AnythingLLM 1.16."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

CHUNK_SIZE = 1000
"""Characters of one vector's text, prefix not counted."""
CHUNK_OVERLAP = 20
_SEPARATORS = ("\n\n", "\n", " ", "")
_TOKENS = re.compile(r"[A-Za-z]+|\d{1,3}|[^\sA-Za-z\d]+")


def split(text: str, size: int = CHUNK_SIZE, overlap: int = CHUNK_OVERLAP) -> list[str]:
    """The pieces that get a vector each: whole where it fits, else cut at the coarsest separator.

    Blank text gives no piece at all, and AnythingLLM then embeds nothing while answering success.
    """
    if len(text) <= size:
        return [piece] if (piece := text.strip()) else []
    return _split(text, _SEPARATORS, size, overlap)


def header(title: str, published: str, chunk_source: str) -> str:
    """The lines that AnythingLLM puts before every piece; they are embedded and come back in hits.

    A ``link://`` chunk source adds the address; other chunk sources are not mentioned.
    """
    lines = [f"sourceDocument: {title}", f"published: {published}"]
    if chunk_source.startswith("link://"):
        lines.append(f"source: {chunk_source.removeprefix('link://')}")
    inner = "\n".join(lines)
    return f"<document_metadata>\n{inner}\n</document_metadata>\n\n"


def word_count(text: str) -> int:
    """Pieces between single spaces, so five for four spaces: as the server counts."""
    return len(text.split(" "))


def token_estimate(text: str) -> int:
    """Roughly what a tokenizer would count; nobody may rely on the number."""
    return len(_TOKENS.findall(text))


def locale_date(epoch_ms: float | None, now: datetime) -> str:
    """A date as the server writes ``published``: en-US, in UTC, to the second.

    Args:
        epoch_ms: milliseconds since 1970; None means now.
        now: the current instant.
    """
    try:
        at = now if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return "Invalid Date"
    hour = at.hour % 12 or 12
    half = "AM" if at.hour < 12 else "PM"
    return f"{at.month}/{at.day}/{at.year}, {hour}:{at:%M:%S} {half}"


def _split(text: str, separators: Sequence[str], size: int, overlap: int) -> list[str]:
    at = next(i for i, separator in enumerate(separators) if separator in text)
    finer = separators[at + 1 :]
    pieces: list[str] = []
    small: list[str] = []
    for part in _parts(text, separators[at]):
        if len(part) < size:
            small.append(part)
            continue
        pieces += _merge(small, size, overlap)
        small = []
        pieces += _split(part, finer, size, overlap) if finer else [part]
    return pieces + _merge(small, size, overlap)


def _parts(text: str, separator: str) -> Iterable[str]:
    """Cut before every separator, so that joining the parts gives the text again."""
    if not separator:
        return text
    first, *rest = text.split(separator)
    parts = [first, *(separator + part for part in rest)]
    return [part for part in parts if part]


def _merge(parts: Iterable[str], size: int, overlap: int) -> list[str]:
    merged: list[str] = []
    current: deque[str] = deque()
    length = 0
    for part in parts:
        if length + len(part) > size and current:
            merged.append("".join(current).strip())
            while length > overlap or (length + len(part) > size and length > 0):
                length -= len(current.popleft())
        current.append(part)
        length += len(part)
    merged.append("".join(current).strip())
    return [text for text in merged if text]
