"""Looking at workspaces as a person would: what is in them and what is wrong. Changes nothing.

A thing that seems to be missing may only be under way: an upload's vectors are there a moment
before its row. So whatever is concluded from an absence is looked at twice, and must be so both
times.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from consumer.anythingllm import NoWorkspaceError
from consumer.anythingllm.inventory import Inventory, SickWorkspace
from consumer.anythingllm.models import Workspace
from consumer.anythingllm.vector_databases import UNKNOWN, sharing
from consumer.model.document import ProcessedDocument
from consumer.model.identity import IdentityTemplate
from consumer.model.listing import ListedFile, Listing
from consumer.model.marker import decode_marker
from consumer.model.names import Location, Slug
from consumer.model.routing import Unroutable
from consumer.model.slug import is_slug
from consumer.operations.progress import Advance, silent
from consumer.operations.workspaces.faults import examine
from consumer.operations.workspaces.finding import FindingKind, WorkspaceFinding, found
from consumer.operations.workspaces.holding import Contents, contents, in_several, lacks, orphan
from consumer.operations.workspaces.shared_sources import shared_sources
from consumer.operations.workspaces.survey import Survey, WorkspaceLook, short_listings
from consumer.settings import Settings

PAUSE = 1.0  # seconds between two looks at what seems to be missing

_FROM_ABSENCE = frozenset({FindingKind.VECTORS_GONE, FindingKind.VECTORS_WITHOUT_ROW})
_ODD_SLUG = (
    "it is not looked at: its slug can't be part of a request; "
    "files in no workspace are not looked for then"
)
_RERANKED = "its searches are reranked: AnythingLLM then tells of 50 vectors at most"
_PARTLY = (
    "its vector database leaves out of searches what is far away: whether all are there is not "
    "known; `audit --search` looks for each"
)
_SHARED = "each finds the other's texts, they have one collection in the vector database: "
_NONE: frozenset[object] = frozenset()
_TOO_LARGE = (
    "it has more vectors than one search gives: whether all are there is not known; "
    "`audit --search` looks for each"
)

Orphans = Mapping[Location, tuple[ListedFile, datetime]]
"""Files of ours in no workspace, by location, each with the server's time when it was seen."""


class NoSuchWorkspace(Exception):
    """A workspace that was named is not there."""


@dataclass(frozen=True, slots=True)
class UpkeepRules:
    """What is right, by the settings.

    Args:
        identity: makes the identities of markers.
        route: from a technology to the slug where routing sends it; None for nowhere.
        settled: seconds after which nothing that is under way can take effect any more.
    """

    identity: IdentityTemplate
    route: Callable[[str], Slug | None]
    settled: float


@dataclass(frozen=True, slots=True)
class WorkspacesReport:
    """Everything that was found, by workspace; files in no workspace come last.

    Args:
        findings: faults and notes.
        contents: what is in each workspace.
        orphans: files in no workspace.
        too_young: how many chunks of ours were too young to be judged.
    """

    findings: tuple[WorkspaceFinding, ...]
    contents: tuple[Contents, ...]
    orphans: Orphans
    too_young: int = 0

    @property
    def faults(self) -> tuple[WorkspaceFinding, ...]:
        """The findings without notes."""
        return tuple(each for each in self.findings if not each.is_note)


