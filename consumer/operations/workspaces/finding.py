"""What `workspaces verify` can find, and what `workspaces repair` does about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from consumer.model.names import Location, Slug


class Remedy(StrEnum):
    """What `workspaces repair` does about a finding.

    REMOVE  remove the file with everything that hangs on it.
    UNLIST  take the surplus rows of a file out of the workspace; file and one row stay.
    EMBED   embed the file again, from AnythingLLM's cached vectors or its own copy of the text.
    NONE    nothing: a person decides, or time does.
    """

    REMOVE = "remove"
    UNLIST = "unlist"
    EMBED = "embed"
    NONE = "none"


class FindingKind(StrEnum):
    """What can be found; `NOTES` are worth knowing but may be as they should be."""

    DOUBLE = "double"
    LISTED_TWICE = "listed-twice"
    VECTORS_GONE = "vectors-gone"
    OLD_SENTINEL = "old-sentinel"
    ORPHANED_FILE = "orphaned-file"
    STALE = "stale"
    VECTORS_WITHOUT_ROW = "vectors-without-row"
    MOVED = "moved"
    UNSEARCHABLE = "unsearchable"
    SHARED_COLLECTION = "shared-collection"
    SHORT_LISTING = "short-listing"
    POSSIBLE_DOUBLE = "possible-double"
    ALSO_IN = "also-in"
    SHARED_SOURCE = "shared-source"
    NOT_LOOKED_AT = "not-looked-at"


NOTES = frozenset(
    {
        FindingKind.POSSIBLE_DOUBLE,
        FindingKind.ALSO_IN,
        FindingKind.SHARED_SOURCE,
        FindingKind.NOT_LOOKED_AT,
    }
)

SHARED_SOURCE_HELP = (
    "if publishers make new ids for the same page, set DOCUMENT_IDENTITY={source_url} and key the "
    "input topic by it: each page's older copies go when it is published again. Right if several "
    "documents really share one source"
)

SHARED_COLLECTION_HELP = (
    "send one's documents to a workspace whose slug differs more, and remove them here with "
    "`publish --delete ID --workspace SLUG`. Delete neither workspace: that empties the other"
)

_REPAIRS = "`workspaces repair --yes` "
_HELP: Mapping[FindingKind, tuple[Remedy, str]] = {
    FindingKind.DOUBLE: (Remedy.REMOVE, _REPAIRS + "removes it and keeps the other copy"),
    FindingKind.LISTED_TWICE: (Remedy.UNLIST, _REPAIRS + "takes the surplus rows out"),
    FindingKind.VECTORS_GONE: (
        Remedy.EMBED,
        _REPAIRS + "embeds it again from AnythingLLM's own copy, if a test document is found",
    ),
    FindingKind.OLD_SENTINEL: (Remedy.REMOVE, _REPAIRS + "removes it"),
    FindingKind.ORPHANED_FILE: (
        Remedy.REMOVE,
        _REPAIRS + "removes it, if no upload brings it into a workspace meanwhile",
    ),
    FindingKind.STALE: (Remedy.NONE, "publish the document again: the service then removes it"),
    FindingKind.VECTORS_WITHOUT_ROW: (
        Remedy.NONE,
        "no call of AnythingLLM removes them but deleting the workspace: if they disturb, "
        "`workspaces rebuild SLUG --delete-workspace` makes it anew",
    ),
    FindingKind.MOVED: (
        Remedy.NONE,
        "`publish --delete ID --workspace SLUG` deletes it here, if it is not meant to be here as "
        "well",
    ),
    FindingKind.UNSEARCHABLE: (
        Remedy.NONE,
        "see AnythingLLM's log. If the embedding model was changed: ",
    ),
    FindingKind.SHARED_COLLECTION: (Remedy.NONE, SHARED_COLLECTION_HELP),
    FindingKind.SHORT_LISTING: (
        Remedy.NONE,
        "run it again; if it stays so, see AnythingLLM's log. Files in no workspace are not "
        "looked for meanwhile",
    ),
    FindingKind.POSSIBLE_DOUBLE: (
        Remedy.NONE,
        "right if the document has this text more than once; publishing it again settles it",
    ),
    FindingKind.ALSO_IN: (Remedy.NONE, "right if its events name the workspace themselves"),
    FindingKind.SHARED_SOURCE: (Remedy.NONE, SHARED_SOURCE_HELP),
    FindingKind.NOT_LOOKED_AT: (Remedy.NONE, ""),
}


@dataclass(frozen=True, slots=True)
class WorkspaceFinding:
    """One thing that was found.

    Args:
        workspace: its slug; None for files in no workspace.
        text: one line for people.
        remedy: what `workspaces repair` does about it.
        what_to_do: what a person can do about it.
        location: of the file that it is about.
        document_id: of the document that it is about.
        chunk_ids: of the chunks that it is about.
        keeps: the location of the copy of a double that stays.
        source: the ``docSource`` that it is about; not for people.
    """

    kind: FindingKind
    workspace: Slug | None
    text: str
    remedy: Remedy
    what_to_do: str
    location: Location | None = None
    document_id: str | None = None
    chunk_ids: tuple[str, ...] = ()
    keeps: Location | None = None
    source: str = field(default="", repr=False)

    @property
    def is_note(self) -> bool:
        """Whether it may be as it should be."""
        return self.kind in NOTES

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for the same thing found twice."""
        return (self.kind, self.workspace, self.location, self.source, self.keeps)


def found(
    kind: FindingKind,
    workspace: Slug | None,
    text: str,
    *,
    location: Location | None = None,
    document_id: str | None = None,
    chunk_ids: tuple[str, ...] = (),
    keeps: Location | None = None,
    source: str = "",
    advice: str = "",
) -> WorkspaceFinding:
    """A finding with the remedy and the advice of its kind; arguments as in `WorkspaceFinding`.

    `advice` ends what to do, where that depends on the vector database.
    """
    remedy, what_to_do = _HELP[kind]
    what_to_do += advice
    return WorkspaceFinding(
        kind, workspace, text, remedy, what_to_do, location, document_id, chunk_ids, keeps, source
    )


def untouchable(finding: WorkspaceFinding, because: str) -> WorkspaceFinding:
    """The same finding, where repairing it would be wrong; `because` continues its text."""
    return replace(
        finding,
        text=finding.text + because,
        remedy=Remedy.NONE,
        what_to_do=_HELP[FindingKind.VECTORS_WITHOUT_ROW][1],
    )


def unfinished(finding: WorkspaceFinding, slug: Slug) -> WorkspaceFinding:
    """The same orphan, where a repair ended while it embedded it anew for a workspace."""
    return replace(
        finding,
        text=f"{finding.text}: a repair ended while it embedded it anew for {slug}",
        remedy=Remedy.EMBED,
        what_to_do=_REPAIRS + "goes on where that one ended",
    )
