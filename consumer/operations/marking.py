"""Making the mark again that says what a server is: a command, because nobody else can know it.

A server that lacks its mark is another one, or has lost what it had, or somebody removed an empty
workspace. Only in the last case may it be believed again. What is seen of it is told: a server
without any documents of ours has most likely lost them.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from consumer.anythingllm import AnythingLLMClient
from consumer.model.names import ServerName, Slug
from consumer.model.server_marks import ServerViews
from consumer.settings import Settings
from consumer.wiring.anythingllm import server_configs


class MarkingRefused(Exception):
    """The mark can't be made; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class MarkReport:
    """What was seen, or done.

    Args:
        mark: the workspace that says what the server is.
        workspaces: the others that it has.
        ours: those of them with documents of ours.
    """

    mark: Slug
    workspaces: int
    ours: tuple[Slug, ...]


async def mark_server(settings: Settings, name: ServerName, *, do: bool) -> MarkReport:
    """Have a server keep the mark again by which the others know it.

    Without ``do`` nothing is changed.

    Raises:
        MarkingRefused: it has a mark, or it can't be said which one it had; nothing was changed.
        AnythingLLMError: a server can't be asked, or refuses.
    """
    configs = server_configs(settings)
    if name not in configs:
        raise MarkingRefused(f"ANYTHINGLLM_ENDPOINTS lists no server {name}")
    group = settings.kafka.group_id
    async with AsyncExitStack() as stack:
        registers = {}
        for each, config in configs.items():
            client = await stack.enter_async_context(AnythingLLMClient(config))
            registers[each] = client.register(group)
        views = ServerViews(
            {each: await found.survey() for each, found in registers.items()}, group
        )
        lost, survey = views.lost(name), views.surveys[name]
        if lost is None or survey is None:
            raise MarkingRefused(_why_not(views, name))
        ours = [slug for slug in sorted(survey.slugs) if await registers[name].holds_ours(slug)]
        if do:
            await registers[name].make_mark(lost)
        return MarkReport(lost.slug(group), len(survey.slugs), tuple(ours))


def _why_not(views: ServerViews, name: ServerName) -> str:
    own = views.own(name)
    if own is not None:
        return f"it has a mark of what it is: {own.slug(views.group)}; remove none of them"
    if views.is_new(name):
        return "no other server knows it: an instance that begins with this list marks it"
    return views.unproven.get(name) or "it can't be said which mark it had"
