"""Homes: on which of several AnythingLLMs each workspace lives, found out and watched.

`model.placement` decides; here it is asked what the servers have, in rounds: at once when somebody
wants a workspace that is not known, and every so often, because people and other instances change
what is there.

What is always true:
- A workspace is made only here, after the servers keep our list. Then all servers are asked once
  more, and only what they say then is a home. So of two instances whose lists differ, at least one
  sees in time that the other is there (`model.server_list`).
- When a home ends, its fence is closed: documents in work send nothing more to it, and ask anew.
- A server that is silent keeps the workspaces that are known to live there: their documents wait
  for it. What nobody knows waits until all servers answer.
- One task asks; documents only wait. A thousand of them cost as much as one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog

from consumer.model.fault import Failure
from consumer.model.names import ServerName, Slug
from consumer.model.placement import Home, Homeless, Placement, Presence, Undecided, place
from consumer.model.server_list import (
    ServerList,
    ServerSurvey,
    lists_to_write,
    missing_from,
    one_server_twice,
)
from consumer.pipeline.ports import RightToWork, Server
from consumer.resilience.fence import Fence

log = structlog.get_logger(__name__)

_ROUNDS = 2  # the first one may have begun before it was asked for
_SLICE = 500  # workspaces that are placed between two turns of the event loop
_STRANGE_SECONDS = 600.0  # until a namesake of a workspace that has a home is looked into again


@dataclass(frozen=True, slots=True)
class Residence:
    """A workspace's home, for as long as the fence is open."""

    server: ServerName
    fence: Fence


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """What the settings say about several servers.

    Args:
        pins: the servers of single workspaces.
        gone: servers that were listed, and are missed by nobody.
        may_create: whether missing workspaces are made.
    """

    pins: Mapping[Slug, ServerName]
    gone: Collection[ServerName]
    may_create: bool


