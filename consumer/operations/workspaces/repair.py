"""Putting right what `verify` found, beside a running service.

1. Only what was planned is done, and only while it is still so right before it is done.
2. What searches have lost is embedded again, from AnythingLLM's cached vectors, or from its text
   where those do not help (`reembedding`). AnythingLLM 1.16 takes out the oldest row of a file.
3. A double is removed only when searches are known to find the copy that stays.
4. A file that another workspace lists as well is left to people: AnythingLLM would remove it from
   all of them.
5. AnythingLLM does not say how old a file in no workspace is. So it is removed only when it was
   there, and in no workspace, for as long as an upload without an answer may still take effect.
   The same goes for bringing back a file that an earlier repair left under its second name.
6. The first failure ends the repair. It can always be run again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from consumer.anythingllm import AnythingLLMConnectionError, AnythingLLMError
from consumer.anythingllm.inventory import Inventory
from consumer.anythingllm.removal_way import WHAT_TO_DO
from consumer.model.names import Location, Slug
from consumer.model.slug import is_slug
from consumer.operations.progress import Advance, silent
from consumer.operations.workspaces.faults import SENTINEL_SECONDS
from consumer.operations.workspaces.finding import FindingKind, Remedy, WorkspaceFinding
from consumer.operations.workspaces.reembedding import Reembedding
from consumer.operations.workspaces.survey import WorkspaceLook
from consumer.operations.workspaces.verify import Orphans, Upkeep, WorkspacesReport

_UNLISTED_AT_ONCE = 25  # up to 5 s each on a large workspace, and each answer lists all of it
_REMOVED_AT_ONCE = 10
_RELISTED_EVERY = 100  # orphans removed between two looks at all workspaces

T = TypeVar("T")


class Repair:
    """Does what a report says can be done, by the rules above; may raise `AnythingLLMError`.

    Args:
        inventory: of AnythingLLM.
        upkeep: looks at its workspaces.
        report: of `Upkeep.verify`.
        settled: seconds after which nothing that is under way can take effect any more.
        tell: gets a line whenever a person should know something.
        done: takes how many more of `planned` are over, whether they could be done or not.
        sleep: waits.
    """

    def __init__(
        self,
        inventory: Inventory,
        upkeep: Upkeep,
        report: WorkspacesReport,
        *,
        settled: float,
        tell: Callable[[str], None],
        done: Advance = silent,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._inventory = inventory
        self._upkeep = upkeep
        self._report = report
        self._settled = settled
        self._tell = tell
        self._done = done
        self._sleep = sleep
        self.renewed: set[Location] = set()
        """Locations that were embedded again: only this repair is at work on their young rows."""
        self._reembedding = Reembedding(inventory, upkeep, self.renewed, tell=tell, sleep=sleep)

    async def run(self) -> None:
        """Do what was planned. What it came to is found out by another `Upkeep.verify`."""
        by_workspace: dict[Slug, list[WorkspaceFinding]] = {}
        for each in planned(self._report):
            if each.workspace is not None:
                by_workspace.setdefault(each.workspace, []).append(each)
        shared = await self._shared(by_workspace)
        for slug, findings in by_workspace.items():
            await self._repair(slug, findings, shared)
        await self._remove_orphans()

    async def _shared(
        self, by_workspace: dict[Slug, list[WorkspaceFinding]]
    ) -> frozenset[Location]:
        """The locations to be removed that another workspace lists as well."""
        home = {
            each.location: slug
            for slug, findings in by_workspace.items()
            for each in findings
            if each.remedy is Remedy.REMOVE and each.location is not None
        }
        shared: set[Location] = set()
        for each in await self._inventory.workspaces() if home else ():
            if is_slug(each.slug):
                listed = await self._inventory.locations(each.slug)
                shared.update(at for at, slug in home.items() if slug != each.slug and at in listed)
        return frozenset(shared)

    async def _repair(
        self, slug: Slug, findings: Sequence[WorkspaceFinding], shared: frozenset[Location]
    ) -> None:
        lost = frozenset(each.key for each in findings if each.remedy is Remedy.EMBED)
        if lost:
            await self._reembedding.embed(slug, lost)
            self._done(len(lost))
        surplus = frozenset(each.key for each in findings if each.remedy is Remedy.UNLIST)
        removals = [each for each in findings if each.remedy is Remedy.REMOVE]
        if (surplus or removals) and not await self._removals_work(slug):
            return
        if surplus:
            now = await self._upkeep.look(slug, self.renewed)
            for batch in _batches(_still(now, surplus), _UNLISTED_AT_ONCE):
                await self._unlist(slug, batch)
            self._done(len(surplus))
        if removals:
            await self._remove(slug, removals, shared)

    async def _removals_work(self, slug: Slug) -> bool:
        """Whether what is removed is gone: else its vectors would stay, and no row lead to them."""
        try:
            await self._inventory.removals_work(slug)
        except AnythingLLMConnectionError:
            raise
        except AnythingLLMError as error:
            self._tell(f"left: what is there twice or left over in {slug}; {error.message}")
            return False
        return True

    async def _unlist(self, slug: Slug, batch: Sequence[Location]) -> None:
        listed = await self._inventory.locations(slug)
        surplus = [each for each in batch for _ in range(listed[each] - 1)]
        if surplus:
            await self._inventory.relist(slug, deletes=surplus)

    async def _remove(
        self, slug: Slug, removals: Sequence[WorkspaceFinding], shared: frozenset[Location]
    ) -> None:
        look = await self._upkeep.look(slug, self.renewed)
        if look is None:
            return
        lost = {each.location for each in look.findings if each.kind is FindingKind.VECTORS_GONE}
        for batch in _batches(removals, _REMOVED_AT_ONCE):
            there = await self._upkeep.glance(slug, self.renewed)
            locations = []
            for each in batch:
                if each.location is None or each.key not in there:
                    continue
                if each.location in shared:
                    self._tell(f"left: {each.text}; other workspaces list its file as well")
                elif each.keeps is not None and not self._is_found(look, each.keeps, lost):
                    self._tell(f"left: {each.text}; the copy to keep is not known to be found")
                else:
                    locations.append(each.location)
            if locations:
                await self._inventory.remove(locations, slug)
            self._done(len(batch))

    def _is_found(
        self, look: WorkspaceLook, location: Location, lost: set[Location | None]
    ) -> bool:
        return location in self.renewed or (look.vectors_known and location not in lost)

    # -- files in no workspace ---------------------------------------------------------------------

    async def _remove_orphans(self) -> None:
        wanted = {each.location: each for each in planned(self._report) if each.workspace is None}
        orphans: Orphans = {at: known for at, known in self._report.orphans.items() if at in wanted}
        if not orphans:
            return
        if not await self._waited(orphans):
            self._tell("left: the files in no workspace; the server's clock does not go on")
            return
        for some in _batches(sorted(orphans), _RELISTED_EVERY):
            still = await self._upkeep.unlisted({at: orphans[at] for at in some})
            for batch in _batches(sorted(still), _REMOVED_AT_ONCE):
                same = [at for at in batch if await self._inventory.is_unchanged(orphans[at][0])]
                surplus = [at for at in same if wanted[at].remedy is Remedy.REMOVE]
                if surplus and not await self._inventory.remove(surplus):
                    why = self._inventory.why_files_stay
                    self._tell(f"left: the files in no workspace; {why}. {WHAT_TO_DO}")
                    return
                for at in same:
                    if wanted[at].remedy is Remedy.EMBED:
                        await self._reembedding.go_on(wanted[at])
            self._done(len(some))

    async def _waited(self, orphans: Orphans) -> bool:
        """Wait until every file is old enough by the server's clock; False if it does not go on."""
        sentinels = any(file.sentinel for file, _ in orphans.values())
        age = max(self._settled, SENTINEL_SECONDS if sentinels else 0.0)
        seen = max(moment for _, moment in orphans.values())
        for is_last in (False, True):
            now = await self._inventory.now()
            left = age - (now - seen).total_seconds() if now is not None else age
            if left <= 0 or is_last:
                return left <= 0
            self._tell(
                f"waiting {left:.0f} s: until then an upload, or an earlier repair, may still "
                f"be at work on {len(orphans)} files (Ctrl-C leaves them)"
            )
            await self._sleep(left + 1)
        return False


