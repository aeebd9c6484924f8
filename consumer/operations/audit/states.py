"""The states that an audit finds documents in, and what a person can do about each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class DocumentState(StrEnum):
    """The state of a document. `UNEXPLAINED` ones break a promise, `NOTES` are worth knowing."""

    STORED = "stored"
    GONE = "gone"
    WAITING = "waiting"
    DEAD_LETTER = "dead-letter"
    SETTLING = "settling"
    MISSING = "missing"
    INCOMPLETE = "incomplete"
    STALE = "stale"
    DOUBLE = "double"
    NOT_REMOVED = "not-removed"
    NO_DEAD_LETTER = "no-dead-letter"
    NOT_FOUND = "not-found"
    UNEXPECTED = "unexpected"
    NEWER = "newer"


UNEXPLAINED = frozenset(
    {
        DocumentState.MISSING,
        DocumentState.INCOMPLETE,
        DocumentState.STALE,
        DocumentState.DOUBLE,
        DocumentState.NOT_REMOVED,
        DocumentState.NO_DEAD_LETTER,
        DocumentState.NOT_FOUND,
        DocumentState.UNEXPECTED,
    }
)
NOTES = frozenset({DocumentState.NEWER})

_PUBLISH = (
    "`audit --republish --yes` takes its event from the topic again: the service uploads what is"
    " missing, no more"
)
WHAT_TO_DO: Mapping[DocumentState, str] = {
    DocumentState.MISSING: _PUBLISH,
    DocumentState.INCOMPLETE: _PUBLISH,
    DocumentState.STALE: "`audit --republish --yes` takes its event from the topic again:"
    " the service then removes what is stale",
    DocumentState.DOUBLE: "`workspaces repair --yes` removes the second copy",
    DocumentState.NOT_REMOVED: "`publish --delete ID` deletes it again",
    DocumentState.NO_DEAD_LETTER: "its event is lost to the service: publish it again, mended",
    DocumentState.NOT_FOUND: "`workspaces repair --yes` embeds it again, once it is older than "
    "ANYTHINGLLM_AMBIGUITY_SECONDS; what is still not found: `publish --delete ID`, then publish "
    "the document (alone that may change nothing: it is listed)",
    DocumentState.UNEXPECTED: "if it was not meant to be there, "
    "`publish --delete --identity IDENTITY --workspace SLUG` deletes it",
    DocumentState.NEWER: "whoever wrote it did not use this topic, or its event is gone from there",
}
