"""What this process did of late, in bounded memory: for the status page, never for a decision.

It is kept since the process began and goes with it. What counts is on Kafka: results and dead
letters are read from there by `results` and `dlq`.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from consumer.model.outcome import FailureReason

MOST_RESULTS = 30
MOST_LETTERS = 1_000  # whose events are remembered; a thousand causes would be read by nobody
_LONGEST = 200  # characters: texts come from events and servers
_ID = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class LatestResult:
    """An event that was settled.

    Args:
        at: when, aware.
        status: of its result.
        identity: where known.
        document_id: where known.
        workspace: slug, where known.
        event_id: of its result.
        chunks: of the document; 0 where none were counted.
        failed: of these, how many are not stored.
        seconds: how long the journey took.
        dead_letter: why it became one, or None.
        http_status: of the refusal that its letter tells, where there was one.
        error: the first one, for people; empty where nothing went wrong.
    """

    at: datetime
    status: str
    identity: str | None
    document_id: str | None
    workspace: str | None
    event_id: str
    chunks: int
    failed: int
    seconds: float
    dead_letter: FailureReason | None = None
    http_status: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class OpenCause:
    """Dead letters of one cause whose documents were not stored since.

    Args:
        reason: of the letters.
        http_status: of the refusal, where there was one.
        message: of the latest one.
        workspace: of the latest one, where known.
        document: the latest one's id, identity or event id.
        letters: how many.
        latest: when the latest one was written.
    """

    reason: FailureReason
    http_status: int | None
    message: str
    workspace: str | None
    document: str
    letters: int
    latest: datetime


class OpenLetters:
    """The letters of this process that no later event of the same identity made pointless."""

    def __init__(self, most: int = MOST_LETTERS) -> None:
        self._most = most
        self._letters: OrderedDict[str, LatestResult] = OrderedDict()
        self.forgotten = 0
        """Letters that there was no room for any more."""

    def __len__(self) -> int:
        return len(self._letters)

    def note(self, settled: LatestResult) -> None:
        """Note how an event ended; one that left nothing to do ends its document's letter."""
        key = settled.identity or settled.event_id
        self._letters.pop(key, None)
        if settled.dead_letter is None:
            return
        self._letters[key] = settled
        if len(self._letters) > self._most:
            self._letters.popitem(last=False)
            self.forgotten += 1

    def causes(self, most: int) -> Sequence[OpenCause]:
        """The causes with most letters first, at most so many."""
        groups: dict[tuple[object, ...], list[LatestResult]] = {}
        for each in self._letters.values():
            shape = _ID.sub("#", each.error.replace(each.document_id or "\0", "#"))
            groups.setdefault((each.dead_letter, each.http_status, shape), []).append(each)
        largest = sorted(groups.values(), key=len, reverse=True)[:most]
        return [_cause(letters) for letters in largest]


def _cause(letters: Sequence[LatestResult]) -> OpenCause:
    latest = letters[-1]
    return OpenCause(
        reason=latest.dead_letter or FailureReason.INVALID,
        http_status=latest.http_status,
        message=latest.error,
        workspace=latest.workspace,
        document=latest.document_id or latest.identity or latest.event_id,
        letters=len(letters),
        latest=latest.at,
    )


@dataclass(slots=True)
class Recent:
    """See the module's docstring.

    Args:
        results: the latest ones, the latest last.
        letters: those that are open.
    """

    results: deque[LatestResult] = field(default_factory=lambda: deque(maxlen=MOST_RESULTS))
    letters: OpenLetters = field(default_factory=OpenLetters)

    def settled(self, event: LatestResult) -> None:
        """Note an event whose result Kafka has."""
        self.results.append(event)
        if event.dead_letter is not None or len(self.letters):
            self.letters.note(event)


def short(text: str) -> str:
    """As much of a text as is kept."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
