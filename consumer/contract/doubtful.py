"""What is doubtful about an event that is taken all the same.

Unknown fields are ignored, so a misspelt one is lost without a word; a date in the future makes
what comes later look old. Their publisher may mean both, so they are told and nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from itertools import islice
from typing import Any

from consumer.contract.processed_document import (
    ChunkEvent,
    ContractProblem,
    EventMetadata,
    ProcessedDocumentEvent,
    instant_in,
    pointer,
)
from consumer.model.version import MAX_AHEAD

MAX_DOUBTS = 20  # of one event: more tell nothing more

_CLOCKS_APART = timedelta(minutes=5)
_ALIKE = 0.75  # of `get_close_matches`: "contnet" and "sourceUrl" are, "author" and "summary" not
_LONGEST_NAME = 64  # what is longer is no slip of the pen, and takes long to compare
_MOST_NAMES = 1_000
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_EVENT = frozenset(ProcessedDocumentEvent.model_fields)
_CHUNK = frozenset(ChunkEvent.model_fields)
_METADATA = frozenset(EventMetadata.model_fields)


class DoubtFinder:
    """Finds what is doubtful about events.

    Args:
        now: aware; what is later lies in the future.
    """

    def __init__(self, now: datetime) -> None:
        self._now = now
        # A file's events have the same few names, and so have their chunks; to compare one takes
        # longer than all the rest.
        self._meant: dict[tuple[str, frozenset[str]], str | None] = {}

    def about(self, fields: Mapping[str, Any]) -> tuple[ContractProblem, ...]:
        """What a publisher should look at, the first `MAX_DOUBTS`.

        Args:
            fields: of the event, out of its envelope; they need not be valid.
        """
        return tuple(islice(self._all(fields), MAX_DOUBTS))

    def _all(self, fields: Mapping[str, Any]) -> Iterator[ContractProblem]:
        yield from self._unknown(fields, _EVENT, ())
        if isinstance(metadata := fields.get("metadata"), dict):
            yield from self._unknown(metadata, _METADATA, ("metadata",))
        for name in ("updated_at", "created_at"):
            yield from _ahead(name, instant_in(fields.get(name)), self._now)
        chunks = fields.get("chunks")
        for number, chunk in enumerate(chunks if isinstance(chunks, list) else ()):
            if isinstance(chunk, dict):
                yield from self._unknown(chunk, _CHUNK, ("chunks", number))

    def _unknown(
        self, fields: Mapping[str, Any], known: frozenset[str], path: tuple[str | int, ...]
    ) -> Iterator[ContractProblem]:
        for name in fields:
            if name not in known:
                meant = self._meant_by(name, known)
                is_lost = meant is not None and meant not in fields
                hint = f"; is `{meant}` meant?" if is_lost else ""
                told = f"is no known field and is ignored{hint}"
                yield ContractProblem(pointer((*path, name)), told)

    def _meant_by(self, name: str, known: frozenset[str]) -> str | None:
        """The field that a misspelt name may stand for."""
        if (name, known) not in self._meant:
            if len(self._meant) >= _MOST_NAMES or len(name) > _LONGEST_NAME:
                return None
            self._meant[name, known] = _alike(name, known)
        return self._meant[name, known]


def _alike(name: str, known: frozenset[str]) -> str | None:
    spelt = _CAPITAL.sub("_", name).lower().replace("-", "_").replace(" ", "_")
    return next(iter(get_close_matches(spelt, sorted(known), n=1, cutoff=_ALIKE)), None)


def _ahead(name: str, date: datetime | None, now: datetime) -> Iterator[ContractProblem]:
    if date is None or date - now <= _CLOCKS_APART:
        return
    if date - now > MAX_AHEAD:
        told = "more than a day: the time of publishing counts in its place"
    else:
        told = "by hours: until then nothing that is dated rightly replaces this version"
    yield ContractProblem(f"/{name}", f"lies in the future, {told}")
