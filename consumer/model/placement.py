"""Placement: which of several AnythingLLMs a workspace lives on. Pure.

A workspace lives where a pin says, else on the one server that has documents of ours in it, else
on the one server that has a workspace of that slug. Only for a slug that no server has its hash
decides (rendezvous hashing), and only while all servers answer and none is missing from the list.
Otherwise a workspace would be made anew beside the one that holds its documents, and their texts
would be found twice.

The name of a server is hashed, not its address: a server that moves keeps its workspaces. A server
that is added takes only slugs that no server has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from consumer.model.names import ServerName, Slug


class Presence(StrEnum):
    """What a server has of a slug.

    ``there``: a workspace, and nobody has looked yet whether documents of ours are in it.
    ``strange``: a workspace with none of ours. ``silent``: it does not answer, and is not known to
    have any of ours.
    """

    ABSENT = "absent"
    THERE = "there"
    STRANGE = "strange"
    OURS = "ours"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Home:
    """The server that a workspace lives on.

    Args:
        server: its name.
        creates: whether the workspace is not there yet.
    """

    server: ServerName
    creates: bool = False


@dataclass(frozen=True, slots=True)
class Undecided:
    """Nobody can say before it is known whether these servers have documents of ours there."""

    servers: tuple[ServerName, ...]


@dataclass(frozen=True, slots=True)
class Homeless:
    """Nothing may be stored in the workspace now.

    Args:
        reason: one line for an operator, with the servers' names and the cure.
        servers: those that both have it, where that is why.
    """

    reason: str
    servers: tuple[ServerName, ...] = ()


Placement = Home | Undecided | Homeless


def place(
    slug: Slug,
    seen: Mapping[ServerName, Presence],
    *,
    pin: ServerName | None = None,
    missing: Collection[ServerName] = (),
    may_create: bool = True,
) -> Placement:
    """Where a workspace lives (module docstring).

    Args:
        slug: the workspace.
        seen: what each server of the list has of it.
        pin: the server that the settings name for it.
        missing: servers that were in the list of some instance, and are not in ours.
        may_create: whether a workspace may be made that no server has.
    """
    there, ours = _those(seen, Presence.THERE), _those(seen, Presence.OURS)
    holders = (*there, *ours, *_those(seen, Presence.STRANGE))
    is_plain = len(holders) == 1 and _those(seen, Presence.SILENT) == () and not missing
    if there and not (is_plain and pin in (None, *holders)):
        return Undecided(there)
    if len(ours) > 1:
        return _two_have_it(slug, ours)
    if ours:
        if pin is None or pin == ours[0]:
            return Home(ours[0])
        return _lies_elsewhere(slug, pin, ours[0])
    if pin is not None:
        return _pinned(slug, pin, seen[pin], may_create=may_create)
    if waits_for := _why_nobody_knows(slug, seen, missing):
        return waits_for
    if holders:
        return Home(nearest(slug, holders))
    return Home(nearest(slug, seen), creates=True) if may_create else _not_made(slug)


def nearest(slug: Slug, servers: Iterable[ServerName]) -> ServerName:
    """The server that a slug's hash chooses: every instance chooses the same (rendezvous hashing).

    Raises:
        ValueError: there are no servers.
    """
    return max(servers, key=lambda name: (sha256(f"{name}\0{slug}".encode()).digest(), name))


def _those(seen: Mapping[ServerName, Presence], wanted: Presence) -> tuple[ServerName, ...]:
    return tuple(name for name, presence in seen.items() if presence is wanted)


def _pinned(slug: Slug, pin: ServerName, presence: Presence, *, may_create: bool) -> Placement:
    if presence is Presence.SILENT:
        return Homeless(f"server {pin}, where it is pinned to, does not answer; it is asked again")
    if presence is Presence.ABSENT and not may_create:
        return _not_made(slug)
    return Home(pin, creates=presence is Presence.ABSENT)


def _why_nobody_knows(
    slug: Slug, seen: Mapping[ServerName, Presence], missing: Collection[ServerName]
) -> Homeless | None:
    if silent := _those(seen, Presence.SILENT):
        return Homeless(
            f"{_named(silent)} {_do(silent, 'does not answer', 'do not answer')} and may have it;"
            " to go on without, name its server in ANYTHINGLLM_PINS"
        )
    if missing:
        return Homeless(
            f"{_named(missing)} {_do(missing, 'is', 'are')} missing from ANYTHINGLLM_ENDPOINTS and"
            " may have it: put it back, or give all instances the same list; once its workspaces"
            f" are moved, set ANYTHINGLLM_ENDPOINTS_GONE={','.join(sorted(missing))}"
        )
    return None


def _two_have_it(slug: Slug, ours: tuple[ServerName, ...]) -> Homeless:
    named = " and ".join(ours)
    return Homeless(
        f"servers {named} both have documents of ours in it: keep one, with"
        f" `workspaces move {slug} --to {ours[0]}` (or another of them)",
        ours,
    )


def _lies_elsewhere(slug: Slug, pin: ServerName, home: ServerName) -> Homeless:
    return Homeless(
        f"it is pinned to server {pin}, and its documents are on server {home}:"
        f" `workspaces move {slug} --to {pin}`, or correct ANYTHINGLLM_PINS",
        (home,),
    )


def _not_made(slug: Slug) -> Homeless:
    return Homeless(
        "no server has it, and ROUTING_CREATE_WORKSPACES=false: create it on one of them"
    )


def _named(servers: Collection[ServerName]) -> str:
    return f"server{'s' * (len(servers) > 1)} {', '.join(sorted(servers))}"


def _do(servers: Collection[ServerName], one: str, several: str) -> str:
    return several if len(servers) > 1 else one
