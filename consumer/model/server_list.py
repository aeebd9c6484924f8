"""The list of servers as each server keeps it: the name of a workspace that holds nothing. Pure.

Only so does an instance notice that another one knows more servers than it does, or did before it
was started anew: what lives there would be made a second time elsewhere. The workspace's name is a
line that people can read, and AnythingLLM sends it with every list of workspaces.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from consumer.model.names import ServerName, Slug
from consumer.model.slug import slugify

NAME = r"[a-z0-9](?:[a-z0-9-]{0,14}[a-z0-9])?"
"""Names of servers; short, because AnythingLLM cuts names of workspaces at 255 characters."""

MOST = 8
"""Servers in one list."""

_PREFIX = "anythingllm-consumer-servers-of"
_LINE = re.compile(rf"anythingllm-consumer: (?P<own>{NAME}) of (?P<all>{NAME}(?:, {NAME})*)")
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class ServerList:
    """What a server keeps.

    Args:
        own: what it was called by who wrote it.
        every: all names that instances had in their lists, its own among them.
    """

    own: ServerName
    every: frozenset[ServerName]

    def __str__(self) -> str:
        return f"anythingllm-consumer: {self.own} of {', '.join(sorted(self.every))}"

    @property
    def fits(self) -> bool:
        """Whether AnythingLLM would keep all of it."""
        return len(str(self)) <= _LONGEST


@dataclass(frozen=True, slots=True)
class ServerSurvey:
    """What a server has.

    Args:
        slugs: of its workspaces, without those that keep lists.
        kept: the list of servers that it keeps; None: it keeps none yet.
    """

    slugs: frozenset[Slug]
    kept: ServerList | None


def list_slug(group: str) -> Slug:
    """The slug of the workspace that keeps the list of a consumer group."""
    return slugify(f"{_PREFIX} {group[:100]}")


def is_list_slug(slug: Slug) -> bool:
    """Whether a workspace keeps a list of servers, of whatever group; nothing is stored there."""
    return slug.startswith(_PREFIX)


def read_list(name: str) -> ServerList | None:
    """The list in a workspace's name; None where it holds none, as right after its creation."""
    match = _LINE.fullmatch(name)
    if match is None:
        return None
    return ServerList(
        ServerName(match["own"]), frozenset(map(ServerName, match["all"].split(", ")))
    )


def missing_from(
    ours: Collection[ServerName], kept: Collection[ServerList | None], gone: Collection[ServerName]
) -> frozenset[ServerName]:
    """Servers that somebody had in a list, and that are neither in ours nor said to be gone."""
    known = frozenset[ServerName]().union(*(each.every for each in kept if each is not None))
    return known.difference(ours, gone)


def lists_to_write(
    kept: Mapping[ServerName, ServerList | None], gone: Collection[ServerName]
) -> dict[ServerName, ServerList]:
    """What has to be written on which server, so that all keep all names, and their own.

    Args:
        kept: what each server of our list keeps now.
        gone: names that are dropped.
    """
    known = frozenset(kept).union(*(each.every for each in kept.values() if each is not None))
    wanted = {name: ServerList(name, known.difference(gone)) for name in kept}
    return {
        name: each
        for name, each in wanted.items()
        if (now := kept[name]) is None or now.own != name or not now.every >= each.every
    }


def one_server_twice(
    kept: Mapping[ServerName, ServerList | None],
) -> tuple[ServerName, ServerName] | None:
    """Two names of our list that seem to lead to one server, right after `lists_to_write`."""
    for name, each in kept.items():
        if each is not None and each.own != name and each.own in kept:
            other = kept[each.own]
            if other is not None and other.own == each.own:
                first, second = sorted((each.own, name))
                return first, second
    return None
