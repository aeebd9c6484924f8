"""Placement: which of several AnythingLLMs a workspace lives on. Pure.

A workspace lives on the one server that has documents of ours in it. Where none has, all servers
have to answer, each has to be proven the one that it is listed as, and none may be missing from the
list. Then a pin decides, else the one server that has a workspace of that slug, and for a slug that
no server has its hash (rendezvous hashing). Otherwise a workspace would be made anew beside the one
that holds its documents, and their texts would be found twice.

The name of a server is hashed, not its address: a server that moves keeps its workspaces. A server
that is added takes only slugs that no server has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType

from consumer.model.names import ServerName, Slug


class Presence(StrEnum):
    """What a server has of a slug.

    ``there``: a workspace, and nobody has looked yet whether documents of ours are in it.
    ``strange``: a workspace with none of ours. ``ours``: some of ours, or it had when it answered
    last. ``silent``: it does not answer or is not proven, and is not known to have any of ours.
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
        servers: those that have documents of ours in it, where that is why.
    """

    reason: str
    servers: tuple[ServerName, ...] = ()


Placement = Home | Undecided | Homeless


def place(
    slug: Slug,
    seen: Mapping[ServerName, Presence],
    *,
    pin: ServerName | None = None,
    missing: Mapping[ServerName, Slug] = MappingProxyType({}),
    unproven: Mapping[ServerName, str] = MappingProxyType({}),
    moving: Slug | None = None,
    split: Slug | None = None,
    may_create: bool = True,
) -> Placement:
    """Where a workspace lives (module docstring).

    Args:
        slug: the workspace.
        seen: what each server of the list has of it.
        pin: the server that the settings name for it.
        missing: servers that were in the list of some instance, and are not in ours; with the
            marks that say so.
        unproven: servers that may be others than those that are listed, with why.
        moving: the mark that it is being moved, or that a move of it has not come to its end.
        split: the mark that two servers had documents of ours in it. Then it has a home only while
            all servers answer, whoever remembers that.
        may_create: whether a workspace may be made that no server has.
    """
    there, ours = _those(seen, Presence.THERE), _those(seen, Presence.OURS)
    holders = (*there, *ours, *_those(seen, Presence.STRANGE))
    if moving is not None:
        return Homeless(why_moving(slug, moving), ours)
    is_silent = bool(_those(seen, Presence.SILENT))
    is_plain = len(holders) == 1 and not is_silent and not missing and split is None
    if there and not (is_plain and pin in (None, *holders)):
        return Undecided(there)
    if len(ours) > 1 or (ours and split is None):
        return _where_ours_are(slug, ours, pin, unproven)
    if waits_for := _why_nobody_knows(seen, missing, unproven):
        reason = waits_for.reason if split is None else waits_for.reason + _while_split(split)
        return Homeless(reason, ours)
    if ours:
        return _where_ours_are(slug, ours, pin, unproven)
    home = Home(pin) if pin is not None else Home(nearest(slug, holders or seen))
    if home.server in holders:
        return home
    return Home(home.server, creates=True) if may_create else _not_made(slug)


def nearest(slug: Slug, servers: Iterable[ServerName]) -> ServerName:
    """The server that a slug's hash chooses: every instance chooses the same (rendezvous hashing).

    Raises:
        ValueError: there are no servers.
    """
    return max(servers, key=lambda name: (sha256(f"{name}\0{slug}".encode()).digest(), name))


def _those(seen: Mapping[ServerName, Presence], wanted: Presence) -> tuple[ServerName, ...]:
    return tuple(name for name, presence in seen.items() if presence is wanted)


def _where_ours_are(
    slug: Slug,
    ours: tuple[ServerName, ...],
    pin: ServerName | None,
    unproven: Mapping[ServerName, str],
) -> Placement:
    home, *others = ours
    if others:
        return _two_have_it(slug, ours)
    if pin not in (None, home):
        return _lies_elsewhere(slug, pin, home)
    if home in unproven:
        return Homeless(unproven[home], ours)
    return Home(home)


def _why_nobody_knows(
    seen: Mapping[ServerName, Presence],
    missing: Mapping[ServerName, Slug],
    unproven: Mapping[ServerName, str],
) -> Homeless | None:
    if unproven:
        return Homeless("; ".join(unproven.values()))
    if silent := _those(seen, Presence.SILENT):
        return Homeless(
            f"{_named(silent)} {_do(silent, 'does not answer', 'do not answer')} and may have it;"
            " it is asked again"
        )
    return Homeless(why_missing(missing)) if missing else None


def why_missing(missing: Mapping[ServerName, Slug]) -> str:
    """Why nothing is made, and no tombstone is done, while these servers are not listed."""
    return (
        f"{_named(missing)} {_do(missing, 'is', 'are')} missing from ANYTHINGLLM_ENDPOINTS and may"
        f" have it (workspace {', '.join(sorted(missing.values()))} says so): put it back, or give"
        " all instances the same list; once nothing is needed of it, run"
        f" `workspaces forget {min(missing)}` while no instance runs"
    )


def why_moving(slug: Slug, mark: Slug) -> str:
    """Why nothing is stored in a workspace, nor removed from it for good, during its move."""
    return (
        f"it is being moved, or its move ended in the middle (workspace {mark} says so): run"
        f" `workspaces move {slug} --to SERVER --yes` again, until it ends"
    )


def _while_split(mark: Slug) -> str:
    return f". Two servers had documents of ours in it when they were asked last ({mark})"


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
