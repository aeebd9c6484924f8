"""Embedding again what searches have lost, beside a running service.

1. A test document comes first. Where it is not found nothing else would be. Where the table was
   removed, it is made anew for what the embedder gives now; from AnythingLLM's cache it would get a
   former model's dimension.
2. Then the cache, which costs nothing. Each file's new row is added first and the old one taken out
   afterwards: should it fail, everything is as it was.
3. What is still not found is embedded from its text, because its cached vectors may be the trouble.
   AnythingLLM gives nobody the text of a file. But it keeps vectors by the file's name, and removes
   them where the file is not there (72aabbd1: server/utils/files/purgeDocument.js). So file by file
   the row is taken out, the file gets a second name, which AnythingLLM gives only to what no
   workspace lists, the first name is removed, and the file gets that back and is embedded anew.
   Its location stays, because a service keeps a picture of locations for some minutes: it would
   answer that it had removed what has another one by now.
4. The second name says where the file belongs. A repair that ends meanwhile leaves a file that the
   next one brings back, after the wait for what may still take effect (`repair`). It does not where
   a copy was stored meanwhile, or where the rest of the document is gone. Of a document of one
   chunk nothing tells that it was deleted in these moments: it comes back, and `audit` says
   `not-removed`.
5. Nothing says where a file belongs between the taking out and the second name, nor between the
   first name and the new row: ended there, the chunk counts as not stored, the file as an orphan.
   `audit` names it, and publishing the document again or replaying it stores it.
6. A file that another workspace lists too is left to people: it would be missing there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from consumer.anythingllm import AnythingLLMConnectionError, AnythingLLMError
from consumer.anythingllm.inventory import Inventory
from consumer.model.names import Location, Slug
from consumer.model.slug import is_slug
from consumer.operations.workspaces.finding import Remedy, WorkspaceFinding
from consumer.operations.workspaces.second_name import first_name, second_name
from consumer.operations.workspaces.verify import Upkeep

_FROM_CACHE_AT_ONCE = 25  # up to 5 s each on a large workspace, and each answer lists all of it
_TRIES = 2  # of embedding a text

_PUBLISH = "publish the document again"
_CACHE_ONLY = f"AnythingLLM embeds it from its cached vectors only, which do not help: {_PUBLISH}"
_NOT_EMBEDDED = "AnythingLLM could not embed its text"
_NOT_LISTED = f"{_NOT_EMBEDDED}, and lists it no more: repair again, {_PUBLISH}, or replay it"
_NOT_TAKEN = (
    "its text was embedded anew and other texts are found: the vector database does not take this "
    "text. Publish it with other line breaks or without rare characters"
)

Findings = Mapping[Location, WorkspaceFinding]


class Reembedding:
    """See the module's docstring. May raise `AnythingLLMError`, and can be run again then.

    Args:
        inventory: of AnythingLLM.
        upkeep: looks at its workspaces.
        renewed: gets the locations that were embedded again.
        tell: gets a line whenever a person should know something.
        sleep: waits.
    """

    def __init__(
        self,
        inventory: Inventory,
        upkeep: Upkeep,
        renewed: set[Location],
        *,
        tell: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._inventory = inventory
        self._upkeep = upkeep
        self._renewed = renewed
        self._anew: set[Location] = set()  # from their texts
        self._tell = tell
        self._sleep = sleep

    async def embed(self, slug: Slug, wanted: frozenset[tuple[object, ...]]) -> None:
        """Embed again what is still lost of the findings with these keys."""
        lost = await self._lost(slug, wanted)
        if not lost or not await self._takes_anything(slug, len(lost)):
            return
        for batch in _batches(list(lost), _FROM_CACHE_AT_ONCE):
            await self._from_cache(slug, batch)
        await self._until_seen()
        if lost := await self._lost(slug, wanted):
            await self._all_from_text(slug, lost)
            await self._tell_what_is_not_taken(slug)

    async def go_on(self, orphan: WorkspaceFinding) -> None:
        """Rule 4: bring back the file of this finding, which has its second name."""
        second = orphan.location
        if second is None or (named := first_name(second)) is None:
            return
        first, slug = named
        is_lacking = await self._upkeep.lacks(slug, orphan.source)
        if not is_lacking or await self._takes_anything(slug, 1):
            await self._from_second_name(slug, first, second, orphan)
            await self._tell_what_is_not_taken(slug)

    async def _all_from_text(self, slug: Slug, lost: Findings) -> None:
        elsewhere, left = await self._listed_elsewhere(slug, lost), dict(lost)
        while left:
            first, finding = left.popitem()
            if (why := self._inventory.why_files_stay) is not None:
                self._leave(finding, f"{_CACHE_ONLY}; {why}")
            elif first in elsewhere:
                self._leave(finding, "other workspaces list its file as well")
            elif not await self._from_text(slug, first, finding) and (
                left and not await self._takes_anything(slug, len(left))
            ):
                return

    async def _lost(self, slug: Slug, wanted: frozenset[tuple[object, ...]]) -> Findings:
        look = await self._upkeep.look(slug, self._renewed)
        return {
            each.location: each
            for each in (look.findings if look is not None else ())
            if each.remedy is Remedy.EMBED and each.key in wanted and each.location is not None
        }

    async def _until_seen(self) -> None:
        """Wait until searches find what was stored by now."""
        if seconds := await self._inventory.visible_seconds():
            self._tell(f"waiting {seconds:.0f} s, until searches find what was embedded again")
            await self._sleep(seconds)

    async def _takes_anything(self, slug: Slug, lost: int) -> bool:
        try:
            await self._inventory.store_test(slug)
        except AnythingLLMConnectionError:
            raise
        except AnythingLLMError as error:
            self._tell(f"left: {lost} chunks in {slug} that can't be found; {error.message}")
            return False
        return True

    async def _from_cache(self, slug: Slug, batch: Sequence[Location]) -> None:
        before = await self._inventory.locations(slug)
        adds = [location for location in batch if before[location]]
        after = await self._inventory.relist(slug, adds=adds)
        grown = [location for location in adds if after[location] > before[location]]
        surplus = [each for each in grown for _ in range(after[each] - 1)]
        if surplus:
            await self._inventory.relist(slug, deletes=surplus)
        self._renewed.update(grown)

    async def _listed_elsewhere(self, slug: Slug, lost: Findings) -> frozenset[Location]:
        shared: set[Location] = set()
        for each in await self._inventory.workspaces():
            if each.slug != slug and is_slug(each.slug):
                listed = await self._inventory.locations(each.slug)
                shared.update(location for location in lost if location in listed)
        return frozenset(shared)

    async def _from_text(self, slug: Slug, first: Location, finding: WorkspaceFinding) -> bool:
        """Rule 3; False where the text could not be embedded."""
        second = second_name(first, slug)
        if second is None:
            self._leave(finding, _CACHE_ONLY)
            return True
        file = await self._inventory.file(first, finding.source)
        if file is None or not file.cached:  # without a cache its text was tried already
            self._leave(finding, _NOT_EMBEDDED if file else f"its text is gone: {_PUBLISH}")
            return True
        before = await self._inventory.locations(slug)
        if not before[first]:
            return True  # it was taken out meanwhile
        await self._inventory.relist(slug, deletes=[first] * before[first])
        if await self._inventory.move(first, second, finding.source):
            return await self._from_second_name(slug, first, second, finding, before)
        if (await self._inventory.relist(slug, adds=[first]))[first]:
            self._leave(finding, _CACHE_ONLY)
        return True  # else it was removed meanwhile

    async def _from_second_name(
        self,
        slug: Slug,
        first: Location,
        second: Location,
        finding: WorkspaceFinding,
        before: Collection[Location] = (),
    ) -> bool:
        await self._inventory.remove(
            [first], None
        )  # its cached vectors; the file has the other name
        if not await self._upkeep.lacks(slug, finding.source, before):
            await self._inventory.remove([second], None)
            return True
        await self._inventory.move(second, first, finding.source)
        for _ in range(_TRIES):
            if (await self._inventory.relist(slug, adds=[first]))[first]:
                self._renewed.add(first)
                self._anew.add(first)
                return True
        if await self._inventory.move(first, second, finding.source):
            self._leave(finding, _NOT_LISTED)
            return False
        return True  # it was removed meanwhile

    def _leave(self, finding: WorkspaceFinding, because: str) -> None:
        self._tell(f"left: {finding.text}; {because}")

    async def _tell_what_is_not_taken(self, slug: Slug) -> None:
        if not self._anew:
            return
        await self._until_seen()
        look = await self._upkeep.look(slug, self._renewed)
        for each in look.findings if look is not None else ():
            if each.remedy is Remedy.EMBED and each.location in self._anew:
                self._leave(each, _NOT_TAKEN)


def _batches(things: Sequence[Location], size: int) -> list[Sequence[Location]]:
    return [things[start : start + size] for start in range(0, len(things), size)]
