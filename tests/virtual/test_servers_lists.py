"""Two instances, three servers, and people who change the lists: a random play with its reference.

Whatever happens, no workspace has documents of the stream on two servers, and no tombstone is
answered while its document is anywhere. When all is put right in the end, everything that was
published last is stored once, and all of it is answered. What can't go on in between waits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from consumer.model.server_marks import Mark, MarkKind
from tests.virtual.loop import virtually
from tests.virtual.servers_world import ServersWorld, intruder, servers_world
from tests.virtual.world import RECOVERY, event

NAMES = ["a", "b", "c"]
SLUGS = [f"w{n}" for n in range(5)]
STEPS = 14
_QUICK = 8
SEEDS = 40  # `make test` plays some of them
WRONG = [["a"], ["b"], ["a:b", "b:a"], ["a", "z:b"], ["a", "b:c"], ["a:c", "b"], ["a", "b", "t:a"]]
AMBIGUITY = 120.0


class Play:
    """A play; its steps are drawn from ``chance``.

    Args:
        worlds: two instances, each with a partition of its own.
    """

    def __init__(self, worlds: list[ServersWorld], chance: random.Random) -> None:
        self.worlds = worlds
        self.chance = chance
        self.newest: dict[str, tuple[str, int]] = {}  # slug and chunks of what was published last
        self.ended: dict[str, ServersWorld] = {}  # documents, and who has their tombstone
        self.intruders: dict[str, str] = {}  # documents that another group brought, and their slugs
        self.listed = ["a", "b"]
        self.is_given_up = False  # the name c
        self.volumes: dict[str, dict[str, object]] = {}  # taken away from their servers

    @property
    def steps(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.documents, self.documents, self.tombstones, self.crash, self.outage, self.outage,
            self.wrong_list, self.wrong_list, self.add, self.give_up, self.pins, self.volume,
            self.intrude,
        ]  # fmt: skip

    async def run(self) -> None:
        """Who has different lists from the first moment is told, and has to name servers anew."""
        await self.pass_time()
        await self.documents()
        for _ in range(STEPS):
            await self.chance.choice(self.steps)()
            await self.pass_time()
        await self.put_right()

    # What happens

    async def documents(self) -> None:
        for _ in range(self.chance.randrange(1, 5)):
            n = self.chance.randrange(20)
            id = f"d{n}"
            if id not in self.ended:
                count = self.chance.randrange(0, 4)
                texts = [f"text {k} of {id}, {self.chance.random()}" for k in range(count)]
                slug, day = SLUGS[n % len(SLUGS)], self.worlds[0].loop.now / 86_400
                self.worlds[n % 2].publish(event(id, texts, day=day, technology=slug))
                self.newest[id] = (slug, count)

    async def tombstones(self) -> None:
        """Also by the instance that did not store the document: its partition has moved."""
        for id in self.chance.sample(sorted(self.newest), min(2, len(self.newest))):
            if id not in self.ended:
                world = self.worlds[int(id[1:]) % 2]
                if world._done() and self.chance.random() < 0.5:
                    await world.rebalance()
                    if world._committed == len(world.records):  # else it would come again
                        (world,) = {*self.worlds} - {world}
                        await world.rebalance()
                slug = self.chance.choice([None, self.newest[id][0]])
                world.publish(None, key=id, workspace=slug)
                self.newest[id] = (self.newest[id][0], 0)
                self.ended[id] = world

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
        await world.relist(*self.listed)

    async def add(self) -> None:
        """A server is added, in one instance after the other."""
        if not self.is_given_up:
            self.listed = ["a", "b", "c"]
            for world in self.worlds:
                await world.relist(*self.listed)
                await self.documents()
                await self.pass_time()

    async def give_up(self) -> None:
        """A server that holds nothing is removed; one instance begins with the old list again."""
        if self.listed == ["a", "b", "c"] and self.is_empty("c"):
            for world in self.worlds:
                await world.crash()
            if self.is_empty("c"):
                self.listed, self.is_given_up = ["a", "b"], True
                for name in self.listed:
                    self.worlds[0].mark(name, Mark(MarkKind.WITHOUT, "c"))
            old, new = self.worlds
            await old.start()
            await self.documents()
            await new.start()
            await self.pass_time()
            for world in self.worlds:
                await world.relist(*self.listed)

    async def pins(self) -> None:
        """All instances get a pin; it may be a wrong one."""
        pin = f"{self.chance.choice(SLUGS)}={self.chance.choice(self.listed)}"
        for world in self.worlds:
            await world.crash()
        for world in self.worlds:
            world.settings = world.beside(*self.listed, ANYTHINGLLM_PINS=pin).settings
            await world.start()
        await self.documents()

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

        That is seen when the next document of the workspace comes.
        """
        slug, name = self.chance.choice(SLUGS), self.chance.choice(self.listed)
        id = f"x{len(self.intruders)}"
        async with intruder(self.worlds[0], name) as other:
            other.publish(event(id, ["brought"], technology=slug))
            await other.settled()
        self.intruders[id] = slug
        self.worlds[0].publish(event(f"y-{id}", ["seen"], technology=slug))
        self.newest[f"y-{id}"] = (slug, 1)
        self.ended[f"y-{id}"] = self.worlds[0]
        await self.worlds[0].idle(2 * RECOVERY)

    async def pass_time(self) -> None:
        for world in self.worlds:
            await world.idle(self.chance.choice([0.5, 5.0, RECOVERY, 3 * RECOVERY]))
        self.check()

    # What always holds

    def check(self) -> None:
        first = self.worlds[0]
        for slug in SLUGS:
            holders = [
                name
                for name in NAMES
                if any(not each.startswith("x") for each in first.at(name, slug))
            ]
            assert len(holders) <= 1, f"{slug} is on {holders}"
        for id, world in self.ended.items():
            statuses = {each["status"] for each in world.results if each["identity"] == id}
            if "deleted" in statuses:
                assert not self.found(id), f"{id} is answered, and found"

    def is_empty(self, name: str) -> bool:
        return not any(self.worlds[0].at(name, slug) for slug in SLUGS)

    def found(self, id: str) -> Counter[str]:
        slug = self.newest[id][0]
        every = sum((self.worlds[0].at(name, slug) for name in NAMES), Counter[str]())
        return Counter({each: n for each, n in every.items() if each.rpartition("_")[0] == id})

    async def put_right(self) -> None:
        for world in self.worlds:
            await world.relist(*self.listed)
        for id in self.intruders:
            self.worlds[0].publish(None, key=id)
        for world in self.worlds:
            await world.settled(within=7200)
        await self.worlds[0].idle(2 * AMBIGUITY)
        self.check()
        for id, (_, count) in self.newest.items():
            assert self.found(id) == Counter({f"{id}_{n}": 1 for n in range(count)}), id
        for id, slug in self.intruders.items():
            assert not any(f"{id}_0" in self.worlds[0].at(name, slug) for name in NAMES), id
        for world in self.worlds:
            assert world.homeless == {}
            assert world.several.homes.trouble is None


@pytest.mark.parametrize(
    "seed",
    [pytest.param(n, marks=[pytest.mark.slow] if n >= _QUICK else []) for n in range(SEEDS)],
)
@virtually
async def test_nothing_is_lost_or_stored_twice_whatever_becomes_of_the_lists(seed: int) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            servers_world(
                *NAMES,
                listed=["a", "b"],
                ANYTHINGLLM_AMBIGUITY_SECONDS=f"{AMBIGUITY:g}",
                UPLOAD_TIMEOUT_SECONDS="60",
            )
        )
        second = await stack.enter_async_context(first.another("a", "b"))
        await Play([first, second], random.Random(seed)).run()
