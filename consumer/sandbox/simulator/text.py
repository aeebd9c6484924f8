"""What becomes of a text before it is embedded: the splitter and the prefix of AnythingLLM 1.16.

The server's lengths are those of JavaScript: UTF-16 units, two for an emoji. Where nothing else can
be cut it cuts between units, so also an emoji in two; the halves stay as lone surrogates.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

CHUNK_SIZE = 1000
"""UTF-16 units of one vector's text, prefix not counted."""
CHUNK_OVERLAP = 20
BLANKS = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What JavaScript trims. U+0085, U+001C to U+001F and U+200B are not among them."""
_LAST_OF_ONE_UNIT = "\uffff"
_SEPARATORS = ("\n\n", "\n", " ", "")
_TOKENS = re.compile(r"[A-Za-z]+|\d{1,3}|[^\sA-Za-z\d]+")


def split(text: str, size: int = CHUNK_SIZE, overlap: int = CHUNK_OVERLAP) -> list[str]:
    """The pieces that get a vector each: whole where it fits, else cut at the coarsest separator.

    Blank text gives no piece at all, and AnythingLLM then embeds nothing while answering success.

    Args:
        text: what was uploaded.
        size: UTF-16 units of a piece, at most.
        overlap: UTF-16 units that a piece may repeat of the one before.
    """
    units = _units(text)
    if len(units) <= size:
        return [piece] if (piece := text.strip(BLANKS)) else []
    return [_characters(piece) for piece in _split(units, _SEPARATORS, size, overlap)]


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


def _units(text: str) -> str:
    """A text with one character a UTF-16 unit: an emoji becomes its two surrogates."""
    if text.isascii() or max(text) <= _LAST_OF_ONE_UNIT:
        return text
    raw = text.encode("utf-16-le", "surrogatepass")
    return "".join(map(chr, memoryview(raw).cast("H")))


def _characters(units: str) -> str:
    """The reverse: surrogates that belong together become one character again."""
    raw = units.encode("utf-16-le", "surrogatepass")
    return raw.decode("utf-16-le", "surrogatepass")


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
            merged.append("".join(current).strip(BLANKS))
            while length > overlap or (length + len(part) > size and length > 0):
                length -= len(current.popleft())
        current.append(part)
        length += len(part)
    merged.append("".join(current).strip(BLANKS))
    return [text for text in merged if text]
