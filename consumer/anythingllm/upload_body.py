"""What a unit looks like on its way into AnythingLLM 1.16: pure.

Of the metadata only ``docAuthor``, ``description``, ``docSource`` and ``chunkSource`` survive
verbatim. ``title`` is slugified into a file name, whose limit is 209 bytes (500 beyond), after the
text behind its last dot was dropped; it is also put before the text that is embedded. The same goes
for ``published``, which the server sets to "now" if it is missing: then the same text would embed
differently every time.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import urlsplit

from consumer.model.blank import trimmed
from consumer.model.marker import Unit
from consumer.model.names import Slug

TITLE_BYTES = 200
PIECE = 1_000  # characters that the server embeds at once unless it is set otherwise
PIECE_OVERLAP = 200  # a passage up to this long is whole in a piece, wherever the server cuts
FALLBACK_TITLE = "document"

_PLAIN = re.compile(r"(?=.{1,180}\Z)[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")  # as it is, and cheap to see
_RUN = re.compile(r"\S+")
_SHORT = 500  # UTF-16 units: as small as a piece is set where it is set at all
_LAST_OF_ONE_UNIT = "\uffff"
_WORDS = "$%&<>|"  # each becomes a word of up to 7 letters in the server's slug
_WORD_BYTES = 8
_LETTER_BYTES = 4  # what the server spells a letter of another script with, at most


def safe_title(title: str) -> str:
    """A title that AnythingLLM keeps recognisable: no dots, at most 200 bytes as a slug."""
    if _PLAIN.fullmatch(title):
        return title
    kept = "".join(ch if _allowed(ch) else " " for ch in unicodedata.normalize("NFC", title))
    words = _cut(" ".join(kept.split())).strip()
    if any(ch.isalnum() for ch in _ascii(words)):
        return words
    # The slug may have nothing left of it (Japanese): a reader of the prefix gets a word at least.
    return f"{words} {FALLBACK_TITLE}".strip()


def _allowed(ch: str) -> bool:
    if ch in "./\\" or not ch.isprintable():
        return False
    # Signs beyond ASCII become whole words ("₽" is "russian ruble") or nothing.
    return ch.isascii() or ch.isalnum()


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _cut(text: str) -> str:
    left = TITLE_BYTES - len(FALLBACK_TITLE) - 1
    for position, ch in enumerate(text):
        left -= _cost(ch)
        if left < 0:
            return text[:position]
    return text


def _cost(ch: str) -> int:
    if ch.isascii():
        return _WORD_BYTES if ch in _WORDS else 1
    return max(_LETTER_BYTES, len(ch.encode()))


def upload_body(slug: Slug, unit: Unit, marker: str, *, has_blanks: bool = False) -> dict[str, Any]:
    """The body of ``raw-text`` for a unit.

    Args:
        slug: the workspace, checked.
        unit: what to store.
        marker: the unit's marker, encoded.
        has_blanks: whether AnythingLLM gets blanks to cut the text at (`with_blanks`).
    """
    metadata: dict[str, Any] = {
        "title": safe_title(unit.title),
        "description": unit.title,
        "docAuthor": unit.marker.technology,
        "docSource": marker,
        "published": unit.marker.version.epoch_ms,
    }
    if _is_web(unit.marker.source_url):
        metadata["chunkSource"] = f"link://{unit.marker.source_url}"
    text = with_blanks(unit.text) if has_blanks else unit.text
    return {"textContent": text, "addToWorkspaces": slug, "metadata": metadata}


def with_blanks(text: str) -> str:
    """The text with blanks where AnythingLLM would cut between the halves of a character.

    It cuts texts every 1,000 UTF-16 units unless it is set otherwise, at paragraphs, lines or
    blanks, and where there is none anywhere: also in an emoji or a rare Chinese character, of two
    units each. Half a character is no valid text, and PostgreSQL takes no such vector. So runs
    without a blank get one every `_SHORT` units, where they have such characters and are longer
    than that. At the edge of a piece the server trims it; nothing else in the text changes.
    """
    return _RUN.sub(lambda run: _in_short_parts(run[0]), text)


def _in_short_parts(run: str) -> str:
    if run.isascii() or max(run) <= _LAST_OF_ONE_UNIT or _units(run) <= _SHORT:
        return run
    parts, length = [""], 0
    for ch in run:
        length += _units(ch)
        if length > _SHORT:
            parts.append("")
            length = _units(ch)
        parts[-1] += ch
    return " ".join(parts)


def _units(text: str) -> int:
    return len(text) + sum(ch > _LAST_OF_ONE_UNIT for ch in text)


def _is_web(url: str) -> bool:
    """Whether it can be a link; line breaks in it would get into the embedded text's prefix."""
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def pieces(text: str) -> list[str]:
    """A text in pieces as small as those the server embeds, for trying it without storing it.

    AnythingLLM cuts at paragraphs, lines and words, in sizes that its API does not give. Where it
    cuts can't be foreseen, so the pieces overlap. Blank pieces are left out.
    """
    step = PIECE - PIECE_OVERLAP
    starts = range(0, max(len(text) - PIECE_OVERLAP, 1), step)
    return [piece for start in starts if (piece := trimmed(text[start : start + PIECE]))]
