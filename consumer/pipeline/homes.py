"""Homes: on which of several AnythingLLMs each workspace lives, found out and watched.

`model.placement` decides by what `pipeline.census` was told, in rounds: at once when somebody wants
a workspace that is not known, and every so often, because people and other instances change what is
there. What takes long, looking into a workspace or making one, is done beside the rounds.

What is always true:
- A workspace is made only here, after the servers keep our marks. Then all servers are asked once
  more, and only what they say then is a home.
- A server that is silent keeps the workspaces that are known to live there: their documents wait
  for it. A workspace that two servers have stays paused while one of them is away. What nobody
  knows waits until all servers answer.
- One task asks; documents only wait (`pipeline.seekers`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from consumer.model.fault import Failure
from consumer.model.names import ServerName, Slug
from consumer.model.placement import Home, Homeless, Placement, Presence, Undecided, place
from consumer.pipeline.awaited_moves import AwaitedMoves
from consumer.pipeline.census import Census, MayBegin
from consumer.pipeline.ports import RightToWork, Server
from consumer.pipeline.presences import Presences
from consumer.pipeline.residences import Residence, Residences
from consumer.pipeline.rounds import Rounds
from consumer.pipeline.seekers import Seekers
from consumer.pipeline.split_marks import SplitMarks
from consumer.resilience.fence import Fence

_SLICE = 500  # workspaces that are placed between two turns of the event loop
_CALLS_AT_ONCE = 8  # to one server, each of which may take long


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """What the settings say about several servers.

    Args:
        group: the consumer group whose marks count.
        pins: the servers of single workspaces.
        may_create: whether missing workspaces are made.
        patience: seconds for the answer of a server.
        every: seconds between two rounds that nobody asked for.
    """

    group: str
    pins: Mapping[Slug, ServerName]
    may_create: bool
    patience: float
    every: float


class Homes:
    """See the module's docstring.

    Args:
        servers: all of the list.
        may_begin: see `Census`.
        clock: monotonic seconds.
        rng: makes tokens of servers.
        note: hears of servers that do not answer well. That they do says little: a list of
            workspaces can be had where nothing can be stored.
        forget: forgets what is remembered of a workspace on a server, or (None) of all: it may be
            old, or of another server.
    """

    def __init__(
        self,
        servers: Mapping[ServerName, Server],
        rules: PlacementRules,
        *,
        may_begin: MayBegin,
        clock: Callable[[], float],
        rng: random.Random,
        note: Callable[[ServerName, Failure], None],
        forget: Callable[[ServerName, Slug | None], None],
    ) -> None:
        self._servers = servers
        self._rules = rules
        self._every = rules.every
        self._clock = clock
        self._note = note
        self._forget = forget
        self._census = Census(
            servers,
            group=rules.group,
            patience=rules.patience,
            every=rules.every,
            may_begin=may_begin,
            clock=clock,
            rng=rng,
            note=note,
        )
        self._rounds = Rounds(rules.every, clock)
        self._moves = AwaitedMoves(self._census, self._rounds)
        self._split_marks = SplitMarks(servers, note)
        self._calls = {name: asyncio.Semaphore(_CALLS_AT_ONCE) for name in servers}
        self._residences = Residences(servers.keys(), forget)
        self._presences = Presences(
            servers, self._calls, self._census, self._residences, note=note, clock=clock
        )
        # On no server, and not to be made: where it would be, by which round.
        self._nowhere: dict[Slug, tuple[ServerName, int]] = {}
        self._seekers = Seekers()
        self._looked: dict[Slug, float] = {}  # when all that was needed was looked at
        self._made: set[Slug] = set()  # and not seen yet
        self._under_way: dict[Slug, asyncio.Task[None]] = {}
        self._epoch = 0  # what was asked in a former one may have changed unseen

    @property
    def homeless(self) -> Mapping[Slug, str]:
        """Why nothing is stored in each workspace that has no home now."""
        return {slug: each.reason for slug, each in self._residences.homeless.items()}

    @property
    def trouble(self) -> str | None:
        """What is wrong with the list of servers as a whole, and what keeps tombstones waiting."""
        return "; ".join(filter(None, [self._census.trouble, self._moves.trouble])) or None

    def known(self, slug: Slug) -> Residence | None:
        """The home of a workspace where it is known now; nobody is asked."""
        return self._residences.of(slug)

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
        asked = self._rounds.begun
        while (found := self._residences.of(slug)) is None:
            nowhere = self._nowhere.get(slug)
            if not makes and nowhere is not None and nowhere[1] > asked:
                return Residence(nowhere[0], Fence("never"))
            if slug not in self._residences.homeless and slug not in self._under_way:
                self._rounds.demand()
            await self._seekers.told(slug, right, makes=makes)
        return found

    async def all_were_asked(self, slug: Slug | None, right: RightToWork) -> bool:
        """Return when no server can be there that was not asked, by what all say from now on.

        Only then may it be said that something is nowhere: a server that is missing from our list,
        or that is another one than it is listed as, was not asked. While a workspace is moved, a
        text that was removed from the old server may be on its way to the new one.

        Args:
            slug: the workspace that it is about; None: all of them.
            right: how to wait; the document stands aside.

        Returns:
            Whether nothing was moved meanwhile. If not, all have to be asked once more.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        return await self._moves.all_were_asked(slug, right)

    def stint(self, name: ServerName) -> int:
        """Changes when a server was found to be another one than it is listed as."""
        return self._census.stints[name]

    def read_anew(self, slug: Slug | None) -> None:
        """Have a workspace read anew on all servers but its home; None: every one without a home.

        What is remembered of it does not show what was brought there since.
        """
        for each in self._residences.homeless if slug is None else [slug]:
            known = self._residences.of(each)
            for name in self._servers:
                if known is None or known.server != name:
                    self._forget(name, each)

    def forget(self) -> None:
        """Have every home found out anew: a workspace may have been moved while we had no part."""
        self._residences.end_all()
        self._nowhere.clear()
        self._epoch += 1

    def doubt(self, slug: Slug) -> None:
        """A workspace does not work on its server: somebody may have moved or removed it."""
        if slug in self._residences.every:
            self._rounds.demand()

    async def watch(self) -> None:
        """Ask the servers, when somebody wants to know and every so often. For ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                is_due = await self._rounds.next()
                await self._round(tasks, is_due=is_due)

    # A round

    async def _round(self, tasks: asyncio.TaskGroup, *, is_due: bool) -> None:
        wanted = self._seekers.wanted
        if is_due:
            self._nowhere = {k: each for k, each in self._nowhere.items() if k in wanted}
        stints, epoch = self._census.stints.copy(), self._epoch
        has_changed = await self._census.ask()
        if epoch != self._epoch:
            self._rounds.demand()
            return
        for name in self._census.stints - stints:
            self._forget(name, None)
        slugs = set(self._seekers.wanted)
        if is_due or has_changed:
            slugs.update(self._residences.every, self._residences.homeless)
        for n, slug in enumerate(slugs, 1):
            if n % _SLICE == 0:
                await asyncio.sleep(0)
            if slug not in self._under_way:
                self._act(tasks, slug, self._placed(slug, {}))
        self._rounds.end()

    def _act(self, tasks: asyncio.TaskGroup, slug: Slug, placement: Placement) -> None:
        """Go on with a workspace by what is known of it."""
        if isinstance(placement, Undecided):
            if slug in self._residences.every or self._is_due(slug):
                self._begin(tasks, slug, self._decide(tasks, slug))
        elif isinstance(placement, Home) and placement.creates and self._seekers.have_it_made(slug):
            self._make_where_allowed(tasks, slug, placement)
        else:
            self._settle(slug, placement)
            self._keep_split_mark(tasks, slug, placement)

    def _keep_split_mark(
        self, tasks: asyncio.TaskGroup, slug: Slug, placement: Home | Homeless
    ) -> None:
        wrong = self._split_marks.wrong_on(slug, self._census.views, placement)
        if wrong and slug not in self._under_way:
            self._begin(tasks, slug, self._split_marks.put_right(slug, wrong, placement))

    def _is_due(self, slug: Slug) -> bool:
        """Whether a workspace without a home may be looked into again: it may be a large one."""
        return self._clock() - self._looked.get(slug, float("-inf")) >= self._every

    def _make_where_allowed(self, tasks: asyncio.TaskGroup, slug: Slug, home: Home) -> None:
        if why := self._census.why_not_made_on(home.server):
            self._settle(slug, Homeless(why))
        elif slug in self._made:
            self._made.discard(slug)
            self._settle(slug, Homeless("it was made, and no server lists it"))
        else:
            self._begin(tasks, slug, self._make(slug, home.server))

    def _begin(
        self, tasks: asyncio.TaskGroup, slug: Slug, work: Coroutine[object, object, None]
    ) -> None:
        async def run() -> None:
            try:
                await work
            finally:
                if self._under_way.get(slug) is task:
                    del self._under_way[slug]

        task = self._under_way[slug] = tasks.create_task(run())

    async def _decide(self, tasks: asyncio.TaskGroup, slug: Slug) -> None:
        """Look into all workspaces of the slug that it depends on, side by side."""
        looked: dict[ServerName, Presence] = {}
        epoch = self._epoch
        while isinstance(placement := self._placed(slug, looked), Undecided):
            split = self._census.views.split(slug)
            found = await asyncio.gather(
                *(self._presences.look(name, slug) for name in placement.servers)
            )
            looked.update(zip(placement.servers, found, strict=True))
            if self._census.views.split(slug) != split:
                looked.clear()  # another instance has seen more since these looks began
        del self._under_way[slug]
        if epoch != self._epoch:
            self._rounds.demand()
            return
        self._looked[slug] = self._clock()
        self._act(tasks, slug, placement)

    async def _make(self, slug: Slug, server: ServerName) -> None:
        """Make a workspace; what all servers say in the next round is its home."""
        try:
            async with self._calls[server]:
                await self._servers[server].create(slug)
        except Failure as failure:
            self._note(server, failure)
            self._settle(slug, Homeless(f"server {server}: {failure.message}"))
        else:
            self._made.add(slug)
            self._rounds.demand()

    def _placed(self, slug: Slug, looked: Mapping[ServerName, Presence]) -> Placement:
        census = self._census
        return place(
            slug,
            self._presences.of(slug, looked),
            pin=self._rules.pins.get(slug),
            missing=census.missing,
            unproven=census.unproven,
            moving=census.views.moves(slug),
            split=census.views.split(slug),
            may_create=self._rules.may_create,
        )

    def _settle(self, slug: Slug, placement: Home | Homeless) -> None:
        """Remember what was found out, and tell those who wait."""
        self._residences.end_unless(slug, placement)
        is_wanted = slug in self._seekers.wanted
        if isinstance(placement, Homeless) and (placement.servers or is_wanted):
            self._residences.tell(slug, placement)
        else:
            self._made.discard(slug)
            self._looked.pop(slug, None)
            self._settle_untroubled(slug, placement)
        self._seekers.tell(slug)

    def _settle_untroubled(self, slug: Slug, placement: Home | Homeless) -> None:
        if isinstance(placement, Home) and not placement.creates:
            self._residences.found(slug, placement.server)
            return
        self._residences.end_trouble(slug)
        if isinstance(placement, Home):
            self._nowhere[slug] = placement.server, self._rounds.begun
