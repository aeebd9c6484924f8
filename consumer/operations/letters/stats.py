"""Dead letters counted: by reason, cause, workspace, technology, day and standing. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta

from consumer.contract.received_letter import Letter
from consumer.operations.letters.standing import Standing

UNKNOWN = "-"

_PART = "; "
_ID = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b(?=[a-f]*\d)[0-9a-f]{12,}\b"
    r"|\d+(?:[.,]\d+)*",
    re.IGNORECASE,
)


@dataclass(slots=True)
class LetterStats:
    """How many letters there are of each kind; the most frequent come first when listed."""

    letters: int = 0
    bytes: int = 0
    reason: Counter[str] = field(default_factory=Counter)
    cause: Counter[str] = field(default_factory=Counter)
    workspace: Counter[str] = field(default_factory=Counter)
    technology: Counter[str] = field(default_factory=Counter)
    standing: Counter[str] = field(default_factory=Counter)
    day: Counter[str] = field(default_factory=Counter)

    def add(self, letter: Letter, standing: Standing) -> None:
        """Count a letter."""
        self.letters += 1
        self.bytes += letter.size
        self.reason[letter.reason] += 1
        self.cause[cause_of(letter)] += 1
        self.workspace[letter.workspace or UNKNOWN] += 1
        self.technology[letter.technology or UNKNOWN] += 1
        self.standing[standing.value] += 1
        self.day[letter.failed_at.astimezone(UTC).date().isoformat()] += 1

    def days(self, most: int) -> list[tuple[str, int]]:
        """The last so many days up to the newest letter, oldest first, those without any too."""
        if not self.day:
            return []
        newest, oldest = date.fromisoformat(max(self.day)), date.fromisoformat(min(self.day))
        count = min((newest - oldest).days + 1, most)
        shown = [newest - timedelta(days=ago) for ago in range(count - 1, -1, -1)]
        return [(day.isoformat(), self.day[day.isoformat()]) for day in shown]


def stats_of(letters: Iterable[tuple[Letter, Standing]]) -> LetterStats:
    """Letters and how they stand, counted."""
    counted = LetterStats()
    for letter, standing in letters:
        counted.add(letter, standing)
    return counted


def cause_of(letter: Letter) -> str:
    """The message without what differs from letter to letter: ids and numbers become ``#``.

    The HTTP status stays: refusals that differ in nothing else have different causes.
    """
    text = letter.message
    own = {*letter.failed_chunk_ids, letter.document_id, letter.identity} - {None, ""}
    for known in sorted((each for each in own if each), key=len, reverse=True):
        text = _without(text, known=known)
    parts = dict.fromkeys(_general(part, letter.http_status) for part in text.split(_PART))
    return _PART.join(parts) or UNKNOWN


def _without(text: str, *, known: str) -> str:
    """The text with # in place of a known id, where that is a word of its own."""
    # By hand: an expression of its own for each letter would take most of a command's time.
    found, start = [], 0
    while (at := text.find(known, start)) >= 0:
        end = at + len(known)
        alone = not (_is_word(text[at - 1 : at]) or _is_word(text[end : end + 1]))
        found.append(text[start:at] + ("#" if alone else known))
        start = end
    return "".join(found) + text[start:]


def _is_word(sign: str) -> bool:
    return sign.isalnum() or sign == "_"


def _general(part: str, status: int | None) -> str:
    kept = str(status) if status is not None else None
    return _ID.sub(lambda found: found[0] if found[0] == kept else "#", part)
