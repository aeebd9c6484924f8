"""What AnythingLLM has of one document, and whether searches find it. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from consumer.anythingllm import AnythingLLMConfig, AnythingLLMError
from consumer.anythingllm.inventory import Inventory, SickWorkspace, open_inventory
from consumer.anythingllm.models import DocumentRow
from consumer.model.document import ProcessedDocument
from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.listing import ListedRow, Listing, by_identity
from consumer.model.marker import decode_marker
from consumer.model.names import Identity, ServerName, Slug
from consumer.model.precedence import Occurrence
from consumer.model.slug import is_slug
from consumer.operations.progress import StageProgress
from consumer.operations.where.held import Held, Searched, held_of, looked_for
from consumer.operations.where.story import Names, SameSource
from consumer.settings import Settings
from consumer.wiring.anythingllm import anythingllm_config, server_configs

MOST_SAME = 20  # others of the same source that are named


class WhereStored:
    """Looks for one document in the workspaces.

    Args:
        settings: of the service.
        names: of the document.
        newest: what its newest events want.
        quick: look only into the workspaces that its events and results name.
        progress: called now and then.

    Attributes:
        held: what each workspace has.
        same_source: other documents of the same source.
        narrowed: what was left out, for people.
    """

    def __init__(
        self,
        settings: Settings,
        names: Names,
        newest: Newest,
        *,
        quick: bool,
        progress: StageProgress,
    ) -> None:
        self._settings = settings
        self._names = names
        self._newest = newest
        self._quick = quick
        self._progress = progress
        self.held: list[Held] = []
        self.same_source: list[SameSource] = []
        self.narrowed: list[str] = []

    async def look(self, named: Iterable[Slug]) -> None:
        """Look; what was found before a failure is kept.

        Args:
            named: slugs of the workspaces that results name.

        Raises:
            AnythingLLMError: AnythingLLM can't be asked.
        """
        slugs, failure = tuple(named), None
        for server, config in self._servers():
            try:
                await self._look_at(server, config, slugs)
            except AnythingLLMError as error:  # the others are looked at all the same
                failure = (
                    error
                    if server is None
                    else AnythingLLMError(f"server {server}: {error.message}")
                )
        if failure is not None:
            raise failure

    def _servers(self) -> Iterable[tuple[ServerName | None, AnythingLLMConfig]]:
        several = server_configs(self._settings)
        return several.items() if several else [(None, anythingllm_config(self._settings))]

    async def _look_at(
        self, server: ServerName | None, config: AnythingLLMConfig, named: Iterable[Slug]
    ) -> None:
        async with open_inventory(config) as inventory:
            slugs = await self._slugs(inventory, named)
            for number, slug in enumerate(slugs):
                self._progress("looking at workspaces", number, len(slugs))
                await self._of_workspace(server, inventory, slug)
            self._progress("looking at workspaces", len(slugs), len(slugs))

    async def _slugs(self, inventory: Inventory, named: Iterable[Slug]) -> Sequence[Slug]:
        """The workspaces that its events and results name, then all that routing permits."""
        first = [slug for slug in dict.fromkeys((*self._newest.slugs, *named)) if is_slug(slug)]
        if self._quick and first:
            self.narrowed.append(f"workspaces: only {', '.join(first)}")
            return first
        permits = self._settings.routing.rules().permits
        there = [each.slug for each in await inventory.workspaces()]
        return [*first, *(slug for slug in there if permits(slug) and slug not in first)]

    async def _of_workspace(
        self, server: ServerName | None, inventory: Inventory, slug: Slug
    ) -> None:
        take = _Taking(self._names, self._newest.sources, slug)
        listed = await inventory.scan(slug, take)
        documents = self._newest.of_slug(slug)
        if listed is None and (server is not None or not documents):
            return  # of several servers only one has it
        now = listed or datetime.now(UTC)
        rows = tuple(_row(each, now) for each in take.ours)
        template = self._settings.document.identity
        of_rows = by_identity(rows, template)
        for held in held_of(Listing(slug, rows, now), template, documents):
            document = documents.get(held.identity)
            searched = await _searched(inventory, slug, document, of_rows.get(held.identity, ()))
            self.held.append(replace(held, searched=searched, server=server))
        self.same_source += take.same.values()


class Newest:
    """The newest event of each identity and workspace, with its text."""

    def __init__(self) -> None:
        self._newest: dict[tuple[Slug, Identity], DocumentEvent] = {}
        self._tombstones: list[TombstoneEvent] = []

    def add(self, event: Event) -> None:
        """Take an event, in the order of its partition."""
        match event.body:
            case DocumentEvent() as body:
                new = Occurrence(body.version)
                before = [
                    Occurrence(each.version, removes=True)
                    for each in self._tombstones
                    if _is_about(each, body)
                ]
                if (known := self._newest.get((body.slug, body.identity))) is not None:
                    before.append(Occurrence(known.version))
                if not any(each.supersedes(new) for each in before):
                    self._newest[body.slug, body.identity] = body
            case TombstoneEvent() as body:
                self._tombstones.append(body)
                end = Occurrence(body.version, removes=True)
                self._newest = {
                    key: known
                    for key, known in self._newest.items()
                    if not _is_about(body, known) or Occurrence(known.version).supersedes(end)
                }

    @property
    def slugs(self) -> tuple[Slug, ...]:
        """The workspaces where they belong."""
        return tuple(slug for slug, _ in self._newest)

    @property
    def sources(self) -> frozenset[str]:
        """The source URLs where they come from."""
        return frozenset(body.document.source_url for body in self._newest.values())

    def of_slug(self, wanted: Slug) -> dict[Identity, ProcessedDocument]:
        """The documents of one workspace, by identity."""
        return {
            identity: body.document
            for (slug, identity), body in self._newest.items()
            if slug == wanted
        }


class _Taking:
    """Takes the rows of a workspace's listing, and keeps those of the document."""

    def __init__(self, names: Names, sources: frozenset[str], slug: Slug) -> None:
        self._names = names
        self._sources = sources
        self._slug = slug
        self.ours: list[DocumentRow] = []
        self.same: dict[Identity, SameSource] = {}

    def __call__(self, row: DocumentRow) -> None:
        marker = decode_marker(row.doc_source)
        if marker is None:
            return
        identity = self._names.identity_of(marker)
        if self._names.is_meant(marker.document_id, identity):
            self.ours.append(row)
        elif marker.source_url in self._sources and len(self.same) < MOST_SAME:
            self.same[identity] = SameSource(self._slug, identity, marker.source_url)


def _is_about(tombstone: TombstoneEvent, document: DocumentEvent) -> bool:
    return tombstone.identity == document.identity and tombstone.slug in (None, document.slug)


def _row(row: DocumentRow, now: datetime) -> ListedRow:
    created = row.created_at
    age = (now - created).total_seconds() if created else None
    return ListedRow(
        row.location, row.doc_source, age, decode_marker(row.doc_source), sentinel=False
    )


async def _searched(
    inventory: Inventory, slug: Slug, document: ProcessedDocument | None, rows: Sequence[ListedRow]
) -> Searched:
    """Whether searches find some of its chunks by their own text."""
    if document is None:
        return Searched(why_not="its text is in no event that is left")
    checked = found = 0
    try:
        for text, sources in looked_for(document, rows):
            found += bool(sources & await inventory.near(slug, text))
            checked += 1
    except (AnythingLLMError, SickWorkspace) as error:
        return Searched(checked, found, str(error))
    return Searched(checked, found)
