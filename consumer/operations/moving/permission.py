"""Whether a workspace may be moved now: nothing of the service is at work, and no other move.

Two moves in opposite directions would each remove what the other takes for stored. So there is one
at a time in a group: its lock is a consumer group of its own, whose one member it is.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from consumer.anythingllm.server_register import ServerRegister
from consumer.kafka.group_lock import LockConfig, LockLostError, TakenError
from consumer.kafka.groups import Member
from consumer.model.names import ServerName, Slug
from consumer.model.placement import why_missing
from consumer.model.server_marks import ServerViews
from consumer.operations.ports import HeldLock, KafkaAccess
from consumer.operations.progress import StageProgress
from consumer.settings import Settings

_ANOTHER = "waiting for another move"


class MoveRefused(Exception):
    """It can't be moved now; the message says why, and what to do."""


class MovePermission:
    """See the module's docstring.

    Args:
        slug: the workspace.
        to: the server that it shall live on.
        progress: called now and then.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        slug: Slug,
        to: ServerName,
        progress: StageProgress,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._slug = slug
        self._to = to
        self._progress = progress
        self._lock: HeldLock | None = None

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """No other move of the group is at work meanwhile.

        Raises:
            MoveRefused: another one is.
        """
        kafka = self._settings.kafka
        config = LockConfig(
            group=f"{kafka.group_id}-move",
            topic=kafka.documents_topic,
            client_id=f"workspaces-move.{self._slug}",
            session_timeout=kafka.session_timeout_seconds,
        )
        try:
            async with self._kafka.lock(config, waiting=self._tell_of, rng=random.Random()) as lock:
                self._lock = lock
                yield
        except LockLostError as error:
            raise MoveRefused(
                f"{error}: run this again; what is moved by then stays moved"
            ) from None
        except TakenError as error:
            raise MoveRefused(
                f"another move is at work ({error}): wait for it, or stop it"
            ) from None

    def _tell_of(self, members: tuple[Member, ...]) -> None:
        self._progress(_ANOTHER, 0, len(members))

    async def to_begin(self, registers: Mapping[ServerName, ServerRegister]) -> bool:
        """Whether a move of the workspace has begun before, and not ended.

        Raises:
            MoveRefused: it is pinned elsewhere, a server is missing or another one than it is
                listed as, or the service is at work.
        """
        pin = (self._settings.anythingllm.pins or {}).get(self._slug)
        if pin not in (None, self._to):
            raise MoveRefused(
                f"ANYTHINGLLM_PINS keeps it on server {pin}: change that first, in all instances"
            )
        surveys = {name: await each.survey() for name, each in registers.items()}
        views = ServerViews(surveys, self._settings.kafka.group_id)
        whys = [why for name, why in views.unproven.items() if not views.is_new(name)]
        if views.missing:
            whys.append(why_missing(views.missing))
        if whys:
            raise MoveRefused("; ".join(whys))
        await self.to_go_on()
        return views.moves(self._slug) is not None

    async def to_go_on(self) -> None:
        """Return where nothing of the service is at work.

        Raises:
            MoveRefused: an instance was started, or the lock was lost.
        """
        if self._lock is not None:
            await self._lock.confirm()
        group = self._settings.kafka.group_id
        async with self._kafka.admin() as admin:
            members = await admin.members(group)
        if members:
            raise MoveRefused(
                f"the consumer group {group} has members ({len(members)}): stop all instances of"
                " the service, and run this again; what is moved by then stays moved"
            )
