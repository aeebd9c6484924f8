"""Homes: on which of several AnythingLLMs each workspace lives, found out and watched.

`model.placement` decides by what `pipeline.census` was told, in rounds: at once when somebody wants
a workspace that is not known, and every so often, because people and other instances change what is
there. What takes long, looking into a workspace or making one, is done beside the rounds.

What is always true:
- A workspace is made only here, after the servers keep our marks. Then all servers are asked once
  more, and only what they say then is a home.
- When a home ends, its fence is closed: documents in work send nothing more to it, and ask anew.
- A server that is silent keeps the workspaces that are known to live there: their documents wait
  for it. A workspace that two servers have stays paused while one of them is away. What nobody
  knows waits until all servers answer.
- One task asks; documents only wait. A thousand of them cost as much as one.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from consumer.model.fault import Failure
from consumer.model.names import ServerName, Slug
from consumer.model.placement import Home, Homeless, Placement, Presence, Undecided, place
from consumer.model.server_marks import split_mark
from consumer.pipeline.awaited_moves import AwaitedMoves
from consumer.pipeline.census import Census, MayBegin
from consumer.pipeline.namesakes import Namesakes
from consumer.pipeline.ports import RightToWork, Server
from consumer.resilience.fence import Fence

log = structlog.get_logger(__name__)

_SLICE = 500  # workspaces that are placed between two turns of the event loop
_CALLS_AT_ONCE = 8  # to one server, each of which may take long


@dataclass(frozen=True, slots=True)
class Residence:
    """A workspace's home, for as long as the fence is open."""

    server: ServerName
    fence: Fence


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
        self._namesakes = Namesakes(clock)
        self._moves = AwaitedMoves(self._census)
        self._calls = {name: asyncio.Semaphore(_CALLS_AT_ONCE) for name in servers}
        self._residences: dict[Slug, Residence] = {}
        self._homeless: dict[Slug, Homeless] = {}
        self._ours: dict[Slug, tuple[ServerName, ...]] = {}  # of the homeless, as seen last
        # On no server, and not to be made: where it would be, by which round.
        self._nowhere: dict[Slug, tuple[ServerName, int]] = {}
        self._wanted: Counter[Slug] = Counter()
        self._to_be_made: Counter[Slug] = Counter()
        self._looked: dict[Slug, float] = {}  # when all that was needed was looked at
        self._made: set[Slug] = set()  # and not seen yet
        self._under_way: dict[Slug, asyncio.Task[None]] = {}
        self._told: defaultdict[Slug, asyncio.Event] = defaultdict(asyncio.Event)
        self._begun = self._ended = 0  # rounds
        self._epoch = 0  # what was asked in a former one may have changed unseen
        self._round_ended = asyncio.Event()
        self._demand = asyncio.Event()
        self._demand.set()  # marks are made before the first document comes

    @property
    def homeless(self) -> Mapping[Slug, str]:
        """Why nothing is stored in each workspace that has no home now."""
        return {slug: each.reason for slug, each in self._homeless.items()}

    @property
    def trouble(self) -> str | None:
        """What is wrong with the list of servers as a whole, and what keeps tombstones waiting."""
        return "; ".join(filter(None, [self._census.trouble, self._moves.trouble])) or None

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
        asked = self._begun
        while (found := self._residences.get(slug)) is None:
            nowhere = self._nowhere.get(slug)
            if not makes and nowhere is not None and nowhere[1] > asked:
                return Residence(nowhere[0], Fence("never"))
            await self._told_of(slug, right, makes=makes)
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
        self._demand.set()
        await self._asked(right)
        was_still = True
        with self._moves.waiting(slug):
            while (moves := self._moves.of(slug)) or not self._census.is_complete:
                was_still = was_still and not moves
                await self._asked(right)
        return was_still

    async def _asked(self, right: RightToWork) -> None:
        """Return when a round has ended that begins from now on."""
        after = self._begun
        async with right.aside():
            while self._ended <= after:
                await self._round_ended.wait()

    def stint(self, name: ServerName) -> int:
        """Changes when a server was found to be another one than it is listed as."""
        return self._census.stints[name]

    def read_anew(self, slug: Slug | None) -> None:
        """Have a workspace read anew on all servers but its home; None: every one without a home.

        What is remembered of it does not show what was brought there since.
        """
        for each in self._homeless if slug is None else [slug]:
            known = self._residences.get(each)
            for name in self._servers:
                if known is None or known.server != name:
                    self._forget(name, each)

    def forget(self) -> None:
        """Have every home found out anew: a workspace may have been moved while we had no part."""
        for residence in self._residences.values():
            residence.fence.close()
        self._residences.clear()
        self._nowhere.clear()
        self._epoch += 1

    def doubt(self, slug: Slug) -> None:
        """A workspace does not work on its server: somebody may have moved or removed it."""
        if slug in self._residences:
            self._demand.set()

    async def watch(self) -> None:
        """Ask the servers, when somebody wants to know and every so often. For ever."""
        due = self._clock() + self._every
        async with asyncio.TaskGroup() as tasks:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - self._clock())):
                        await self._demand.wait()
                self._demand.clear()
                if is_due := self._clock() >= due:
                    due = self._clock() + self._every
                await self._round(tasks, is_due=is_due)

    async def _told_of(self, slug: Slug, right: RightToWork, *, makes: bool) -> None:
        """Return when it was found out once more where a workspace lives."""
        told = self._told[slug]
        self._wanted[slug] += 1
        self._to_be_made[slug] += makes
        if slug not in self._homeless and slug not in self._under_way:
            self._demand.set()
        try:
            async with right.aside():
                await told.wait()
        finally:
            self._wanted[slug] -= 1
            self._to_be_made[slug] -= makes
            self._wanted, self._to_be_made = +self._wanted, +self._to_be_made
            if slug not in self._wanted:
                self._told.pop(slug, None)

    # A round

    async def _round(self, tasks: asyncio.TaskGroup, *, is_due: bool) -> None:
        self._begun += 1
        if is_due:
            self._nowhere = {k: each for k, each in self._nowhere.items() if k in self._wanted}
        stints, epoch = self._census.stints.copy(), self._epoch
        has_changed = await self._census.ask()
        if epoch != self._epoch:
            self._demand.set()
            return
        for name in self._census.stints - stints:
            self._forget(name, None)
        slugs = set(self._wanted)
        if is_due or has_changed:
            slugs.update(self._residences, self._homeless)
        for n, slug in enumerate(slugs, 1):
            if n % _SLICE == 0:
                await asyncio.sleep(0)
            if slug not in self._under_way:
                self._act(tasks, slug, self._placed(slug, {}))
        self._ended = self._begun
        ended, self._round_ended = self._round_ended, asyncio.Event()
        ended.set()

    def _act(self, tasks: asyncio.TaskGroup, slug: Slug, placement: Placement) -> None:
        """Go on with a workspace by what is known of it."""
        if isinstance(placement, Undecided):
            if slug in self._residences or self._is_due(slug):
                self._begin(tasks, slug, self._decide(tasks, slug))
        elif isinstance(placement, Home) and placement.creates and self._to_be_made[slug]:
            self._make_where_allowed(tasks, slug, placement)
        else:
            self._settle(slug, placement)
            self._keep_split_mark(tasks, slug, placement)

    def _keep_split_mark(
        self, tasks: asyncio.TaskGroup, slug: Slug, placement: Home | Homeless
    ) -> None:
        """Have the servers remember that two have a workspace, for whoever starts without one."""
        views = self._census.views
        marked, is_split = views.split_on(slug), len(self._ours.get(slug, ())) > 1
        if is_split:
            answering = [name for name, each in views.surveys.items() if each is not None]
            todo = [name for name in answering if name not in marked]
        else:
            todo = list(marked) if isinstance(placement, Home) else []
        if todo and slug not in self._under_way:
            self._begin(tasks, slug, self._mark_split(slug, todo, make=is_split))

    async def _mark_split(self, slug: Slug, names: Sequence[ServerName], *, make: bool) -> None:
        mark = split_mark(slug)
        for name in names:
            server = self._servers[name]
            try:
                await (server.make_mark(mark) if make else server.remove_mark(mark))
            except Failure as failure:  # it is tried again in the next round
                self._note(name, failure)

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
            looks = (self._look(name, slug, looked) for name in placement.servers)
            await asyncio.gather(*looks)
            if self._census.views.split(slug) != split:
                looked.clear()  # another instance has seen more since these looks began
        del self._under_way[slug]
        if epoch != self._epoch:
            self._demand.set()
            return
        self._looked[slug] = self._clock()
        self._act(tasks, slug, placement)

    async def _look(self, name: ServerName, slug: Slug, looked: dict[ServerName, Presence]) -> None:
        begun = self._clock()
        try:
            async with self._calls[name]:
                ours = await self._servers[name].holds_ours(slug)
        except Failure as failure:  # of this workspace only: the server may be well
            self._note(name, failure)
            looked[name] = Presence.SILENT
            return
        looked[name] = Presence.OURS if ours else Presence.STRANGE
        if not ours:
            self._namesakes.note(name, slug, begun, is_again=slug in self._residences)

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
            self._demand.set()

    def _placed(self, slug: Slug, looked: Mapping[ServerName, Presence]) -> Placement:
        census = self._census
        return place(
            slug,
            {name: self._presence(name, slug, looked.get(name)) for name in self._servers},
            pin=self._rules.pins.get(slug),
            missing=census.missing,
            unproven=census.unproven,
            moving=census.views.moves(slug),
            split=census.views.split(slug),
            may_create=self._rules.may_create,
        )

    def _presence(self, name: ServerName, slug: Slug, looked: Presence | None) -> Presence:
        known, has_it = self._residences.get(slug), self._census.has(name, slug)
        is_home = known is not None and known.server == name
        if has_it is None:
            is_ours = is_home or name in self._ours.get(slug, ())
            return Presence.OURS if is_ours else Presence.SILENT
        if not has_it:
            self._namesakes.drop(name, slug)
            return Presence.ABSENT
        if is_home:
            return Presence.OURS  # documents were sent there since anybody looked
        if looked is None and known is not None:
            # Whoever marked it as split has seen more than we remember.
            is_known = self._namesakes.is_known(name, slug) and not self._census.views.split(slug)
            return Presence.STRANGE if is_known else Presence.THERE
        return looked or Presence.THERE

    def _settle(self, slug: Slug, placement: Home | Homeless) -> None:
        """Remember what was found out, and tell those who wait."""
        before = self._residences.get(slug)
        if before is not None and placement != Home(before.server):
            del self._residences[slug]
            before.fence.close()
        if isinstance(placement, Homeless):
            self._tell(slug, placement)
        elif placement.creates:
            self._nowhere[slug] = placement.server, self._begun
            self._forget_trouble(slug)
        else:
            self._found(slug, placement.server)
        if (told := self._told.pop(slug, None)) is not None:
            told.set()

    def _tell(self, slug: Slug, homeless: Homeless) -> None:
        if not homeless.servers and not self._wanted[slug]:
            self._forget_trouble(slug)
            return
        if self._homeless.get(slug) != homeless:
            log.error(
                "workspace.homeless",
                workspace=slug,
                error=homeless.reason,
                consequence="its documents wait, the others go on; it is looked for again",
            )
        self._homeless[slug] = homeless
        self._ours[slug] = homeless.servers

    def _found(self, slug: Slug, server: ServerName) -> None:
        if self._forget_trouble(slug):
            log.info("workspace.home_found", workspace=slug, server=server)
        if slug not in self._residences:
            for name in self._servers:
                self._forget(name, slug)
            self._residences[slug] = Residence(server, Fence(f"the home of {slug}"))

    def _forget_trouble(self, slug: Slug) -> bool:
        """Nothing is wrong with a workspace; whether something was."""
        self._made.discard(slug)
        self._looked.pop(slug, None)
        self._ours.pop(slug, None)
        return self._homeless.pop(slug, None) is not None
