"""Giving up the name of a server: a command, because nobody can see that nothing is needed of it.

What always holds: the consumer group has no members. An instance that runs, and lists the server
still, could make a workspace there that those without it make a second time. One that is started
later with the old list sees that the name was given up, and makes nothing.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from consumer.anythingllm import AnythingLLMClient
from consumer.model.names import ServerName
from consumer.model.server_marks import Mark, MarkKind, ServerViews
from consumer.operations.ports import KafkaAccess
from consumer.settings import Settings
from consumer.wiring.anythingllm import server_configs


class ForgettingRefused(Exception):
    """The name can't be given up now; the message says why, and what to do."""


async def forget_server(
    settings: Settings, kafka: KafkaAccess, name: ServerName, *, do: bool
) -> bool:
    """Have all servers of the list keep that a name is used no more; whether any did not yet.

    Without ``do`` nothing is changed.

    Raises:
        ForgettingRefused: see there; nothing was changed.
        KafkaUnavailableError: Kafka can't be reached or refuses.
        AnythingLLMError: a server can't be asked, or refuses; those before it keep it.
    """
    configs = server_configs(settings)
    if not configs or name in configs:
        raise ForgettingRefused(
            f"leave {name} out of ANYTHINGLLM_ENDPOINTS first, and list there all that stay"
        )
    async with AsyncExitStack() as stack:
        registers = {}
        for each, config in configs.items():
            client = await stack.enter_async_context(AnythingLLMClient(config))
            registers[each] = client.register(settings.kafka.group_id)
        surveyed = {each: await found.survey() for each, found in registers.items()}
        views = ServerViews(surveyed, settings.kafka.group_id)
        if name not in views.missing and name not in views.given_up:
            raise ForgettingRefused(f"no server of ANYTHINGLLM_ENDPOINTS knows a server {name}")
        mark = Mark(MarkKind.WITHOUT, name)
        surveys = views.surveys.items()
        todo = [each for each, survey in surveys if survey and mark not in survey.marks]
        if do and todo:
            await _refuse_beside_the_service(settings, kafka)
            for each in todo:
                await registers[each].make_mark(mark)
        return bool(todo)


async def _refuse_beside_the_service(settings: Settings, kafka: KafkaAccess) -> None:
    group = settings.kafka.group_id
    async with kafka.admin() as admin:
        members = await admin.members(group)
    if members:
        raise ForgettingRefused(
            f"the consumer group {group} has members ({len(members)}): stop all instances of the"
            " service, run this again, and start them with the list that you give here"
        )
