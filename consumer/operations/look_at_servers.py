"""What `check` looks at where there are several servers: whether each workspace has one home."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig, AnythingLLMError
from consumer.anythingllm.server_register import ServerRegister
from consumer.kafka.topics import CheckFinding
from consumer.model.names import ServerName, Slug
from consumer.model.placement import Homeless, Presence, place
from consumer.model.server_list import ServerSurvey, missing_from, one_server_twice
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
        return [
            *_lists(settings, surveys),
            *await _homeless(settings, registers, surveys),
            CheckFinding(True, _SUBJECT, _counted(surveys)),
        ]


def _lists(settings: Settings, surveys: Mapping[ServerName, ServerSurvey]) -> list[CheckFinding]:
    kept = {name: each.kept for name, each in surveys.items()}
    found = []
    if twice := one_server_twice(kept):
        text = f"{twice[0]} and {twice[1]} are one server"
        what_to_do = "leave one of them out of ANYTHINGLLM_ENDPOINTS"
        found.append(CheckFinding(False, _SUBJECT, text, what_to_do))
    gone = settings.anythingllm.endpoints_gone or ()
    if missing := missing_from(surveys.keys(), list(kept.values()), gone):
        named = ", ".join(sorted(missing))
        text = f"{named}: listed before, or by another instance; no new workspace is made"
        what_to_do = (
            "put it back, or give all instances this list; then set"
            f" ANYTHINGLLM_ENDPOINTS_GONE={','.join(sorted(missing))}"
        )
        found.append(CheckFinding(False, _SUBJECT, text, what_to_do))
    return found


async def _homeless(
    settings: Settings,
    registers: Mapping[ServerName, ServerRegister],
    surveys: Mapping[ServerName, ServerSurvey],
) -> list[CheckFinding]:
    permits = settings.routing.rules().permits
    found = []
    try:
        for slug in _doubtful(settings, surveys)[:_MOST_LOOKED_INTO]:
            if permits(slug):
                seen = await _seen(slug, registers, surveys)
                pin = (settings.anythingllm.pins or {}).get(slug)
                placement = place(slug, seen, pin=pin)
                if isinstance(placement, Homeless):
                    text = f"workspace {slug} has no home"
                    found.append(CheckFinding(False, _SUBJECT, text, placement.reason))
    except AnythingLLMError as error:
        found.append(CheckFinding(True, _SUBJECT, f"not all was looked at: {error.message}"))
    return found


def _doubtful(settings: Settings, surveys: Mapping[ServerName, ServerSurvey]) -> Sequence[Slug]:
    """Workspaces that several servers have, or that are pinned: of others nothing can be wrong."""
    every = [slug for each in surveys.values() for slug in each.slugs]
    pins = settings.anythingllm.pins or {}
    return sorted(slug for slug in set(every) if every.count(slug) > 1 or slug in pins)


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
