"""A simulated server whose clock the tests move, and what tests of upkeep do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from consumer.anythingllm import AnythingLLMConfig, CircuitBreakerConfig
from consumer.anythingllm.inventory import Inventory, open_inventory
from consumer.model.document import ProcessedDocument
from consumer.model.identity import IdentityTemplate
from consumer.model.names import Slug
from consumer.operations.workspaces.repair import Repair, RepairOutcome
from consumer.operations.workspaces.verify import PAUSE, Upkeep, UpkeepRules, WorkspacesReport
from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator.state import SourceFile
from tests.client.support import client_for

SETTLED = 600.0
START = 1_795_000_000.0


@dataclass(slots=True)
class Clock:
    """The server's clock, moved by tests and by whoever would wait for it.

    Args:
        now: epoch seconds.
        waited: what was waited for.
        meanwhile: happens once, in the first wait of more than `least` seconds.
        least: see `meanwhile`.
    """

    now: float = START
    waited: list[float] = field(default_factory=list)
    meanwhile: Callable[[float], Awaitable[None]] | None = None
    least: float = PAUSE

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Waiting takes no time."""
        self.waited.append(seconds)
        if self.meanwhile is not None and seconds > self.least:
            happens, self.meanwhile = self.meanwhile, None
            await happens(seconds)
        self.now += seconds


@dataclass(slots=True)
class Place:
    """A simulated server, and what a test does with it."""

    server: Simulator
    clock: Clock
    notes: list[str] = field(default_factory=list)

    async def store(self, slug: str, *documents: ProcessedDocument) -> None:
        """Store documents as the service does, long ago."""
        async with client_for(self.server) as client:
            for each in documents:
                await client.get_or_create_workspace(slug)
                result = await client.upload_document(slug, each)
                assert result.status == "succeeded"
        self.clock.now += SETTLED + 100

    async def put(self, text: str, slugs: str = "", **metadata: object) -> str:
        """Upload a text as anybody might; its location."""
        body = {
            "textContent": text,
            "addToWorkspaces": slugs,
            "metadata": {"title": "a text", **metadata},
        }
        return await self._post("document/raw-text", body)

    async def embed(self, slug: str, location: str) -> None:
        """Add a file to a workspace, as people do in AnythingLLM's pages."""
        await self._post(f"workspace/{slug}/update-embeddings", {"adds": [location]})

    async def double(self, slug: str, text: str) -> str:
        """Upload again what is stored, marker and all, as after a lost answer."""
        (source,) = {source for source, stored, _ in self.server.chunks(slug) if stored == text}
        location = await self.put(text, slug, docSource=source)
        self.clock.now += SETTLED + 100
        return location

    async def _post(self, path: str, body: object) -> str:
        headers = {"Authorization": f"Bearer {self.server.api_key}"}
        url = f"{self.server.endpoint}/api/v1/{path}"
        async with aiohttp.ClientSession() as session:
            answer = await session.post(url, json=body, headers=headers)
            assert answer.status == 200
            fields = await answer.json()
        documents = fields.get("documents")
        return str(documents[0]["location"]) if documents else ""

    async def verify(self, *slugs: str, identity: str = "{id}") -> WorkspacesReport:
        async with self.opened(identity) as (_, upkeep):
            return await upkeep.verify(
                await upkeep.choose([Slug(slug) for slug in slugs]), whole=not slugs
            )

    async def repair(self, *slugs: str) -> RepairOutcome:
        async with self.opened() as (inventory, upkeep):
            chosen = await upkeep.choose([Slug(slug) for slug in slugs])
            before = await upkeep.verify(chosen, whole=not slugs)
            work = Repair(
                inventory,
                upkeep,
                before,
                settled=SETTLED,
                tell=self.notes.append,
                sleep=self.clock.sleep,
            )
            await work.run()
            after = await upkeep.verify(chosen, whole=not slugs, mine=work.renewed)
            return RepairOutcome(before, after)

    @asynccontextmanager
    async def opened(self, identity: str = "{id}") -> AsyncIterator[tuple[Inventory, Upkeep]]:
        """An inventory and who looks at it."""
        config = AnythingLLMConfig(
            self.server.endpoint,
            self.server.api_key,
            circuit_breaker=CircuitBreakerConfig(3, 60, 5),
        )
        rules = UpkeepRules(
            IdentityTemplate.parse(identity), lambda technology: Slug("docs"), SETTLED
        )
        async with open_inventory(config) as inventory:
            yield inventory, Upkeep(inventory, rules, sleep=self.clock.sleep)

    def file_of(self, text: str) -> SourceFile:
        """The only file of this text."""
        (file,) = [each for each in self.server.state.files.values() if each.text == text]
        return file

    def copies_of(self, text: str) -> list[str]:
        """The locations of this text, in order."""
        files = self.server.state.files.values()
        return sorted(each.location for each in files if each.text == text)

    def source_of(self, text: str) -> str:
        """The marker of a stored text."""
        (source,) = {source for source, stored, _ in self.server.chunks("docs") if stored == text}
        return source


def kinds(report: WorkspacesReport) -> list[str]:
    return [each.kind.value for each in report.findings]


def locations_of(place: Place, slug: str) -> list[str]:
    workspace = place.server.state.workspaces[slug]
    return sorted(row.file.location for row in workspace.rows.values())
