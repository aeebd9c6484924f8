"""What is kept of each workspace while all of them are looked at: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.model.identity import IdentityTemplate
from consumer.model.listing import Listing
from consumer.model.names import Identity, Slug
from consumer.operations.workspaces.faults import too_young
from consumer.operations.workspaces.finding import FindingKind, WorkspaceFinding, found
from consumer.operations.workspaces.holding import Contents, Holding, contents, holdings


@dataclass(frozen=True, slots=True)
class WorkspaceLook:
    """One workspace, looked at."""

    listing: Listing
    findings: tuple[WorkspaceFinding, ...]
    vectors_known: bool


class Survey:
    """The findings of all workspaces, and what only all of them together show.

    Listings are not kept: a million rows would not fit.

    Args:
        counted: how many rows each workspace had at the beginning, by the server's own count.
    """

    def __init__(self, counted: Mapping[Slug, int]) -> None:
        self.findings: list[WorkspaceFinding] = []
        self.contents: list[Contents] = []
        self.held: dict[Identity, list[Holding]] = {}
        self.rowless: dict[str, Slug] = {}
        self.is_whole = True
        self.too_young = 0
        # Hashes, because a million locations would take 150 MB. Two equal ones hide an orphan.
        self.listed: set[int] = set()
        self._counted = counted
        self._rows: dict[Slug, int] = {}

    def add(
        self,
        look: WorkspaceLook,
        name: str,
        identity: IdentityTemplate,
        *,
        settled: float,
        whole: bool,
    ) -> None:
        """Take over what one look found."""
        slug = look.listing.slug
        self.too_young += too_young(look.listing, settled)
        self.findings += look.findings
        self.contents.append(contents(look.listing, name, identity))
        if not whole:
            return
        self._rows[slug] = len(look.listing.rows)
        self.listed.update(hash(row.location) for row in look.listing.rows)
        for each in look.findings:
            if each.kind is FindingKind.VECTORS_WITHOUT_ROW:
                self.rowless[each.source] = slug
        for document, holding in holdings(look.listing, identity).items():
            self.held.setdefault(document, []).append(holding)

    def compare(self, counted: Mapping[Slug, int]) -> None:
        """Find listings that were shorter than the server's own counts before and after."""
        for slug in short_listings(self._rows, self._counted, counted):
            text = f"{self._rows[slug]} documents are listed, fewer than AnythingLLM counts"
            self.findings.append(found(FindingKind.SHORT_LISTING, slug, text))
            self.is_whole = False


def short_listings(
    rows: Mapping[Slug, int], before: Mapping[Slug, int], after: Mapping[Slug, int]
) -> list[Slug]:
    """The workspaces whose listing had fewer rows than the server counted before and after it."""
    return [s for s, n in rows.items() if n < min(before.get(s, 0), after.get(s, 0))]