def planned(report: WorkspacesReport) -> tuple[WorkspaceFinding, ...]:
    """The findings that a repair would do something about."""
    return tuple(each for each in report.findings if each.remedy is not Remedy.NONE)


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """What a repair came to; `after` is `before` where nothing was done."""

    before: WorkspacesReport
    after: WorkspacesReport

    def lines(self) -> Iterator[tuple[WorkspaceFinding, str]]:
        """Every finding of before and after, with a word for what became of it."""
        left = {each.key for each in self.after.findings}
        for each in self.before.findings:
            if each.remedy is Remedy.NONE:
                yield each, "reported"
            elif self.after is self.before:
                yield each, "planned"
            else:
                yield each, "left" if each.key in left else "done"
        known = {each.key for each in self.before.findings}
        yield from ((each, "new") for each in self.after.findings if each.key not in known)

    def counts(self) -> dict[str, int]:
        """How many were planned, and how many are gone afterwards."""
        became = Counter(word for _, word in self.lines())
        return {"planned": len(planned(self.before)), "done": became["done"]}


def _still(look: WorkspaceLook | None, wanted: frozenset[tuple[object, ...]]) -> list[Location]:
    """The locations of the wanted findings that are still there."""
    return [
        each.location
        for each in (look.findings if look is not None else ())
        if each.key in wanted and each.location is not None
    ]


def _batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    everything = list(things)
    for start in range(0, len(everything), size):
        yield everything[start : start + size]