class Upkeep:
    """Looks at workspaces. Every method may raise `AnythingLLMError`."""

    def __init__(
        self,
        inventory: Inventory,
        rules: UpkeepRules,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._inventory = inventory
        self._rules = rules
        self._sleep = sleep
        self._reranked: frozenset[Slug] = frozenset()
        self._database = UNKNOWN
        self._sharing: Mapping[Slug, tuple[Slug, ...]] = {}

    async def choose(self, slugs: Sequence[Slug]) -> tuple[Workspace, ...]:
        """The workspaces of these slugs, or all of them where none is named.

        Raises:
            NoSuchWorkspace: one of them is not there.
        """
        there = {each.slug: each for each in await self._inventory.workspaces()}
        if missing := [slug for slug in slugs if slug not in there]:
            raise NoSuchWorkspace(f"AnythingLLM has no workspace {', '.join(missing)}")
        return tuple(there[slug] for slug in dict.fromkeys(slugs or there))

    async def contents(
        self, chosen: Sequence[Workspace]
    ) -> AsyncIterator[tuple[Workspace, Contents | None]]:
        """The contents of each workspace; None where its slug can't be part of a request."""
        for each in chosen:
            if not is_slug(each.slug):
                yield each, None
            elif (listing := await self._inventory.listing(each.slug)) is not None:
                yield each, contents(listing, each.name, self._rules.identity)

    async def verify(
        self,
        chosen: Sequence[Workspace],
        *,
        whole: bool,
        mine: Collection[Location] = (),
        done: Advance = silent,
    ) -> WorkspacesReport:
        """Look at workspaces and, if those are all, at what only all of them together show.

        Args:
            chosen: from `choose`.
            whole: whether those are all.
            mine: see `look`.
            done: takes how many more were looked at.
        """
        survey = Survey(await self._inventory.row_counts() if whole else {})
        self._reranked = await self._inventory.reranked()
        self._database = await self._inventory.database()
        every = [each.slug for each in await self._inventory.workspaces()]
        self._sharing = {one: group for group in sharing(every, self._database) for one in group}
        for each in chosen:
            if not is_slug(each.slug):
                survey.findings.append(found(FindingKind.NOT_LOOKED_AT, each.slug, _ODD_SLUG))
                survey.is_whole = False
            elif (look := await self.look(each.slug, mine)) is not None:
                rules = self._rules
                survey.add(look, each.name, rules.identity, settled=rules.settled, whole=whole)
            done(1)
        orphans: Orphans = {}
        if whole:
            survey.compare(await self._inventory.row_counts())
            survey.findings += in_several(survey.held.values(), self._rules.route)
            orphans = await self._orphans(survey)
            survey.findings += (
                orphan(file, findable_in=survey.rowless.get(file.source))
                for file, _ in orphans.values()
            )
        return WorkspacesReport(
            tuple(survey.findings), tuple(survey.contents), orphans, survey.too_young
        )

    async def look(self, slug: Slug, mine: Collection[Location] = ()) -> WorkspaceLook | None:
        """One workspace; None where it is gone.

        Args:
            slug: of the workspace.
            mine: locations whose rows count as settled however young they are: the caller made
                them and knows that nothing else is under way.
        """
        first = await self._look(slug, mine)
        if first is None or not any(each.kind in _FROM_ABSENCE for each in first.findings):
            return first
        await self._sleep(PAUSE)
        second = await self._look(slug, mine)
        if second is None:
            return None
        known = {each.key for each in first.findings}
        return replace(
            second,
            findings=tuple(
                each
                for each in second.findings
                if each.kind not in _FROM_ABSENCE or each.key in known
            ),
        )

    async def glance(self, slug: Slug, mine: Collection[Location] = ()) -> frozenset[object]:
        """The keys of the findings that a workspace's rows alone prove, right now."""
        listing = await self._listing(slug, mine)
        return frozenset(each.key for each in self._examined(listing, None)) if listing else _NONE

    async def lacks(self, slug: Slug, source: str, before: Collection[Location] = ()) -> bool:
        """Whether a unit of ours that a workspace does not list still belongs there (`holding`)."""
        if (marker := decode_marker(source)) is None:
            return False
        for pause in (PAUSE, 0.0):  # what is lacking for a moment only would be removed
            listing = await self._inventory.listing(slug)
            if listing is not None and lacks(listing, marker, self._rules.identity, before):
                return True
            await self._sleep(pause)
        return False

    async def unlisted(self, files: Orphans) -> Orphans:
        """The files that no workspace lists; none of them where that can't be proven."""
        before = await self._inventory.row_counts()
        left, rows = dict(files), {}
        for each in await self._inventory.workspaces():
            if not is_slug(each.slug):
                return {}
            locations = await self._inventory.locations(each.slug)
            rows[each.slug] = locations.total()
            for location in locations:
                left.pop(location, None)
        after = await self._inventory.row_counts()
        return {} if short_listings(rows, before, after) else left

    async def _orphans(self, survey: Survey) -> Orphans:
        if not survey.is_whole:
            return {}
        files: Orphans = {
            file.location: (file, seen)
            async for file, seen in self._inventory.files()
            if hash(file.location) not in survey.listed
        }
        if not files:
            return {}
        await self._sleep(PAUSE)
        return await self.unlisted(files)

    async def _look(self, slug: Slug, mine: Collection[Location]) -> WorkspaceLook | None:
        # The rows come first: a row that is there has had its vectors before, so the vectors that
        # are asked for afterwards must have them.
        listing = await self._listing(slug, mine)
        if listing is None:
            return None
        vectors: Mapping[str, int] | None = None
        beside: list[WorkspaceFinding] = []
        try:
            if slug in self._reranked:
                beside.append(found(FindingKind.NOT_LOOKED_AT, slug, _RERANKED))
            elif (vectors := await self._inventory.vectors(slug)) is None:
                beside.append(found(FindingKind.NOT_LOOKED_AT, slug, _TOO_LARGE))
        except SickWorkspace as error:
            if listing.rows or self._database.finds_in_fresh:
                text = f"nothing in it can be found: {error}, although the embedder works"
                advice = self._database.new_dimension
                beside.append(found(FindingKind.UNSEARCHABLE, slug, text, advice=advice))
        except NoWorkspaceError:
            return None
        if others := [each for each in self._sharing.get(slug, ()) if each != slug]:
            # Whose vectors they are can't be told, and the usual advice would empty the others.
            vectors = None
            beside = [found(FindingKind.SHARED_COLLECTION, slug, _SHARED + ", ".join(others))]
        findings = (*self._examined(listing, vectors), *beside)
        if vectors is not None and not self._database.reaches_all:
            # What the search did not give may be there: embedding it again would be in vain.
            kept = [each for each in findings if each.kind is not FindingKind.VECTORS_GONE]
            unknown = found(FindingKind.NOT_LOOKED_AT, slug, _PARTLY)
            return WorkspaceLook(listing, (*kept, unknown), vectors_known=False)
        return WorkspaceLook(listing, findings, vectors is not None)

    async def _listing(self, slug: Slug, mine: Collection[Location]) -> Listing | None:
        listing = await self._inventory.listing(slug)
        if listing is None or not mine:
            return listing
        rows = (replace(r, age=math.inf) if r.location in mine else r for r in listing.rows)
        return replace(listing, rows=tuple(rows))

    def _examined(
        self, listing: Listing, vectors: Mapping[str, int] | None
    ) -> list[WorkspaceFinding]:
        rules = self._rules
        return [
            *examine(listing, vectors, identity=rules.identity, settled=rules.settled),
            *shared_sources(listing, rules.identity),
        ]


def rules_of(settings: Settings) -> UpkeepRules:
    """What is right, by these settings."""
    routing = settings.routing.rules()

    def route(technology: str) -> Slug | None:
        try:
            return routing.slug_for(ProcessedDocument("", "", technology, "", ()))
        except Unroutable:
            return None

    return UpkeepRules(settings.document.identity, route, settings.anythingllm.ambiguity_seconds)
