"""What is wrong in a run, by name; which anomalies are allowed, and why.

Allowed, because the documents say so (consumer/README.md, schemas/README.md, README.md):

- An event is answered more than once, with the same ``event_id`` ("at least once, made idempotent";
  consumers keep the first). Only the first answer is judged, and that repeats have its id.
- A version that a later one makes pointless is ``superseded`` without having been carried out.
- What left no trace in AnythingLLM is remembered as long as the partition is kept: after a change
  of hands an older version may be carried out (`consumer.pipeline.carried_out`).
- A file in no workspace stays after an upload that was given up (``orphaned-file`` of
  ``workspaces repair``).
- What people did to a workspace is not undone: text that was acknowledged before is gone with it,
  for INDEX_MAX_AGE_SECONDS the service may believe that it is still there, and what is uploaded in
  the seconds until the service notices may lose its vectors (`consumer.anythingllm.readiness`).
  While wanted text is missing for that reason nothing is removed.
- A chunk that was refused is stored all the same where an earlier upload of it that a proxy had
  answered took effect late. And nothing is removed then, so chunks of versions stay that were
  overtaken in the middle.
- A removal that AnythingLLM forbids (403) leaves what was to go for good; the generator makes none.
- The test documents that prove a workspace are sent and removed also while a partition goes: they
  are no event's work.
- A vector database that begins to refuse removals without a word is not found out for a minute, nor
  by a test that had begun before (`consumer.anythingllm.database_control`): vectors that were to go
  in it stay. Where that was an event's work, an event of that document tells it
  (`consumer.pipeline.erasure`), with a dead letter; where it was a look after left-overs, or
  whoever has removed it lost the partition before it looked, nobody does. And each test of whether
  the database removes again leaves a test document's.
- Of two rows of one chunk one may have no vectors, where who knew which one lost the partition
  before a look: a search shows the text once, and the next event of its document ends both.
- On Chroma a server that is killed leaves vectors without rows.
- In between, until AMBIGUITY and the look after it are over, copies and left-overs of uploads that
  nobody waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Wrong(StrEnum):
    """What can be wrong.

    LOST          acknowledged text of the newest state is not stored.
    DOUBLE        it is stored more often than wanted.
    LEFT          text is stored that is not wanted (any more).
    UNSEARCHABLE  it is listed and can't be found; not of a version before one that lacks a chunk.
    ORPHAN        it is found and nothing lists it: no call can remove it any more.
    UNTOLD        the same, by an event that was answered as if it were gone.
    FOREIGN       something of others was touched.
    PREMATURE     a result said that a chunk is stored, and it was not.
    GAP           something was removed when no version was whole without it.
    UNANSWERED    an event has no result.
    EVENT_ID      an event was answered under two ids.
    STATUS        an answer that carrying out one by one does not give.
    LETTER        a dead letter without a fault of its own.
    NO_LETTER     an event that was not carried out in full, and no dead letter.
    COMMIT        a commit went past an unanswered event, back, or beyond the end.
    NOT_AT_END    all is done, and the commit is not at the end.
    STUCK         something waits for ever.
    HELD          a sick workspace held those who have nothing to do with it.
    UNNAMED       something waits for a sick workspace, and no page names that.
    FENCE         something was sent for a partition that was being taken away, or was gone.
    REPEATED      an event that was answered before an orderly stop was worked again.
    SENTINEL      a test document was left in a workspace.
    MEMORY        something is kept that nobody needs any more.
    DIED          a process ended with an exception.
    """

    LOST = "lost"
    DOUBLE = "double"
    LEFT = "left"
    UNSEARCHABLE = "unsearchable"
    ORPHAN = "orphan"
    UNTOLD = "untold"
    FOREIGN = "foreign"
    PREMATURE = "premature"
    GAP = "gap"
    UNANSWERED = "unanswered"
    EVENT_ID = "event-id"
    STATUS = "status"
    LETTER = "letter"
    NO_LETTER = "no-letter"
    COMMIT = "commit"
    NOT_AT_END = "not-at-end"
    STUCK = "stuck"
    HELD = "held"
    UNNAMED = "unnamed"
    FENCE = "fence"
    REPEATED = "repeated"
    SENTINEL = "sentinel"
    MEMORY = "memory"
    DIED = "died"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong."""

    wrong: Wrong
    what: str

    def __str__(self) -> str:
        return f"{self.wrong}: {self.what}"


def kinds(findings: Iterable[Finding]) -> frozenset[Wrong]:
    """What sorts of things are wrong."""
    return frozenset(finding.wrong for finding in findings)
