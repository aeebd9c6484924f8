"""Moving a workspace from one of several servers to another: a command, never a side effect.

What always holds:

- Nothing of the service is at work meanwhile: the consumer group has no members, and every server
  keeps a mark that the workspace is being moved, from before the first step until after the last.
  An instance that is started lets its documents wait.
- Stopped in the middle, every document is on one of the servers, and the command run again goes on.
  What one that was killed has sent may still take effect: whoever goes on waits for the ambiguity
  time first.
- A tombstone that comes meanwhile waits until the marks are gone. They go only while the group has
  no members still: else one of them may have removed a text that was on its way here.
- An upload that the service had sent when it died may still land. So at the end the ambiguity time
  is waited for, and what came late is moved as well.
- Where the newest event is not settled yet, the service finds its document stored, and answers it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from consumer.anythingllm import AnythingLLMClient
from consumer.model.names import ServerName, Slug
from consumer.model.server_marks import move_mark
from consumer.operations.moving.documents import MovedDocuments
from consumer.operations.moving.permission import MovePermission, MoveRefused
from consumer.operations.moving.report import MoveReport, MoveTally
from consumer.operations.ports import KafkaAccess
from consumer.operations.progress import StageProgress, silent
from consumer.settings import Settings
from consumer.wiring.anythingllm import server_configs

_WAITING = "waiting for late uploads"
_WAIT_STEP_SECONDS = 5.0


class WorkspaceMove:
    """See the module's docstring.

    Args:
        clients: connected, of all servers.
        slug: the workspace.
        to: the server that it shall live on.
        progress: called now and then.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        clients: Mapping[ServerName, AnythingLLMClient],
        slug: Slug,
        to: ServerName,
        *,
        progress: StageProgress = silent,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._ambiguity = settings.anythingllm.ambiguity_seconds
        self._slug = slug
        self._to = to
        self._progress = progress
        group = settings.kafka.group_id
        self._registers = {name: each.register(group) for name, each in clients.items()}
        self._permission = MovePermission(settings, kafka, slug, to, progress)
        self._documents = MovedDocuments(
            settings,
            kafka,
            clients,
            slug,
            to,
            may_go_on=self._permission.to_go_on,
            progress=progress,
        )

    async def run(self, *, do: bool) -> MoveReport:
        """Move it, or (without ``do``) only say what would be moved.

        Raises:
            MoveRefused: see there; what was moved by then stays moved.
            KafkaUnavailableError: Kafka can't be reached or refuses.
            AnythingLLMError: a server can't be asked.
        """
        if not do:
            return await self._run(do=False)
        async with self._permission.alone():
            return await self._run(do=True)

    async def _run(self, *, do: bool) -> MoveReport:
        was_begun = await self._permission.to_begin(self._registers)
        held = await self._documents.held()
        tally = MoveTally(self._documents.sources(held))
        if do and (tally.sources or was_begun):
            await self._move(tally, was_begun=was_begun)
        elif tally.sources:
            await self._documents.move(held, tally, do=False)
        return tally.report()

    async def _move(self, tally: MoveTally, *, was_begun: bool) -> None:
        mark = move_mark(self._slug)
        for register in self._registers.values():
            await register.make_mark(mark)
        await self._permission.to_go_on()
        over = self._clock() + self._ambiguity
        if was_begun:
            await self._wait_until(over)
        await self._all(tally)
        if not tally.left:
            await self._wait_until(over)
            await self._permission.to_go_on()
            await self._all(tally)
        if not tally.left:
            await self._permission.to_go_on()  # a tombstone may have come since
            for register in self._registers.values():
                await register.remove_mark(mark)

    async def _all(self, tally: MoveTally) -> None:
        held = await self._documents.held()
        if self._documents.sources(held):
            await self._registers[self._to].create(self._slug)
        await self._documents.move(held, tally)

    async def _wait_until(self, over: float) -> None:
        seconds = max(0.0, over - self._clock())
        while (left := over - self._clock()) > 0:
            self._progress(_WAITING, int(seconds - left), int(seconds))
            await self._sleep(min(left, _WAIT_STEP_SECONDS))


@asynccontextmanager
async def open_move(
    settings: Settings,
    kafka: KafkaAccess,
    slug: Slug,
    to: ServerName,
    *,
    progress: StageProgress = silent,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[WorkspaceMove]:
    """A move, connected; its arguments are those of `WorkspaceMove`.

    Raises:
        MoveRefused: there is no such server.
    """
    configs = server_configs(settings)
    if to not in configs:
        named = ", ".join(configs) or "there is one server only"
        raise MoveRefused(f"ANYTHINGLLM_ENDPOINTS lists no server {to} ({named})")
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(AnythingLLMClient(config))
            for name, config in configs.items()
        }
        yield WorkspaceMove(
            settings, kafka, clients, slug, to, progress=progress, clock=clock, sleep=sleep
        )
