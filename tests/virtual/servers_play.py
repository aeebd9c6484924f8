"""Some instances, three servers, and people who change the lists: a random play with its reference.

Whatever happens, no workspace has documents of the stream on two servers, but while it is moved, or
where instances have different pins, people made it beside its first document, or another service
brought some of it while its server was away: that is seen in time. No tombstone is answered while
its document is anywhere. When all is put right in the end, everything that was published last is
stored once, and all of it is answered. What can't go on in between waits.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from consumer.anythingllm import AnythingLLMError
from consumer.model.names import ServerName, Slug
from consumer.model.placement import nearest
from consumer.model.server_marks import Mark, MarkKind, move_mark, read_mark
from consumer.operations.moving.permission import MoveRefused
from tests.virtual.servers_kafka import move
from tests.virtual.servers_world import ServersWorld, alone, intruder, servers_world, single
from tests.virtual.world import RECOVERY, event

NAMES = ["a", "b", "c"]
SLUGS = [f"w{n}" for n in range(5)]
WRONG = [["a"], ["b"], ["a:b", "b:a"], ["a", "z:b"], ["a", "b:c"], ["a:c", "b"], ["a", "b", "t:a"]]
AMBIGUITY = 120.0
FOUND_WITHIN = 60 + RECOVERY + 1  # README, A workspace on two servers
_PAUSES = (0.5, 5.0, RECOVERY, 3 * RECOVERY)


class Play:
    """A play; its steps are drawn from ``chance``.

    Args:
        worlds: the instances, each with a partition of its own.
        steps: how many there are.
    """

    def __init__(self, worlds: list[ServersWorld], chance: random.Random, steps: int = 14) -> None:
        self.worlds = worlds
        self.count = steps
        self.chance = chance
        self.newest: dict[str, tuple[str, int]] = {}  # slug and chunks of what was published last
        self.ended: dict[str, ServersWorld] = {}  # documents, and who has their tombstone
        self.of_fresh: dict[
            str, ServersWorld
        ] = {}  # documents of fresh workspaces, and who has them
        self.split_seen = 0  # workspaces that were on two servers, and were seen in time
        self.intruders: dict[str, str] = {}  # documents that another group brought, and their slugs
        self.slugs = list(SLUGS)
        self.doubled: set[str] = set()  # workspaces that two servers may have
        self.members = 0  # of the group, while a workspace is moved
        self.listed = ["a", "b"]
        self.pin = ""  # of all instances
        self.is_given_up = False  # the name c
        self.volumes: dict[str, dict[str, object]] = {}  # taken away from their servers

    @property
    def steps(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.documents, self.documents, self.tombstones, self.crash, self.outage, self.outage,
            self.wrong_list, self.wrong_list, self.add, self.give_up, self.pins, self.volume,
            self.intrude, self.move, self.move, self.different_pins, self.one_server,
            self.lost_mark, self.namesake, self.namesake,
        ]  # fmt: skip

    async def run(self) -> None:
        """Who has different lists from the first moment is told, and has to name servers anew."""
        await self.pass_time()
        await self.documents()
        for _ in range(self.count):
            await self.chance.choice(self.steps)()
            await self.pass_time()
        await self.put_right()

    # What happens

    async def documents(self) -> None:
        for _ in range(self.chance.randrange(1, 5)):
            n = self.chance.randrange(20)
            id = f"d{n}"
            if id not in self.ended:
                self._publish(id, SLUGS[n % len(SLUGS)], self.chance.randrange(0, 4))

    def _publish(self, id: str, slug: str, count: int) -> None:
        texts = [f"text {k} of {id}, {self.chance.random()}" for k in range(count)]
        day = self.worlds[0].loop.now / 86_400
        self._of(id).publish(event(id, texts, day=day, technology=slug))
        self.newest[id] = (slug, count)

    async def tombstones(self) -> None:
        """Also by the instance that did not store the document: its partition has moved."""
        for id in self.chance.sample(sorted(self.newest), min(2, len(self.newest))):
            if id not in self.ended:
                world = self._of(id)
                if world._done() and self.chance.random() < 0.5:
                    await world.rebalance()
                    if world._committed == len(world.records):  # else it would come again
                        world = self.chance.choice([each for each in self.worlds if each != world])
                        await world.rebalance()
                self.end(id, world)

    def end(self, id: str, world: ServersWorld) -> None:
        if id not in self.ended:
            slug = self.chance.choice([None, self.newest[id][0]])
            world.publish(None, key=id, workspace=slug)
            self.newest[id] = (self.newest[id][0], 0)
            self.ended[id] = world

    def _of(self, id: str) -> ServersWorld:
        if id in self.of_fresh:
            return self.of_fresh[id]
        return self.worlds[int(id.rpartition("x")[2].lstrip("d")) % len(self.worlds)]

    async def crash(self) -> None:
        world = self.chance.choice(self.worlds)
        world.taken_over_at = world.loop.time()
        await world.crash(commit=False)
        await world.start()

    async def outage(self) -> None:
        """Of a server, with or without a restart of an instance meanwhile."""
        sim = self.worlds[0].sims[self.chance.choice(NAMES)]
        await sim.stop()
        await self.pass_time()
        if self.chance.random() < 0.5:
            await self.crash()
        await self.documents()
        await self.pass_time()
        await sim.start()

    async def wrong_list(self) -> None:
        """One instance has a list that is wrong, for a while."""
        world = self.chance.choice(self.worlds)
        await world.relist(*self.chance.choice(WRONG))
        await self.documents()
        await self.tombstones()
        await self.pass_time()
        await self.list_right(world)

    async def add(self) -> None:
        """A server is added, in one instance after the other."""
        if not self.is_given_up:
            self.listed = ["a", "b", "c"]
            for world in self.worlds:
                await self.list_right(world)
                await self.documents()
                await self.pass_time()

    async def give_up(self) -> None:
        """A server that holds nothing is removed; one instance begins with the old list again."""
        if self.listed == ["a", "b", "c"] and self.is_empty("c"):
            for world in self.worlds:
                await world.crash()
            if self.is_empty("c"):
                self.listed, self.is_given_up = ["a", "b"], True
                self.pin = "" if self.pin.endswith("=c") else self.pin
                for name in self.listed:
                    self.worlds[0].mark(name, Mark(MarkKind.WITHOUT, "c"))
            old, *others = self.worlds
            await old.start()
            await self.documents()
            for world in others:
                await world.start()
            await self.pass_time()
            for world in self.worlds:
                await self.list_right(world)

    async def pins(self) -> None:
        """All instances get a pin; it may be a wrong one."""
        self.pin = f"{self.chance.choice(SLUGS)}={self.chance.choice(self.listed)}"
        await self.list_all_right()
        await self.documents()

    async def list_right(self, world: ServersWorld) -> None:
        """An instance begins anew with the list and the pin that all have."""
        await world.relist(*self.listed, ANYTHINGLLM_PINS=self.pin)

    async def list_all_right(self) -> None:
        """All are stopped, and begin anew with them."""
        for world in self.worlds:
            await world.crash()
        for world in self.worlds:
            await self.list_right(world)

    async def volume(self) -> None:
        """A server comes back with an empty volume, which is noticed, and gets its own again."""
        name = self.chance.choice(["a", "b"])
        workspaces = self.worlds[0].sims[name].state.workspaces
        kept = dict(workspaces)
        workspaces.clear()
        await self.worlds[0].idle(2 * RECOVERY)
        if self.chance.random() < 0.5:
            await self.crash()
        await self.documents()
        await self.tombstones()
        await self.pass_time()
        assert not self.worlds[0].slugs(name), "something was made on an empty volume"
        workspaces.clear()
        workspaces.update(kept)

    async def intrude(self) -> None:
        """Another group brings a document to where the workspace may not live.

        That is seen when the next document of the workspace comes; but where its home is not heard
        of since an outage, who knows nothing of it takes the other server for it.
        """
        slug, name = self.chance.choice(SLUGS), self.chance.choice(self.listed)
        stations = [each for world in self.worlds for each in world.several.pipelines.values()]
        if any(each.gates.circuit.blocked for each in stations):
            self.doubled.add(slug)
        id = f"x{len(self.intruders)}"
        async with intruder(self.worlds[0], name) as other:
            other.publish(event(id, ["brought"], technology=slug))
            await other.settled()
        self.intruders[id] = slug
        self.worlds[0].publish(event(f"y-{id}", ["seen"], technology=slug))
        self.newest[f"y-{id}"] = (slug, 1)
        self.ended[f"y-{id}"] = self.worlds[0]
        await self.worlds[0].idle(2 * RECOVERY)

    async def move(self) -> None:
        """A workspace is moved; it may be killed, or an instance begins beside it."""
        slug, to = self.chance.choice(self.slugs), self.chance.choice(self.listed)
        await self.stop_all()
        await self.publish_some()
        moving = asyncio.create_task(self._moved(slug, to))
        fate = self.chance.randrange(4)
        if fate:
            await asyncio.sleep(self.chance.choice([self.chance.uniform(0, 3), AMBIGUITY - 1]))
            await self.publish_some()
        if fate == 1:
            moving.cancel()
        if fate == 2:
            self.members = 1
            await self.chance.choice(self.worlds).start()
        await asyncio.gather(moving, return_exceptions=True)
        error = None if moving.cancelled() else moving.exception()
        if error is not None and not isinstance(error, MoveRefused | AnythingLLMError):
            raise error
        self.members = 0
        await self.stop_all()
        for world in self.worlds:
            await world.start()
        await self.documents()

    async def different_pins(self) -> None:
        """Two instances have different pins, for a while; the workspace may be a fresh one."""
        slug = self.chance.choice([self.fresh(), *SLUGS])
        self.doubled.add(slug)
        for world, name in zip(self.worlds, self.chance.sample(self.listed, 2), strict=False):
            others = [] if self.pin.startswith(f"{slug}=") or not self.pin else [self.pin]
            pins = ",".join([f"{slug}={name}", *others])
            await world.relist(*self.listed, ANYTHINGLLM_PINS=pins)
        await self.pass_time()
        for world in self.worlds:
            self.first_document(slug, world)
        await self.documents()
        await self.tombstones()
        await self.pass_time()
        await self.seen_in_time(slug)
        for world in self.worlds:
            await self.list_right(world)

    async def namesake(self) -> None:
        """People make a workspace on a server while its first documents are on their way."""
        slug = self.fresh()
        self.doubled.add(slug)
        for name in self.listed:
            faults = self.worlds[0].sims[name].faults
            for path, most in (("*/workspace/new", 2), ("*/raw-text", 30)):
                faults.add("delay", path=path, seconds=self.chance.uniform(0, most))
        one, another = self.chance.sample(self.worlds, 2)
        self.first_document(slug, one)
        await asyncio.sleep(self.chance.uniform(0, 2))
        home = nearest(Slug(slug), map(ServerName, self.listed))
        name = self.chance.choice([each for each in self.listed if each != home])
        self.worlds[0].sims[name].state.create_workspace(slug, {})
        await asyncio.sleep(self.chance.choice([0, 0.5]))
        self.first_document(slug, another)
        await asyncio.sleep(self.chance.choice([1, 10, 60]))
        for name in self.listed:
            self.worlds[0].sims[name].faults.clear()
        await self.tombstones()
        await self.seen_in_time(slug)

    def fresh(self) -> str:
        """A slug that no server has."""
        self.slugs.append(f"w{len(self.slugs)}")
        return self.slugs[-1]

    def first_document(self, slug: str, world: ServersWorld) -> None:
        """One for an instance."""
        id = f"n{len(self.newest)}-{slug}"
        self.of_fresh[id] = world
        self._publish(id, slug, self.chance.randrange(1, 3))

    async def seen_in_time(self, slug: str) -> None:
        """A workspace that two servers have is nobody's any more within the bound of the README."""
        for seconds, most in ((FOUND_WITHIN, len(self.worlds) - 1), (RECOVERY + 1, 0)):
            await self.worlds[0].idle(seconds if len(self.holders(slug)) > 1 else 0)
            believe = [each for each in self.worlds if each.several.homes.known(Slug(slug))]
            if len(self.holders(slug)) > 1:  # else a tombstone has ended what one of them had
                self.split_seen += most == 0
                assert len(believe) <= most, f"{slug} is on {self.holders(slug)}"

    async def one_server(self) -> None:
        """An instance with a single server begins, and does nothing at all."""
        first = self.worlds[0]
        async with alone(first, single(first, self.chance.choice(self.listed))) as one:
            await one.client.health_check()  # as at every start
            for n in self.chance.sample(range(20), 4):
                slug, day = SLUGS[n % len(SLUGS)], first.loop.now / 86_400
                if self.chance.random() < 0.5:
                    one.publish(event(f"d{n}", ["wrong"], technology=slug, day=day))
                else:
                    one.publish(None, key=f"d{n}", workspace=self.chance.choice([slug, None]))
            await self.documents()
            await self.pass_time()
            await one.idle(0)
            assert one.results == []

    async def lost_mark(self) -> None:
        """Somebody removes the mark of what a server is; `workspaces mark` makes it again."""
        workspaces = self.worlds[0].sims[self.chance.choice(["a", "b"])].state.workspaces
        group = self.worlds[0].settings.kafka.group_id
        every = {slug: read_mark(Slug(slug), group) for slug in workspaces}
        own = [slug for slug, mark in every.items() if mark and mark.kind is MarkKind.IS]
        kept = {slug: workspaces.pop(slug) for slug in own}
        await self.documents()
        await self.tombstones()
        await self.pass_time()
        workspaces.update(kept)

    async def publish_some(self) -> None:
        if self.chance.random() < 0.5:
            await self.documents()
        if self.chance.random() < 0.5:
            for id in self.chance.sample(sorted(self.newest), min(2, len(self.newest))):
                self.end(id, self._of(id))

    async def stop_all(self) -> None:
        for world in self.worlds:
            world.taken_over_at = world.loop.time()
            await world.crash(commit=False)

    async def _moved(self, slug: str, to: str) -> bool:
        """Move a workspace; whether all of it is there now."""
        listed = self.worlds[0].beside(*self.listed)
        report = await move(self.worlds, slug, to, listed=listed, running=lambda: self.members)
        return not report.left

    async def pass_time(self) -> None:
        for world in self.worlds:
            await world.idle(self.chance.choice(_PAUSES))
        self.check()

    # What always holds

    def check(self) -> None:
        for slug in self.slugs:
            holders = self.holders(slug)
            may = self.is_moving(slug) or slug in self.doubled
            assert may or len(holders) <= 1, f"{slug} is on {holders}"
        for id, world in self.ended.items():
            statuses = {each["status"] for each in world.results if each["identity"] == id}
            if "deleted" in statuses:
                assert not self.found(id), f"{id} is answered, and found"

    def holders(self, slug: str) -> list[str]:
        """The servers that have documents of the stream in a workspace."""
        worlds = self.worlds[0]
        ours = {name: [id for id in worlds.at(name, slug) if id[0] != "x"] for name in NAMES}
        return [name for name, ids in ours.items() if ids]

    def is_moving(self, slug: str) -> bool:
        mark = move_mark(Slug(slug)).slug(self.worlds[0].settings.kafka.group_id)
        return any(mark in sim.state.workspaces for sim in self.worlds[0].sims.values())

    def is_empty(self, name: str) -> bool:
        return not any(self.worlds[0].at(name, slug) for slug in self.slugs)

    def found(self, id: str) -> Counter[str]:
        slug = self.newest[id][0]
        every = sum((self.worlds[0].at(name, slug) for name in NAMES), Counter[str]())
        return Counter({each: n for each, n in every.items() if each.rpartition("_")[0] == id})

    async def put_right(self) -> None:
        self.pin = ""
        await self.list_all_right()
        for id in self.intruders:
            self.worlds[0].publish(None, key=id)
        await self.pass_time()
        to_move = [slug for slug in self.slugs if self.is_moving(slug) or slug in self.doubled]
        if to_move:
            await self.stop_all()
            for slug in to_move:
                assert await self._moved(slug, self.chance.choice(self.listed)), slug
            self.doubled.clear()
            for world in self.worlds:
                await world.start()
        for world in self.worlds:
            await world.settled(within=7200)
        await self.worlds[0].idle(2 * AMBIGUITY)
        self.check()
        for id, (_, count) in self.newest.items():
            wanted, found = Counter({f"{id}_{n}": 1 for n in range(count)}), self.found(id)
            assert found == wanted, f"{id}: {found} and not {wanted}"
        for id, slug in self.intruders.items():
            assert not any(f"{id}_0" in self.worlds[0].at(name, slug) for name in NAMES), id
        for world in self.worlds:
            assert world.homeless == {}
            assert world.several.homes.trouble is None


async def play(seed: int, *, steps: int = 14) -> None:
    """One play on a virtual loop; with an odd seed there are three instances."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            servers_world(
                *NAMES,
                listed=["a", "b"],
                ANYTHINGLLM_AMBIGUITY_SECONDS=f"{AMBIGUITY:g}",
                UPLOAD_TIMEOUT_SECONDS="60",
            )
        )
        others = [
            await stack.enter_async_context(first.another("a", "b")) for _ in range(1 + seed % 2)
        ]
        await Play([first, *others], random.Random(seed), steps).run()