class Homes:
    """See the module's docstring.

    Args:
        servers: all of the list.
        every: seconds between two rounds that nobody asked for.
        clock: monotonic seconds.
        note: hears of servers that do not answer well. That they do says little: a list of
            workspaces can be had where nothing can be stored.
        when_found: hears of workspaces whose home is found, and was unknown or another one: what is
            remembered of them may be old.
    """

    def __init__(
        self,
        servers: Mapping[ServerName, Server],
        rules: PlacementRules,
        *,
        every: float,
        clock: Callable[[], float],
        note: Callable[[ServerName, Failure], None],
        when_found: Callable[[Slug], None],
    ) -> None:
        self._servers = servers
        self._rules = rules
        self._every = every
        self._clock = clock
        self._note = note
        self._when_found = when_found
        self._residences: dict[Slug, Residence] = {}
        self._homeless: dict[Slug, Homeless] = {}
        self._nowhere: dict[Slug, ServerName] = {}  # wanted, on no server, and not to be made
        self._wanted: Counter[Slug] = Counter()
        self._to_be_made: Counter[Slug] = Counter()
        self._views: dict[ServerName, ServerSurvey | Failure] = {}
        self._looked: dict[tuple[ServerName, Slug], tuple[Presence, float]] = {}
        self._begun = float("-inf")  # when the servers were asked last
        self._missing: frozenset[ServerName] = frozenset()
        self._trouble: str | None = None
        self._is_twice = False  # two names of the list lead to one server
        self._demand = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def homeless(self) -> Mapping[Slug, str]:
        """Why nothing is stored in each workspace that has no home now."""
        return {slug: each.reason for slug, each in self._homeless.items()}

    @property
    def trouble(self) -> str | None:
        """What is wrong with the list of servers as a whole."""
        return self._trouble

    def known(self, slug: Slug) -> Residence | None:
        """The home of a workspace where it is known now; nobody is asked."""
        return self._residences.get(slug)

    async def of(self, slug: Slug, right: RightToWork, *, makes: bool = True) -> Residence:
        """The home of a workspace, for as long as it takes to find one.

        Args:
            slug: the workspace.
            right: how to wait; the document stands aside.
            makes: whether the workspace is made where no server has it. If not, its home would be
                there, and nothing is remembered.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        while (found := self._known(slug, makes=makes)) is None:
            await self._next_round(slug, right, makes=makes)
        return found

    async def looked_up(self, slug: Slug, right: RightToWork) -> Residence | None:
        """The home of a workspace; None where it has none now, or where nobody knows."""
        for _ in range(_ROUNDS):
            if slug in self._residences or slug in self._homeless or slug in self._nowhere:
                break
            await self._next_round(slug, right, makes=False)
        return self._residences.get(slug)

    def read_anew(self, slug: Slug | None) -> None:
        """Have a workspace read anew that is on two servers, or (None) all such: it is being moved.

        What is remembered of it does not show what was brought there since.
        """
        for each in self._homeless if slug is None else [slug]:
            self._when_found(each)

    def doubt(self, slug: Slug) -> None:
        """A workspace does not work on its server: somebody may have moved or removed it."""
        if slug in self._residences:
            self._demand.set()

    async def watch(self) -> None:
        """Ask the servers, when somebody wants to know and every so often. For ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._demand.wait()
            self._demand.clear()
            wanted = set(self._wanted)
            await self._round({*wanted, *self._residences, *self._homeless})
            news, self._news = self._news, asyncio.Event()
            news.set()
            if not wanted.issuperset(self._wanted):
                self._demand.set()  # they came while the servers were asked

    def _known(self, slug: Slug, *, makes: bool) -> Residence | None:
        if makes or slug not in self._nowhere:
            return self._residences.get(slug)
        return Residence(self._nowhere[slug], Fence("never"))

    async def _next_round(self, slug: Slug, right: RightToWork, *, makes: bool) -> None:
        """Return when the servers were asked about a workspace once more."""
        self._wanted[slug] += 1
        self._to_be_made[slug] += makes
        if slug not in self._homeless:
            self._demand.set()
        try:
            async with right.aside():
                await self._news.wait()
        finally:
            self._wanted[slug] -= 1
            self._to_be_made[slug] -= makes
            self._wanted, self._to_be_made = +self._wanted, +self._to_be_made

    # A round

    async def _round(self, slugs: Iterable[Slug]) -> None:
        self._nowhere.clear()
        await self._survey()
        await self._keep_lists()
        placements: dict[Slug, Placement] = {}
        for n, slug in enumerate(slugs, 1):
            if n % _SLICE == 0:
                await asyncio.sleep(0)
            placements[slug] = await self._placed(slug)
        made = [slug for slug, each in placements.items() if await self._make(slug, each)]
        if made:
            await self._survey()
        for slug, placement in placements.items():
            if slug not in made:
                self._settle(slug, placement)
            elif self._is_there(again := await self._placed(slug)):
                self._settle(slug, again)
            else:
                self._settle(slug, Homeless("it was made, and no server lists it"))

    async def _survey(self) -> None:
        async def ask(name: ServerName) -> None:
            try:
                self._views[name] = await self._servers[name].survey()
            except Failure as failure:
                self._views[name] = failure.without_past()
                self._note(name, failure)

        self._begun = self._clock()
        async with asyncio.TaskGroup() as tasks:
            for name in self._servers:
                tasks.create_task(ask(name))
        lists = [view.kept for view in self._views.values() if isinstance(view, ServerSurvey)]
        self._missing = missing_from(self._servers.keys(), lists, self._rules.gone)

    async def _keep_lists(self) -> None:
        """Have all servers keep our list, while all of them answer and workspaces are made here."""
        self._trouble, self._is_twice = None, False
        kept = self._kept()
        if kept is None or not self._rules.may_create:
            return
        if twice := one_server_twice(kept):
            self._is_twice = True
            self._trouble = (
                f"servers {twice[0]} and {twice[1]} of ANYTHINGLLM_ENDPOINTS are one: give each its"
                " own address, and leave one of them away"
            )
            return
        to_write = lists_to_write(kept, self._rules.gone)
        for name, servers in to_write.items():
            try:
                await self._keep(name, servers)
            except Failure as failure:
                self._trouble = f"server {name} does not keep the list: {failure.message}"
                self._note(name, failure)
        if to_write:
            await self._survey()
            self._check_lists()

    async def _keep(self, name: ServerName, servers: ServerList) -> None:
        if not servers.fits:
            raise Failure("it holds too many names; name those that ANYTHINGLLM_ENDPOINTS_GONE may")
        await self._servers[name].keep(servers)

    def _check_lists(self) -> None:
        kept = self._kept()
        if kept is None or (self._trouble is None and lists_to_write(kept, self._rules.gone)):
            self._trouble = self._trouble or (
                "the servers do not keep our list of servers: does another instance have another?"
            )

    def _kept(self) -> dict[ServerName, ServerList | None] | None:
        """The list that each server keeps; None while not all answer."""
        views = self._views.items()
        kept = {name: view.kept for name, view in views if isinstance(view, ServerSurvey)}
        return kept if len(kept) == len(self._servers) else None

    async def _placed(self, slug: Slug) -> Placement:
        if self._is_twice:
            known = self._residences.get(slug)
            return Home(known.server) if known else Homeless(self._trouble or "")
        while True:
            seen = {name: self._presence(name, slug) for name in self._servers}
            placement = place(
                slug,
                seen,
                pin=self._rules.pins.get(slug),
                missing=self._missing,
                may_create=self._rules.may_create,
            )
            if not isinstance(placement, Undecided):
                return self._unless_trouble(placement)
            for name in placement.servers:
                await self._look(name, slug)

    def _unless_trouble(self, placement: Home | Homeless) -> Placement:
        if self._trouble is None or self._is_there(placement):
            return placement
        return Homeless(self._trouble)

    def _presence(self, name: ServerName, slug: Slug) -> Presence:
        view, known = self._views[name], self._residences.get(slug)
        is_home = known is not None and known.server == name
        looked, at = self._looked.get((name, slug), (Presence.THERE, 0.0))
        if isinstance(view, Failure):
            is_ours = is_home or looked is Presence.OURS
            return Presence.OURS if is_ours else Presence.SILENT
        if slug not in view.slugs:
            self._looked.pop((name, slug), None)
            return Presence.ABSENT
        if is_home:
            return Presence.OURS  # documents were sent there since anybody looked
        if looked is Presence.OURS:
            return looked
        is_home_found = known is not None and looked is Presence.STRANGE
        since = self._clock() - _STRANGE_SECONDS if is_home_found else self._begun
        return looked if at >= since else Presence.THERE

    async def _look(self, name: ServerName, slug: Slug) -> None:
        try:
            ours = await self._servers[name].holds_ours(slug)
        except Failure as failure:  # of this workspace only: the server may be well
            self._note(name, failure)
            presence = Presence.SILENT
        else:
            presence = Presence.OURS if ours else Presence.STRANGE
        self._looked[name, slug] = presence, self._clock()

    async def _make(self, slug: Slug, placement: Placement) -> bool:
        """Make a workspace that no server has and somebody wants; whether it was made."""
        if not isinstance(placement, Home) or not placement.creates or not self._to_be_made[slug]:
            return False
        try:
            await self._servers[placement.server].create(slug)
        except Failure as failure:
            self._note(placement.server, failure)
            self._tell(slug, Homeless(f"server {placement.server}: {failure.message}"))
            return False
        return True

    @staticmethod
    def _is_there(placement: Placement) -> bool:
        return not isinstance(placement, Home) or not placement.creates

    def _settle(self, slug: Slug, placement: Placement) -> None:
        """Remember what was found out."""
        before = self._residences.get(slug)
        if before is not None and placement != Home(before.server):
            del self._residences[slug]
            before.fence.close()
        if isinstance(placement, Homeless):
            self._tell(slug, placement)
            return
        if isinstance(placement, Home) and placement.creates:
            self._nowhere[slug] = placement.server
            if not self._to_be_made[slug]:
                self._homeless.pop(slug, None)
        elif isinstance(placement, Home):
            self._found(slug, placement.server)

    def _tell(self, slug: Slug, homeless: Homeless) -> None:
        for name in homeless.servers:  # people are about to change that
            self._looked.pop((name, slug), None)
        if not homeless.servers and not self._wanted[slug]:
            self._homeless.pop(slug, None)
            return
        if self._homeless.get(slug) != homeless:
            log.error(
                "workspace.homeless",
                workspace=slug,
                error=homeless.reason,
                consequence="its documents wait, the others go on; it is looked for again",
            )
        self._homeless[slug] = homeless

    def _found(self, slug: Slug, server: ServerName) -> None:
        if self._homeless.pop(slug, None) is not None:
            log.info("workspace.home_found", workspace=slug, server=server)
        if slug not in self._residences:
            self._when_found(slug)
            self._residences[slug] = Residence(server, Fence(f"the home of {slug}"))
