"""What `check` looks at where there are several servers: whether each workspace has one home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig, AnythingLLMError
from consumer.anythingllm.server_register import ServerRegister
from consumer.kafka.topics import CheckFinding
from consumer.model.names import ServerName, Slug
from consumer.model.placement import Homeless, Presence, place, why_missing
from consumer.model.server_marks import ServerSurvey, ServerViews
from consumer.settings import Settings

_SUBJECT = "servers"
_MOST_LOOKED_INTO = 50  # workspaces that several servers have: each is listed on each of them
_MOST_NAMED = 5


async def look_at_homes(
    settings: Settings, configs: Mapping[ServerName, AnythingLLMConfig]
) -> list[CheckFinding]:
    """Whether the servers know each other, and whether any workspace is on two of them."""
    async with AsyncExitStack() as stack:
        registers: dict[ServerName, ServerRegister] = {}
        for name, config in configs.items():
            client = await stack.enter_async_context(AnythingLLMClient(config))
            registers[name] = client.register(settings.kafka.group_id)
        surveys: dict[ServerName, ServerSurvey] = {}
        for name, register in registers.items():
            try:
                surveys[name] = await register.survey()
            except AnythingLLMError as error:
                text = f"not looked at: server {name}: {error.message}"
                return [CheckFinding(True, _SUBJECT, text)]
        views = ServerViews(surveys, settings.kafka.group_id)
        return [
            *_lists(views),
            *await _homeless(settings, registers, surveys, views),
            CheckFinding(True, _SUBJECT, _counted(surveys)),
        ]


def _lists(views: ServerViews) -> list[CheckFinding]:
    """What is wrong with the list as a whole."""
    found = [
        CheckFinding(False, _SUBJECT, f"{name} may be another server than it is listed as", why)
        for name, why in _unproven(views).items()
    ]
    if missing := views.missing:
        named = ", ".join(sorted(missing))
        text = (
            f"{named}: listed before, or by another instance; no new workspace is made, and no"
            " tombstone is done"
        )
        found.append(CheckFinding(False, _SUBJECT, text, why_missing(missing)))
    return found


def _unproven(views: ServerViews) -> dict[ServerName, str]:
    """As `ServerViews.unproven`, but for those that no instance has begun with yet."""
    return {name: why for name, why in views.unproven.items() if not views.is_new(name)}


async def _homeless(
    settings: Settings,
    registers: Mapping[ServerName, ServerRegister],
    surveys: Mapping[ServerName, ServerSurvey],
    views: ServerViews,
) -> list[CheckFinding]:
    permits = settings.routing.rules().permits
    found = []
    try:
        for slug in _doubtful(settings, surveys, views)[:_MOST_LOOKED_INTO]:
            if permits(slug):
                placement = place(
                    slug,
                    await _seen(slug, registers, surveys),
                    pin=(settings.anythingllm.pins or {}).get(slug),
                    missing=views.missing,
                    unproven=_unproven(views),
                    moving=views.moves(slug),
                    split=views.split(slug),
                )
                if isinstance(placement, Homeless):
                    text = f"workspace {slug} has no home"
                    found.append(CheckFinding(False, _SUBJECT, text, placement.reason))
    except AnythingLLMError as error:
        found.append(CheckFinding(True, _SUBJECT, f"not all was looked at: {error.message}"))
    return found


def _doubtful(
    settings: Settings, surveys: Mapping[ServerName, ServerSurvey], views: ServerViews
) -> Sequence[Slug]:
    """Workspaces of which something may be wrong: on several servers, pinned, or being moved."""
    every = Counter(slug for each in surveys.values() for slug in each.slugs)
    pins = settings.anythingllm.pins or {}
    return sorted(
        slug
        for slug, count in every.items()
        if count > 1 or slug in pins or views.moves(slug) or views.split(slug)
    )


async def _seen(
    slug: Slug,
    registers: Mapping[ServerName, ServerRegister],
    surveys: Mapping[ServerName, ServerSurvey],
) -> dict[ServerName, Presence]:
    return {
        name: Presence.ABSENT
        if slug not in surveys[name].slugs
        else Presence.OURS
        if await register.holds_ours(slug)
        else Presence.STRANGE
        for name, register in registers.items()
    }


def _counted(surveys: Mapping[ServerName, ServerSurvey]) -> str:
    return "; ".join(f"{name}: {_some(each.slugs)}" for name, each in surveys.items())


def _some(slugs: Collection[Slug]) -> str:
    named = ", ".join(sorted(slugs)[:_MOST_NAMED])
    more = len(slugs) - _MOST_NAMED
    return f"{named or 'no workspace'}{f' and {more} more workspaces' if more > 0 else ''}"
