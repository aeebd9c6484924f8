"""Which results a reader gets: each event's first one, if it is wanted.

It waits for nothing and knows no Kafka client; who has one hands in what that gives him.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from hashlib import blake2b

from consumer.contract.received_result import ReceivedResult, read_result
from consumer.contract.trial import is_trial_result
from consumer.contract.upload_result import ResultStatus
from consumer.telemetry.trace import trace_ids_meant

FAILED: frozenset[str] = frozenset(
    {ResultStatus.PARTIAL, ResultStatus.FAILED, ResultStatus.INVALID}
)
"""Statuses that somebody may have to look at: not everything of the event is stored."""

REMEMBERED = 100_000
_DIGEST_BYTES = 16  # whatever others publish as an event id, it takes no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which results are wanted; None asks for nothing in particular.

    Args:
        statuses: words of the contract, those of later versions too; `FAILED` is three of them.
        workspaces: slugs.
        document_ids: a deletion names no document; it counts as of the one whose id is its
            identity, which is so by default (DOCUMENT_IDENTITY).
        identities: what the record keys of documents are.
        trace_ids: as their publishers wrote them, or as results have them.
        completed_since: aware; a result that does not say when it was completed is older.

    Raises:
        ValueError: a text stands where a collection of texts has to, or an instant has no zone.
    """

    statuses: Collection[str] | None = None
    workspaces: Collection[str] | None = None
    document_ids: Collection[str] | None = None
    identities: Collection[str] | None = None
    trace_ids: Collection[str] | None = None
    completed_since: datetime | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(getattr(self, field.name), str):
                # "failed" has six letters, and none of them is a status: nothing would ever come.
                raise ValueError(f"{field.name} has to be a collection of texts, not one text")
        if self.completed_since is not None and self.completed_since.tzinfo is None:
            raise ValueError("completed_since has no time zone")
        if self.trace_ids is not None:
            meant = frozenset(each for text in self.trace_ids for each in trace_ids_meant(text))
            object.__setattr__(self, "trace_ids", meant)

    def matches(self, result: ReceivedResult) -> bool:
        """Whether a result is wanted."""
        asked = (
            (self.statuses, result.status),
            (self.workspaces, result.workspace_slug),
            (self.document_ids, result.document_id or result.identity),
            (self.identities, result.identity),
            (self.trace_ids, result.trace_id),
        )
        if any(wanted is not None and value not in wanted for wanted, value in asked):
            return False
        since, completed = self.completed_since, result.completed_at
        return since is None or (completed is not None and completed >= since)


EVERYTHING = Wanted()


class SeenEvents:
    """The last events whose results were seen.

    Args:
        limit: how many are remembered; about 150 bytes each.

    Raises:
        ValueError: the limit is below 1.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        if limit < 1:
            raise ValueError("at least one event has to be remembered")
        self._limit = limit
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def first(self, event_id: str) -> bool:
        """Whether this event is not among them; now it is."""
        digest = blake2b(event_id.encode(errors="replace"), digest_size=_DIGEST_BYTES).digest()
        if digest in self._seen:
            return False
        self._seen[digest] = None
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return True


class Sieve:
    """Lets each event's first result through, if it is wanted.

    After a crash of the service a result can come a second time; its `event_id` is the same, and
    the first counts (schemas/README.md, "Results").

    Args:
        wanted: which results.
        remembered: of how many events it is known that they had a result.
    """

    def __init__(self, wanted: Wanted = EVERYTHING, *, remembered: int = REMEMBERED) -> None:
        self._wanted = wanted
        self._seen = SeenEvents(remembered)

    def take(
        self,
        value: bytes | None,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes | None]] | None = (),
    ) -> ReceivedResult | None:
        """The result in a record, or None: a repeat, not wanted, or a trial of ours.

        Args:
            value: the record's.
            key: the record's; by it and the headers a trial is known (`check --try-writing`).
            headers: in their order, as clients give them.

        Raises:
            ValueError: it is no result; the message says what is wrong without repeating it.
        """
        if is_trial_result(key, headers or ()):
            return None
        result = read_result(value or b"")
        if not self._seen.first(result.event_id):
            return None
        return result if self._wanted.matches(result) else None
